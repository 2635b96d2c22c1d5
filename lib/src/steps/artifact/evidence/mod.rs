//! What proves a file: lists, digests and signatures; and the only place where a [`Proven`] is made.
//!
//! A list is authenticated before it is read. A copy is proven by reading it back, so that the bytes that were judged are
//! the bytes that are used.

mod error;
mod minisign;
mod signed;
mod sigstore;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use crate::sys::{durable, intake};
use crate::words::digest::{Digest, Hashing};
use crate::words::statement::{By, Covers, Strength};
use crate::words::sums::Sums;

use error::shown;
use signed::{Check, Kind, SignatureFile, Signed};

pub use crate::words::statement::Statement;
pub use error::{EvidenceError, NoEvidence};
pub use minisign::KeyPlace;
pub use sigstore::{BUILT as SIGSTORE, Trusted, Untrusted};

/// What was given as evidence.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// A checksum list.
    pub sums: Option<PathBuf>,
    /// The digest of the one file.
    pub sha256: Option<Digest>,
    /// The minisign key.
    pub minisign: Option<KeyPlace>,
    /// Who signed a Sigstore bundle.
    pub sigstore: Option<Trusted>,
    /// The signature's file, when it is not called as its kind calls it.
    pub signature: Option<PathBuf>,
}

/// Where the evidence is, as it was asked for. At least one kind is there.
///
/// A list or a signature whose name holds no `/` is looked up beside the file it speaks of. A key never is: a key that
/// came with the release would prove nothing.
#[derive(Clone, Debug)]
pub struct Evidence(Given);

impl Evidence {
    /// The evidence that was given; with none there is nothing to do.
    pub fn given(given: Given) -> Result<Self, NoEvidence> {
        if given.sums.is_none() && given.sha256.is_none() && given.minisign.is_none() && given.sigstore.is_none() {
            return Err(NoEvidence);
        }
        Ok(Self(given))
    }

    /// True when the evidence can speak of one file alone.
    #[must_use]
    pub fn speaks_of_one(&self) -> bool {
        self.0.sha256.is_some()
    }

    /// Reads the keys.
    pub fn judge(&self) -> Result<Judge<'_>, EvidenceError> {
        let mut kinds: Vec<Box<dyn Kind>> = Vec::new();
        if let Some(key) = &self.0.minisign {
            kinds.push(Box::new(key.trust()?));
        }
        if let Some(trusted) = &self.0.sigstore {
            kinds.push(trusted.trust()?);
        }
        Ok(Judge { evidence: &self.0, kinds })
    }
}

/// The file that evidence is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Where it is: evidence is looked up beside it.
    pub place: &'a Path,
    /// The name that evidence knows it by.
    pub name: &'a OsStr,
}

/// Evidence that holds: what it was, one statement each.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The digest of the bytes that were judged.
    pub digest: Digest,
    /// How many bytes there were.
    pub size: u64,
    /// What was proven, one statement each; at least one.
    pub statements: Vec<Statement>,
}

impl Verdict {
    /// How much was proven. All statements hold of the same bytes, so the strongest tells.
    #[must_use]
    pub fn strength(&self) -> Strength {
        self.statements.iter().map(|s| s.by.strength()).max().unwrap_or(Strength::Integrity)
    }
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

    /// What was unpacked from the bytes of `_whole` into `copy` is proven because they are.
    pub(super) fn part_of(_whole: &Self, mut copy: File) -> io::Result<Self> {
        copy.rewind()?;
        let (digest, size) = Digest::of_reader(&mut copy)?;
        Ok(Self { copy, digest, size })
    }
}

/// Evidence whose keys were read: ready to judge files.
#[derive(Debug)]
pub struct Judge<'e> {
    evidence: &'e Given,
    kinds: Vec<Box<dyn Kind>>,
}

