//! The step of verify: files in, evidence held against a copy of each, wanted members out, all of it stored or nothing.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use super::demands::{DemandError, Demands};
use super::evidence::{Evidence, EvidenceError, Judge, Proven, Subject, Verdict};
use super::extract::{self, ExtractError};
use super::machine::{self, Kind, MachineError};
use super::origin::Origin;
use super::run::{self, Candidate, Ran, RunError, Runs};
use super::store::{Admitted, Store, StoreError};
use crate::sys::say::Say;
use crate::sys::{Host, clock, intake};
use crate::words::digest::Digest;
use crate::words::elf::Machine;
use crate::words::exit::{Coded, Exit};
use crate::words::member::{FileName, NotAFileName, Wanted};
use crate::words::policy::Facts;
use crate::words::release::{Tag, same_version};

/// The most that a file may hold which is stored or extracted from, in bytes.
const FILE: u64 = 4 << 30;

/// What verify is asked to do.
#[derive(Clone, Debug)]
pub struct Request {
    /// The files; `-` is standard input.
    pub files: Vec<PathBuf>,
    /// What proves them.
    pub evidence: Evidence,
    /// The version that they must be, as far as signatures and origin records tell.
    pub version: Option<String>,
    /// What must hold besides.
    pub demands: Demands,
    /// The name of the one file: in lists and signatures when it is standard input, and in the store.
    pub name: Option<FileName>,
    /// What to do with them once they are proven.
    pub then: Then,
}

/// What happens to files that are proven.
#[derive(Clone, Debug)]
pub enum Then {
    /// Nothing: the evidence was the question.
    Check,
    /// They go to the store.
    Store {
        /// What to take from them; nothing: the files themselves.
        wanted: Vec<Wanted>,
        /// The machine that programs must be for, when it is not this host.
        target: Option<Machine>,
        /// What to run of them before.
        runs: Option<Runs>,
    },
}

/// A file that is proven, and what became of it.
#[derive(Debug)]
pub struct Verified {
    /// The file as it was given.
    pub file: PathBuf,
    /// What was proven.
    pub verdict: Verdict,
    /// What of it is in the store now.
    pub stored: Vec<StoredFile>,
}

/// A file in the store.
#[derive(Debug)]
pub struct StoredFile {
    /// Its name.
    pub name: FileName,
    /// Its path.
    pub path: PathBuf,
    /// Its digest.
    pub digest: Digest,
    /// How many bytes it holds.
    pub size: u64,
    /// What it gave when it was run.
    pub ran: Vec<Ran>,
}

