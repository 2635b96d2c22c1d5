//! Whom a Sigstore certificate must name: an address, or a URI in which `*` stands for what changes from release to release.

use std::fmt;
use std::str::FromStr;

/// The issuer of the identities of GitHub's workflows.
pub const GITHUB: &str = "https://token.actions.githubusercontent.com";

/// Where GitHub's repositories are.
const GITHUB_HOST: &str = "https://github.com/";

/// An identity that is trusted, or the identities of one owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    form: Form,
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    /// An electronic mail address, as it is.
    Mail,
    /// A URI; `*` stands for at least one character other than `/`.
    Uri,
    /// Whatever a workflow of this GitHub repository (`OWNER/REPO`) signs.
    Repository(String),
}

/// Text that names nobody, or too many.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{0}; name gh:OWNER/REPO, or the identity in the certificate: a URI, in which * stands for anything but / behind the repository, or an address"
)]
pub struct NotAnIdentity(&'static str);

impl FromStr for Identity {
    type Err = NotAnIdentity;

    fn from_str(text: &str) -> Result<Self, NotAnIdentity> {
        if !text.bytes().all(|b| b.is_ascii_graphic()) || text.is_empty() {
            return Err(NotAnIdentity("it is empty, or holds what no identity does"));
        }
        let form = if let Some(repository) = text.strip_prefix("gh:") {
            if !is_repository(repository) {
                return Err(NotAnIdentity("it is no OWNER/REPO"));
            }
            Form::Repository(repository.to_owned())
        } else if text.contains("://") {
            fixed(text)?;
            Form::Uri
        } else {
            let mail = text.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty());
            if !mail || text.contains('*') {
                return Err(NotAnIdentity("it is neither a URI nor one whole address"));
            }
            Form::Mail
        };
        Ok(Self { form, text: text.to_owned() })
    }
}

impl Identity {
    /// Whether this is the identity that a certificate holds as an address (`mail`) or as a URI.
    #[must_use]
    pub fn is(&self, found: &str, mail: bool) -> bool {
        match &self.form {
            Form::Mail => mail && found == self.text,
            Form::Uri => !mail && matches(&self.text, found),
            Form::Repository(repository) => {
                let workflow = found
                    .strip_prefix(GITHUB_HOST)
                    .and_then(|path| path.strip_prefix(repository.as_str()))
                    .and_then(|path| path.strip_prefix("/.github/workflows/"));
                !mail && workflow.is_some_and(|workflow| !workflow.is_empty())
            }
        }
    }

    /// The issuer that vouches for identities of this kind, when there is but one.
    #[must_use]
    pub fn issuer(&self) -> Option<&'static str> {
        self.repository().map(|_| GITHUB)
    }

    /// The URI of the GitHub repository that the identity belongs to.
    #[must_use]
    pub fn repository(&self) -> Option<String> {
        match &self.form {
            Form::Mail => None,
            Form::Repository(repository) => Some(format!("{GITHUB_HOST}{repository}")),
            Form::Uri => {
                let mut path = self.text.strip_prefix(GITHUB_HOST)?.split('/');
                Some(format!("{GITHUB_HOST}{}/{}", path.next()?, path.next()?))
            }
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The URI of a repository, which `gh:OWNER/REPO` is short for.
#[must_use]
pub fn source(text: &str) -> Option<String> {
    match text.strip_prefix("gh:") {
        Some(repository) => is_repository(repository).then(|| format!("{GITHUB_HOST}{repository}")),
        None => (text.contains("://") && text.bytes().all(|b| b.is_ascii_graphic())).then(|| text.to_owned()),
    }
}

fn is_repository(text: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    text.split_once('/').is_some_and(|(owner, name)| plain(owner) && plain(name))
}

/// The scheme, the host and the owner are no patterns; on GitHub neither is the repository.
fn fixed(uri: &str) -> Result<(), NotAnIdentity> {
    let parts: Vec<&str> = uri.split('/').collect();
    let depth = if uri.starts_with(GITHUB_HOST) { 5 } else { 4 };
    let named =
        |(i, part): (usize, &&str)| if i == 1 { part.is_empty() } else { !part.is_empty() && !part.contains('*') };
    let owner = parts.iter().take(depth).enumerate().all(named);
    if !owner || (uri.contains('*') && parts.len() <= depth) || parts.len() < 3 {
        return Err(NotAnIdentity("it says of no host and owner that they are the ones"));
    }
    Ok(())
}

/// Part by part, so that `*` never goes over a `/`.
fn matches(pattern: &str, text: &str) -> bool {
    let (patterns, parts): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), text.split('/').collect());
    patterns.len() == parts.len() && patterns.iter().zip(parts).all(|(pattern, part)| part_matches(pattern, part))
}

