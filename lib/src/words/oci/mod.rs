//! What a container registry is asked and what it answers: references, manifests and indexes, challenges.
//!
//! As the OCI distribution and image specifications 1.1 have it, and Docker's image manifest version 2, schema 2, which is the
//! same under other names.

mod login;
mod manifest;

use super::digest::Digest;
use super::release::Selector;
pub use login::{Challenge, same_site};
pub use manifest::{Content, Descriptor, Manifest, NotAManifest, for_target, platforms};

/// The media types of manifests and indexes, for an `Accept:` header.
pub const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";
/// The longest tag, in bytes.
const TAG_MAX: usize = 128;
/// The longest name of a repository, in bytes, host included.
const NAME_MAX: usize = 255;

/// `HOST[:PORT]/REPO`, and what of it is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The registry, in lower case, with its port if one is written.
    pub host: String,
    /// The repository.
    pub repository: String,
    /// What of it is wanted.
    pub wanted: WantedManifest,
}

/// Which manifest of a repository is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WantedManifest {
    /// That of a tag which the selector picks.
    Selected(Selector),
    /// That of this tag, literally.
    Tagged(String),
    /// That of this digest; the tag in front of it, if any, says which version that is and decides nothing.
    Pinned(Digest, Option<String>),
}

impl Reference {
    /// Reads `//HOST[:PORT]/REPO[:TAG][@sha256:DIGEST]` or `//HOST[:PORT]/REPO[@SELECTOR]`, what stands behind `oci:`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let form = || {
            "oci://HOST[:PORT]/REPO, then nothing, :TAG, @SELECTOR or @sha256:DIGEST, is the form (write a Docker Hub \
             image as oci://docker.io/library/NAME)"
                .to_owned()
        };
        let (host, rest) = text.strip_prefix("//").and_then(|text| text.split_once('/')).ok_or_else(form)?;
        let host = host.to_ascii_lowercase();
        if !is_host(&host) {
            return Err(form());
        }
        let (name, behind) = match rest.split_once('@') {
            Some((name, behind)) => (name, Some(behind)),
            None => (rest, None),
        };
        let (repository, tag) = match name.rsplit_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (name, None),
        };
        if repository.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(format!("a repository's name is in lower case: {}", repository.to_ascii_lowercase()));
        }
        if !is_repository(repository) || host.len() + repository.len() >= NAME_MAX {
            return Err(form());
        }
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(format!("'{tag}' is no tag: letters, digits, '_', '.' and '-', at most 128"));
        }
        let tag = tag.map(str::to_owned);
        let wanted = match (behind, tag) {
            (None, None) => WantedManifest::Selected(Selector::Latest),
            (None, Some(tag)) => WantedManifest::Tagged(tag),
            (Some(digest), tag) if digest.starts_with("sha256:") => {
                WantedManifest::Pinned(digest.parse().map_err(|e| format!("{e}"))?, tag)
            }
            (Some(other), _) if other.contains(':') => {
                return Err("only sha256 digests are known here: @sha256: and 64 hexadecimal digits".into());
            }
            (Some(_), Some(_)) => return Err("either :TAG or @SELECTOR says which one, not both".into()),
            (Some(selector), None) => WantedManifest::Selected(selector.parse().map_err(|e| format!("{e}"))?),
        };
        Ok(Self { host, repository: repository.to_owned(), wanted })
    }
}

fn is_host(text: &str) -> bool {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (text, None),
    };
    let plain = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(v6) => !v6.is_empty() && v6.bytes().all(|b| b.is_ascii_hexdigit() || b == b':' || b == b'.'),
        None => {
            !name.is_empty()
                && !name.starts_with(['.', '-'])
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        }
    };
    plain && port.is_none_or(|port| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok())
}

/// Parts with slashes between them: letters and digits, joined by `.`, `_`, `__` or any number of `-`.
fn is_repository(text: &str) -> bool {
    let is_word = |word: &str| word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let is_part = |part: &str| {
        let ends = part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.ends_with(|c: char| c.is_ascii_alphanumeric());
        let mut joints = part.split(|c: char| c.is_ascii_alphanumeric()).filter(|joint| !joint.is_empty());
        ends && joints.all(|joint| matches!(joint, "." | "_" | "__") || joint.bytes().all(|b| b == b'-'))
            && part.split(['.', '_', '-']).all(is_word)
    };
    !text.is_empty() && text.split('/').all(is_part)
}

