//! Tags, the versions and times they name, and their order.
//!
//! Order is that of semver.org 2.0.0, section 11, read leniently: a leading `v` or name (`jq-1.7`) is not part of the
//! version, missing numbers are zero, more than three are allowed, and `rc10` comes after `rc9`. What semver does not know:
//!
//! - A build of a version, `1.2.3-20241213-152430-a1b2c3d4` (day, time, commit), is that version and no pre-release of it. Builds
//!   of one version are ordered by their time, and the version's own tag stands above them all.
//! - A time, `20241213-152430`, is ordered by time among its like, and stands below every version.

use std::fmt;
use std::str::FromStr;

use semver::Prerelease;

/// What a tag says of its place among others. The greater, the newer; equal where nobody can tell which is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(Form);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    /// A time as one number of 14 digits.
    Time(u64),
    Numbered {
        /// Without zeros at the end, so that 1.2 is 1.2.0.
        numbers: Vec<u64>,
        pre: Prerelease,
        build: Build,
    },
}

/// Which build of a version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Build {
    /// That of this time and commit.
    Of { time: u64, commit: String },
    /// That which bears the version's own name.
    Own,
}

/// A text that names no version.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not a version such as v1.2.3 or 1.2.3-rc.1")]
pub struct NotAVersion(String);

impl Version {
    /// True for a version that comes before its final one: `1.2.3-rc.1`.
    #[must_use]
    pub fn is_prerelease(&self) -> bool {
        matches!(&self.0, Form::Numbered { pre, .. } if !pre.is_empty())
    }

    /// Whether this is newer than `floor`; `None` when one is a version and the other a time.
    ///
    /// Another build of the same version is newer only where `floor` names a build too: who asks for more than 1.2.3 wants 1.2.4.
    #[must_use]
    pub fn is_newer_than(&self, floor: &Self) -> Option<bool> {
        match (&self.0, &floor.0) {
            (Form::Time(mine), Form::Time(theirs)) => Some(mine > theirs),
            (Form::Numbered { build: mine, .. }, Form::Numbered { build: theirs, .. }) => {
                let told_apart = (mine == &Build::Own) == (theirs == &Build::Own);
                Some(self > floor && (told_apart || !self.is_build_of(floor) && !floor.is_build_of(self)))
            }
            _ => None,
        }
    }

    /// True when this is a build of just the version `version`, which names no build itself.
    #[must_use]
    pub fn is_build_of(&self, version: &Self) -> bool {
        match (&self.0, &version.0) {
            (
                Form::Numbered { numbers, pre, build: Build::Of { .. } },
                Form::Numbered { numbers: n, pre: p, build: Build::Own },
            ) => numbers == n && pre == p,
            _ => false,
        }
    }

    /// True when both name one version: the same numbers and the same pre-release, or the same time.
    ///
    /// `DATE-TIME-COMMIT` behind a version makes no difference to the version itself. Of two builds both are told, so they
    /// must be one; git shortens a commit to any length.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Form::Time(mine), Form::Time(theirs)) => mine == theirs,
            (Form::Numbered { numbers, pre, build: mine }, Form::Numbered { numbers: n, pre: p, build: theirs }) => {
                numbers == n && pre == p && mine.may_be(theirs)
            }
            _ => false,
        }
    }

    /// True when the version's numbers begin with `numbers`, and never for a time.
    #[must_use]
    pub fn starts_with(&self, numbers: &[u64]) -> bool {
        let Form::Numbered { numbers: mine, .. } = &self.0 else { return false };
        let padded = mine.iter().copied().chain(std::iter::repeat(0));
        numbers.iter().copied().eq(padded.take(numbers.len()))
    }

    /// Reads a version that starts at the first byte of `text`.
    fn read(text: &str) -> Option<Self> {
        let text = text.split('+').next()?;
        if let Some(time) = time(text) {
            return Some(Self(Form::Time(time)));
        }
        let (text, build) = split_build(text).unwrap_or((text, Build::Own));
        let digits = |c: char| c.is_ascii_digit();
        let mut rest = text;
        let mut numbers: Vec<u64> = Vec::new();
        loop {
            let end = rest.find(|c| !digits(c)).unwrap_or(rest.len());
            numbers.push(rest.get(..end)?.parse().ok()?);
            rest = rest.get(end..)?;
            match rest.strip_prefix('.') {
                Some(more) if more.starts_with(digits) => rest = more,
                _ => break,
            }
        }
        while numbers.last() == Some(&0) {
            numbers.pop();
        }
        let pre = match rest.chars().next() {
            None => "",
            Some('-' | '~' | '_') => rest.get(1..)?,
            Some(_) if is_glued_pre(rest) => rest,
            Some(_) => return None,
        };
        let pre = pre.split('.').map(identifier).collect::<Vec<_>>().join(".");
        Some(Self(Form::Numbered { numbers, pre: Prerelease::new(&pre).ok()?, build }))
    }
}

