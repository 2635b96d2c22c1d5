//! The trust policy: who must have signed, what must be proven, how old and how new a release may be. Pure: what is judged,
//! and the time, are told.
//!
//! A line is `KEY=value`, as in a profile; blank lines and those that begin with `#` say nothing. What can't be read is
//! refused as a whole, because a demand that is passed over protects nobody.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::duration::Span;
use super::minisign::Key;
use super::release::{Tag, Version};
use super::statement::{By, NotASigner, Signer, Statement, Who};

/// What a release must be before any of it is stored. At least one demand.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// `SIGNER`: who may sign; one of them must have. Empty: nobody has to.
    pub signers: Vec<Who>,
    /// `REQUIRE`: what must be proven besides.
    pub require: BTreeSet<Demand>,
    /// `FLOOR`: the lowest version that is taken.
    pub floor: Option<Tag>,
    /// `MIN_AGE`: the least age of a release, in which others find out what is wrong with it.
    pub min_age: Option<Span>,
    /// `MAX_AGE`: the most age of its signature; an older one was held back or replayed.
    pub max_age: Option<Span>,
    /// `HOSTS`: the hosts that bytes may come from, redirects included; empty: any.
    pub hosts: Vec<String>,
}

/// Something that must be proven of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Demand {
    /// Evidence of this kind.
    Kind(By),
    /// A signature of any kind.
    Signature,
    /// The version: a signature names it, or the program itself says it.
    Version,
}

impl Demand {
    const ALL: [Self; 8] = [
        Self::Kind(By::Sums),
        Self::Kind(By::Sha256),
        Self::Kind(By::Minisign),
        Self::Kind(By::Ssh),
        Self::Kind(By::OpenPgp),
        Self::Kind(By::Sigstore),
        Self::Signature,
        Self::Version,
    ];

    /// The word for it in a policy.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Kind(by) => by.word(),
            Self::Signature => "signature",
            Self::Version => "version",
        }
    }

    /// What proves it, for people.
    fn remedy(self) -> &'static str {
        match self {
            Self::Kind(By::OpenPgp) => "give the evidence for it: --gpg",
            Self::Signature => "say whose signature counts: --minisign, --ssh, --gpg or --sigstore",
            Self::Version => "have the program say it: --run --version, RUN in a profile",
            Self::Kind(_) => "give the evidence for it",
        }
    }
}

impl FromStr for Demand {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|demand| demand.word() == word).ok_or(())
    }
}

/// What is known of a file whose evidence holds.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// What was proven.
    pub statements: Vec<Statement>,
    /// The version it is said to be.
    pub version: Option<Tag>,
    /// Whether a signature names that version, or the program says it of itself.
    pub version_proven: bool,
    /// When it was published, by the word of its source. Seconds since 1970-01-01 UTC, as is [`Facts::now`].
    pub published: Option<u64>,
    /// The present time.
    pub now: u64,
}

impl Facts {
    fn signers(&self) -> impl Iterator<Item = &Signer> {
        self.statements.iter().filter_map(|statement| statement.signer.as_ref())
    }

    /// When it was signed by one of whom `may_sign` is true, where a signature covers that; the latest.
    fn signed_at(&self, may_sign: impl Fn(&Signer) -> bool) -> Option<u64> {
        let counts = |statement: &&Statement| statement.signer.as_ref().is_some_and(&may_sign);
        self.statements.iter().filter(counts).filter_map(|statement| statement.signed_at).max()
    }

    fn prove(&self, demand: Demand) -> bool {
        match demand {
            Demand::Kind(by) => self.statements.iter().any(|statement| statement.by == by),
            Demand::Signature => self.signers().next().is_some(),
            Demand::Version => self.version_proven,
        }
    }
}

/// A policy that can't be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadPolicy {
    /// It demands nothing: empty, or cut short.
    #[error("it demands nothing; write what must hold (SIGNER, REQUIRE, FLOOR, MIN_AGE, MAX_AGE, HOSTS)")]
    Empty,
    /// It is no text.
    #[error("it is not a text in UTF-8")]
    NotText,
    /// A line of it.
    #[error("line {number}: {why}")]
    Line {
        /// Its number, from 1.
        number: usize,
        /// What is wrong with it, and what would be right.
        why: String,
    },
}