impl Judge<'_> {
    /// Judges the bytes that `reader` gives, which are the file's.
    pub fn judge(&self, subject: Subject<'_>, reader: impl Read) -> Result<Verdict, EvidenceError> {
        let Subject { place, name } = subject;
        let covers = Covers::File(name.to_string_lossy().into_owned());
        let mut expected = Vec::new();
        let mut statements = Vec::new();
        let mut signatures = Vec::new();
        if let Some(list) = &self.evidence.sums {
            let list = beside(place, list);
            let text = read("checksum list", &list)?;
            statements = self.authenticated(&list, &text)?;
            let sums = Sums::parse(&text).map_err(|source| EvidenceError::List { path: shown(&list), source })?;
            let digest =
                sums.digest_of(name).map_err(|source| EvidenceError::NoEntry { path: shown(&list), source })?;
            expected.push((digest, By::Sums, format!("sha256 in {}", last(&list))));
        } else {
            signatures = self.signatures_of(place, &covers)?;
        }
        if let Some(digest) = self.evidence.sha256 {
            expected.push((digest, By::Sha256, "sha256 as given".to_owned()));
        }

        let mut checks = signatures.iter().map(|s| s.begin()).collect::<Result<Vec<_>, _>>()?;
        let (digest, size) = hashed(place, reader, &mut checks)?;
        for mut check in checks {
            check.digest(digest);
            statements.push(check.finish()?);
        }
        for (wanted, by, text) in expected {
            if digest != wanted {
                let path = shown(place);
                return Err(EvidenceError::Differs { path, found: digest, expected: wanted, statement: text });
            }
            statements.push(Statement { by, signer: None, signed_at: None, covers: covers.clone(), text });
        }
        Ok(Verdict { digest, size, statements })
    }

    /// Judges a copy of the file, by reading that copy back.
    pub fn prove(&self, subject: Subject<'_>, mut copy: File) -> Result<(Proven, Verdict), EvidenceError> {
        let unreadable =
            |source| EvidenceError::Unreadable { what: "copy of the file", path: shown(subject.place), source };
        copy.rewind().map_err(unreadable)?;
        let verdict = self.judge(subject, &mut copy)?;
        Ok((Proven { copy, digest: verdict.digest, size: verdict.size }, verdict))
    }

    /// The statements that the list is signed, one for each kind of signature that is asked for.
    fn authenticated(&self, list: &Path, text: &[u8]) -> Result<Vec<Statement>, EvidenceError> {
        let signatures = self.signatures_of(list, &Covers::List(last(list)))?;
        let held = |signature: &Box<dyn Signed + '_>| {
            let mut check = signature.begin()?;
            check.update(text)?;
            check.digest(Digest::of(text));
            check.finish()
        };
        signatures.iter().map(held).collect()
    }

    /// The signatures that speak of what is at `place`: `--sig`, or its name and the kind's suffix.
    fn signatures_of(&self, place: &Path, covers: &Covers) -> Result<Vec<Box<dyn Signed + '_>>, EvidenceError> {
        let signature = |kind: &'_ dyn Kind| -> Result<SignatureFile, EvidenceError> {
            let paths = match &self.evidence.signature {
                Some(path) => vec![beside(place, path)],
                None => kind.suffixes().iter().map(|suffix| with(place, suffix)).collect(),
            };
            let mut missing = None;
            for path in paths {
                match read("signature", &path) {
                    Ok(bytes) => return Ok(SignatureFile { path, bytes }),
                    Err(e @ EvidenceError::Missing { .. }) => missing = missing.or(Some(e)),
                    Err(e) => return Err(e),
                }
            }
            Err(missing.unwrap_or(EvidenceError::Missing { what: "signature", path: shown(place) }))
        };
        self.kinds.iter().map(|kind| kind.read(signature(kind.as_ref())?, covers.clone())).collect()
    }
}

/// Reads all the bytes, for their digest and for every check.
fn hashed(
    place: &Path,
    mut reader: impl Read,
    checks: &mut [Box<dyn Check + '_>],
) -> Result<(Digest, u64), EvidenceError> {
    let unreadable = |source| EvidenceError::Unreadable { what: "file", path: shown(place), source };
    let mut hashing = Hashing::new(io::sink());
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let bytes = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => buffer.get(..n).unwrap_or_default(),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(unreadable(e)),
        };
        io::Write::write_all(&mut hashing, bytes).map_err(unreadable)?;
        checks.iter_mut().try_for_each(|check| check.update(bytes))?;
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

/// `place` with `suffix` behind its name.
fn with(place: &Path, suffix: &str) -> PathBuf {
    let mut name = place.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn last(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::exit::{Coded, Exit};
    use fs_err as fs;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn judged(evidence: &Evidence, file: &Path) -> Result<Verdict, EvidenceError> {
        let subject = Subject { place: file, name: file.file_name().unwrap() };
        evidence.judge()?.judge(subject, fs::File::open(file).unwrap())
    }

    #[test]
    fn no_evidence_is_no_evidence() {
        assert!(matches!(Evidence::given(Given { signature: Some("x".into()), ..Given::default() }), Err(NoEvidence)));
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
        let listed = Evidence::given(Given { sums: Some("SUMS".into()), ..Given::default() }).unwrap();
        fs::write(&file, "abc").unwrap();
        let verdict = judged(&listed, &file).unwrap();
        assert_eq!(verdict.strength(), Strength::Integrity);
        let said: Vec<_> = verdict.statements.iter().map(|s| (s.by, s.covers.name(), s.text.as_str())).collect();
        assert_eq!(said, [(By::Sums, "f", "sha256 in SUMS")]);
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
        let both = |digest: Digest| {
            let given = Given { sums: Some("SUMS".into()), sha256: Some(digest), ..Given::default() };
            Evidence::given(given).unwrap()
        };
        assert_eq!(judged(&both(Digest::of(b"abc")), &file).unwrap().strength(), Strength::Pinned);
        assert!(matches!(judged(&both(Digest::of(b"x")), &file), Err(EvidenceError::Differs { .. })));
        fs::remove_file(dir.path().join("SUMS")).unwrap();
        let missing = judged(&both(Digest::of(b"abc")), &file).unwrap_err();
        assert!(matches!(missing, EvidenceError::Missing { .. }) && missing.exit() == Exit::No);
    }
}
