//! Checksum lists: the text that `sha256sum`, `shasum -a 256`, `sha256 -r`, BSD `sha256` and `openssl dgst -sha256` write.
//!
//! A list is read whole or refused whole: one line that is not understood says that the list is not what it seems.
//!
//! | line | |
//! |---|---|
//! | `DIGEST  NAME`, `DIGEST *NAME`, `DIGEST NAME` | an entry (GNU text, GNU binary, BSD reversed) |
//! | `\DIGEST  NAME` | an entry whose NAME has `\\`, `\n`, `\r` escaped (GNU) |
//! | `SHA256 (NAME) = DIGEST`, `SHA2-256(NAME)= DIGEST` | an entry (BSD, OpenSSL) |
//! | empty, or `#` in front | skipped |
//! | lines that end in CR LF | as if they ended in LF |
//! | MD5, SHA-1 and other digests than SHA-256 | the list is refused |
//! | a digest without a name, a byte order mark, anything else | the list is refused |
//!
//! Upper-case digits are fine. An entry speaks of a file when the last part of its NAME is the file's name, byte by byte:
//! `./rune.tar.gz` and `dist/rune.tar.gz` speak of `rune.tar.gz`; `rune.tar.gz.sbom` and `xrune.tar.gz` don't.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::digest::Digest;

/// A checksum list that was read whole.
#[derive(Clone, Debug)]
pub struct Sums {
    entries: Vec<(Vec<u8>, Digest)>,
}

/// A line that makes a list unusable.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SumsError {
    /// It is not in any known form.
    #[error("line {line} is not 'SHA-256-DIGEST  NAME': {why}")]
    Malformed {
        /// The line's number, from 1.
        line: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It is a digest of another kind than SHA-256.
    #[error("line {line} is {algorithm}; only SHA-256 lists prove a file")]
    Algorithm {
        /// The line's number, from 1.
        line: usize,
        /// The kind of digest.
        algorithm: String,
    },
}

/// Why a list says nothing about a file.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NoEntry {
    /// No entry has this name.
    #[error("no entry for '{name}' ({listed})")]
    Absent {
        /// The name that was looked up.
        name: String,
        /// What the list does hold, shortened.
        listed: String,
    },
    /// Entries of this name contradict each other.
    #[error("entries for '{name}' with different digests")]
    Contradiction {
        /// The name that was looked up.
        name: String,
    },
}

impl Sums {
    /// Reads a list.
    pub fn parse(text: &[u8]) -> Result<Self, SumsError> {
        let mut entries = Vec::new();
        for (index, line) in text.split(|b| *b == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            entries.push(entry(line).map_err(|problem| problem.at(index + 1))?);
        }
        Ok(Self { entries })
    }

    /// The digest that the list has for the file `name` (its last part alone).
    pub fn digest_of(&self, name: &OsStr) -> Result<Digest, NoEntry> {
        let shown = || name.to_string_lossy().into_owned();
        let mut found = self.entries.iter().filter(|(listed, _)| last_part(listed) == name.as_bytes()).map(|(_, d)| *d);
        let Some(digest) = found.next() else {
            return Err(NoEntry::Absent { name: shown(), listed: self.shortened() });
        };
        if found.all(|other| other == digest) { Ok(digest) } else { Err(NoEntry::Contradiction { name: shown() }) }
    }

    fn shortened(&self) -> String {
        const SHOWN: usize = 5;
        let mut names: Vec<_> =
            self.entries.iter().take(SHOWN).map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect();
        if names.is_empty() {
            return "it is empty".to_owned();
        }
        if let Some(more) = self.entries.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            names.push(format!("{more} more"));
        }
        format!("it lists {}", names.join(", "))
    }
}