/// A demand that does not hold.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Unmet {
    /// Nobody signed, or somebody else did.
    #[error("{} (SIGNER)", unsigned(.0))]
    Signer(Vec<String>),
    /// Evidence that was not given.
    #[error("{} is not proven (REQUIRE); {}", .0.word(), .0.remedy())]
    Unproven(Demand),
    /// Nothing says which version it is, so nothing can prove that.
    #[error("version is not proven (REQUIRE): which it is, is not known; name it with --expect-version")]
    Unversioned,
    /// Below the floor, or nobody knows.
    #[error("{}, and nothing below {floor} is taken (FLOOR){}", is(found.as_deref()), name_it(found.as_deref()))]
    Floor {
        /// The version it is said to be, if any.
        found: Option<String>,
        /// The lowest that is taken.
        floor: String,
    },
    /// Nobody can tell how old it is.
    #[error("{0}, so its age is not known ({1})")]
    Undated(&'static str, &'static str),
    /// Too young.
    #[error("it is {} old, and must be {least} (MIN_AGE); try again later", days(*.age))]
    TooYoung {
        /// Its age in seconds.
        age: u64,
        /// How old it must be.
        least: Span,
    },
    /// Too old.
    #[error("its signature is {} old, and may be {most} (MAX_AGE); was a newer release held back?", days(*.age))]
    TooOld {
        /// Its age in seconds.
        age: u64,
        /// How old it may be.
        most: Span,
    },
}

fn unsigned(signers: &[String]) -> String {
    match signers {
        [] => "nobody signed it".to_owned(),
        signers => format!("signed by {}, who may not sign", signers.join(" and ")),
    }
}

/// What is known of a version, for people.
#[must_use]
pub fn is(found: Option<&str>) -> String {
    found.map_or_else(|| "its version is not known".to_owned(), |found| format!("it is {found}"))
}

fn name_it(found: Option<&str>) -> &'static str {
    if found.is_none() { "; name it with --expect-version" } else { "" }
}

/// An age for people: in days once it has some.
fn days(seconds: u64) -> impl fmt::Display {
    let day = 24 * 3600;
    let shown = if seconds >= day { seconds / day * day } else { seconds / 60 * 60 };
    humantime::format_duration(Duration::from_secs(shown))
}