impl Build {
    /// Whether both can be the same build, where one of them may not be told.
    fn may_be(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Own, Self::Own) => true,
            // A time alone behind a version is not the trace that programs leave out of what they print.
            (Self::Own, Self::Of { commit, .. }) | (Self::Of { commit, .. }, Self::Own) => !commit.is_empty(),
            (Self::Of { time, commit }, Self::Of { time: t, commit: c }) => {
                time == t && (commit.starts_with(c.as_str()) || c.starts_with(commit.as_str()))
            }
        }
    }
}

/// The forms in which tags write a day, or a day and a time; each 0 is a digit.
const TIMES: [&str; 7] = [
    "00000000",
    "00000000-0000",
    "00000000-000000",
    "00000000000000",
    "00000000T000000Z",
    "0000-00-00",
    "0000-00-00T00-00-00Z",
];

/// A day, or a day and a time, as one number of 14 digits; what is later is greater. `None` for what no calendar has.
fn time(text: &str) -> Option<u64> {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    if !TIMES.contains(&shape.as_str()) {
        return None;
    }
    let digits: String = text.chars().filter(char::is_ascii_digit).chain("000000".chars()).take(14).collect();
    let time: u64 = digits.parse().ok()?;
    let (day, clock) = (time / 1_000_000, time % 1_000_000);
    let of_calendar = (1970..=2999).contains(&(day / 10_000))
        && (1..=12).contains(&(day / 100 % 100))
        && (1..=31).contains(&(day % 100))
        && clock / 10_000 < 24
        && clock / 100 % 100 < 60
        && clock % 100 <= 60;
    of_calendar.then_some(time)
}

/// Splits `VERSION-YYYYMMDD-HHMMSS[-COMMIT]`; `None` when `text` names no build.
fn split_build(text: &str) -> Option<(&str, Build)> {
    let is_commit = |text: &str| (7..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    let read = |version_and_time: &str| {
        let at = version_and_time.len().checked_sub("YYYYMMDD-HHMMSS".len())?;
        let (version, time_text) = version_and_time.split_at_checked(at)?;
        let version = version.strip_suffix('-').filter(|version| !version.is_empty())?;
        // The form with the clock alone: 1.2.3-20241213 is a pre-release to whoever wrote it.
        let time = time(time_text).filter(|_| time_text.contains('-'))?;
        Some((version.len(), time))
    };
    let with_commit = text.rsplit_once('-').filter(|(_, commit)| is_commit(commit));
    let (end, time, commit) = match with_commit.and_then(|(rest, commit)| Some((read(rest)?, commit))) {
        Some(((end, time), commit)) => (end, time, commit.to_ascii_lowercase()),
        None => read(text).map(|(end, time)| (end, time, String::new()))?,
    };
    Some((text.get(..end)?, Build::Of { time, commit }))
}

/// `rc1`, `b2`, `alpha`: what Python's and others' versions put straight behind the numbers.
fn is_glued_pre(text: &str) -> bool {
    let word = text.trim_end_matches(|c: char| c.is_ascii_digit());
    matches!(word, "a" | "b" | "rc" | "alpha" | "beta" | "pre" | "dev")
}

/// One identifier of a pre-release as semver wants it: `rc10` is two, `rc.10`; leading zeros go.
fn identifier(text: &str) -> String {
    let text = text.replace(['_', '~'], "-");
    let word = text.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = text.strip_prefix(word).unwrap_or_default();
    let trimmed = match number.trim_start_matches('0') {
        "" if !number.is_empty() => "0",
        trimmed => trimmed,
    };
    if number.is_empty() || !word.chars().all(|c| c.is_ascii_alphabetic()) {
        text
    } else if word.is_empty() {
        trimmed.to_owned()
    } else {
        format!("{word}.{trimmed}")
    }
}

impl FromStr for Version {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        Tag::new(text).version().cloned().ok_or_else(|| NotAVersion(text.to_owned()))
    }
}

/// The name upstream gave a release.
#[derive(Clone, Debug)]
pub struct Tag {
    text: String,
    start: usize,
    version: Option<Version>,
}