enum Problem {
    Malformed(&'static str),
    Algorithm(String),
}

impl Problem {
    fn at(self, line: usize) -> SumsError {
        match self {
            Self::Malformed(why) => SumsError::Malformed { line, why },
            Self::Algorithm(algorithm) => SumsError::Algorithm { line, algorithm },
        }
    }
}

fn entry(line: &[u8]) -> Result<(Vec<u8>, Digest), Problem> {
    let (escaped, line) = match line.strip_prefix(b"\\") {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let (name, digest) = match gnu(line)? {
        Some(found) => found,
        None => bsd(line)?,
    };
    let name = if escaped { unescaped(name)? } else { name.to_vec() };
    if last_part(&name).is_empty() {
        return Err(Problem::Malformed("it names no file"));
    }
    Ok((name, digest))
}

/// `DIGEST  NAME`; `None` when the line does not begin with hexadecimal digits that end at a space.
fn gnu(line: &[u8]) -> Result<Option<(&[u8], Digest)>, Problem> {
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let (hex, rest) = line.split_at(digits);
    let algorithm = match digits {
        32 => Some("MD5"),
        40 => Some("SHA-1"),
        56 => Some("SHA-224"),
        96 => Some("SHA-384"),
        128 => Some("SHA-512"),
        _ => None,
    };
    if !matches!(rest.first(), None | Some(b' ' | b'\t')) || digits < 32 {
        return Ok(None);
    }
    if let Some(algorithm) = algorithm {
        return Err(Problem::Algorithm(algorithm.to_owned()));
    }
    let digest = digest(hex).ok_or(Problem::Malformed("the digest has not 64 digits"))?;
    let name = rest
        .strip_prefix(b"  ")
        .or_else(|| rest.strip_prefix(b" *"))
        .or_else(|| rest.strip_prefix(b" "))
        .filter(|name| !name.starts_with(b" "))
        .ok_or(Problem::Malformed("no file name follows the digest (for a digest alone there is --sha256)"))?;
    Ok(Some((name, digest)))
}

/// `ALGORITHM (NAME) = DIGEST`. NAME may hold `) = ` itself, so the last one counts.
fn bsd(line: &[u8]) -> Result<(&[u8], Digest), Problem> {
    const UNKNOWN: Problem = Problem::Malformed("neither a digest nor an algorithm is in front");
    let open = line.iter().position(|b| *b == b'(').ok_or(UNKNOWN)?;
    let algorithm = line[..open].strip_suffix(b" ").unwrap_or(&line[..open]);
    let known = |b: &u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b"-/".contains(b);
    if algorithm.is_empty() || !algorithm.iter().all(known) {
        return Err(UNKNOWN);
    }
    if algorithm != b"SHA256" && algorithm != b"SHA2-256" {
        return Err(Problem::Algorithm(String::from_utf8_lossy(algorithm).into_owned()));
    }
    let rest = &line[open + 1..];
    let close = rest.iter().rposition(|b| *b == b')').ok_or(UNKNOWN)?;
    let value = rest[close + 1..].strip_prefix(b" = ").or_else(|| rest[close + 1..].strip_prefix(b"= "));
    let digest = value.and_then(digest).ok_or(Problem::Malformed("no digest of 64 digits follows the name"))?;
    Ok((&rest[..close], digest))
}

fn digest(hex: &[u8]) -> Option<Digest> {
    // `Digest` also reads registries' `sha256:` prefix, which no list has.
    let hex = std::str::from_utf8(hex).ok().filter(|hex| hex.len() == 64)?;
    hex.parse().ok()
}

fn unescaped(name: &[u8]) -> Result<Vec<u8>, Problem> {
    let mut out = Vec::with_capacity(name.len());
    let mut bytes = name.iter();
    while let Some(byte) = bytes.next() {
        out.push(match (byte, byte == &b'\\') {
            (_, false) => *byte,
            (_, true) => match bytes.next() {
                Some(b'\\') => b'\\',
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                _ => return Err(Problem::Malformed("an unknown escape stands in the name")),
            },
        });
    }
    Ok(out)
}

fn last_part(name: &[u8]) -> &[u8] {
    name.rsplit(|b| *b == b'/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const B: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn found(list: &str, name: &str) -> Option<Digest> {
        Sums::parse(list.as_bytes()).ok()?.digest_of(OsStr::new(name)).ok()
    }

    #[test]
    fn every_documented_form_is_read() {
        let a: Digest = A.parse().unwrap();
        for line in [
            "{A}  f",
            "{A} *f",
            "{A} f",
            "{A}  ./f",
            "{A}  dist/f",
            "{A}  /abs/f",
            "{A}  f\r",
            "SHA256 (f) = {A}",
            "SHA256(f)= {A}",
            "SHA2-256(f)= {A}",
            "SHA256 (dist/f) = {A}",
            "# by someone\n\n{A}  f\n\n",
        ] {
            assert_eq!(found(&line.replace("{A}", A), "f"), Some(a), "{line}");
        }
        assert_eq!(found(&format!("{}  f", A.to_uppercase()), "f"), Some(a));
        assert_eq!(found(&format!("\\{A}  a\\nb\\\\c"), "a\nb\\c"), Some(a));
        assert_eq!(found(&format!("SHA256 (x) = y) = {A}"), "x) = y"), Some(a));
        assert_eq!(found(&format!("{A}  two words"), "two words"), Some(a));
        assert_eq!(found(&format!("{A} *f\n{A}  ./f"), "f"), Some(a), "the same digest twice is no contradiction");
    }

    #[test]
    fn a_line_that_is_not_understood_refuses_the_whole_list() {
        let good = format!("{A}  f\n");
        for bad in [
            A,
            "garbage",
            "<!DOCTYPE html>",
            "-----BEGIN PGP SIGNED MESSAGE-----",
            &format!("{A} "),
            &format!("{A}  "),
            &format!("{A}   f"),
            &format!("{A}\tf"),
            &format!("{A}  dir/"),
            &format!("{}  f", &A[1..]),
            &format!("{A}0  f"),
            &format!("sha256:{A}  f"),
            &format!("\u{feff}{A}  f"),
            &format!("SHA256 (f) = {}", &A[1..]),
            &format!("SHA256 (f) {A}"),
            &format!("\\{A}  a\\tb"),
            &format!(" {A}  f"),
        ] {
            assert!(matches!(Sums::parse(bad.as_bytes()), Err(SumsError::Malformed { line: 1, .. })), "{bad}");
            assert!(matches!(Sums::parse((good.clone() + bad).as_bytes()), Err(SumsError::Malformed { line: 2, .. })));
        }
    }

    #[test]
    fn other_algorithms_prove_nothing() {
        for (line, algorithm) in [
            ("d41d8cd98f00b204e9800998ecf8427e  f".to_owned(), "MD5"),
            ("da39a3ee5e6b4b0d3255bfef95601890afd80709  f".to_owned(), "SHA-1"),
            (format!("{A}{A}  f"), "SHA-512"),
            ("MD5 (f) = d41d8cd98f00b204e9800998ecf8427e".to_owned(), "MD5"),
            (format!("BLAKE2b-256 (f) = {A}").to_uppercase(), "BLAKE2B-256"),
        ] {
            let refused = SumsError::Algorithm { line: 1, algorithm: algorithm.to_owned() };
            assert_eq!(Sums::parse(line.as_bytes()).err(), Some(refused), "{line}");
        }
    }

    #[test]
    fn only_the_exact_name_counts() {
        let list = format!("{A}  f.tar.gz.sbom\n{A}  xf.tar.gz\n{A}  f.tar.gz/x\n{A}  F.tar.gz\n{A}  f.tar.gz ");
        assert_eq!(found(&list, "f.tar.gz"), None);
        assert_eq!(found("", "f.tar.gz"), None);
        assert_eq!(found(&format!("{list}\n{B}  f.tar.gz"), "f.tar.gz"), B.parse().ok());
    }

    #[test]
    fn contradicting_entries_are_refused() {
        for list in [format!("{A}  f\n{B}  f"), format!("{A}  a/f\n{B}  b/f"), format!("{A}  f\nSHA256 (./f) = {B}")] {
            let sums = Sums::parse(list.as_bytes()).unwrap();
            assert!(matches!(sums.digest_of(OsStr::new("f")), Err(NoEntry::Contradiction { .. })), "{list}");
        }
    }

    #[test]
    fn names_are_bytes() {
        let list = [A.as_bytes(), b"  f\xff"].concat();
        assert!(Sums::parse(&list).unwrap().digest_of(OsStr::from_bytes(b"f\xff")).is_ok());
    }

    #[test]
    fn no_single_bit_flip_of_an_entry_leaves_its_answer() {
        for (line, digits) in
            [(format!("{A}  rune.tar.gz"), 0..64), (format!("SHA256 (rune.tar.gz) = {A}"), 23..23 + 64)]
        {
            let right = A.parse().unwrap();
            assert_eq!(found(&line, "rune.tar.gz"), Some(right));
            for bit in 0..line.len() * 8 {
                let mut flipped = line.clone().into_bytes();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let answer = Sums::parse(&flipped).ok().and_then(|s| s.digest_of(OsStr::new("rune.tar.gz")).ok());
                // Only the case of a digit and the kind of separator don't matter.
                let same_digit = digits.contains(&(bit / 8)) && flipped.eq_ignore_ascii_case(line.as_bytes());
                let separator = !digits.contains(&(bit / 8)) && !line.as_bytes()[bit / 8].is_ascii_alphanumeric();
                assert!(answer != Some(right) || same_digit || separator, "{}", String::from_utf8_lossy(&flipped));
            }
        }
    }
}
