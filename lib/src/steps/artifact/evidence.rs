//! What proves a file: lists, digests and signatures; and the only place where a [`Proven`] is made.
//!
//! A list is authenticated before it is read. A copy is proven by reading it back, so that the bytes that were judged are
//! the bytes that are used.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use crate::sys::{durable, intake};
use crate::words::digest::{Digest, Hashing};
use crate::words::exit::{Coded, Exit};
use crate::words::minisign::{self, Key, NotAKey, NotASignature, Rejected, Signature};
use crate::words::sums::{NoEntry, Sums, SumsError};

/// Where the evidence is, as it was asked for. At least one kind is there.
///
/// A list or a signature whose name holds no `/` is looked up beside the file it speaks of. A key never is: a key that
/// came with the release would prove nothing.
#[derive(Clone, Debug)]
pub struct Evidence {
    sums: Option<PathBuf>,
    sha256: Option<Digest>,
    minisign: Option<KeyPlace>,
    signature: Option<PathBuf>,
}

/// A public key: the key itself or the file that holds it.
#[derive(Clone, Debug)]
pub enum KeyPlace {
    /// The key.
    Inline(Key),
    /// Its `.pub` file.
    File(PathBuf),
}

impl From<OsString> for KeyPlace {
    /// Text that is a key is the key; everything else is a file's name.
    fn from(text: OsString) -> Self {
        let inline = text.to_str().and_then(Key::from_base64);
        inline.map_or_else(|| Self::File(text.into()), Self::Inline)
    }
}

/// No kind of evidence was given.
#[derive(Debug, thiserror::Error)]
#[error("no evidence given: say what proves the files with --sums, --sha256 or --minisign")]
pub struct NoEvidence;

impl Coded for NoEvidence {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// How much was proven, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strength {
    /// The bytes are those that whoever made the list had; nobody signed the list.
    Integrity,
    /// The bytes are those whose digest the caller gave.
    Pinned,
    /// The owner of the given key signed them, or the list they are in.
    Authentic,
}

impl Strength {
    /// One word, for programs: `integrity`, `pinned` or `authentic`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Integrity => "integrity",
            Self::Pinned => "pinned",
            Self::Authentic => "authentic",
        }
    }
}

impl fmt::Display for Strength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Integrity => "integrity only, nobody signed this",
            Self::Pinned => "as pinned",
            Self::Authentic => "authentic",
        })
    }
}

/// Evidence that holds: what it was, one statement each.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The digest of the bytes that were judged.
    pub digest: Digest,
    /// How many bytes there were.
    pub size: u64,
    /// How much was proven.
    pub strength: Strength,
    /// What was proven, one statement each.
    pub statements: Vec<String>,
}

/// A file whose bytes were proven, in a copy that nobody else can open. Only this module makes one.
#[derive(Debug)]
pub struct Proven {
    copy: File,
    digest: Digest,
    size: u64,
}

impl Proven {
    /// The digest of the bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// How many bytes there are.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The bytes, from their start.
    pub fn bytes(&mut self) -> io::Result<&mut File> {
        self.copy.rewind()?;
        Ok(&mut self.copy)
    }

    /// The same bytes once more.
    pub(super) fn again(&self) -> io::Result<Self> {
        Ok(Self { copy: self.copy.try_clone()?, ..*self })
    }

    /// What was unpacked from the bytes of `_whole` into `copy`, with this digest and size, is proven because they are.
    pub(super) fn part_of(_whole: &Self, copy: File, (digest, size): (Digest, u64)) -> Self {
        Self { copy, digest, size }
    }
}

