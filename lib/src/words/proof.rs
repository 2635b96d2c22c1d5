//! What "healthy" means for one unit: what svc-wait was asked to prove, kept in a trial so that the way back proves the same.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use regex_lite::Regex;
use serde::{Deserialize, Serialize};

use super::release::Tag;

/// What to prove of a unit, and within which times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The unit, with its type suffix: `runed.service`.
    pub unit: String,
    /// From the end of COMMAND until the unit is first healthy.
    pub timeout: Duration,
    /// How long it must then stay healthy without a restart, on top of `timeout`.
    pub stable: Duration,
    /// What must answer besides.
    pub probes: Vec<Probe>,
    /// Which executable the main process must run.
    pub exe: Exe,
    /// The probes, by what they ask, whose failure is told and makes nothing unhealthy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advisory: Vec<String>,
    /// What listens where the probes ask is a proxy in front of the unit.
    #[serde(default, skip_serializing_if = "is_false")]
    pub via_proxy: bool,
    /// Whether to find out how long there is no answer. For the way forward alone: it is in no record.
    #[serde(skip)]
    pub measure: bool,
}

/// A question to the service that must be answered for it to count as healthy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// GET a URL.
    Http(Http),
    /// Connect to `HOST:PORT`.
    Tcp(String),
    /// Connect to a Unix socket: a path, or `@NAME` of the abstract kind.
    Unix(String),
    /// Run this command line by `/bin/sh -c`; exit status 0 is healthy.
    Exec(String),
    /// Ask for the version that runs.
    Version {
        /// What is asked: [`Probe::Http`] or [`Probe::Exec`].
        asked: Box<Probe>,
        /// The version that must be in the answer.
        expected: String,
    },
}

/// A GET, and which answer to it is healthy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Http {
    /// The URL: `http://`, `https://`, or `http://unix:PATH:/…` as nginx writes it.
    pub url: String,
    /// The one status code that is healthy, if not any of 200 to 299.
    pub status: Option<u16>,
    /// Text that must stand in the body. Only in records of before there were patterns.
    pub body: Option<String>,
    /// The regular expression that must match somewhere in the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// Header lines to send, `NAME: VALUE`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<String>,
    /// Header lines to be answered, `NAME: REGEX`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect_headers: Vec<String>,
    /// The file of the only certificates to trust.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cacert: Option<PathBuf>,
    /// Whether any certificate is taken.
    #[serde(default, skip_serializing_if = "is_false")]
    pub insecure: bool,
}

/// Which executable counts as the right one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exe {
    /// The file that `ExecStart=` names.
    #[default]
    ExecStart,
    /// This file, for a service started through a wrapper or an interpreter.
    Path(PathBuf),
    /// Any; nothing is proved about the executable.
    Any,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

impl Proof {
    /// Whether a failure of `probe` is only told.
    #[must_use]
    pub fn is_advisory(&self, probe: &Probe) -> bool {
        self.advisory.iter().any(|asked| asked == probe.asked())
    }

    /// What is wrong with it, and will be whatever is answered: an option to name and why.
    pub fn check(&self) -> Result<(), String> {
        let regex = |option: &str, text: &str| match Regex::new(text) {
            Ok(_) => Ok(()),
            Err(e) => Err(format!(
                "{option} '{text}' is no regular expression ({e}); a text as it is needs [] around . ? * + ( ) {{ and |"
            )),
        };
        for probe in &self.probes {
            let Probe::Http(http) = probe else { continue };
            http.pattern.iter().try_for_each(|pattern| regex("--body", pattern))?;
            for line in &http.expect_headers {
                let (name, value) = line.split_once(':').ok_or("--expect-header: NAME: REGEX is needed")?;
                if name.trim().is_empty() {
                    return Err("--expect-header: NAME: REGEX is needed".into());
                }
                regex("--expect-header", value.trim())?;
            }
        }
        let unknown = |asked: &&String| !self.probes.iter().any(|probe| probe.asked() == asked.as_str());
        if let Some(asked) = self.advisory.iter().find(unknown) {
            return Err(format!("--advisory '{asked}' is none of the probes; say it as the probe was given"));
        }
        let measured = |probe: &Probe| !matches!(probe, Probe::Version { .. }) && !self.is_advisory(probe);
        if self.measure && !self.probes.iter().any(measured) {
            return Err("--measure needs a probe to ask: --http, --tcp, --unix or --exec".into());
        }
        Ok(())
    }

    /// The same proof for the generation before: where the version that was expected is the one that came (`new`), the one
    /// that it goes back to (`old`) is expected instead; of another version, or without one to go back to, nothing is asked.
    #[must_use]
    pub fn for_the_way_back(mut self, new: Option<&str>, old: Option<&str>) -> Self {
        self.probes.retain_mut(|probe| {
            let Probe::Version { expected, .. } = probe else { return true };
            match (new, old) {
                (Some(new), Some(old)) if is_version(new, expected) => {
                    old.clone_into(expected);
                    true
                }
                _ => false,
            }
        });
        self
    }
}

impl Probe {
    /// What it asks, as the user gave it.
    #[must_use]
    pub fn asked(&self) -> &str {
        match self {
            Self::Http(http) => &http.url,
            Self::Tcp(asked) | Self::Unix(asked) | Self::Exec(asked) => asked,
            Self::Version { asked, .. } => asked.asked(),
        }
    }
}

