//! Asset patterns: literal text, `*`, and placeholders such as `{version}` and `{goarch}`.

use std::str::FromStr;

use super::release::Tag;
use super::target::Target;

/// A pattern for asset names, or the template of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Star,
    Slot(Slot),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Version,
    Tag,
    Os,
    Arch,
    Goarch,
    Target,
    Libc,
    Asset,
}

/// A pattern with a brace that is no placeholder.
#[derive(Debug, thiserror::Error)]
#[error(
    "'{0}': unknown placeholder; {{version}}, {{tag}}, {{os}}, {{arch}}, {{goarch}}, {{target}}, {{libc}} and {{asset}} are known"
)]
pub struct BadPattern(String);

/// What placeholders stand for.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// The release's tag; without one `{version}` and `{tag}` match anything.
    pub tag: Option<&'a Tag>,
    /// The machine that the asset is for.
    pub target: &'a Target,
}

impl FromStr for Pattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        let bad = || BadPattern(text.to_owned());
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['*', '{', '}']) {
            let (literal, special) = rest.split_at(at);
            if !literal.is_empty() {
                pieces.push(Piece::Text(literal.to_owned()));
            }
            rest = if let Some(rest) = special.strip_prefix('*') {
                pieces.push(Piece::Star);
                rest
            } else {
                let (name, rest) = special.strip_prefix('{').and_then(|s| s.split_once('}')).ok_or_else(bad)?;
                pieces.push(Piece::Slot(slot(name).ok_or_else(bad)?));
                rest
            };
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self { text: text.to_owned(), pieces })
    }
}

fn slot(name: &str) -> Option<Slot> {
    Some(match name {
        "version" => Slot::Version,
        "tag" => Slot::Tag,
        "os" => Slot::Os,
        "arch" => Slot::Arch,
        "goarch" => Slot::Goarch,
        "target" => Slot::Target,
        "libc" => Slot::Libc,
        "asset" => Slot::Asset,
        _ => return None,
    })
}