/// Why files are not verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The request contradicts itself.
    #[error("{0}")]
    Usage(&'static str),
    /// A file's name is no name for the store.
    #[error(transparent)]
    Name(#[from] NotAFileName),
    /// The file can't be read.
    #[error("{path}: can't be read: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// It could not be copied into the cache.
    #[error("{path}: can't be copied into the cache: {source}")]
    Copy {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The evidence does not hold.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// A member could not be taken.
    #[error(transparent)]
    Extract(#[from] ExtractError),
    /// A demand does not hold.
    #[error(transparent)]
    Demand(#[from] DemandError),
    /// A file does not belong on this host.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// A file could not be run, or failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A file could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Coded for VerifyError {
    fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) | Self::Name(_) => Exit::Usage,
            Self::Read { .. } | Self::Copy { .. } => Exit::CouldNot,
            Self::Evidence(e) => e.exit(),
            Self::Extract(e) => e.exit(),
            Self::Demand(e) => e.exit(),
            Self::Machine(e) => e.exit(),
            Self::Run(e) => e.exit(),
            Self::Store(e) => e.exit(),
        }
    }
}

/// Verifies all the files of `request`, in their order. Nothing is stored unless all of them are good.
pub fn verify(host: &Host, request: &Request, say: &Say) -> Result<Vec<Verified>, VerifyError> {
    let named = one_of_each(request)?;
    let judge = request.evidence.judge(host)?;
    let demands = request.demands.read(host)?;
    match &request.then {
        Then::Check => named
            .iter()
            .map(|(file, name)| {
                let verdict = match source(file)? {
                    None => judge.judge(subject(file, name), io::stdin().lock())?,
                    Some(source) => judge.judge(subject(file, name), source)?,
                };
                told(file, &verdict, say);
                let mut origin = origin(host, file, name, &verdict, say);
                let mut facts = facts(request, name, &verdict, &origin.record)?;
                origin.doubt(request, &mut facts);
                demands.judge(&shown(file), &facts)?;
                tell_version(request, file, &facts, &origin.record, say);
                Ok(Verified { file: file.to_path_buf(), verdict, stored: Vec::new() })
            })
            .collect(),
        Then::Store { wanted, target, runs } => {
            let mut assets = Vec::new();
            for (file, name) in named {
                let asset = prove(host, &judge, file, name, say)?;
                facts(request, name, &asset.verdict, &asset.origin.record)?;
                assets.push(asset);
            }
            let mut chosen = chosen(host, &mut assets, request.name.as_ref(), wanted)?;
            let kinds = fits(host, &mut chosen, *target, say)?;
            let ran = ran(host, runs.as_ref(), &assets, &mut chosen, &kinds, say)?;
            for (index, asset) in assets.iter_mut().enumerate() {
                let mut facts = facts(request, &asset.name, &asset.verdict, &asset.origin.record)?;
                let of_it = chosen.iter().zip(&ran).filter(|(file, _)| file.asset == index).flat_map(|(_, ran)| ran);
                let printed = of_it.into_iter().filter_map(|ran| ran.version.as_deref()).collect::<Vec<_>>();
                facts.version_proven |= facts.version.as_ref().is_some_and(|wanted| {
                    printed.iter().any(|found| same_version(found, wanted.as_str()) == Some(true))
                });
                asset.origin.doubt(request, &mut facts);
                demands.judge(&shown(&asset.file), &facts)?;
                tell_version(request, &asset.file, &facts, &asset.origin.record, say);
            }
            store(host, assets, chosen, &kinds, ran, say)
        }
    }
}

/// Each file with the name that evidence knows it by.
fn one_of_each(request: &Request) -> Result<Vec<(&Path, &OsStr)>, VerifyError> {
    let several = request.files.len() > 1;
    if several && request.evidence.speaks_of_one() {
        return Err(VerifyError::Usage("--sha256 speaks of one file; prove several with --sums"));
    }
    if several && request.name.is_some() {
        return Err(VerifyError::Usage("--as names one file, and several are given"));
    }
    let stdin = request.files.iter().any(|file| is_stdin(file));
    if matches!(request.then, Then::Check) && request.name.is_some() && !stdin {
        return Err(VerifyError::Usage("--as names what is stored, and --check stores nothing"));
    }
    if let Then::Store { wanted, .. } = &request.then {
        if !wanted.is_empty() && request.name.is_some() && !stdin {
            return Err(VerifyError::Usage("--as and --extract both name what is stored; give one of them"));
        }
        let twice = wanted.iter().enumerate().any(|(i, a)| wanted.iter().take(i).any(|b| a.name() == b.name()));
        if twice {
            return Err(VerifyError::Usage("--extract wants two files of one name"));
        }
    }
    let named = |file: &'_ PathBuf| match (is_stdin(file), &request.name) {
        (true, None) => Err(VerifyError::Usage("standard input has no name; give it one with --as NAME")),
        (true, Some(_)) => Ok(None),
        (false, _) if file.file_name().is_none() => Err(VerifyError::Usage("a folder is no file to verify")),
        (false, _) => Ok(Some(())),
    };
    request
        .files
        .iter()
        .map(|file| {
            let own = named(file)?.and_then(|()| file.file_name());
            let given = request.name.as_ref().map(FileName::as_os_str);
            Ok((file.as_path(), own.or(given).unwrap_or_default()))
        })
        .collect()
}