/// Why a file is not proven.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// Evidence that was asked for is not there.
    #[error("{path}: there is no such {what}, so nothing is proven")]
    Missing {
        /// What was looked for.
        what: &'static str,
        /// Where.
        path: String,
    },
    /// Evidence, or the file, could not be read.
    #[error("{path}: the {what} can't be read: {source}")]
    Unreadable {
        /// What was read.
        what: &'static str,
        /// Where.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The key is malformed.
    #[error("{path}: {source}")]
    Key {
        /// The key's file.
        path: String,
        /// Why.
        source: NotAKey,
    },
    /// The signature is malformed.
    #[error("{path}: {source}")]
    Signature {
        /// The signature's file.
        path: String,
        /// Why.
        source: NotASignature,
    },
    /// The signature does not hold.
    #[error("{path}: the signature of {signed} by key {key} does not hold: {source}")]
    Rejected {
        /// The signature's file.
        path: String,
        /// What it should speak of.
        signed: String,
        /// The key's number.
        key: String,
        /// Why.
        source: Rejected,
    },
    /// The signature holds, and speaks of another file.
    #[error("{path}: signed for '{comment}', not for '{name}': right key, other file")]
    OtherFile {
        /// The signature's file.
        path: String,
        /// The file it speaks of.
        comment: String,
        /// The file it should speak of.
        name: String,
    },
    /// The list is of no use.
    #[error("{path}: {source}")]
    List {
        /// The list.
        path: String,
        /// Why.
        source: SumsError,
    },
    /// The list does not speak of the file.
    #[error("{path}: {source}")]
    NoEntry {
        /// The list.
        path: String,
        /// Why.
        source: NoEntry,
    },
    /// The digest is another one.
    #[error("{path}: does not verify: its sha256 is {found}, {expected} is wanted ({statement})")]
    Differs {
        /// The file.
        path: String,
        /// Its digest.
        found: Digest,
        /// The digest it should have.
        expected: Digest,
        /// Who says so.
        statement: String,
    },
}

impl Coded for EvidenceError {
    fn exit(&self) -> Exit {
        match self {
            Self::Unreadable { .. }
            | Self::Key { .. }
            | Self::Signature { .. }
            | Self::List { source: SumsError::Malformed { .. }, .. } => Exit::CouldNot,
            Self::Missing { .. }
            | Self::Rejected { .. }
            | Self::OtherFile { .. }
            | Self::List { .. }
            | Self::NoEntry { .. }
            | Self::Differs { .. } => Exit::No,
        }
    }
}

impl Evidence {
    /// The evidence that was given; with none there is nothing to do.
    pub fn given(
        sums: Option<PathBuf>,
        sha256: Option<Digest>,
        minisign: Option<KeyPlace>,
        signature: Option<PathBuf>,
    ) -> Result<Self, NoEvidence> {
        if sums.is_none() && sha256.is_none() && minisign.is_none() {
            return Err(NoEvidence);
        }
        Ok(Self { sums, sha256, minisign, signature })
    }

    /// True when the evidence can speak of one file alone.
    #[must_use]
    pub fn speaks_of_one(&self) -> bool {
        self.sha256.is_some()
    }

    /// Reads the key.
    pub fn judge(&self) -> Result<Judge<'_>, EvidenceError> {
        let key = match &self.minisign {
            None => None,
            Some(KeyPlace::Inline(key)) => Some(key.clone()),
            Some(KeyPlace::File(path)) => {
                let text = read("minisign key", path)?;
                Some(Key::from_file(&text).map_err(|source| EvidenceError::Key { path: shown(path), source })?)
            }
        };
        Ok(Judge { evidence: self, key })
    }
}

/// Evidence whose key was read: ready to judge files.
#[derive(Debug)]
pub struct Judge<'e> {
    evidence: &'e Evidence,
    key: Option<Key>,
}