impl Pattern {
    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// True when it speaks of the release: `{version}` or `{tag}` stands in it.
    #[must_use]
    pub fn names_a_version(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Slot(Slot::Version | Slot::Tag)))
    }

    /// The patterns of what lies beside these assets: one for each where `{asset}` stands in it, else this one.
    #[must_use]
    pub fn beside<'a>(&self, assets: impl IntoIterator<Item = &'a str>) -> Vec<Self> {
        let slot = Piece::Slot(Slot::Asset);
        if !self.pieces.contains(&slot) {
            return vec![self.clone()];
        }
        let of = |asset: &str| {
            let piece = |piece: &Piece| if *piece == slot { Piece::Text(asset.to_owned()) } else { piece.clone() };
            Self { text: self.text.replace("{asset}", asset), pieces: self.pieces.iter().map(piece).collect() }
        };
        assets.into_iter().map(of).collect()
    }

    /// The one text it stands for; `None` when a `*` or an unknown version leaves it open.
    #[must_use]
    pub fn literal(&self, values: Values<'_>) -> Option<String> {
        self.fill(values).into_iter().collect::<Option<Vec<_>>>().map(|parts| parts.concat())
    }

    /// The pattern with what is known filled in, for people.
    #[must_use]
    pub fn shown(&self, values: Values<'_>) -> String {
        self.fill(values).into_iter().map(|part| part.unwrap_or_else(|| "*".to_owned())).collect()
    }

    /// True when a `*` stands in it, which only a list of names can resolve.
    #[must_use]
    pub fn has_star(&self) -> bool {
        self.pieces.contains(&Piece::Star)
    }

    /// The tag of the release whose file is called `name`; `None` when this pattern does not stand for that name.
    ///
    /// A pattern with `{version}` alone can't tell `v1.2.3` from `1.2.3`; it gives the latter.
    #[must_use]
    pub fn tag_in(&self, name: &str, target: &Target) -> Option<Tag> {
        let parts = self.fill(Values { tag: None, target });
        let before: String = parts.iter().map_while(Option::as_deref).collect();
        let rest = name.strip_prefix(before.as_str()).filter(|_| self.names_a_version() && !self.has_star())?;
        let after: String = parts
            .iter()
            .rposition(Option::is_none)
            .and_then(|at| parts.get(at + 1..))?
            .iter()
            .flatten()
            .cloned()
            .collect();
        let rest = rest.strip_suffix(after.as_str())?;
        // Where one place alone is open, all of the rest stands there. Else it may end anywhere in a name of at most 255 bytes.
        let one = parts.iter().filter(|part| part.is_none()).count() == 1;
        let ends = rest.char_indices().take(255).map(|(at, c)| at + c.len_utf8());
        let candidates = ends.filter(|end| !one || *end == rest.len()).filter_map(|end| rest.get(..end));
        let candidates = candidates.flat_map(|text| [text.to_owned(), format!("v{text}")]);
        candidates.map(Tag::new).find(|tag| self.literal(Values { tag: Some(tag), target }).as_deref() == Some(name))
    }

    /// True when it stands for `name`.
    #[must_use]
    pub fn matches(&self, name: &str, values: Values<'_>) -> bool {
        let parts = self.fill(values);
        let mut runs =
            parts.split(Option::is_none).map(|run| run.iter().flatten().map(String::as_str).collect::<String>());
        let Some(first) = runs.next() else { return name.is_empty() };
        let Some(mut rest) = name.strip_prefix(first.as_str()) else { return false };
        let mut runs: Vec<String> = runs.collect();
        let Some(last) = runs.pop() else { return rest.is_empty() };
        for run in runs {
            match rest.split_once(run.as_str()) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
        rest.ends_with(last.as_str())
    }

    /// The pieces as text; `None` for what stays open.
    fn fill(&self, values: Values<'_>) -> Vec<Option<String>> {
        let target = values.target;
        let fill = |piece: &Piece| match piece {
            Piece::Text(text) => Some(text.clone()),
            // What it stands beside is filled in before, by `beside`.
            Piece::Star | Piece::Slot(Slot::Asset) => None,
            Piece::Slot(Slot::Version) => values.tag.map(|tag| tag.version_text().to_owned()),
            Piece::Slot(Slot::Tag) => values.tag.map(|tag| tag.as_str().to_owned()),
            Piece::Slot(Slot::Os) => Some(target.os().to_owned()),
            Piece::Slot(Slot::Arch) => Some(target.arch().to_owned()),
            Piece::Slot(Slot::Goarch) => Some(target.goarch().to_owned()),
            Piece::Slot(Slot::Target) => Some(target.triple().to_owned()),
            Piece::Slot(Slot::Libc) => Some(target.libc().as_str().to_owned()),
        };
        self.pieces.iter().map(fill).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, name: &str) -> bool {
        let tag = Tag::new("v1.2.3");
        let target = "x86_64-unknown-linux-gnu".parse().unwrap();
        pattern.parse::<Pattern>().unwrap().matches(name, Values { tag: Some(&tag), target: &target })
    }

    #[test]
    fn what_lies_beside_an_asset_is_called_after_it() {
        let target = "x86_64-unknown-linux-gnu".parse().unwrap();
        let values = Values { tag: None, target: &target };
        let names = |pattern: &str| {
            let pattern: Pattern = pattern.parse().unwrap();
            pattern.beside(["a*.tgz", "b"]).iter().map(|p| p.literal(values)).collect::<Vec<_>>()
        };
        assert_eq!(names("{asset}.{goarch}.sig"), [Some("a*.tgz.amd64.sig".into()), Some("b.amd64.sig".into())]);
        assert_eq!(names("SUMS"), [Some("SUMS".into())]);
        assert_eq!("{asset}.sig".parse::<Pattern>().unwrap().literal(values), None);
    }

    #[test]
    fn placeholders_stand_for_the_release_and_the_machine() {
        assert!(matches("rune_{os}_{goarch}.tar.gz", "rune_linux_amd64.tar.gz"));
        assert!(matches("x-{version}-{arch}", "x-1.2.3-x86_64"));
        assert!(matches("x-{tag}-{target}-{libc}", "x-v1.2.3-x86_64-unknown-linux-gnu-gnu"));
        assert!(!matches("rune_{os}_{goarch}.tar.gz", "rune_linux_amd64.tar.gz.sha256"));
    }

    #[test]
    fn a_star_stands_for_anything() {
        assert!(matches("*", ""));
        assert!(matches("a*c*e", "abcde"));
        assert!(matches("*.tar.gz", ".tar.gz"));
        assert!(!matches("a*a", "a"));
        assert!(!matches("a*c*e", "abde"));
        assert!(!matches("", "x"));
    }

    #[test]
    fn an_unknown_version_is_open() {
        let target = "x86_64-unknown-linux-gnu".parse().unwrap();
        let values = Values { tag: None, target: &target };
        let pattern: Pattern = "x-{version}.zip".parse().unwrap();
        assert!(pattern.matches("x-9.zip", values));
        assert_eq!((pattern.literal(values), pattern.shown(values)), (None, "x-*.zip".to_owned()));
    }

    #[test]
    fn a_name_tells_its_release() {
        let target = "x86_64-unknown-linux-gnu".parse().unwrap();
        for (pattern, name, tag) in [
            ("x-{version}.tgz", "x-1.2.3.tgz", Some("1.2.3")),
            ("x-v{version}.tgz", "x-v1.2.3.tgz", Some("1.2.3")),
            ("x-{tag}-{goarch}.tgz", "x-v1.2.3-amd64.tgz", Some("v1.2.3")),
            ("{version}/{tag}.tgz", "1.2.3/v1.2.3.tgz", Some("v1.2.3")),
            ("{tag}/x-{version}.tgz", "v1.2.3/x-1.2.3.tgz", Some("v1.2.3")),
            ("{version}-{version}", "1-1-1", None),
            ("x-{version}.tgz", "x-.tgz", None),
            ("{version}", "1.2.3", Some("1.2.3")),
            ("{tag}.tgz.tgz", "v1.tgz", None),
            ("x-{version}.tgz", "y-1.tgz", None),
            ("x-{version}-{goarch}.tgz", "x-1.2.3-arm64.tgz", None),
            ("x.tgz", "x.tgz", None),
            ("x-{version}-*", "x-1.2.3-a", None),
        ] {
            let pattern: Pattern = pattern.parse().unwrap();
            let found = pattern.tag_in(name, &target);
            assert_eq!(found.as_ref().map(Tag::as_str), tag, "{pattern:?} {name}");
        }
    }

    #[test]
    fn other_braces_are_refused() {
        for bad in ["{x}", "a{", "a}", "{version", "{}", "{{version}}"] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_name_matches_itself_and_itself_with_a_hole(name in "[a-z0-9._é-]{0,12}", at in 0usize..12) {
            prop_assert!(matches(&name, &name));
            let holed: String = name.chars().take(at).chain(['*']).chain(name.chars().skip(at + 1)).collect();
            prop_assert!(matches(&holed, &name));
        }
    }
}
