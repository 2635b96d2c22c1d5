//! What proves a file: lists, digests and signatures; and the only place where a [`Proven`] is made.
//!
//! A list is authenticated before it is read. A copy is proven by reading it back, so that the bytes that were judged are
//! the bytes that are used.

mod error;
mod minisign;
mod openpgp;
mod signed;
mod sigstore;
mod ssh;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use crate::sys::{Host, durable, intake, tool};
use crate::words::digest::{Digest, Hashing};
use crate::words::named_version::{Named, named};
use crate::words::release::same_version;
use crate::words::sha512;
use crate::words::statement::{By, Covers, Signer, Strength, Who};
use crate::words::sums::Sums;

use error::shown;
use signed::{Check, Copy, Kind, SignatureFile, Signed};

pub use crate::words::statement::Statement;
pub use error::{EvidenceError, NoEvidence};
pub use minisign::KeyPlace;
pub use sigstore::{BUILT as SIGSTORE, Trusted, Untrusted};
pub use ssh::SshSigners;

/// What was given as evidence.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// A checksum list.
    pub sums: Option<PathBuf>,
    /// The digest of the one file.
    pub sha256: Option<Digest>,
    /// The minisign key.
    pub minisign: Option<KeyPlace>,
    /// The SSH keys that may sign.
    pub ssh: Option<SshSigners>,
    /// The keyring of the OpenPGP keys that may sign.
    pub gpg: Option<PathBuf>,
    /// Who signed a Sigstore bundle.
    pub sigstore: Option<Trusted>,
    /// Who must have signed, any one of these; none: every key that is trusted may.
    pub signers: Vec<Who>,
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
        let Given { minisign, ssh, gpg, sigstore, signers, signature, .. } = &given;
        let kinds = [minisign.is_some(), ssh.is_some(), gpg.is_some(), sigstore.is_some()];
        let kinds = kinds.into_iter().filter(|given| *given).count();
        match kinds {
            0 if !signers.is_empty() || signature.is_some() => Err(NoEvidence::NoKey),
            0 if given.sums.is_none() && given.sha256.is_none() => Err(NoEvidence::Nothing),
            2.. if signature.is_some() => Err(NoEvidence::OneName),
            _ => Ok(Self(given)),
        }
    }

    /// True when the evidence can speak of one file alone.
    #[must_use]
    pub fn speaks_of_one(&self) -> bool {
        self.0.sha256.is_some()
    }

    /// Reads the keys.
    pub fn judge(&self, host: &Host) -> Result<Judge<'_>, EvidenceError> {
        let mut kinds: Vec<Box<dyn Kind>> = Vec::new();
        if let Some(key) = &self.0.minisign {
            kinds.push(Box::new(key.trust()?));
        }
        if let Some(signers) = &self.0.ssh {
            kinds.push(Box::new(signers.trust()?));
        }
        if let Some(keyring) = &self.0.gpg {
            kinds.push(Box::new(openpgp::trust(host, keyring)?));
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
    /// Whether a list names the file.
    by_name: bool,
}

impl Verdict {
    /// How much was proven. All statements hold of the same bytes, so the strongest tells.
    #[must_use]
    pub fn strength(&self) -> Strength {
        self.statements.iter().map(|s| s.by.strength()).max().unwrap_or(Strength::Integrity)
    }

