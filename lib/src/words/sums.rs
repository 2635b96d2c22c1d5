//! Checksum lists: the text that `sha256sum`, `sha512sum`, `shasum -a 256`, `sha256 -r`, BSD `sha256` and
//! `openssl dgst -sha256` write.
//!
//! A list is read whole or refused whole: one line that is not understood says that the list is not what it seems.
//!
//! | line | |
//! |---|---|
//! | `DIGEST  NAME`, `DIGEST *NAME`, `DIGEST NAME` | an entry (GNU text, GNU binary, BSD reversed): SHA-256 or, with 128 digits, SHA-512 |
//! | `\DIGEST  NAME` | an entry whose NAME has `\\`, `\n`, `\r` escaped (GNU) |
//! | `SHA256 (NAME) = DIGEST`, `SHA2-256(NAME)= DIGEST`, the same with 512 | an entry (BSD, OpenSSL) |
//! | `MD5 (NAME) = DIGEST`, another tag of capital letters | passed over: it proves nothing, and stands beside what does |
//! | `DIGEST` or `DIGEST  -`, the only line | speaks of FILE when the list is called `FILE.sha256`, `FILE.sha256sum` or the same with 512 |
//! | empty, or `#` in front | skipped |
//! | lines that end in CR LF, a UTF-8 byte order mark | as if they ended in LF, as if there were none |
//! | MD5, SHA-1 and other digests than these without a tag | the list is refused |
//! | PGP clear-signed text, anything else | the list is refused |
//!
//! Upper-case digits are fine. An entry speaks of a file when the last part of its NAME is the file's name, byte by byte:
//! `./rune.tar.gz` and `dist/rune.tar.gz` speak of `rune.tar.gz`; `rune.tar.gz.sbom` and `xrune.tar.gz` don't. All that is
//! listed for a name must hold.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::digest::Digest;
use super::sha512::Sha512;

/// A checksum list that was read whole.
#[derive(Clone, Debug)]
pub struct Sums {
    entries: Vec<(Vec<u8>, Value)>,
}

#[derive(Clone, Debug)]
enum Value {
    Sha256(Digest),
    Sha512(Sha512),
    /// A digest that proves nothing, by its algorithm.
    PassedOver(String),
}

/// What a list has for one file; at least one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Its SHA-256.
    pub sha256: Option<Digest>,
    /// Its SHA-512.
    pub sha512: Option<Sha512>,
    /// Whether the list itself names the file. A digest that is alone is of whatever its list is called after.
    pub by_name: bool,
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
    /// It is a digest of another kind than SHA-256 and SHA-512.
    #[error("line {line} is {algorithm}; only SHA-256 and SHA-512 lists prove a file")]
    Algorithm {
        /// The line's number, from 1.
        line: usize,
        /// The kind of digest.
        algorithm: &'static str,
    },
    /// The list and its signature are one text.
    #[error(
        "it is PGP clear-signed, which is not read: take the plain list, and with --gpg its detached signature (LIST.asc, LIST.sig)"
    )]
    ClearSigned,
}

/// Why a list says nothing about a file.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NoEntry {
    /// No entry has this name.
    #[error("no entry for '{name}' ({listed})")]
    Absent {
        /// The name that was looked up.
        name: String,
        /// What the list does hold, shortened; a name that is nearly this one is pointed at.
        listed: String,
    },
    /// Entries of this name contradict each other.
    #[error("entries for '{name}' with different digests")]
    Contradiction {
        /// The name that was looked up.
        name: String,
    },
    /// The name has only digests that prove nothing.
    #[error("for '{name}' there is only {algorithm}; only SHA-256 and SHA-512 prove a file")]
    Weak {
        /// The name that was looked up.
        name: String,
        /// The algorithm.
        algorithm: String,
    },
    /// The list is a digest without a name, and its own name does not say which file that is of.
    #[error(
        "a digest without a name speaks of '{name}' only in a list called {name}.{suffix}; for a digest alone there is --sha256"
    )]
    Nameless {
        /// The name that was looked up.
        name: String,
        /// How the list would be called.
        suffix: &'static str,
    },
}

