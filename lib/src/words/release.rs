//! Releases: tags, the versions they name, their order, and the selectors that pick one.
//!
//! Order is that of semver.org 2.0.0, section 11, read leniently: a leading `v` or name (`jq-1.7`) is not part of the
//! version, missing numbers are zero, more than three are allowed, and `rc10` comes after `rc9`.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use semver::Prerelease;

/// The longest asset name that leaves room for the suffixes put behind it, in bytes (a file name has at most 255).
const NAME_MAX: usize = 240;

/// A version that can be ordered.
#[derive(Clone, Debug)]
pub struct Version {
    numbers: Vec<u64>,
    pre: Prerelease,
}

/// A text that names no version.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not a version such as v1.2.3 or 1.2.3-rc.1")]
pub struct NotAVersion(String);

impl Version {
    /// True for a version that comes before its final one: `1.2.3-rc.1`.
    #[must_use]
    pub fn is_prerelease(&self) -> bool {
        !self.pre.is_empty()
    }

    fn starts_with(&self, numbers: &[u64]) -> bool {
        let padded = self.numbers.iter().copied().chain(std::iter::repeat(0));
        numbers.iter().copied().eq(padded.take(numbers.len()))
    }

    /// Reads a version that starts at the first byte of `text`.
    fn read(text: &str) -> Option<Self> {
        let text = text.split('+').next()?;
        let digits = |c: char| c.is_ascii_digit();
        let mut rest = text;
        let mut numbers = Vec::new();
        loop {
            let end = rest.find(|c| !digits(c)).unwrap_or(rest.len());
            numbers.push(rest.get(..end)?.parse().ok()?);
            rest = rest.get(end..)?;
            match rest.strip_prefix('.') {
                Some(more) if more.starts_with(digits) => rest = more,
                _ => break,
            }
        }
        let pre = match rest.chars().next() {
            None => "",
            Some('-' | '~' | '_') => rest.get(1..)?,
            Some(_) if is_glued_pre(rest) => rest,
            Some(_) => return None,
        };
        // A day and a time, `20241213-152430`, is a version of its own and no pre-release of the day.
        if let [day] = numbers[..]
            && day >= 10_000_000
            && !pre.is_empty()
            && pre.chars().all(digits)
        {
            return Some(Self { numbers: vec![day, pre.parse().ok()?], pre: Prerelease::EMPTY });
        }
        let pre = pre.split('.').map(identifier).collect::<Vec<_>>().join(".");
        Some(Self { numbers, pre: Prerelease::new(&pre).ok()? })
    }
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

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let len = self.numbers.len().max(other.numbers.len());
        let padded = |v: &Self| v.numbers.iter().copied().chain(std::iter::repeat(0)).take(len).collect::<Vec<_>>();
        padded(self).cmp(&padded(other)).then_with(|| self.pre.cmp(&other.pre))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

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
        let starts = text.char_indices().filter(|(at, c)| {
            let before = text.get(..*at).unwrap_or_default();
            let before = before.strip_suffix(['v', 'V']).unwrap_or(before);
            c.is_ascii_digit() && (before.is_empty() || before.ends_with(['-', '_', '/']))
        });
        let found = starts.map(|(at, _)| at).next();
        let found = found.and_then(|at| Some((at, Version::read(text.get(at..)?)?)));
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

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Which release is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// The highest version.
    Latest,
    /// The highest version that starts with these numbers: `v1`, `v1.2`.
    Prefix(Vec<u64>),
    /// The release of this tag, with or without a leading `v`.
    Exact(String),
}

/// A selector that is empty or holds a space or a control character.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not a selector: latest, v1, v1.2, or a tag is")]
pub struct NotASelector(String);

impl FromStr for Selector {
    type Err = NotASelector;

    /// One or two numbers of up to four digits are a prefix (`v1`, `1.2`, `2025`); three numbers and all else are a tag.
    fn from_str(text: &str) -> Result<Self, NotASelector> {
        if text.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(NotASelector(text.to_owned()));
        }
        if text == "latest" {
            return Ok(Self::Latest);
        }
        let parts: Vec<&str> = text.strip_prefix('v').unwrap_or(text).split('.').collect();
        let numbers = parts.iter().map(|part| part.parse().ok().filter(|_| part.len() <= 4));
        match numbers.collect::<Option<Vec<u64>>>() {
            Some(numbers) if numbers.len() <= 2 => Ok(Self::Prefix(numbers)),
            _ => Ok(Self::Exact(text.to_owned())),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::Prefix(numbers) => {
                write!(f, "v{}", numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join("."))
            }
            Self::Exact(tag) => f.write_str(tag),
        }
    }
}

