//! Names that files get and names that archives give: which member is meant, and which names are hostile.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// A plain file name: one part, no folder, fit for a path of the store and for a list with a line per path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileName(OsString);

/// A name that can't be a file's.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not a plain file name (no '/', no line break, not '.', not '..', not a dot file of the store)")]
pub struct NotAFileName(String);

impl FileName {
    /// Takes `name` when it is a plain file name.
    pub fn parse(name: impl Into<OsString>) -> Result<Self, NotAFileName> {
        let name = name.into();
        let bytes = name.as_bytes();
        let plain = !bytes.is_empty() && bytes.len() <= 255 && !bytes.iter().any(|b| b"/\0\n".contains(b));
        // The store keeps its own records in dot files beside the object.
        if plain && !matches!(bytes, b"." | b"..") && !bytes.starts_with(b".origin") && !bytes.starts_with(b".upswap-")
        {
            Ok(Self(name))
        } else {
            Err(NotAFileName(name.to_string_lossy().into_owned()))
        }
    }

    /// The name.
    #[must_use]
    pub fn as_os_str(&self) -> &OsStr {
        &self.0
    }
}

/// A file wanted from an archive: `NAME`, or `NAME=MEMBER`.
///
/// MEMBER (NAME when it is not given) matches a member whose path is MEMBER or ends in `/MEMBER`; after `./` it is the
/// whole path. Exactly one member must match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    name: FileName,
    member: Option<Vec<u8>>,
}

/// Text that is not `NAME[=MEMBER]`.
#[derive(Debug, thiserror::Error)]
pub enum NotWanted {
    /// NAME is no file name.
    #[error(transparent)]
    Name(#[from] NotAFileName),
    /// MEMBER is no path inside an archive.
    #[error("'{0}' is not a path inside an archive")]
    Member(String),
}

impl Wanted {
    /// Reads `NAME[=MEMBER]`. NAME can't hold a `=`.
    pub fn parse(text: impl AsRef<OsStr>) -> Result<Self, NotWanted> {
        let text = text.as_ref().as_bytes();
        let mut parts = text.splitn(2, |b| *b == b'=');
        let name = FileName::parse(OsStr::from_bytes(parts.next().unwrap_or_default()))?;
        let member = parts.next().map(<[u8]>::to_vec);
        if let Some(member) = &member {
            match normal(member) {
                Ok(path) if !path.is_empty() && !member.ends_with(b"/") => {}
                _ => return Err(NotWanted::Member(String::from_utf8_lossy(member).into_owned())),
            }
        }
        Ok(Self { name, member })
    }

    /// The name the file gets.
    #[must_use]
    pub fn name(&self) -> &FileName {
        &self.name
    }

    /// True when the member of this normal path is meant.
    #[must_use]
    pub fn is_meant_by(&self, path: &[u8]) -> bool {
        let pattern = self.member.as_deref().unwrap_or(self.name.as_os_str().as_bytes());
        if let Some(whole) = pattern.strip_prefix(b"./") {
            return normal(whole).is_ok_and(|whole| whole == path);
        }
        path == pattern || path.strip_suffix(pattern).is_some_and(|front| front.ends_with(b"/"))
    }

    /// True when a bare file of this name, which is no archive, is meant. `alone` when there is no other choice: then a
    /// NAME without MEMBER is the name that the bare file gets.
    #[must_use]
    pub fn is_meant_by_bare(&self, name: &OsStr, alone: bool) -> bool {
        (alone && self.member.is_none()) || self.is_meant_by(name.as_bytes())
    }
}

/// A member path that would leave the folder it is unpacked in.
#[derive(Debug, PartialEq, Eq)]
pub struct Hostile;

/// The normal form of a member's path: no `.`, no doubled or trailing `/`. Absolute paths, drive letters and `..` are hostile.
pub fn normal(path: &[u8]) -> Result<Vec<u8>, Hostile> {
    if path.starts_with(b"/") || path.contains(&0) {
        return Err(Hostile);
    }
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(Hostile),
            part => parts.push(part),
        }
    }
    let path = parts.join(&b'/');
    // Judged last, so that no `./` in front hides it.
    let drive = matches!(path.as_slice(), [letter, b':', b'/' | b'\\', ..] if letter.is_ascii_alphabetic());
    if drive { Err(Hostile) } else { Ok(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_plain_part() {
        for good in ["runed", "a.service", "with space", ".bak"] {
            assert!(FileName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "/a", "a\nb", ".origin.json", ".upswap-x", &"x".repeat(256)] {
            assert!(FileName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_member_is_meant_by_its_path_or_the_end_of_it() {
        let meant = |wanted: &str, path: &str| Wanted::parse(wanted).unwrap().is_meant_by(path.as_bytes());
        assert!(meant("rune", "rune") && meant("rune", "v1/rune") && meant("rune", "a/b/rune"));
        assert!(!meant("rune", "xrune") && !meant("rune", "rune/x") && !meant("rune", "rune.1"));
        assert!(meant("rune=bin/rune", "v1/bin/rune") && !meant("rune=bin/rune", "v1/sbin/rune"));
        assert!(meant("rune=./rune", "rune") && !meant("rune=./rune", "v1/rune"));
        for bad in ["", "=x", "a/b", "a=", "a=/x", "a=../x", "a=x/", "a=.."] {
            assert!(Wanted::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_are_made_normal_or_refused() {
        assert_eq!(normal(b"./a//b/./c/"), Ok(b"a/b/c".to_vec()));
        assert_eq!(normal(b"./"), Ok(Vec::new()));
        for bad in [&b"../a"[..], b"a/../b", b"..", b"a/..", b"/a", b"C:\\a", b"c:/a", b"./c://a", b"a\0b"] {
            assert_eq!(normal(bad), Err(Hostile), "{bad:?}");
        }
        assert!(normal(b"dev-disk-by\\x2dlabel.swap").is_ok());
    }
}