/// A file that is proven, with what is known about it.
struct Asset {
    file: PathBuf,
    name: std::ffi::OsString,
    proven: Proven,
    verdict: Verdict,
    origin: Said,
}

/// Where a file comes from, by its record.
struct Said {
    record: Origin,
    /// Whether nobody else could have written the record.
    believed: bool,
}

impl Said {
    /// Drops what somebody else's word is all there is for: the date, and a version that nobody asked for or proved. A floor
    /// and a policy rest on both, and the store keeps them.
    fn doubt(&mut self, request: &Request, facts: &mut Facts) {
        if self.believed {
            return;
        }
        (self.record.published, facts.published) = (None, None);
        if request.version.is_none() && !facts.version_proven {
            (self.record.version, facts.version) = (None, None);
        }
    }
}

/// A file for the store: the asset it is from, its name, its bytes.
struct Chosen {
    asset: usize,
    name: FileName,
    proven: Proven,
}

fn prove(host: &Host, judge: &Judge<'_>, file: &Path, name: &OsStr, say: &Say) -> Result<Asset, VerifyError> {
    let path = || file.display().to_string();
    let copy_error = |source| VerifyError::Copy { path: path(), source };
    let copy = intake::unnamed(host).map_err(copy_error)?;
    let subject = subject(file, name);
    let (proven, verdict) = match source(file)? {
        None => judge.prove(subject, io::stdin(), copy, FILE),
        Some(source) => intake::at_most(source, FILE).and_then(|source| judge.prove(subject, source, copy, FILE)),
    }
    .map_err(copy_error)??;
    told(file, &verdict, say);
    let origin = origin(host, file, name, &verdict, say);
    Ok(Asset { file: file.to_owned(), name: name.to_owned(), proven, verdict, origin })
}

/// What of the assets goes to the store: the wanted members, or each of them itself.
fn chosen(
    host: &Host,
    assets: &mut [Asset],
    name: Option<&FileName>,
    wanted: &[Wanted],
) -> Result<Vec<Chosen>, VerifyError> {
    if wanted.is_empty() {
        let whole = |(index, asset): (usize, &mut Asset)| {
            let name = match name {
                Some(name) => name.clone(),
                None => FileName::parse(&asset.name)?,
            };
            let proven = asset.proven.again().map_err(|source| copy_error(&asset.file, source))?;
            Ok(Chosen { asset: index, name, proven })
        };
        return assets.iter_mut().enumerate().map(whole).collect();
    }
    let contents = assets
        .iter_mut()
        .map(|asset| extract::contents(host, &mut asset.proven, &asset.name, wanted))
        .collect::<Result<Vec<_>, _>>()?;
    let picked = extract::pick(wanted, &contents)?;
    let name =
        |(wanted, (asset, proven)): (&Wanted, (usize, Proven))| Chosen { asset, name: wanted.name().clone(), proven };
    Ok(wanted.iter().zip(picked).map(name).collect())
}

/// What kind each of the files is that belong on this host; the first that does not ends it.
fn fits(host: &Host, chosen: &mut [Chosen], target: Option<Machine>, say: &Say) -> Result<Vec<Kind>, VerifyError> {
    let names: Vec<FileName> = chosen.iter().map(|file| file.name.clone()).collect();
    let beside: Vec<&OsStr> = names.iter().map(FileName::as_os_str).collect();
    let mut kinds = Vec::new();
    for file in chosen {
        let name = file.name.as_os_str().to_string_lossy().into_owned();
        let bytes = file.proven.bytes().map_err(|source| VerifyError::Read { path: name.clone(), source })?;
        kinds.push(machine::fits(host, target, &name, &beside, bytes, say)?);
    }
    Ok(kinds)
}