impl Judge<'_> {
    /// Judges the bytes that `reader` gives, of the file at `place` (evidence is looked up beside it) called `name`.
    pub fn judge(&self, place: &Path, name: &OsStr, reader: impl Read) -> Result<Verdict, EvidenceError> {
        let mut expected = Vec::new();
        let mut statements = Vec::new();
        let mut signature = None;
        if let Some(list) = &self.evidence.sums {
            let list = beside(place, list);
            let text = read("checksum list", &list)?;
            if let Some(key) = &self.key {
                statements.push(self.authenticate(key, &list, &text)?);
            }
            let sums = Sums::parse(&text).map_err(|source| EvidenceError::List { path: shown(&list), source })?;
            let digest =
                sums.digest_of(name).map_err(|source| EvidenceError::NoEntry { path: shown(&list), source })?;
            expected.push((digest, format!("sha256 in {}", last(&list))));
        } else if let Some(key) = &self.key {
            signature = Some((key, self.signature_of(place)?));
        }
        if let Some(digest) = self.evidence.sha256 {
            expected.push((digest, "sha256 as given".to_owned()));
        }

        let begun = signature.as_ref().map(|(key, (path, signature))| {
            signature.check(key).map_err(|source| rejected(path, &name.to_string_lossy(), key, source))
        });
        let mut check = begun.transpose()?;
        let (digest, size) = hashed(reader, |bytes| {
            if let Some(check) = &mut check {
                check.update(bytes);
            }
        })
        .map_err(|source| EvidenceError::Unreadable { what: "file", path: shown(place), source })?;
        if let (Some(check), Some((key, (path, _)))) = (check, &signature) {
            let signed = name.to_string_lossy();
            let comment = check.finish().map_err(|source| rejected(path, &signed, key, source))?;
            statements.push(stated(key, path, name, &comment)?);
        }
        let strength = match (statements.is_empty(), self.evidence.sha256) {
            (false, _) => Strength::Authentic,
            (true, Some(_)) => Strength::Pinned,
            (true, None) => Strength::Integrity,
        };
        for (wanted, statement) in expected {
            if digest != wanted {
                let path = shown(place);
                return Err(EvidenceError::Differs { path, found: digest, expected: wanted, statement });
            }
            statements.push(statement);
        }
        Ok(Verdict { digest, size, strength, statements })
    }

    /// Judges a copy of the file at `place`, by reading that copy back.
    pub fn prove(&self, place: &Path, name: &OsStr, mut copy: File) -> Result<(Proven, Verdict), EvidenceError> {
        let unreadable = |source| EvidenceError::Unreadable { what: "copy of the file", path: shown(place), source };
        copy.rewind().map_err(unreadable)?;
        let verdict = self.judge(place, name, &mut copy)?;
        Ok((Proven { copy, digest: verdict.digest, size: verdict.size }, verdict))
    }

    /// The statement that the owner of `key` signed the list.
    fn authenticate(&self, key: &Key, list: &Path, text: &[u8]) -> Result<String, EvidenceError> {
        let (path, signature) = self.signature_of(list)?;
        let comment = signature.check(key).and_then(|mut check| {
            check.update(text);
            check.finish()
        });
        let comment = comment.map_err(|source| rejected(&path, &last(list), key, source))?;
        stated(key, &path, list.file_name().unwrap_or_default(), &comment)
    }

    /// The signature that speaks of `signed`: `--sig`, or its name and `.minisig`.
    fn signature_of(&self, signed: &Path) -> Result<(PathBuf, Signature), EvidenceError> {
        let path = if let Some(path) = &self.evidence.signature {
            beside(signed, path)
        } else {
            let mut name = signed.as_os_str().to_owned();
            name.push(".minisig");
            PathBuf::from(name)
        };
        let text = read("signature", &path)?;
        let signature =
            Signature::parse(&text).map_err(|source| EvidenceError::Signature { path: shown(&path), source })?;
        Ok((path, signature))
    }
}

/// The statement that a signature makes. One that names another file is a mix-up or a replay: the key's owner signed
/// these bytes, and never as this file.
fn stated(key: &Key, path: &Path, name: &OsStr, comment: &str) -> Result<String, EvidenceError> {
    match minisign::file_of(comment) {
        Some(file) if OsStr::new(file) != name => Err(EvidenceError::OtherFile {
            path: shown(path),
            comment: file.to_owned(),
            name: name.to_string_lossy().into_owned(),
        }),
        _ => Ok(format!("minisign {key} over {}: {comment}", name.to_string_lossy())),
    }
}