    /// Whether a signature names `version` for the file `name`. One that names another is refused: it was made for another
    /// release, and somebody mixes them up. The name counts where it is signed, and a list that is signed signs the names in it.
    pub fn is_signed_as(&self, name: &OsStr, version: &str) -> Result<bool, EvidenceError> {
        let mut signed = false;
        for statement in self.statements.iter().filter(|statement| statement.by.strength() == Strength::Authentic) {
            let other = |what: String, found: &str| {
                let (found, wanted) = (found.to_owned(), version.to_owned());
                Err(EvidenceError::OtherVersion { what, found, wanted })
            };
            if let Some(said) = &statement.version {
                if same_version(said, version) != Some(true) {
                    return other(format!("{}: is signed as", statement.covers.name()), said);
                }
                signed = true;
            }
            let name = name.to_string_lossy();
            match named(&name, version) {
                Named::Other(said) => return other(format!("{name}: is by its name"), &said),
                Named::This => signed |= self.by_name && matches!(statement.covers, Covers::List(_)),
                Named::Nothing => {}
            }
        }
        Ok(signed)
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

    /// What was unpacked from the bytes of `_whole` into `copy`, with this digest and size, is proven because they are.
    pub(super) fn part_of(_whole: &Self, copy: File, (digest, size): (Digest, u64)) -> Self {
        Self { copy, digest, size }
    }
}

/// A signature, and the path of its file.
type Found<'k> = (PathBuf, Box<dyn Signed + 'k>);

/// Evidence whose keys were read: ready to judge files.
#[derive(Debug)]
pub struct Judge<'e> {
    evidence: &'e Given,
    kinds: Vec<Box<dyn Kind>>,
}

