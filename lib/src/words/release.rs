//! Releases: their tags, the selectors that pick one, the order they are listed in, and the names of their assets.

mod version;

use std::fmt;
use std::str::FromStr;

pub use version::{NotAVersion, Tag, Version, same_version};

/// The longest asset name that leaves room for the suffixes put behind it, in bytes (a file name has at most 255).
const NAME_MAX: usize = 240;

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

    /// True when this selector may pick `release`: an exact one also a build of the version it names.
    pub fn admits(&self, release: &impl Tagged, channel: Channel) -> bool {
        let of_channel = channel == Channel::WithPre || !is_prerelease(release);
        match (self, release.tag()) {
            (Self::Latest, _) => of_channel,
            (Self::Prefix(numbers), Some(tag)) => {
                of_channel && tag.version().is_some_and(|version| version.starts_with(numbers))
            }
            (Self::Exact(wanted), Some(tag)) => is_named(wanted, tag) || is_build(wanted, tag),
            (_, None) => false,
        }
    }

    /// The release it picks: the highest version it admits; among tags that name no version, the first.
    ///
    /// An exact one picks the release of just that tag, then of that tag with or without `v`, then the version's newest build.
    pub fn pick<'r, R: Tagged>(&self, releases: &'r [R], channel: Channel) -> Option<&'r R> {
        let rank = |r: &R| {
            let tag = r.tag();
            let as_written = matches!((self, tag), (Self::Exact(wanted), Some(tag)) if wanted == tag.as_str());
            (as_written, tag.and_then(Tag::version).cloned())
        };
        let mut best: Option<&R> = None;
        for release in releases.iter().filter(|r| self.admits(*r, channel)) {
            if best.is_none_or(|best| rank(release) > rank(best)) {
                best = Some(release);
            }
        }
        best
    }

    /// True for an exact selector that names a version, of which there may be builds.
    #[must_use]
    pub fn may_name_builds(&self) -> bool {
        matches!(self, Self::Exact(wanted) if wanted.parse::<Version>().is_ok())
    }
}

/// True when `tag` is `wanted`, a leading `v` or none.
fn is_named(wanted: &str, tag: &Tag) -> bool {
    Selector::exact_tags(wanted).iter().any(|wanted| wanted == tag.as_str())
}

/// True when `tag` names a build of the version `wanted`, by the same name: no `cli/v1.2.3` for `v1.2.3`.
fn is_build(wanted: &str, tag: &Tag) -> bool {
    let wanted = Tag::new(wanted);
    let name = |tag: &Tag| {
        let before = tag.as_str().len() - tag.version_text().len();
        tag.as_str().get(..before).unwrap_or_default().trim_end_matches(['v', 'V']).to_owned()
    };
    let (Some(version), Some(of)) = (tag.version(), wanted.version()) else { return false };
    version.is_build_of(of) && name(tag) == name(&wanted)
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

    #[test]
    fn an_exact_version_without_a_tag_of_its_own_is_its_newest_build() {
        let builds = ["v1.2.3-20241213-152430-a1b2c3d4", "v1.2.3-20250101-000000-b1b2c3d4", "v1.2.3-rc.1"];
        assert_eq!(pick("v1.2.3", Channel::Stable, &builds).as_deref(), Some(builds[1]));
        assert_eq!(pick("1.2.3", Channel::Stable, &builds).as_deref(), Some(builds[1]));
        assert_eq!(pick(builds[0], Channel::Stable, &builds).as_deref(), Some(builds[0]));
        assert_eq!(pick("v1.2", Channel::Stable, &builds).as_deref(), Some(builds[1]));
        assert_eq!(pick("latest", Channel::Stable, &builds).as_deref(), Some(builds[1]));
        assert_eq!(pick("v1.2.4", Channel::Stable, &builds), None);
        let with_own = [builds[1], "1.2.3", "v1.2.3", "cli/v1.2.3-20260101-000000-a1b2c3d4"];
        assert_eq!(pick("v1.2.3", Channel::Stable, &with_own).as_deref(), Some("v1.2.3"));
        assert_eq!(pick("1.2.3", Channel::Stable, &with_own).as_deref(), Some("1.2.3"));
        assert_eq!(pick("latest", Channel::Stable, &with_own).as_deref(), Some("1.2.3"));
        assert_eq!(pick("v1.2.3", Channel::Stable, &with_own[3..]), None);
    }

    #[test]
    fn times_stand_below_versions_and_among_themselves_the_latest_is_first() {
        let times = ["20241213-152430", "20241214-000000", "2024-12-15", "nightly"];
        assert_eq!(pick("latest", Channel::Stable, &times).as_deref(), Some("2024-12-15"));
        assert_eq!(pick("20241213-152430", Channel::Stable, &times).as_deref(), Some("20241213-152430"));
        assert_eq!(pick("latest", Channel::Stable, &["20241213-152430", "v0.0.1"]).as_deref(), Some("v0.0.1"));
        assert_eq!(pick("v2024", Channel::Stable, &times), None);
    }

    #[test]
    fn a_list_has_the_highest_first_and_keeps_the_order_of_what_names_no_version() {
        let mut releases = published(&[
            "nightly",
            "v1.0.0",
            "20241213-152430",
            "edge",
            "v1.2.3-20241213-152430-a1b2c3d4",
            "v1.2.3",
            "v2.0.0-rc.1",
        ]);
        newest_first(&mut releases);
        let tags: Vec<_> = releases.iter().map(|r| r.0.as_str()).collect();
        let wanted = [
            "v2.0.0-rc.1",
            "v1.2.3",
            "v1.2.3-20241213-152430-a1b2c3d4",
            "v1.0.0",
            "20241213-152430",
            "nightly",
            "edge",
        ];
        assert_eq!(tags, wanted);
    }

    proptest! {
        #[test]
        fn no_text_panics_and_every_selector_is_read_back_as_itself(text in "\\PC{0,20}", tag in "\\PC{0,20}") {
            let _ = text.parse::<AssetName>();
            if let Ok(selector) = text.parse::<Selector>() {
                let releases = published(&[&tag, &text]);
                prop_assert!(matches!(selector, Selector::Latest | Selector::Prefix(_)) || selector.pick(&releases, Channel::Stable).is_some());
                prop_assert_eq!(selector.to_string().parse::<Selector>().unwrap(), selector);
            }
        }
    }
}