impl Sums {
    /// Reads a list.
    pub fn parse(text: &[u8]) -> Result<Self, SumsError> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let mut entries = Vec::new();
        for (index, line) in text.split(|b| *b == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            if line == b"-----BEGIN PGP SIGNED MESSAGE-----" {
                return Err(SumsError::ClearSigned);
            }
            let line_number = index + 1;
            entries.push((line_number, entry(line).map_err(|problem| problem.at(line_number))?));
        }
        // What has no name is only ever alone.
        if let (2.., Some((line, _))) = (entries.len(), entries.iter().find(|(_, (name, _))| is_nameless(name))) {
            return Err(
                Problem::Malformed("no file name follows the digest (for a digest alone there is --sha256)").at(*line)
            );
        }
        Ok(Self { entries: entries.into_iter().map(|(_, entry)| entry).collect() })
    }

    /// The digests that the list, which is called `list`, has for the file `name` (its last part alone).
    pub fn digests_of(&self, name: &OsStr, list: &OsStr) -> Result<Listed, NoEntry> {
        if let [(nameless, value)] = self.entries.as_slice()
            && is_nameless(nameless)
        {
            return alone(value, name, list);
        }
        let shown = || name.to_string_lossy().into_owned();
        let (mut listed, mut weak) = (Listed::default(), None);
        for (_, value) in self.entries.iter().filter(|(listed, _)| last_part(listed) == name.as_bytes()) {
            let agrees = match value {
                Value::Sha256(digest) => *listed.sha256.get_or_insert(*digest) == *digest,
                Value::Sha512(digest) => *listed.sha512.get_or_insert(*digest) == *digest,
                Value::PassedOver(algorithm) => {
                    weak = Some(algorithm.clone());
                    true
                }
            };
            if !agrees {
                return Err(NoEntry::Contradiction { name: shown() });
            }
        }
        match (listed == Listed::default(), weak) {
            (false, _) => Ok(Listed { by_name: true, ..listed }),
            (true, Some(algorithm)) => Err(NoEntry::Weak { name: shown(), algorithm }),
            (true, None) => Err(NoEntry::Absent { name: shown(), listed: self.shortened(name.as_bytes()) }),
        }
    }

    fn shortened(&self, wanted: &[u8]) -> String {
        const SHOWN: usize = 5;
        let near = |(listed, _): &&(Vec<u8>, Value)| {
            let listed = last_part(listed).to_ascii_lowercase();
            let wanted = wanted.to_ascii_lowercase();
            !wanted.is_empty()
                && (listed.starts_with(&wanted) || listed.ends_with(&wanted) || wanted.starts_with(&listed))
        };
        if let Some((near, _)) = self.entries.iter().find(near) {
            return format!("'{}' is another file", String::from_utf8_lossy(near));
        }
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

/// A digest that is alone in its list is of the file that the list is named after.
fn alone(value: &Value, name: &OsStr, list: &OsStr) -> Result<Listed, NoEntry> {
    let (suffixes, listed) = match value {
        Value::Sha256(digest) => (["sha256", "sha256sum"], Listed { sha256: Some(*digest), ..Listed::default() }),
        Value::Sha512(digest) => (["sha512", "sha512sum"], Listed { sha512: Some(*digest), ..Listed::default() }),
        Value::PassedOver(algorithm) => {
            let name = name.to_string_lossy().into_owned();
            return Err(NoEntry::Weak { name, algorithm: algorithm.clone() });
        }
    };
    let of_name = list.as_bytes().strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"."));
    if !name.is_empty() && of_name.is_some_and(|rest| suffixes.iter().any(|suffix| suffix.as_bytes() == rest)) {
        return Ok(listed);
    }
    let [suffix, _] = suffixes;
    Err(NoEntry::Nameless { name: name.to_string_lossy().into_owned(), suffix })
}

/// Nothing, or the `-` that `sha256sum` writes for standard input.
fn is_nameless(name: &[u8]) -> bool {
    matches!(name, b"" | b"-")
}