/// What each of the files gave when it was run, where that is asked for.
fn ran(
    host: &Host,
    runs: Option<&Runs>,
    assets: &[Asset],
    chosen: &mut [Chosen],
    kinds: &[Kind],
    say: &Say,
) -> Result<Vec<Vec<Ran>>, VerifyError> {
    let Some(runs) = runs else { return Ok(chosen.iter().map(|_| Vec::new()).collect()) };
    let candidate = |(file, kind): (_, &Kind)| {
        let file: &mut Chosen = file;
        let origin = assets.get(file.asset).map(|asset| &asset.origin.record);
        Candidate { name: &file.name, kind: *kind, proven: &mut file.proven, origin }
    };
    let mut candidates: Vec<_> = chosen.iter_mut().zip(kinds).map(candidate).collect();
    Ok(run::run(host, runs, &mut candidates, say)?)
}

/// Stores what was judged and found good.
fn store(
    host: &Host,
    assets: Vec<Asset>,
    mut chosen: Vec<Chosen>,
    kinds: &[Kind],
    ran: Vec<Vec<Ran>>,
    say: &Say,
) -> Result<Vec<Verified>, VerifyError> {
    let store = Store::of(host);
    store.make(host)?;
    let mut verified: Vec<Verified> = Vec::new();
    let mut origins = Vec::new();
    for asset in assets {
        verified.push(Verified { file: asset.file, verdict: asset.verdict, stored: Vec::new() });
        origins.push(asset.origin.record);
    }
    let admitted = admit(&store, &mut chosen, kinds, &origins)?;
    for ((file, (path, admitted)), ran) in chosen.into_iter().zip(admitted).zip(ran) {
        let Some(verified) = verified.get_mut(file.asset) else { continue };
        match admitted {
            Admitted::New => say.detail(format_args!("{}: stored", path.display())),
            Admitted::Kept => say.detail(format_args!("{}: was in the store already", path.display())),
            Admitted::Replaced => {
                say.note(format_args!("{}: the store held other bytes under this name; replaced", path.display()));
            }
        }
        let (digest, size) = (file.proven.digest(), file.proven.size());
        verified.stored.push(StoredFile { name: file.name, path, digest, size, ran });
    }
    Ok(verified)
}

/// Admits the files two at a time: what takes long is that their bytes are hashed again.
fn admit(
    store: &Store,
    chosen: &mut [Chosen],
    kinds: &[Kind],
    origins: &[Origin],
) -> Result<Vec<(PathBuf, Admitted)>, VerifyError> {
    let one = |(file, kind): (&mut Chosen, &Kind)| -> Result<_, VerifyError> {
        let origin = origins.get(file.asset).ok_or(VerifyError::Usage("a file of no asset"))?;
        Ok(store.admit(&mut file.proven, &file.name, kind.mode(), origin)?)
    };
    let io = |source| StoreError::Io { path: store.root().display().to_string(), source };
    let mut admitted = Vec::new();
    for (files, kinds) in chosen.chunks_mut(2).zip(kinds.chunks(2)) {
        thread::scope(|scope| -> Result<(), VerifyError> {
            let mut files = files.iter_mut().zip(kinds);
            let here = files.next_back();
            let spawn = |file| thread::Builder::new().name("store".to_owned()).spawn_scoped(scope, || one(file));
            let beside = files.map(spawn).collect::<Result<Vec<_>, _>>().map_err(io)?;
            let here = here.map(one);
            for thread in beside {
                let gone = |_| Err(io(io::Error::other("the thread that stores is gone")).into());
                admitted.push(thread.join().unwrap_or_else(gone)?);
            }
            admitted.extend(here.transpose()?);
            Ok(())
        })?;
    }
    Ok(admitted)
}