impl Tag {
    /// The tag `text`; any text is one.
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        let mut starts = text.char_indices().filter(|(at, c)| {
            let before = text.get(..*at).unwrap_or_default();
            let before = before.strip_suffix(['v', 'V']).unwrap_or(before);
            // A dot stands before a time alone (`RELEASE.2024-12-13T22-19-12Z`); else it would part one version's numbers.
            let times = || before.ends_with('.') && text.get(*at..).is_some_and(|rest| time(rest).is_some());
            c.is_ascii_digit() && (before.is_empty() || before.ends_with(['-', '_', '/']) || times())
        });
        let found = starts.next().and_then(|(at, _)| Some((at, Version::read(text.get(at..)?)?)));
        match found {
            Some((start, version)) => Self { text, start, version: Some(version) },
            None => Self { text, start: 0, version: None },
        }
    }

    /// The tag as upstream wrote it: `v1.2.3`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The version in it as upstream wrote it, without the `v`: `1.2.3`. The whole tag when it names no version.
    #[must_use]
    pub fn version_text(&self) -> &str {
        self.text.get(self.start..).unwrap_or(&self.text)
    }

    /// The version in it, if it names one.
    #[must_use]
    pub fn version(&self) -> Option<&Version> {
        self.version.as_ref()
    }
}