enum Problem {
    Malformed(&'static str),
    Algorithm(&'static str),
}

impl Problem {
    fn at(self, line: usize) -> SumsError {
        match self {
            Self::Malformed(why) => SumsError::Malformed { line, why },
            Self::Algorithm(algorithm) => SumsError::Algorithm { line, algorithm },
        }
    }
}

/// A name, which is empty only when nothing at all stands behind the digest, and what it is listed with.
fn entry(line: &[u8]) -> Result<(Vec<u8>, Value), Problem> {
    let (escaped, line) = match line.strip_prefix(b"\\") {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let (name, value) = match gnu(line)? {
        Some((Some(name), value)) => (name, value),
        Some((None, value)) if !escaped => return Ok((Vec::new(), value)),
        Some((None, _)) => return Err(Problem::Malformed("it names no file")),
        None => bsd(line)?,
    };
    let name = if escaped { unescaped(name)? } else { name.to_vec() };
    if last_part(&name).is_empty() {
        return Err(Problem::Malformed("it names no file"));
    }
    Ok((name, value))
}

/// A name, when there is one, and what it is listed with.
type Gnu<'l> = (Option<&'l [u8]>, Value);

/// `DIGEST  NAME` or `DIGEST`; `None` when the line does not begin with hexadecimal digits that end at a space.
fn gnu(line: &[u8]) -> Result<Option<Gnu<'_>>, Problem> {
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let (hex, rest) = line.split_at(digits);
    if !matches!(rest.first(), None | Some(b' ' | b'\t')) || digits < 32 {
        return Ok(None);
    }
    let value = match digits {
        32 => return Err(Problem::Algorithm("MD5")),
        40 => return Err(Problem::Algorithm("SHA-1")),
        56 => return Err(Problem::Algorithm("SHA-224")),
        96 => return Err(Problem::Algorithm("SHA-384")),
        128 => sha512(hex),
        _ => sha256(hex),
    };
    let value = value.ok_or(Problem::Malformed("the digest has not 64 digits"))?;
    if rest.is_empty() {
        return Ok(Some((None, value)));
    }
    let name = rest
        .strip_prefix(b"  ")
        .or_else(|| rest.strip_prefix(b" *"))
        .or_else(|| rest.strip_prefix(b" "))
        .filter(|name| !name.starts_with(b" "))
        .ok_or(Problem::Malformed("no file name follows the digest (for a digest alone there is --sha256)"))?;
    Ok(Some((Some(name), value)))
}

/// `ALGORITHM (NAME) = DIGEST`. NAME may hold `) = ` itself, so the last one counts.
fn bsd(line: &[u8]) -> Result<(&[u8], Value), Problem> {
    const UNKNOWN: Problem = Problem::Malformed("neither a digest nor an algorithm is in front");
    let open = line.iter().position(|b| *b == b'(').ok_or(UNKNOWN)?;
    let (algorithm, rest) = (line.get(..open).ok_or(UNKNOWN)?, line.get(open + 1..).ok_or(UNKNOWN)?);
    let algorithm = algorithm.strip_suffix(b" ").unwrap_or(algorithm);
    let known = |b: &u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b"-/".contains(b);
    // BLAKE2b and its kin have one small letter.
    let is_tag = algorithm.first().is_some_and(u8::is_ascii_uppercase)
        && algorithm.iter().all(|b| known(b) || matches!(b, b'b' | b's'));
    if !is_tag {
        return Err(UNKNOWN);
    }
    let close = rest.iter().rposition(|b| *b == b')').ok_or(UNKNOWN)?;
    let (name, value) = (rest.get(..close).ok_or(UNKNOWN)?, rest.get(close + 1..).ok_or(UNKNOWN)?);
    let hex = value.strip_prefix(b" = ").or_else(|| value.strip_prefix(b"= "));
    let hex = hex.ok_or(Problem::Malformed("no digest follows the name"))?;
    let value = match algorithm {
        b"SHA256" | b"SHA2-256" => sha256(hex).ok_or(Problem::Malformed("no digest of 64 digits follows the name"))?,
        b"SHA512" | b"SHA2-512" => sha512(hex).ok_or(Problem::Malformed("no digest of 128 digits follows the name"))?,
        _ if hex.len() < 8 || !hex.iter().all(u8::is_ascii_hexdigit) => {
            return Err(Problem::Malformed("no digest follows the name"));
        }
        _ => Value::PassedOver(String::from_utf8_lossy(algorithm).into_owned()),
    };
    Ok((name, value))
}

fn sha256(hex: &[u8]) -> Option<Value> {
    // `Digest` also reads registries' `sha256:` prefix, which no list has.
    let hex = std::str::from_utf8(hex).ok().filter(|hex| hex.len() == 64)?;
    hex.parse().ok().map(Value::Sha256)
}

fn sha512(hex: &[u8]) -> Option<Value> {
    Sha512::from_hex(hex).map(Value::Sha512)
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

    /// SHA-512 of "abc", FIPS 180-4.
    const LONG: &str = "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                        2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";

    fn listed(list: &str, name: &str) -> Option<Listed> {
        Sums::parse(list.as_bytes()).ok()?.digests_of(OsStr::new(name), OsStr::new("SUMS")).ok()
    }

    fn found(list: &str, name: &str) -> Option<Digest> {
        listed(list, name)?.sha256
    }

    fn refused(list: &str, name: &str, file: &str) -> NoEntry {
        Sums::parse(list.as_bytes()).unwrap().digests_of(OsStr::new(name), OsStr::new(file)).unwrap_err()
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
            "\u{feff}{A}  f",
            "{A}  g\r\n{A} *f\r\n",
            "MD5 (f) = d41d8cd98f00b204e9800998ecf8427e\nBLAKE2b (f) = d41d8cd98f00b204e9800998ecf8427e\nSHA256 (f) = {A}",
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
            "garbage",
            "<!DOCTYPE html>",
            "-----BEGIN PGP SIGNATURE-----",
            "\u{feff}",
            &format!("\\{A}"),
            &format!("{A}\u{2028}"),
            &format!("{A} "),
            &format!("{A}  "),
            &format!("{A}   f"),
            &format!("{A}\tf"),
            &format!("{A}  dir/"),
            &format!("{}  f", &A[1..]),
            &format!("{A}0  f"),
            &format!("sha256:{A}  f"),
            &format!("SHA512 (f) = {A}"),
            &format!("SHA256 (f) = {LONG}"),
            &format!("SHA256 (f) = {}", &A[1..]),
            "MD5 (f) = ",
            "MD5 (f) = zzzzzzzzzzzz",
            &format!("SHA256 (f) {A}"),
            &format!("\\{A}  a\\tb"),
            &format!(" {A}  f"),
        ] {
            // In front of a list it is a byte order mark.
            if bad != "\u{feff}" {
                assert!(matches!(Sums::parse(bad.as_bytes()), Err(SumsError::Malformed { line: 1, .. })), "{bad}");
            }
            assert!(matches!(Sums::parse((good.clone() + bad).as_bytes()), Err(SumsError::Malformed { line: 2, .. })));
        }
    }