/// The name of the probe in a verdict: its option and what it asks, without a password or a query.
impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(http) => write!(f, "http {http}"),
            Self::Tcp(address) => write!(f, "tcp {address}"),
            Self::Unix(path) => write!(f, "unix {path}"),
            Self::Exec(line) => write!(f, "exec {line}"),
            Self::Version { asked, .. } => match asked.as_ref() {
                Self::Http(http) => write!(f, "version-from {http}"),
                other => write!(f, "version-from {}", other.asked()),
            },
        }
    }
}

/// The URL without its secrets: user name, password and query.
impl fmt::Display for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (url, query) = self.url.split_once('?').map_or((self.url.as_str(), ""), |(url, _)| (url, "?…"));
        let Some((scheme, rest)) = url.split_once("://") else { return write!(f, "{url}{query}") };
        let end = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let host = authority.rsplit('@').next().unwrap_or_default();
        write!(f, "{scheme}://{host}{path}{query}")
    }
}

impl Http {
    /// The Unix socket and the path to ask for, when the URL is `http://unix:PATH:/…`; `/` is asked for when nothing follows.
    #[must_use]
    pub fn unix(&self) -> Option<(&Path, &str)> {
        let rest = self.url.strip_prefix("http://unix:")?;
        let (socket, path) = rest.split_at(rest.find(":/").unwrap_or(rest.len()));
        let path = path.strip_prefix(':').unwrap_or("/");
        Some((Path::new(socket), path))
    }
}

/// Whether `said` is the version `expected`, with or without a `v` in front.
#[must_use]
pub fn is_version(said: &str, expected: &str) -> bool {
    let bare = |text: &str| text.strip_prefix('v').unwrap_or(text).to_owned();
    let wanted = Tag::new(expected);
    bare(said) == bare(expected)
        || Tag::new(said).version().zip(wanted.version()).is_some_and(|(said, wanted)| said == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As upswap 0.1.0 wrote it before there were more probes; such records stay readable.
    const OLD: &str = r#"{"unit":"a.service","timeout":{"secs":15,"nanos":0},"stable":{"secs":10,"nanos":0},"probes":[
        {"http":{"url":"http://h/x","status":204,"body":"a.b"}},{"tcp":"h:1"},{"exec":"true"}],"exe":"exec-start"}"#;

    #[test]
    fn a_record_of_before_is_read_as_it_was_meant_and_written_as_it_was() {
        let old: Proof = serde_json::from_str(OLD).unwrap();
        let http = Http { url: "http://h/x".into(), status: Some(204), body: Some("a.b".into()), ..Http::default() };
        assert_eq!(old.probes, [Probe::Http(http), Probe::Tcp("h:1".into()), Probe::Exec("true".into())]);
        let written: serde_json::Value = serde_json::to_value(&old).unwrap();
        assert_eq!(written, serde_json::from_str::<serde_json::Value>(OLD).unwrap());
    }

    #[test]
    fn every_kind_of_probe_comes_back_from_a_record() {
        let http = Http {
            url: "https://h/".into(),
            pattern: Some("^ok".into()),
            headers: vec!["Host: x".into()],
            expect_headers: vec!["X: y".into()],
            cacert: Some("/ca.pem".into()),
            insecure: true,
            ..Http::default()
        };
        let version = Probe::Version { asked: Box::new(Probe::Exec("x --version".into())), expected: "1".into() };
        let probes = vec![Probe::Http(http), Probe::Tcp("h:1".into()), Probe::Unix("/x".into()), version];
        let proof = Proof {
            unit: "a.service".into(),
            timeout: Duration::from_secs(1),
            stable: Duration::ZERO,
            probes,
            exe: Exe::Path("/x".into()),
            advisory: vec!["h:1".into()],
            via_proxy: true,
            measure: false,
        };
        let text = serde_json::to_string(&proof).unwrap();
        assert_eq!(serde_json::from_str::<Proof>(&text).unwrap(), proof);
        assert!(proof.is_advisory(&proof.probes[1]) && !proof.is_advisory(&proof.probes[0]));
    }

    #[test]
    fn the_way_back_expects_its_own_version_or_none() {
        let proof = |expected: &str| Proof {
            probes: vec![Probe::Version { asked: Box::new(Probe::Exec("x".into())), expected: expected.into() }],
            ..serde_json::from_str(OLD).unwrap()
        };
        let back = |expected: &str, new, old| proof(expected).for_the_way_back(new, old).probes;
        assert_eq!(back("2.0.0", Some("v2.0.0"), Some("v1.0.0")), proof("v1.0.0").probes);
        assert_eq!(back("build 7", Some("v2.0.0"), Some("v1.0.0")), []);
        assert_eq!(back("2.0.0", Some("v2.0.0"), None), []);
    }

    #[test]
    fn names_hold_no_secrets() {
        let http = |url: &str| Probe::Http(Http { url: url.into(), ..Http::default() }).to_string();
        assert_eq!(http("https://me:secret@h:1/x?token=secret"), "http https://h:1/x?…");
        assert_eq!(http("http://unix:/run/x.sock:/y"), "http http://unix:/run/x.sock:/y");
        assert_eq!(http("http://h"), "http http://h");
    }

    #[test]
    fn a_unix_socket_in_a_url_is_found_as_nginx_writes_it() {
        let unix =
            |url: &str| Http { url: url.into(), ..Http::default() }.unix().map(|(s, p)| (s.to_owned(), p.to_owned()));
        assert_eq!(unix("http://unix:/run/x.sock:/a:/b"), Some(("/run/x.sock".into(), "/a:/b".into())));
        assert_eq!(unix("http://unix:/run/x.sock"), Some(("/run/x.sock".into(), "/".into())));
        assert_eq!(unix("http://unix/x"), None);
    }
}