/// Which releases `latest` and a prefix may pick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Final releases alone.
    Stable,
    /// Pre-releases too (`--pre`).
    WithPre,
}

/// Something that is published under a tag.
pub trait Tagged {
    /// Its tag; `None` for files that nobody gave a version.
    fn tag(&self) -> Option<&Tag>;
    /// True when its publisher marked it as a pre-release.
    fn is_marked_pre(&self) -> bool;
}

/// True when `release` is a pre-release, by its mark or by its version.
pub fn is_prerelease(release: &impl Tagged) -> bool {
    release.is_marked_pre() || release.tag().and_then(Tag::version).is_some_and(Version::is_prerelease)
}

/// Puts the highest version first. What names no version comes last, in the order given.
pub fn newest_first<R: Tagged>(releases: &mut [R]) {
    releases.sort_by(|a, b| {
        let version = |r: &R| r.tag().and_then(Tag::version).cloned();
        version(b).cmp(&version(a))
    });
}

impl Selector {
    /// The tags an exact selector stands for: as given, then with the leading `v` added or taken away.
    #[must_use]
    pub fn exact_tags(tag: &str) -> [String; 2] {
        let other = match tag.strip_prefix('v') {
            Some(bare) if bare.starts_with(|c: char| c.is_ascii_digit()) => bare.to_owned(),
            _ => format!("v{tag}"),
        };
        [tag.to_owned(), other]
    }

    /// True when this selector may pick `release`.
    pub fn admits(&self, release: &impl Tagged, channel: Channel) -> bool {
        let of_channel = channel == Channel::WithPre || !is_prerelease(release);
        match (self, release.tag()) {
            (Self::Latest, _) => of_channel,
            (Self::Prefix(numbers), Some(tag)) => {
                of_channel && tag.version().is_some_and(|version| version.starts_with(numbers))
            }
            (Self::Exact(wanted), Some(tag)) => Self::exact_tags(wanted).iter().any(|w| w == tag.as_str()),
            (_, None) => false,
        }
    }

    /// The release it picks: the highest version it admits; among tags that name no version, the first.
    pub fn pick<'r, R: Tagged>(&self, releases: &'r [R], channel: Channel) -> Option<&'r R> {
        let version = |r: &R| r.tag().and_then(Tag::version).cloned();
        let mut best: Option<&R> = None;
        for release in releases.iter().filter(|r| self.admits(*r, channel)) {
            if best.is_none_or(|best| version(release) > version(best)) {
                best = Some(release);
            }
        }
        best
    }
}

/// A name that a server sent and that is safe to make a file of: no folder, not hidden, no option, nothing unprintable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AssetName(String);

/// A name that is refused.
#[derive(Debug, thiserror::Error)]
#[error("'{name}' is refused as a file name: {why}")]
pub struct BadName {
    name: String,
    why: &'static str,
}

impl AssetName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AssetName {
    type Err = BadName;

    fn from_str(name: &str) -> Result<Self, BadName> {
        let why = if name.is_empty() {
            "it is empty"
        } else if name.len() > NAME_MAX {
            "it is longer than 240 bytes"
        } else if name.contains(['/', '\\']) {
            "it names a folder"
        } else if name.starts_with(['.', '-']) {
            "it starts with '.' or '-'"
        } else if name.chars().any(char::is_control) {
            "it holds a control character"
        } else if name.ends_with(".origin.json") {
            "names that end in .origin.json are the records'"
        } else {
            return Ok(Self(name.to_owned()));
        };
        Err(BadName { name: name.to_owned(), why })
    }
}