/// The record that goes with the file: fetch's, when it speaks of these bytes, else one that names the path.
/// What it claims to be proven is not taken over: this is said here, by who proved it.
fn origin(host: &Host, file: &Path, name: &OsStr, verdict: &Verdict, say: &Say) -> Said {
    let path = Origin::beside(file);
    let found = if is_stdin(file) { Ok(None) } else { Origin::of(host, file) };
    let (record, doubt) = match found {
        Ok(Some((record, doubt))) if record.digest == verdict.digest => (Some(record), doubt),
        Ok(Some(_)) => {
            say.note(format_args!("{}: speaks of other bytes; left aside", path.display()));
            (None, None)
        }
        Ok(None) => (None, None),
        Err(e) => {
            say.note(format_args!("{e}; left aside"));
            (None, None)
        }
    };
    if let Some(why) = &doubt {
        say.note(format_args!("{}: its version counts only where it is proven: {why}", path.display()));
    }
    let mut record = record.unwrap_or_else(|| Origin {
        schema: Origin::SCHEMA,
        source: if is_stdin(file) { "standard input".to_owned() } else { file.display().to_string() },
        version: None,
        prerelease: false,
        published: None,
        asset: name.to_string_lossy().into_owned(),
        digest: verdict.digest,
        time: clock::now(),
        proven: Vec::new(),
    });
    record.proven = verdict.statements.iter().map(|statement| statement.text.clone()).collect();
    Said { record, believed: doubt.is_none() }
}

/// What the demands ask about. The version is the one that was asked for, or else fetched; no signature may name another.
fn facts(request: &Request, name: &OsStr, verdict: &Verdict, origin: &Origin) -> Result<Facts, EvidenceError> {
    let wanted = request.version.as_deref().or(origin.version.as_deref());
    if let (Some(wanted), Some(fetched)) = (&request.version, &origin.version)
        && same_version(wanted, fetched) != Some(true)
    {
        let what = format!("{}: was fetched as", name.to_string_lossy());
        return Err(EvidenceError::OtherVersion { what, found: fetched.clone(), wanted: wanted.clone() });
    }
    Ok(Facts {
        statements: verdict.statements.clone(),
        version: wanted.map(Tag::new),
        version_proven: wanted.map_or(Ok(false), |wanted| verdict.is_signed_as(name, wanted))?,
        published: origin.published,
        now: clock::now(),
    })
}

/// That a version was asked for and nothing tells one: this is no refusal, and no proof either.
fn tell_version(request: &Request, file: &Path, facts: &Facts, origin: &Origin, say: &Say) {
    if let Some(wanted) = &request.version
        && !facts.version_proven
        && origin.version.is_none()
    {
        let file = shown(file);
        say.note(format_args!(
            "{file}: nothing tells its version, so {wanted} is your word alone; see --run --version"
        ));
    }
}

fn shown(file: &Path) -> String {
    if is_stdin(file) { "standard input".to_owned() } else { file.display().to_string() }
}

fn told(file: &Path, verdict: &Verdict, say: &Say) {
    let file = shown(file);
    let statements: Vec<_> = verdict.statements.iter().map(|statement| statement.text.as_str()).collect();
    say.note(format_args!("{file}: {}: {}", verdict.strength(), statements.join("; ")));
}

/// The opened file; `None` for standard input.
fn source(file: &Path) -> Result<Option<File>, VerifyError> {
    if is_stdin(file) {
        return Ok(None);
    }
    let read = |source| VerifyError::Read { path: file.display().to_string(), source };
    intake::open_regular(file).map(Some).map_err(read)
}

fn copy_error(file: &Path, source: io::Error) -> VerifyError {
    VerifyError::Copy { path: file.display().to_string(), source }
}

/// Evidence is looked up beside the file. Standard input is as if it were a file of the current folder.
fn subject<'p>(file: &'p Path, name: &'p OsStr) -> Subject<'p> {
    Subject { place: if is_stdin(file) { Path::new(name) } else { file }, name }
}

fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == "-"
}