fn hashed(mut reader: impl Read, mut also: impl FnMut(&[u8])) -> io::Result<(Digest, u64)> {
    let mut hashing = Hashing::new(io::sink());
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let bytes = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => buffer.get(..n).unwrap_or_default(),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        io::Write::write_all(&mut hashing, bytes)?;
        also(bytes);
    }
    let (digest, size, _) = hashing.finish();
    Ok((digest, size))
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, EvidenceError> {
    intake::read_small(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => EvidenceError::Missing { what, path: shown(path) },
        _ => EvidenceError::Unreadable { what, path: shown(path), source },
    })
}

/// A bare name lies beside `file`; everything with a `/` is a path of its own.
fn beside(file: &Path, evidence: &Path) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    if evidence.as_os_str().as_bytes().contains(&b'/') {
        evidence.to_owned()
    } else {
        durable::parent(file).join(evidence)
    }
}

fn rejected(path: &Path, signed: &str, key: &Key, source: Rejected) -> EvidenceError {
    EvidenceError::Rejected { path: shown(path), signed: signed.to_owned(), key: key.to_string(), source }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn last(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fs_err as fs;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn judged(evidence: &Evidence, file: &Path) -> Result<Verdict, EvidenceError> {
        evidence.judge()?.judge(file, file.file_name().unwrap(), fs::File::open(file).unwrap())
    }

    #[test]
    fn no_evidence_is_no_evidence() {
        assert!(matches!(Evidence::given(None, None, None, Some("x".into())), Err(NoEvidence)));
    }

    #[test]
    fn a_bare_name_is_beside_the_file_and_a_path_is_where_it_says() {
        let place = |evidence: &str| beside(Path::new("dl/f"), Path::new(evidence));
        assert_eq!(place("SUMS"), Path::new("dl/SUMS"));
        assert_eq!(place("./SUMS"), Path::new("./SUMS"));
        assert_eq!(place("/k/SUMS"), Path::new("/k/SUMS"));
        assert_eq!(beside(Path::new("-"), Path::new("SUMS")), Path::new("./SUMS"));
    }

    #[test]
    fn no_single_bit_flip_of_a_file_verifies() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        fs::write(dir.path().join("SUMS"), format!("{ABC}  f\n")).unwrap();
        let listed = Evidence::given(Some("SUMS".into()), None, None, None).unwrap();
        fs::write(&file, "abc").unwrap();
        let verdict = judged(&listed, &file).unwrap();
        assert_eq!((verdict.strength, verdict.statements), (Strength::Integrity, vec!["sha256 in SUMS".to_owned()]));
        for bit in 0..24 {
            let mut flipped = *b"abc";
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(&file, flipped).unwrap();
            assert!(matches!(judged(&listed, &file), Err(EvidenceError::Differs { .. })), "bit {bit}");
        }
    }

    #[test]
    fn all_of_the_given_evidence_must_hold() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        fs::write(&file, "abc").unwrap();
        fs::write(dir.path().join("SUMS"), format!("{ABC}  f\n")).unwrap();
        let both = |digest: Digest| Evidence::given(Some("SUMS".into()), Some(digest), None, None).unwrap();
        assert_eq!(judged(&both(Digest::of(b"abc")), &file).unwrap().strength, Strength::Pinned);
        assert!(matches!(judged(&both(Digest::of(b"x")), &file), Err(EvidenceError::Differs { .. })));
        fs::remove_file(dir.path().join("SUMS")).unwrap();
        let missing = judged(&both(Digest::of(b"abc")), &file).unwrap_err();
        assert!(matches!(missing, EvidenceError::Missing { .. }) && missing.exit() == Exit::No);
    }
}