    #[test]
    fn other_algorithms_prove_nothing() {
        for (line, algorithm) in [
            ("d41d8cd98f00b204e9800998ecf8427e  f".to_owned(), "MD5"),
            ("da39a3ee5e6b4b0d3255bfef95601890afd80709  f".to_owned(), "SHA-1"),
            (format!("{}  f", &A[..56]), "SHA-224"),
            (format!("{}  f", &LONG[..96]), "SHA-384"),
        ] {
            let wrong = SumsError::Algorithm { line: 1, algorithm };
            assert_eq!(Sums::parse(line.as_bytes()).err(), Some(wrong), "{line}");
        }
        for (line, algorithm) in [
            ("MD5 (f) = d41d8cd98f00b204e9800998ecf8427e".to_owned(), "MD5"),
            (format!("BLAKE2b-256 (f) = {A}"), "BLAKE2b-256"),
            (format!("SHA512/256 (f) = {A}"), "SHA512/256"),
            (format!("SHA256 (g) = {A}\nSHA1 (f) = da39a3ee5e6b4b0d3255bfef95601890afd80709"), "SHA1"),
        ] {
            let weak = NoEntry::Weak { name: "f".to_owned(), algorithm: algorithm.to_owned() };
            assert_eq!(refused(&line, "f", "SUMS"), weak, "{line}");
        }
    }

    #[test]
    fn a_clear_signed_list_is_refused_with_what_to_do() {
        let list = format!("-----BEGIN PGP SIGNED MESSAGE-----\r\nHash: SHA256\r\n\r\n{A}  f\r\n");
        assert_eq!(Sums::parse(list.as_bytes()).err(), Some(SumsError::ClearSigned));
    }