fn part_matches(pattern: &str, part: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == part };
    let Some(mut left) = part.strip_prefix(first) else { return false };
    let mut pieces: Vec<&str> = rest.split('*').collect();
    let last = pieces.pop().unwrap_or_default();
    let graphic = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    // The earliest place for each piece leaves the most for those behind it.
    for piece in pieces {
        let found = left.char_indices().skip(1).find_map(|(at, _)| {
            let (skipped, behind) = left.split_at(at);
            Some((skipped, behind.strip_prefix(piece)?))
        });
        match found {
            Some((skipped, behind)) if graphic(skipped) => left = behind,
            _ => return false,
        }
    }
    left.strip_suffix(last).is_some_and(graphic)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELEASE: &str = "https://github.com/o/r/.github/workflows/release.yml@refs/tags/v1.0.0";

    fn identity(text: &str) -> Identity {
        text.parse().unwrap()
    }

    #[test]
    fn a_repository_means_its_workflows_and_no_other_repository() {
        let trusted = identity("gh:o/r");
        assert!(trusted.is(RELEASE, false));
        assert!(trusted.is("https://github.com/o/r/.github/workflows/ci.yml@refs/heads/main", false));
        for other in [
            "https://github.com/o/r2/.github/workflows/release.yml@refs/tags/v1.0.0",
            "https://github.com/oo/r/.github/workflows/release.yml@refs/tags/v1.0.0",
            "https://github.com.evil.example/o/r/.github/workflows/release.yml",
            "https://evil.example/https://github.com/o/r/.github/workflows/x",
            "https://github.com/o/r/.github/workflows/",
            "https://github.com/o/r",
            "",
        ] {
            assert!(!trusted.is(other, false), "{other}");
        }
        assert!(!trusted.is(RELEASE, true), "an address that reads like a URI");
        assert_eq!(trusted.issuer(), Some(GITHUB));
        assert_eq!(trusted.repository().as_deref(), Some("https://github.com/o/r"));
    }

    #[test]
    fn a_star_stays_between_two_slashes() {
        let tags = identity("https://github.com/o/r/.github/workflows/release.yml@refs/tags/v*");
        assert!(tags.is(RELEASE, false));
        for other in [
            "https://github.com/o/r/.github/workflows/release.yml@refs/heads/v1",
            "https://github.com/o/r/.github/workflows/release.yml@refs/tags/v",
            "https://github.com/o/r/.github/workflows/release.yml@refs/tags/v1/2",
            "https://github.com/o/r/.github/workflows/release.yml@refs/tags/v1 2",
            "https://github.com/o/r/.github/workflows/release.yml@refs/tags/v\u{1b}[31m",
        ] {
            assert!(!tags.is(other, false), "{other}");
        }
        // A branch may be called a@refs/tags/v1.
        let any = identity("https://github.com/o/r/.github/workflows/*@refs/tags/*");
        assert!(any.is(RELEASE, false));
        assert!(!any.is("https://github.com/o/r/.github/workflows/x.yml@refs/heads/a@refs/tags/v1", false));
        let two = identity("https://git.example/o/*-a*b");
        assert!(two.is("https://git.example/o/x-a-ab", false));
        assert!(!two.is("https://git.example/o/-a-b", false) && !two.is("https://git.example/o/x-ab", false));
        assert_eq!(two.issuer(), None);
    }

    #[test]
    fn an_address_is_itself_alone() {
        let someone = identity("someone@example.org");
        assert!(someone.is("someone@example.org", true));
        assert!(!someone.is("someone@example.org", false) && !someone.is("Someone@example.org", true));
        assert_eq!((someone.issuer(), someone.repository()), (None, None));
    }

    #[test]
    fn what_names_nobody_or_everybody_is_refused() {
        for bad in [
            "",
            " ",
            "*",
            "*@example.org",
            "someone@",
            "@example.org",
            "someone",
            "gh:",
            "gh:o",
            "gh:o/",
            "gh:*/r",
            "gh:o/*",
            "gh:o/r/x",
            "gh:../r",
            "https://*",
            "https://github.com/*",
            "https://github.com/o/*",
            "https://github.com/o/r*",
            "https://github.com//r/*",
            "https://*.example/o/x",
            "https://git.example/*",
            "*://git.example/o/x",
            "https://",
            "https://github.com/o/r/a b",
        ] {
            assert!(bad.parse::<Identity>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_source_is_a_uri() {
        assert_eq!(source("gh:o/r").as_deref(), Some("https://github.com/o/r"));
        assert_eq!(source("https://gitlab.com/o/r").as_deref(), Some("https://gitlab.com/o/r"));
        assert!(["", "o/r", "gh:o", "https://x y"].iter().all(|bad| source(bad).is_none()));
    }
}