/// Whether two texts name one version, see [`Version::is_same_as`]: a leading `v` or name, missing zeros and `+build` make no
/// difference either. Texts that are equal always do; else it is `None` when one of them names no version.
#[must_use]
pub fn same_version(a: &str, b: &str) -> Option<bool> {
    if a == b {
        return Some(true);
    }
    let (a, b) = (Tag::new(a), Tag::new(b));
    Some(a.version()?.is_same_as(b.version()?))
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    /// True when each is below all that follow it.
    fn rises(ordered: &[&str]) -> bool {
        let below = |low: &str, high: &str| version(low) < version(high);
        ordered.iter().enumerate().all(|(at, low)| ordered[at + 1..].iter().all(|high| below(low, high)))
    }

    #[test]
    fn versions_are_ordered_as_people_mean_them() {
        assert!(rises(&[
            "2024-12-09",
            "20241213",
            "RELEASE.2024-12-13T10-00-00Z",
            "20241213-152430",
            "20241213-162430",
            "0.9",
            "v1.0.0-alpha",
            "1.0.0-alpha.1",
            "v1.0.0-dev.9",
            "v1.0.0-dev.45",
            "1.0rc9",
            "1.0.0rc10",
            "1.0.0",
            "v1.0.1",
            "1.0.1.2",
            "1.2",
            "v1.2.3-rc.1-20250101-000000-a1b2c3d4",
            "v1.2.3-rc.1",
            "v1.2.3-20241213-152430-f1b2c3d4",
            "v1.2.3-20241213-152431-a1b2c3d4",
            "v1.2.3-20250101-000000",
            "v1.2.3",
            "v1.2.4-20200101-000000-a1b2c3d4",
            "1.10",
            "2024.01.05",
        ]));
        assert_eq!(version("v1.2"), version("1.2.0"));
        assert_eq!(version("2024-12-13"), version("20241213"));
        // Canary: the same check sees when two stand the wrong way round.
        assert!(!rises(&["1.2.3", "v1.2.3-20241213-152430-a1b2c3d4"]));
    }

    #[test]
    fn a_build_of_a_version_is_no_prerelease_and_what_only_looks_like_one_is() {
        let final_one = version("v1.2.3");
        for build in ["v1.2.3-20241213-152430-a1b2c3d4", "1.2.3-20241213-152430", "rune-v1.2.3-20241213-152430-a1b2c3d"]
        {
            assert!(!version(build).is_prerelease() && version(build).is_build_of(&final_one), "{build}");
        }
        for pre in [
            "v1.2.3-20241213",
            "v1.2.3-20241313-152430-a1b2c3d4",
            "v1.2.3-20241213-252430-a1b2c3d4",
            "v1.2.3-20241213-152430-xyz",
            "v0.0.0-20241213152430-a1b2c3d4e5f6",
        ] {
            assert!(version(pre).is_prerelease() && !version(pre).is_build_of(&final_one), "{pre}");
        }
        assert!(version("v1.2.3-rc.1-20241213-152430-a1b2c3d4").is_build_of(&version("1.2.3-rc.1")));
        assert!(!version("20241213-152430").is_prerelease());
        assert!(!version("2024-12-13").is_prerelease());
    }

    #[test]
    fn newer_is_told_only_of_what_can_be_compared() {
        for (this, floor, newer) in [
            ("v1.2.4", "v1.2.3", Some(true)),
            ("v1.2.3", "v1.2.3", Some(false)),
            ("v1.2.3", "v1.2.3-rc.1", Some(true)),
            ("v1.2.3-20250101-000000-a1b2c3d4", "v1.2.3-20241213-152430-f1b2c3d4", Some(true)),
            ("v1.2.3-20241213-152430-f1b2c3d4", "v1.2.3-20250101-000000-a1b2c3d4", Some(false)),
            ("v1.2.3-20241213-152430-a1b2c3d4", "v1.2.3", Some(false)),
            ("v1.2.3", "v1.2.3-20241213-152430-a1b2c3d4", Some(false)),
            ("v1.2.4-20200101-000000-a1b2c3d4", "v1.2.3", Some(true)),
            ("v1.2.4", "v1.2.3-20241213-152430-a1b2c3d4", Some(true)),
            ("20241213-152430", "20241213-152429", Some(true)),
            ("20241213-152430", "v1.2.3", None),
            ("v1.2.3", "20241213", None),
        ] {
            assert_eq!(version(this).is_newer_than(&version(floor)), newer, "{this} > {floor}");
        }
    }

    #[test]
    fn a_version_is_found_behind_a_name_and_nothing_else_is_one() {
        let text = |tag| Tag::new(tag).version_text().to_owned();
        assert_eq!(text("v1.2.3-rc.1+b5"), "1.2.3-rc.1+b5");
        assert_eq!(text("jq-1.7.1"), "1.7.1");
        assert_eq!(text("cli/v2.0.0"), "2.0.0");
        assert_eq!(text("nightly"), "nightly");
        assert_eq!(text("RELEASE.2024-12-13T22-19-12Z"), "2024-12-13T22-19-12Z");
        for no in ["", "nightly", "sha-1a2b3c4", "v", "1.2.3?", "vv1", "x1", "x.1.2.3"] {
            assert!(no.parse::<Version>().is_err(), "{no}");
        }
    }

    #[test]
    fn v_and_name_and_zeros_and_build_and_trace_make_no_difference_and_everything_else_does() {
        let traced = "v1.2.3-20241213-152430-a1b2c3d4";
        for (a, b, same) in [
            ("v1.2.3", "1.2.3", Some(true)),
            ("v1.2.3", "V1.2.3", Some(true)),
            ("v1.2.3", "rune-1.2.3", Some(true)),
            ("v1.2.3", "1.2.3+b7", Some(true)),
            ("v1.2.3", traced, Some(true)),
            ("v1.2", "1.2.0", Some(true)),
            ("v1.2.3-rc.1", "1.2.3-rc.1+x", Some(true)),
            ("20241213-152430", "v20241213-152430", Some(true)),
            ("nightly", "nightly", Some(true)),
            ("v1.2.3", "1.2.4", Some(false)),
            ("v1.2.3", "1.2.3-rc.1", Some(false)),
            ("v1.2.3", "1.2.3.1", Some(false)),
            ("v1.2.3", "1.2.30", Some(false)),
            ("v1.2.3", "v1.2.3-20241213-152430", Some(false)),
            ("v1.2.3", "20241213-152430", Some(false)),
            ("nightly", "1.2.3", None),
            ("1.2.3", "", None),
            (traced, "1.2.3-20241213-152430-a1b2c3d4+x", Some(true)),
            (traced, "1.2.3-20241213-152430-A1B2C3D4E5F6", Some(true)),
            (traced, "v1.2.3-20241213-152430", Some(true)),
            (traced, "v1.2.3-20241213-152430-b1b2c3d4", Some(false)),
            (traced, "v1.2.3-20241214-152430-a1b2c3d4", Some(false)),
            (traced, "v1.2.4-20241213-152430-a1b2c3d4", Some(false)),
        ] {
            assert_eq!((same_version(a, b), same_version(b, a)), (same, same), "{a} {b}");
        }
    }

    /// Texts of every form, near enough to one another that some are equal.
    fn any_version() -> impl Strategy<Value = Version> {
        let numbered = "v?[0-2](\\.[0-2]){0,3}(-(a|rc)\\.?[0-2])?(-2024121[1-3]-15243[0-9](-a1b2c3[0-9]{2})?)?";
        let time = "2024-?1[0-2]-?1[0-2]|2024121[1-3]-15243[0-9]|2024121[0-9]";
        prop_oneof![numbered, time, "\\PC{0,12}"].prop_filter_map("no version", |text| text.parse().ok())
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = text.parse::<Version>();
            let _ = split_build(&text);
        }

        #[test]
        fn the_order_is_total(a in any_version(), b in any_version(), c in any_version()) {
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            prop_assert_eq!(a == b, a.cmp(&b).is_eq());
            if a <= b && b <= c {
                prop_assert!(a <= c);
            }
            if a == b {
                prop_assert_eq!(a.cmp(&c), b.cmp(&c));
            }
            prop_assert_eq!(a.is_same_as(&b), b.is_same_as(&a));
            prop_assert!(a != b || a.is_same_as(&b));
            // What is newer is higher, and never both ways.
            if a.is_newer_than(&b) == Some(true) {
                prop_assert!(a > b && b.is_newer_than(&a) == Some(false));
            }
        }
    }
}