impl Judge<'_> {
    /// Judges the bytes that `reader` gives, which are the file's.
    pub fn judge(&self, subject: Subject<'_>, reader: impl Read) -> Result<Verdict, EvidenceError> {
        self.judged(subject, reader, None)
    }

    fn judged(&self, subject: Subject<'_>, reader: impl Read, copy: Copy<'_>) -> Result<Verdict, EvidenceError> {
        let Subject { place, name } = subject;
        let covers = Covers::File(name.to_string_lossy().into_owned());
        let mut expected = Vec::new();
        let mut statements = Vec::new();
        let mut signatures = Vec::new();
        let (mut long, mut by_name) = (None, false);
        if let Some(list) = &self.evidence.sums {
            let list = beside(place, list);
            let text = read("checksum list", &list)?;
            statements = self.authenticated(&list, &text)?;
            let sums = Sums::parse(&text).map_err(|source| EvidenceError::List { path: shown(&list), source })?;
            let listed = sums
                .digests_of(name, list.file_name().unwrap_or_default())
                .map_err(|source| EvidenceError::NoEntry { path: shown(&list), source })?;
            by_name = listed.by_name;
            expected.extend(listed.sha256.map(|digest| (digest, By::Sums, format!("sha256 in {}", last(&list)))));
            long = listed.sha512.map(|digest| (digest, format!("sha512 in {}", last(&list))));
        } else {
            signatures = self.signatures_of(place, &covers)?;
        }
        if let Some(digest) = self.evidence.sha256 {
            expected.push((digest, By::Sha256, "sha256 as given".to_owned()));
        }

        let mut hashing = long.as_ref().map(|_| sha512::Hashing::default());
        let mut checks =
            signatures.iter().map(|(_, signature)| signature.begin(copy)).collect::<Result<Vec<_>, _>>()?;
        let (digest, size) = hashed(place, reader, |bytes| {
            if let Some(hashing) = &mut hashing {
                hashing.update(bytes);
            }
            checks.iter_mut().try_for_each(|check| check.update(bytes))
        })?;
        for (mut check, (path, _)) in checks.into_iter().zip(&signatures) {
            check.digest(digest);
            statements.extend(self.by_whom_it_should(path, check)?);
        }
        let mut holds = |by, text: String, (kind, found, wanted): (_, String, String)| {
            if found != wanted {
                return Err(EvidenceError::Differs { path: shown(place), kind, found, wanted, statement: text });
            }
            statements.push(Statement {
                by,
                signer: None,
                signed_at: None,
                version: None,
                covers: covers.clone(),
                text,
            });
            Ok(())
        };
        for (wanted, by, text) in expected {
            holds(by, text, ("sha256", digest.to_string(), wanted.to_string()))?;
        }
        if let (Some((wanted, text)), Some(hashing)) = (long, hashing) {
            holds(By::Sums, text, ("sha512", hashing.finish().to_string(), wanted.to_string()))?;
        }
        Ok(Verdict { digest, size, statements, by_name })
    }

    /// Copies what `reader` gives, at most `most` bytes, and judges that copy by reading it back.
    ///
    /// # Errors
    /// The outer one tells why there is no whole copy; the evidence comes after that.
    pub fn prove(
        &self,
        subject: Subject<'_>,
        reader: impl Read + Send,
        copy: File,
        most: u64,
    ) -> io::Result<Result<(Proven, Verdict), EvidenceError>> {
        let verdict = intake::copy_and_read(reader, &copy, most, |back| self.judged(subject, back, Some(&copy)))?;
        Ok(verdict.map(|verdict| (Proven { copy, digest: verdict.digest, size: verdict.size }, verdict)))
    }

    /// The statements that the list is signed, at least one for each kind of signature that is asked for.
    fn authenticated(&self, list: &Path, text: &[u8]) -> Result<Vec<Statement>, EvidenceError> {
        let unreadable = |source| EvidenceError::Unreadable { what: "copy of the list", path: shown(list), source };
        let copy = tool::Handed::new(text).map_err(unreadable)?;
        let mut statements = Vec::new();
        for (path, signature) in &self.signatures_of(list, &Covers::List(last(list)))? {
            let mut check = signature.begin(Some(copy.file()))?;
            check.update(text)?;
            check.digest(Digest::of(text));
            statements.extend(self.by_whom_it_should(path, check)?);
        }
        Ok(statements)
    }

    /// What a signature says, when one of those who are asked for made it.
    fn by_whom_it_should(&self, path: &Path, check: Box<dyn Check + '_>) -> Result<Vec<Statement>, EvidenceError> {
        let (wanted, said) = (&self.evidence.signers, check.finish()?);
        let mut signers = said.iter().filter_map(|statement| statement.signer.as_ref());
        if wanted.is_empty() || signers.any(|signer| wanted.iter().any(|who| who.is(signer))) {
            return Ok(said);
        }
        let signers: Vec<_> = said.iter().filter_map(|s| s.signer.as_ref()).map(with_principals).collect();
        let wanted: Vec<_> = wanted.iter().map(ToString::to_string).collect();
        Err(EvidenceError::OtherSigner { path: shown(path), signer: signers.join(", "), wanted: wanted.join(" or ") })
    }

    /// The signatures that speak of what is at `place`: `--sig`, or its name and the kind's suffix.
    fn signatures_of(&self, place: &Path, covers: &Covers) -> Result<Vec<Found<'_>>, EvidenceError> {
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
        let mut found = Vec::new();
        for kind in &self.kinds {
            let file = signature(kind.as_ref())?;
            found.push((file.path.clone(), kind.read(file, covers.clone())?));
        }
        Ok(found)
    }
}

/// Reads all the bytes, for their digest and for every check.
fn hashed(
    place: &Path,
    mut reader: impl Read,
    mut also: impl FnMut(&[u8]) -> Result<(), EvidenceError>,
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
        also(bytes)?;
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

/// A signer for people: a principal is what they may have meant.
fn with_principals(signer: &Signer) -> String {
    match signer.principals() {
        [] => signer.to_string(),
        principals => format!("{signer} ({})", principals.join(" or ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::exit::{Coded, Exit};
    use fs_err as fs;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn judged(evidence: &Evidence, file: &Path) -> Result<Verdict, EvidenceError> {
        let subject = Subject { place: file, name: file.file_name().unwrap() };
        evidence.judge(&Host::below(Path::new("/")))?.judge(subject, fs::File::open(file).unwrap())
    }

    #[test]
    fn no_evidence_is_no_evidence() {
        assert!(matches!(
            Evidence::given(Given { signature: Some("x".into()), ..Given::default() }),
            Err(NoEvidence::NoKey)
        ));
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