/// True for what the distribution specification allows as a tag.
#[must_use]
pub fn is_tag(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    (1..=TAG_MAX).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with(['.', '-'])
}

/// True for a tag that says something about a manifest and is no release: `sha256-….sig`.
#[must_use]
pub fn is_attachment(tag: &str) -> bool {
    tag.starts_with("sha256-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn parse(text: &str) -> Result<(String, String, WantedManifest), String> {
        Reference::parse(text).map(|r| (r.host, r.repository, r.wanted))
    }

    #[test]
    fn each_form_of_a_reference_is_read() {
        let digest: Digest = HEX.parse().unwrap();
        let tagged = |tag: &str| WantedManifest::Tagged(tag.to_owned());
        for (text, host, repository, wanted) in [
            ("//h/r", "h", "r", WantedManifest::Selected(Selector::Latest)),
            (
                "//H.example:5000/a/b-c_d.e__f",
                "h.example:5000",
                "a/b-c_d.e__f",
                WantedManifest::Selected(Selector::Latest),
            ),
            ("//h/r:v1", "h", "r", tagged("v1")),
            ("//h:5000/r:latest", "h:5000", "r", tagged("latest")),
            ("//h/r@v1", "h", "r", WantedManifest::Selected(Selector::Prefix(vec![1]))),
            ("//h/r@v1.2.3", "h", "r", WantedManifest::Selected(Selector::Exact("v1.2.3".into()))),
            ("//[::1]:5000/r", "[::1]:5000", "r", WantedManifest::Selected(Selector::Latest)),
            (&format!("//h/r@sha256:{HEX}"), "h", "r", WantedManifest::Pinned(digest, None)),
            (&format!("//h/r:v2@sha256:{HEX}"), "h", "r", WantedManifest::Pinned(digest, Some("v2".into()))),
        ] {
            assert_eq!(parse(text), Ok((host.to_owned(), repository.to_owned(), wanted)), "{text}");
        }
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for bad in [
            "",
            "//",
            "h/r",
            "///r",
            "//h",
            "//h/",
            "//h//r",
            "//h/r/",
            "//h/R",
            "//h/-r",
            "//h/r_",
            "//h/a..b",
            "//h/a___b",
            "//h/../r",
            "//h/r:",
            "//h/r:.x",
            "//h/r:a/b",
            "//h/r:a b",
            "//h/r@",
            "//h/r@a b",
            "//h/r:v1@v1",
            "//h:99999/r",
            "//h:/r",
            "//me:pw@h/r",
            "//h/r@sha256:ba78",
            "//h/r@sha512:00",
            "//h/r?x",
            "//h/r#x",
            "//h/é",
            "//.h/r",
            "//[]/r",
        ] {
            assert!(Reference::parse(bad).is_err(), "{bad}");
        }
        assert!(Reference::parse(&format!("//h/{}", "r".repeat(300))).is_err());
        assert!(Reference::parse(&format!("//h/r:{}", "t".repeat(129))).is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,60}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Reference::parse(&text);
            let _ = Reference::parse(&format!("//h/{text}"));
            let _ = Challenge::read(&text);
            let _ = Challenge::read(&format!("Bearer {text}"));
            let _ = Manifest::parse(&bytes);
        }

        #[test]
        fn a_reference_holds_only_what_may_stand_in_an_address(text in "[a-zA-Z0-9/:@._?#%& -]{0,30}") {
            if let Ok(reference) = Reference::parse(&format!("//{text}")) {
                let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"/._-".contains(&b);
                prop_assert!(reference.repository.bytes().all(allowed));
                prop_assert!(!reference.repository.split('/').any(|part| matches!(part, "" | "." | "..")));
                prop_assert!(!reference.host.contains(['/', '@', '?', '#', '%']));
            }
        }
    }
}