    #[test]
    fn sha512_lists_are_read_and_all_that_is_listed_must_hold() {
        let long = Sha512::from_hex(LONG.as_bytes());
        for line in ["{L}  f", "{L} *f", "SHA512 (f) = {L}", "SHA2-512(f)= {L}"] {
            let both = Listed { sha256: None, sha512: long, by_name: true };
            assert_eq!(listed(&line.replace("{L}", LONG), "f"), Some(both), "{line}");
        }
        let both = Listed { sha256: A.parse().ok(), sha512: long, by_name: true };
        assert_eq!(listed(&format!("SHA512 (f) = {LONG}\nSHA256 (f) = {A}"), "f"), Some(both));
        let other = LONG.replace('d', "e");
        assert!(matches!(refused(&format!("{LONG}  f\n{other}  f"), "f", "SUMS"), NoEntry::Contradiction { .. }));
    }

    #[test]
    fn a_digest_alone_speaks_of_the_file_that_its_list_is_named_after() {
        let of = |text: &str, name: &str, list: &str| {
            Sums::parse(text.as_bytes()).unwrap().digests_of(OsStr::new(name), OsStr::new(list)).ok()
        };
        for text in [A.to_owned(), format!("{A}\n"), format!("{A}\r\n\n"), format!("{A}  -\n")] {
            assert!(of(&text, "f.tar.gz", "f.tar.gz.sha256").is_some(), "{text}");
            assert!(of(&text, "f.tar.gz", "f.tar.gz.sha256sum").is_some(), "{text}");
            for (name, list) in [
                ("f.tar.gz", "SHA256SUMS"),
                ("f.tar.gz", "g.tar.gz.sha256"),
                ("f.tar.gz", "f.tar.gz.sha512"),
                ("f.tar.gz", "f.tar.gz"),
                ("f.tar.gz", "xf.tar.gz.sha256"),
                ("f.tar", "f.tar.gz.sha256"),
                ("-", "SHA256SUMS"),
                ("", ".sha256"),
            ] {
                assert_eq!(of(&text, name, list), None, "{text} {name} {list}");
            }
        }
        assert!(of(LONG, "f", "f.sha512").is_some_and(|listed| listed.sha256.is_none()));
        assert!(of(LONG, "f", "f.sha256").is_none());
        for two in [format!("{A}\n{A}\n"), format!("{A}\n{A}  f\n"), format!("{A}  f\n{A}  -\n")] {
            assert!(matches!(Sums::parse(two.as_bytes()), Err(SumsError::Malformed { .. })), "{two}");
        }
    }

    #[test]
    fn a_name_that_is_nearly_the_wanted_one_is_pointed_at() {
        for near in ["f.tar.gz.sbom", "xf.tar.gz", "F.TAR.GZ", "dist/f.tar.gz.asc", "f.tar"] {
            let said = refused(&format!("{A}  one\n{A}  {near}"), "f.tar.gz", "SUMS").to_string();
            assert_eq!(said, format!("no entry for 'f.tar.gz' ('{near}' is another file)"));
        }
        let said = refused(&format!("{A}  one\n{A}  two"), "f.tar.gz", "SUMS").to_string();
        assert_eq!(said, "no entry for 'f.tar.gz' (it lists one, two)");
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
            assert!(
                matches!(sums.digests_of(OsStr::new("f"), OsStr::new("SUMS")), Err(NoEntry::Contradiction { .. })),
                "{list}"
            );
        }
    }

    #[test]
    fn names_are_bytes() {
        let list = [A.as_bytes(), b"  f\xff"].concat();
        assert!(Sums::parse(&list).unwrap().digests_of(OsStr::from_bytes(b"f\xff"), OsStr::new("SUMS")).is_ok());
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
                let read = Sums::parse(&flipped).ok();
                let answer = read.and_then(|s| s.digests_of(OsStr::new("rune.tar.gz"), OsStr::new("SUMS")).ok());
                let answer = answer.and_then(|listed| listed.sha256);
                // Only the case of a digit and the kind of separator don't matter.
                let same_digit = digits.contains(&(bit / 8)) && flipped.eq_ignore_ascii_case(line.as_bytes());
                let separator = !digits.contains(&(bit / 8)) && !line.as_bytes()[bit / 8].is_ascii_alphanumeric();
                assert!(answer != Some(right) || same_digit || separator, "{}", String::from_utf8_lossy(&flipped));
            }
        }
    }
}
