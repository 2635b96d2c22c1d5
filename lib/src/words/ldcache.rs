//! `/etc/ld.so.cache`: which libraries ldconfig(8) found where. The form of glibc 2.2 and later, alone or behind the older one.

use std::collections::BTreeMap;

const OLD: &[u8] = b"ld.so-1.7.0\0";
const NEW: &[u8] = b"glibc-ld.so.cache1.1";
/// The sizes of the new header and of one entry, and of the old ones, in bytes.
const HEADER: usize = 48;
const ENTRY: usize = 24;
const OLD_HEADER: usize = 16;
const OLD_ENTRY: usize = 12;

/// The libraries of a cache: each name with the paths it is found at, in the cache's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cache(BTreeMap<Vec<u8>, Vec<Vec<u8>>>);

impl Cache {
    /// Reads a cache; what is no cache, or makes no sense, holds nothing.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        Self::read(bytes).unwrap_or_default()
    }

    /// The paths of the library `name`.
    pub fn paths(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.0.get(name.as_bytes()).into_iter().flatten().map(Vec::as_slice)
    }

    fn read(mut bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(OLD) {
            let size = OLD_HEADER + usize::try_from(word(bytes, 12)?).ok()?.checked_mul(OLD_ENTRY)?;
            bytes = bytes.get(size.checked_next_multiple_of(8)?..)?;
        }
        if !bytes.starts_with(NEW) {
            return None;
        }
        let mut found = Self::default();
        let entries = bytes.get(HEADER..)?.chunks_exact(ENTRY);
        for entry in entries.take(usize::try_from(word(bytes, 20)?).ok()?) {
            let name = text(bytes, word(entry, 4)?)?;
            found.0.entry(name.to_vec()).or_default().push(text(bytes, word(entry, 8)?)?.to_vec());
        }
        Some(found)
    }
}

/// The cache is written in the byte order of its machine.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_ne_bytes(*word))
}

/// The text at `at`; no path is longer than 4096 bytes.
fn text(bytes: &[u8], at: u32) -> Option<&[u8]> {
    let rest = bytes.get(usize::try_from(at).ok()?..)?;
    let end = rest.iter().take(4096).position(|byte| *byte == 0)?;
    rest.get(..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(entries: &[(&str, &str)]) -> Vec<u8> {
        let word = |n: usize| u32::try_from(n).unwrap().to_ne_bytes();
        let (mut out, mut strings) = (NEW.to_vec(), Vec::new());
        out.extend([word(entries.len()), word(0), word(0), word(0), word(0), word(0), word(0)].concat());
        let start = HEADER + entries.len() * ENTRY;
        for (name, path) in entries {
            let mut add = |text: &str| {
                let at = start + strings.len();
                strings.extend([text.as_bytes(), b"\0"].concat());
                word(at)
            };
            out.extend([word(0x303), add(name), add(path), word(0), word(0), word(0)].concat());
        }
        out.extend(strings);
        out
    }

    #[test]
    fn both_forms_tell_every_path_of_a_name() {
        let entries =
            [("libc.so.6", "/lib/x/libc.so.6"), ("libz.so.1", "/a/libz.so.1"), ("libc.so.6", "/lib32/libc.so.6")];
        let new = cache(&entries);
        let old = [OLD, &1u32.to_ne_bytes(), &[0; OLD_ENTRY], &[0; 4], &new].concat();
        for bytes in [new, old] {
            let cache = Cache::parse(&bytes);
            assert_eq!(cache.paths("libc.so.6").collect::<Vec<_>>(), [&b"/lib/x/libc.so.6"[..], b"/lib32/libc.so.6"]);
            assert_eq!(cache.paths("libz.so").count(), 0);
        }
    }

    #[test]
    fn what_makes_no_sense_holds_nothing() {
        let whole = cache(&[("libc.so.6", "/lib/libc.so.6")]);
        for len in 0..whole.len() {
            assert_eq!(Cache::parse(&whole[..len]), Cache::default(), "{len}");
        }
        for at in 0..whole.len() {
            let mut other = whole.clone();
            other[at] = 0xff;
            let _ = Cache::parse(&other);
        }
    }
}