impl Policy {
    /// Reads a policy.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadPolicy> {
        let text = std::str::from_utf8(bytes).map_err(|_| BadPolicy::NotText)?;
        let mut policy = Self::default();
        let mut seen = BTreeSet::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |why| BadPolicy::Line { number: at + 1, why };
            let (key, value) = line.split_once('=').ok_or_else(|| wrong("not a KEY=value of a policy".to_owned()))?;
            let value = unquoted(value.trim()).map_err(&wrong)?;
            if key != "SIGNER" && !seen.insert(key) {
                return Err(wrong(format!("{key} is there twice")));
            }
            policy.take(key, value).map_err(wrong)?;
        }
        if seen.is_empty() && policy.signers.is_empty() {
            return Err(BadPolicy::Empty);
        }
        Ok(policy)
    }

    fn take(&mut self, key: &str, value: &str) -> Result<(), String> {
        if value.trim().is_empty() {
            return Err(format!("{key} is empty; leave the line out if nothing is demanded"));
        }
        match key {
            "SIGNER" => {
                self.signers.push(signer(value)?);
            }
            "REQUIRE" => {
                for word in value.split_whitespace() {
                    let demand = word.parse().map_err(|()| {
                        let words = Demand::ALL.map(Demand::word).join(", ");
                        format!("'{word}' is nothing that can be required; {words} are")
                    })?;
                    self.require.insert(demand);
                }
            }
            "FLOOR" => self.floor = Some(floor(value)?),
            "MIN_AGE" => self.min_age = Some(value.parse().map_err(|e| format!("MIN_AGE: {e}"))?),
            "MAX_AGE" => self.max_age = Some(value.parse().map_err(|e| format!("MAX_AGE: {e}"))?),
            "HOSTS" => {
                if let Some(odd) = value.split_whitespace().find(|host| !is_host(host)) {
                    return Err(format!(
                        "'{odd}' is no host: a name, an address, or with a dot in front a domain is, without a port"
                    ));
                }
                self.hosts = value.split_whitespace().map(str::to_ascii_lowercase).collect();
            }
            _ => return Err(format!("'{key}' is no key of a policy; is its name right?")),
        }
        Ok(())
    }

    /// Holds a file against all demands but [`Policy::hosts`], which bind whoever fetches.
    pub fn judge(&self, facts: &Facts) -> Result<(), Unmet> {
        let may_sign = |signer: &Signer| self.signers.is_empty() || self.signers.iter().any(|who| who.is(signer));
        if !self.signers.is_empty() && !facts.signers().any(may_sign) {
            return Err(Unmet::Signer(facts.signers().map(Signer::to_string).collect()));
        }
        if let Some(demand) = self.require.iter().find(|demand| !facts.prove(**demand)) {
            return Err(match demand {
                Demand::Version if facts.version.is_none() => Unmet::Unversioned,
                demand => Unmet::Unproven(*demand),
            });
        }
        if let Some(floor) = &self.floor {
            above(floor, facts.version.as_ref())?;
        }
        if let Some(least) = self.min_age {
            // The later of the two: a stolen key can sign any date, and a mirror can name any.
            let Some(time) = facts.published.max(facts.signed_at(|_| true)) else {
                return Err(Unmet::Undated("neither its source nor a signature says when it was made", "MIN_AGE"));
            };
            let age = facts.now.saturating_sub(time);
            if age < least.duration().as_secs() {
                return Err(Unmet::TooYoung { age, least });
            }
        }
        if let Some(most) = self.max_age {
            // Another signer's date would make what is held back look new.
            let Some(time) = facts.signed_at(may_sign) else {
                return Err(Unmet::Undated("no signature says when it was made", "MAX_AGE"));
            };
            let age = facts.now.saturating_sub(time);
            if age > most.duration().as_secs() {
                return Err(Unmet::TooOld { age, most });
            }
        }
        Ok(())
    }
}

/// Whether `found` is `floor` or above. What names no version is not, nor is a version where the floor is a time, or the
/// other way round. A floor that names no build takes every build of its version.
pub fn above(floor: &Tag, found: Option<&Tag>) -> Result<(), Unmet> {
    if let (Some(floor), Some(found)) = (floor.version(), found.and_then(Tag::version))
        && (found.is_same_as(floor) || found.is_newer_than(floor) == Some(true))
    {
        return Ok(());
    }
    Err(Unmet::Floor { found: found.map(ToString::to_string), floor: floor.to_string() })
}

/// A floor: one version.
pub fn floor(text: &str) -> Result<Tag, String> {
    let one_word = !text.is_empty() && !text.chars().any(|c| c.is_whitespace() || c.is_control());
    match text.parse::<Version>() {
        Ok(_) if one_word => Ok(Tag::new(text)),
        _ => Err(format!("'{}' is no version to be a floor", text.escape_debug())),
    }
}

/// Whether `text` can be compared with the host of an address: no scheme, port or path, which would never be the same.
fn is_host(text: &str) -> bool {
    // An IPv6 address has more colons than one.
    text.matches(':').count() != 1 && !text.contains(['/', '*', '@', ',', ';'])
}

/// A signer with its kind, by what nobody else can have: a policy leaves nothing to guess, and trusts no other file.
fn signer(text: &str) -> Result<Who, String> {
    let wrong = |why: &str| Err(format!("'{text}' names no signer: {why}"));
    match text.split_once(':') {
        Some(("minisign", key)) if Key::from_base64(key).is_none() => {
            wrong("minisign: wants the whole public key in base64, the second line of its .pub file")
        }
        Some(("ssh", key)) if !key.starts_with("SHA256:") => {
            wrong("ssh: wants the fingerprint, SHA256:…, as ssh-keygen -l shows it")
        }
        Some(("minisign" | "ssh" | "openpgp" | "sigstore", _)) => text.parse().map_err(|e: NotASigner| e.to_string()),
        _ => wrong("minisign:KEY, ssh:SHA256:FINGERPRINT, openpgp:FINGERPRINT or sigstore:IDENTITY does"),
    }
}