impl fmt::Display for AssetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Published(Tag, bool);

    impl Tagged for Published {
        fn tag(&self) -> Option<&Tag> {
            Some(&self.0)
        }
        fn is_marked_pre(&self) -> bool {
            self.1
        }
    }

    fn published(tags: &[&str]) -> Vec<Published> {
        tags.iter().map(|t| Published(Tag::new(*t), false)).collect()
    }

    fn pick(selector: &str, channel: Channel, tags: &[&str]) -> Option<String> {
        let releases = published(tags);
        selector.parse::<Selector>().unwrap().pick(&releases, channel).map(|r| r.0.to_string())
    }

    #[test]
    fn versions_are_ordered_as_people_mean_them() {
        let ordered = [
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
            "1.10",
            "2024.01.05",
            "20241213-152430",
            "20241213-162430",
        ];
        for (at, low) in ordered.iter().enumerate() {
            for high in &ordered[at + 1..] {
                assert!(low.parse::<Version>().unwrap() < high.parse().unwrap(), "{low} < {high}");
            }
        }
        assert_eq!("v1.2".parse::<Version>().unwrap(), "1.2.0".parse().unwrap());
    }

    #[test]
    fn a_version_is_found_behind_a_name_and_nothing_else_is_one() {
        let text = |tag| Tag::new(tag).version_text().to_owned();
        assert_eq!(text("v1.2.3-rc.1+b5"), "1.2.3-rc.1+b5");
        assert_eq!(text("jq-1.7.1"), "1.7.1");
        assert_eq!(text("cli/v2.0.0"), "2.0.0");
        assert_eq!(text("nightly"), "nightly");
        for no in ["", "nightly", "sha-1a2b3c4", "v", "1.2.3?", "vv1", "x1"] {
            assert!(no.parse::<Version>().is_err(), "{no}");
        }
    }

    #[test]
    fn latest_and_prefixes_never_pick_a_prerelease_unasked() {
        let tags = ["v2.0.0-rc.1", "v1.10.0", "v1.9.9", "v1.2.4", "v0.0.1-dev.45", "nightly"];
        assert_eq!(pick("latest", Channel::Stable, &tags).as_deref(), Some("v1.10.0"));
        assert_eq!(pick("latest", Channel::WithPre, &tags).as_deref(), Some("v2.0.0-rc.1"));
        assert_eq!(pick("v1", Channel::Stable, &tags).as_deref(), Some("v1.10.0"));
        assert_eq!(pick("1.2", Channel::Stable, &tags).as_deref(), Some("v1.2.4"));
        assert_eq!(pick("v2", Channel::Stable, &tags), None);
        assert_eq!(pick("v0.0.1-dev.45", Channel::Stable, &tags).as_deref(), Some("v0.0.1-dev.45"));
        assert_eq!(pick("0.0.1-dev.45", Channel::Stable, &tags).as_deref(), Some("v0.0.1-dev.45"));
        assert_eq!(pick("nightly", Channel::Stable, &tags).as_deref(), Some("nightly"));
        assert_eq!(pick("v1.9.9", Channel::Stable, &tags).as_deref(), Some("v1.9.9"));
        assert_eq!(pick("v1.9", Channel::Stable, &["v1.90.0"]), None);
    }

    #[test]
    fn a_mark_alone_makes_a_prerelease() {
        let releases = [Published(Tag::new("v2.0.0"), true), Published(Tag::new("v1.0.0"), false)];
        let picked = Selector::Latest.pick(&releases, Channel::Stable).unwrap();
        assert_eq!(picked.0.as_str(), "v1.0.0");
    }

    #[test]
    fn one_or_two_small_numbers_are_a_prefix_and_the_rest_a_tag() {
        let parse = |text: &str| text.parse::<Selector>().unwrap();
        assert_eq!(parse("v1.2"), Selector::Prefix(vec![1, 2]));
        assert_eq!(parse("v1.2.3"), Selector::Exact("v1.2.3".into()));
        assert_eq!(parse("20241213"), Selector::Exact("20241213".into()));
        assert_eq!(parse("v1.2.3-20241213-152430-a1b2c3d4"), Selector::Exact("v1.2.3-20241213-152430-a1b2c3d4".into()));
        assert!("".parse::<Selector>().is_err() && "a b".parse::<Selector>().is_err());
    }

    #[test]
    fn only_plain_names_become_files() {
        for good in ["rune_linux_amd64.tar.gz", "a", "checksums.txt", "ümlaut"] {
            assert!(good.parse::<AssetName>().is_ok(), "{good}");
        }
        for bad in
            ["", ".", "..", "../x", "a/b", "a\\b", "-o", ".hidden", "a\nb", "a\0b", "x.origin.json", &"x".repeat(241)]
        {
            assert!(bad.parse::<AssetName>().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_the_order_is_total(a in "\\PC{0,20}", b in "v?[0-9]{1,3}(\\.[0-9]{1,3}){0,3}(-[a-z0-9.]{0,6})?") {
            let _ = a.parse::<Selector>();
            let _ = a.parse::<AssetName>();
            if let (Ok(a), Ok(b)) = (a.parse::<Version>(), b.parse::<Version>()) {
                prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            }
        }
    }
}