/// A value as a shell would read it, with the quotes that a profile may have too.
fn unquoted(value: &str) -> Result<&str, String> {
    let inner = ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
    let value = inner.unwrap_or(value);
    if value.contains(['"', '\'', '$', '`', '\\']) {
        return Err("a value can't hold quotes, $, ` or \\".to_owned());
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::statement::Covers;

    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    const OTHER: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO4";
    const DAY: u64 = 24 * 3600;
    const NOW: u64 = 1_800_000_000;

    fn policy(text: &str) -> Policy {
        Policy::parse(text.as_bytes()).unwrap()
    }

    fn facts() -> Facts {
        let covers = || Covers::List("SUMS".into());
        let text = String::new;
        let signer = Some(Signer::Minisign { number: "A1".into(), key: KEY.into() });
        Facts {
            statements: vec![
                Statement {
                    by: By::Sums,
                    signer: None,
                    signed_at: None,
                    version: None,
                    covers: covers(),
                    text: text(),
                },
                Statement {
                    by: By::Minisign,
                    signer,
                    signed_at: Some(NOW - 10 * DAY),
                    version: None,
                    covers: covers(),
                    text: text(),
                },
            ],
            version: Some(Tag::new("v2.0.0")),
            version_proven: false,
            published: Some(NOW - 9 * DAY),
            now: NOW,
        }
    }

    #[test]
    fn each_demand_is_met_or_names_itself() {
        let pinned = [
            format!("SIGNER=minisign:{KEY}"),
            format!("SIGNER=ssh:SHA256:abc\nSIGNER='minisign:{KEY}'"),
            format!("SIGNER=minisign:{OTHER}"),
        ];
        for (text, answer) in [
            (pinned[0].as_str(), "ok"),
            (&pinned[1], "ok"),
            (&pinned[2], "signed by minisign:A1, who may not sign (SIGNER)"),
            ("REQUIRE=sums signature minisign", "ok"),
            (
                "REQUIRE=version",
                "version is not proven (REQUIRE); have the program say it: --run --version, RUN in a profile",
            ),
            ("REQUIRE=ssh", "ssh is not proven (REQUIRE); give the evidence for it"),
            ("FLOOR=2.0.0", "ok"),
            ("FLOOR=v2.0.1-rc.1", "it is v2.0.0, and nothing below v2.0.1-rc.1 is taken (FLOOR)"),
            ("MIN_AGE=9days", "ok"),
            ("MIN_AGE=10d", "it is 9days old, and must be 10days (MIN_AGE); try again later"),
            ("MAX_AGE=10days", "ok"),
            ("MAX_AGE=9d", "its signature is 10days old, and may be 9days (MAX_AGE); was a newer release held back?"),
        ] {
            let got = policy(text).judge(&facts()).map_or_else(|e| e.to_string(), |()| "ok".to_owned());
            assert_eq!(got, answer, "{text}");
        }
    }

    #[test]
    fn builds_and_times_have_their_floors_too() {
        let build = |time: u32| format!("v1.2.3-20241213-{time}-a1b2c3d4");
        let (old, new) = (build(152_430), build(152_431));
        for (floor, found, is_above) in [
            ("1.2.3", old.as_str(), true),
            ("1.2.4", &new, false),
            (&old, &new, true),
            (&new, &old, false),
            (&new, &new, true),
            ("20241213-152430", "20241213-152431", true),
            ("20241213-152431", "20241213-152430", false),
            ("20241213-152430", "v1.0.0", false),
            ("v1.0.0", "20241213-152430", false),
            ("v1.0.0", "nightly", false),
        ] {
            assert_eq!(above(&Tag::new(floor), Some(&Tag::new(found))).is_ok(), is_above, "{floor} {found}");
        }
    }

    #[test]
    fn only_the_date_of_who_may_sign_makes_anything_new() {
        let mut facts = facts();
        let signer = Some(Signer::OpenPgp { primary: "0".repeat(40), key: "0".repeat(40) });
        facts.statements.push(Statement { signer, signed_at: Some(NOW), ..facts.statements[1].clone() });
        let old = policy(&format!("SIGNER=minisign:{KEY}\nMAX_AGE=9d")).judge(&facts);
        assert!(matches!(old, Err(Unmet::TooOld { .. })), "{old:?}");
        policy(&format!("SIGNER=minisign:{KEY}\nSIGNER=openpgp:{}\nMAX_AGE=9d", "0".repeat(40))).judge(&facts).unwrap();
        policy("MAX_AGE=9d").judge(&facts).unwrap();
    }

    #[test]
    fn what_is_not_known_never_meets_a_demand() {
        let nothing = Facts { now: NOW, ..Facts::default() };
        for text in ["SIGNER=ssh:SHA256:x", "REQUIRE=signature", "FLOOR=0.0.1", "MIN_AGE=1s", "MAX_AGE=52w"] {
            assert!(policy(text).judge(&nothing).is_err(), "{text}");
        }
        let why = |text| policy(text).judge(&nothing).unwrap_err().to_string();
        assert_eq!(
            (why("REQUIRE=version"), why("FLOOR=1.0")),
            (
                "version is not proven (REQUIRE): which it is, is not known; name it with --expect-version".to_owned(),
                "its version is not known, and nothing below 1.0 is taken (FLOOR); name it with --expect-version"
                    .to_owned()
            )
        );
        let unsigned = Facts { statements: facts().statements.drain(..1).collect(), ..facts() };
        assert!(policy("REQUIRE=signature").judge(&unsigned).is_err());
        assert!(policy("MAX_AGE=52w").judge(&unsigned).is_err(), "a mirror's word is no date against a mirror");
        let nightly = Facts { version: Some(Tag::new("nightly")), ..facts() };
        assert!(policy("FLOOR=0.0.1").judge(&nightly).is_err());
        for (published, signed) in [(NOW - 9 * DAY, NOW - 60), (NOW - 60, NOW - 9 * DAY)] {
            let mut facts = Facts { published: Some(published), ..facts() };
            facts.statements.iter_mut().for_each(|statement| statement.signed_at = Some(signed));
            assert!(policy("MIN_AGE=1d").judge(&facts).is_err(), "the later of two dates counts");
        }
        let ahead = Facts { published: Some(NOW + DAY), ..facts() };
        assert!(policy("MIN_AGE=1s").judge(&ahead).is_err(), "a date in the future makes nothing old");
    }

    #[test]
    fn what_can_t_be_read_is_refused_as_a_whole() {
        assert_eq!(Policy::parse(b"").unwrap_err(), BadPolicy::Empty);
        assert_eq!(Policy::parse(b"# SIGNER=minisign:x\n\n").unwrap_err(), BadPolicy::Empty);
        assert_eq!(Policy::parse(b"\xff").unwrap_err(), BadPolicy::NotText);
        for bad in [
            "SIGNER",
            "SIGNER=",
            "HOSTS=\" \"",
            "signer=minisign:x",
            "SIGNERS=minisign:x",
            "SIGNER=minisign:",
            "SIGNER=minisign:A1",
            "SIGNER=ssh:release@example.com",
            "SIGNER=RWQx",
            "SIGNER=openpgp:DEADBEEF",
            "REQUIRE=everything",
            "REQUIRE=' '",
            "HOSTS=\"\t\"",
            "FLOOR=nightly",
            "FLOOR=1.0 2.0",
            "MIN_AGE=soon",
            "MAX_AGE=infinity",
            "FLOOR=1.0\nFLOOR=0.1",
            "HOSTS=\"a b",
            "HOSTS=$(id)",
            "export FLOOR=1.0",
        ] {
            let text = format!("REQUIRE=sums\n{bad}\n");
            assert!(matches!(Policy::parse(text.as_bytes()), Err(BadPolicy::Line { number: 2 | 3, .. })), "{bad}");
        }
    }

    #[test]
    fn a_host_with_more_than_its_name_would_never_be_met() {
        for good in ["github.com .githubusercontent.com", "127.0.0.1", "::1", "[fe80::1]"] {
            assert!(Policy::parse(format!("HOSTS=\"{good}\"").as_bytes()).is_ok(), "{good}");
        }
        for bad in ["https://h.test", "h.test:443", "h.test/x", "*.h.test", "a.test,b.test"] {
            assert!(Policy::parse(format!("HOSTS={bad}").as_bytes()).is_err(), "{bad}");
        }
    }
}
