//! fetch: a release's assets to a folder, each whole or not at all, with a record of where it came from.

mod choose;
mod image;
mod list;

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use fs_err as fs;
use nix::unistd::geteuid;
use serde_json::{Value, json};

use super::origin::Origin;
use super::source::{Asking, Asset, Place, Release, Source, SourceError, Wanted, plain};
use crate::sys::landing::{Landed, Landing, sweep};
use crate::sys::net::url::Url;
use crate::sys::net::{Net, NetError, Policy};
use crate::sys::say::Say;
use crate::sys::{Host, clock, durable, trust};
use crate::words::digest::Digest;
use crate::words::exit::{Coded, Exit};
use crate::words::pattern::Pattern;
use crate::words::release::{AssetName, BadName, Channel, Tag, Version};
use crate::words::size::Size;
use crate::words::target::Target;
use image::ImageError;

pub use list::{columns, list, listed, table};

/// What to fetch, and how.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where from, and which release.
    pub source: Source,
    /// Which assets; without any, the one that fits `target`.
    pub assets: Vec<Pattern>,
    /// What to fetch beside them: checksum lists and signatures.
    pub sidecars: Vec<Pattern>,
    /// The machine the assets are for.
    pub target: Target,
    /// Whether pre-releases may be picked.
    pub channel: Channel,
    /// The version that must be exceeded.
    pub newer_than: Option<Version>,
    /// Where to; a folder below the cache when absent.
    pub into: Option<PathBuf>,
    /// The most bytes of one file.
    pub max_size: Size,
    /// The date of the release must be known, where its source can tell.
    pub dated: bool,
    /// How the network is used.
    pub policy: Policy,
}

/// What was fetched.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The release's tag, if it has one.
    pub tag: Option<Tag>,
    /// The assets, in the order asked for.
    pub assets: Vec<File>,
    /// The checksum lists and signatures beside them.
    pub sidecars: Vec<File>,
}

/// One file that is there now, whole.
#[derive(Clone, Debug)]
pub struct File {
    /// Its name.
    pub name: AssetName,
    /// Where it is.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// Its digest as it was received.
    pub digest: Digest,
    /// Where it came from: an address without secrets, or a path.
    pub from: String,
}

impl Fetched {
    /// The fields of fetch's `--json` answer.
    #[must_use]
    pub fn json(&self, request: &Request) -> Value {
        let file = |file: &File| {
            json!({
                "name": file.name.as_str(),
                "path": file.path.to_string_lossy(),
                "size": file.size,
                "digest": file.digest,
                "url": file.from,
            })
        };
        json!({
            "source": request.source.spelling(),
            "tag": self.tag.as_ref().map(Tag::as_str),
            "version": self.tag.as_ref().map(Tag::version_text),
            "assets": self.assets.iter().map(file).collect::<Vec<_>>(),
            "sidecars": self.sidecars.iter().map(file).collect::<Vec<_>>(),
        })
    }
}

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The source gave no release.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The network failed.
    #[error(transparent)]
    Net(#[from] NetError),
    /// A file is not there, and whether it will be nobody could say.
    #[error(
        "{url}: not found (404); whether it is still being published, only the API can tell, and that fails: {why}"
    )]
    Unexplained {
        /// Where it was looked for.
        url: Url,
        /// Why the API gave no answer.
        why: Box<NetError>,
    },
    /// The release is not newer than asked for.
    #[error("{source_name}: nothing newer: {found}")]
    NothingNewer {
        /// The source.
        source_name: String,
        /// What there is instead.
        found: String,
    },
    /// The release can't be compared.
    #[error("{source_name}: '{tag}' can't be compared with that version, so nobody can tell whether it is newer")]
    Unordered {
        /// The source.
        source_name: String,
        /// The release's tag.
        tag: String,
    },
    /// The release has no asset for this machine, or none of that name.
    #[error("{release}: no asset {wanted}; it has {has}{}", or_named(.wanted))]
    NoAsset {
        /// Source and tag.
        release: String,
        /// What was looked for.
        wanted: String,
        /// What there is.
        has: String,
    },
    /// Several assets fit.
    #[error("{release}: {} assets fit {wanted}: {}; name one with --asset", names.len(), names.join(", "))]
    Several {
        /// Source and tag.
        release: String,
        /// What was looked for.
        wanted: String,
        /// All that fit.
        names: Vec<String>,
    },
    /// The release is visible, its assets are not all there yet.
    #[error("{release}: still being published: {missing}; try again in some minutes")]
    Publishing {
        /// Source and tag.
        release: String,
        /// What is not there yet.
        missing: String,
    },
    /// An asset's name is no plain file name.
    #[error("{release}: {why}")]
    Name {
        /// Source and tag.
        release: String,
        /// Why it is refused.
        why: BadName,
    },
    /// The bytes are not those that the source announced.
    #[error("{from}: its SHA-256 is {got}, the release says {expected}; refused")]
    Digest {
        /// Where it came from.
        from: String,
        /// What it is.
        got: Digest,
        /// What it should be.
        expected: Digest,
    },
    /// A file of an image could not be had.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A file of the source is larger than is taken.
    #[error("{path}: larger than {cap}; raise --max-size if that is right", path = .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most that is taken.
        cap: Size,
    },
    /// A file could not be read or written.
    #[error("{path}: could not be fetched: {why}", path = .path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
}

/// The way out where no name was given: a name may tell nothing of a machine.
fn or_named(wanted: &str) -> &'static str {
    if wanted.starts_with("for ") { "; if one of these is right, name it with --asset" } else { "" }
}

impl Coded for FetchError {
    fn exit(&self) -> Exit {
        match self {
            Self::Source(e) => e.exit(),
            Self::Net(e) => e.exit(),
            Self::Image(e) => e.exit(),
            Self::Unexplained { why, .. } => why.exit(),
            Self::NothingNewer { .. } | Self::NoAsset { .. } | Self::Several { .. } => Exit::No,
            Self::Publishing { .. } => Exit::NotNow,
            Self::Unordered { .. }
            | Self::Name { .. }
            | Self::Digest { .. }
            | Self::TooLarge { .. }
            | Self::File { .. } => Exit::CouldNot,
        }
    }
}

/// A file on its way: on disk already, or received and without its name yet.
enum Got {
    Kept(File),
    New(File, Landed),
}

impl Got {
    /// Leaves what was received for the next run.
    fn leave(self) {
        if let Self::New(_, landed) = self {
            landed.leave();
        }
    }
}

impl Request {
    fn wanted(&self, asking: Asking) -> Wanted<'_> {
        Wanted {
            channel: self.channel,
            target: &self.target,
            assets: &self.assets,
            sidecars: &self.sidecars,
            newer_than: self.newer_than.as_ref(),
            asking,
        }
    }
}

/// Fetches what is asked for. Nothing has its final name before everything is whole and on disk.
///
/// What is not where it was assumed is asked for again of whoever can tell why: not yet, not for this host, or not at all.
pub fn fetch(host: &Host, request: &Request, say: &Say) -> Result<Fetched, FetchError> {
    let net = Net::open(request.policy.clone())?;
    let asking = if request.dated { Asking::All } else { Asking::Any };
    let release = request.source.release(&request.wanted(asking), &net, say)?;
    let assumed = release.assumed;
    match take(host, release, request, &net, say) {
        Err(FetchError::Net(NetError::NotFound(url))) if assumed => {
            say.detail(format_args!("{url}: not found (404); the API is asked why"));
            let release = request.source.release(&request.wanted(Asking::All), &net, say).map_err(|e| match e {
                SourceError::Net(why) => FetchError::Unexplained { url, why: Box::new(why) },
                e => e.into(),
            })?;
            take(host, release, request, &net, say)
        }
        taken => taken,
    }
}

/// Takes from `release` what is asked for.
fn take(host: &Host, mut release: Release, request: &Request, net: &Net, say: &Say) -> Result<Fetched, FetchError> {
    exceeds(&release, request)?;
    request.source.build(host, &mut release, &request.target, net, say)?;
    let chosen = choose::choose(&release, request, say)?;
    let dir = request.into.clone().unwrap_or_else(|| {
        let version = release.tag.as_ref().map_or("unversioned".to_owned(), |tag| plain(tag.as_str()));
        host.cache().join("fetch").join(request.source.folder()).join(version)
    });
    let at = |path: &Path| {
        let path = path.to_owned();
        move |why| FetchError::File { path, why }
    };
    durable::make_dirs(&dir, 0o755).map_err(at(&dir))?;
    is_safe(host, &dir, request, say).map_err(at(&dir))?;
    sweep(&dir).map_err(at(&dir))?;

    let wanted: Vec<_> = chosen.assets.iter().chain(&chosen.sidecars).collect();
    let mut of_image = image::unpack(host, &dir, &wanted, request, net, say)?.into_iter();
    let mut received: Vec<Got> = Vec::new();
    for (name, asset) in wanted {
        let got = match &asset.place {
            Place::Image { .. } => {
                of_image.next().ok_or_else(|| at(&dir.join(name.as_str()))(io::ErrorKind::NotFound.into()))
            }
            Place::Written(from) => write_list(&dir, name, from, &received, say),
            _ => receive(host, &dir, name, asset, request, net, say),
        };
        match got {
            Ok(got) => received.push(got),
            Err(e) => {
                if e.exit() == Exit::NotNow {
                    received.into_iter().for_each(Got::leave);
                }
                return Err(e);
            }
        }
    }
    let mut files = Vec::new();
    for got in received {
        let file = match got {
            Got::Kept(file) => file,
            Got::New(file, landed) => {
                landed.settle(&file.path).map_err(at(&file.path))?;
                file
            }
        };
        files.push(file);
    }
    let sidecars = files.split_off(chosen.assets.len());
    for file in &files {
        let record = Origin::beside(&file.path);
        write_record(&record, file, &release, request).map_err(at(&record))?;
    }
    Ok(Fetched { tag: release.tag, assets: files, sidecars })
}

/// An error when root would put files where others could put theirs in the place of them: below the cache wherever anybody
/// else can write, and with `--into` where all or a group can. What belongs to one other user is his to give; that is said.
fn is_safe(host: &Host, dir: &Path, request: &Request, say: &Say) -> io::Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    if request.into.is_none() {
        return trust::check(host, dir);
    }
    match trust::replaceable(host, &fs::canonicalize(dir)?)? {
        None => Ok(()),
        Some(found) if found.is_anothers() => {
            say.note(format_args!("{found}, who can change what is fetched there; verify proves the bytes it takes"));
            Ok(())
        }
        Some(found) => {
            let why = format!("{found}, and put other files in the place of these; mend that: {}", found.mend());
            Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
        }
    }
}

fn exceeds(release: &Release, request: &Request) -> Result<(), FetchError> {
    let Some(floor) = &request.newer_than else { return Ok(()) };
    let source_name = request.source.spelling().to_owned();
    let tag = release.tag.as_ref().map_or("a file without a version", Tag::as_str).to_owned();
    match release.tag.as_ref().and_then(Tag::version).and_then(|version| version.is_newer_than(floor)) {
        Some(true) => Ok(()),
        Some(false) => Err(FetchError::NothingNewer { source_name, found: format!("it has {tag}") }),
        None => Err(FetchError::Unordered { source_name, tag }),
    }
}

/// Writes the checksum list `name` of the files that were received before it.
fn write_list(dir: &Path, name: &AssetName, from: &str, files: &[Got], say: &Say) -> Result<Got, FetchError> {
    let path = dir.join(name.as_str());
    let lines =
        files.iter().map(|(Got::Kept(file) | Got::New(file, _))| [file.digest.to_string(), file.name.to_string()]);
    let list = lines.fold(String::new(), |list, [digest, name]| list + &digest + "  " + &name + "\n");
    let written = Landing::in_dir(dir, name.as_str(), say).and_then(|mut landing| {
        landing.begin(None, None)?;
        landing.write(list.as_bytes())?;
        landing.finish()
    });
    let landed = written.map_err(|why| FetchError::File { path: path.clone(), why })?;
    say.note(format_args!("{name}: written from {from}, which proves integrity, not who made it"));
    let file = File { name: name.clone(), path, size: landed.len, digest: landed.digest, from: from.to_owned() };
    Ok(Got::New(file, landed))
}

/// Gets one file's bytes into `dir`, or finds that they are there already.
fn receive(
    host: &Host,
    dir: &Path,
    name: &AssetName,
    asset: &Asset,
    request: &Request,
    net: &Net,
    say: &Say,
) -> Result<Got, FetchError> {
    let path = dir.join(name.as_str());
    let from = match &asset.place {
        Place::Net(ask) => ask.url.to_string(),
        Place::File(path) => path.display().to_string(),
        Place::Image { image, path } => format!("{}/{path}", image.shown),
        Place::Written(from) => from.clone(),
    };
    let file = |digest, size| File { name: name.clone(), path: path.clone(), size, digest, from: from.clone() };
    if let Some(expected) = asset.digest
        && let Some(size) = holds(&path, &expected)
    {
        say.detail(format_args!("{}: is there already, and its SHA-256 is the release's", path.display()));
        return Ok(Got::Kept(file(expected, size)));
    }
    let at = |path: &Path| {
        let path = path.to_owned();
        move |why| FetchError::File { path, why }
    };
    if asset.size.is_some_and(|size| size > request.max_size.0)
        && let Place::Net(ask) = &asset.place
    {
        return Err(NetError::TooLarge { url: ask.url.clone(), cap: request.max_size }.into());
    }
    if fs::symlink_metadata(&path).is_ok_and(|there| !there.is_file()) {
        return Err(at(&path)(io::Error::other("it is there and no regular file; remove it")));
    }
    let landing = match &asset.place {
        Place::Net(ask) => {
            let address = Digest::of(format!("{} {}", ask.accept, ask.url.as_str()).as_bytes());
            let mut landing = Landing::of(host, dir, name.as_str(), address, say).map_err(at(dir))?;
            match net.save(ask, asset.size, request.max_size, &mut landing, say) {
                Ok(()) => landing,
                Err(NetError::Write(why)) => return Err(at(&path)(why)),
                Err(e) => {
                    if e.exit() == Exit::NotNow {
                        landing.leave();
                    }
                    return Err(e.into());
                }
            }
        }
        Place::File(source) => {
            let mut landing = Landing::in_dir(dir, name.as_str(), say).map_err(at(dir))?;
            copy(source, request.max_size, &mut landing)?;
            landing
        }
        // Both are made of others, in `fetch`.
        Place::Image { .. } | Place::Written(_) => return Err(at(&path)(io::ErrorKind::Unsupported.into())),
    };
    let landed = landing.finish().map_err(at(&path))?;
    if let Some(expected) = asset.digest.filter(|expected| *expected != landed.digest) {
        return Err(FetchError::Digest { from, got: landed.digest, expected });
    }
    say.detail(format_args!("{from}: {} bytes, SHA-256 {}", landed.len, landed.digest));
    Ok(Got::New(file(landed.digest, landed.len), landed))
}

/// The size of the regular file at `path` if its digest is `expected`.
fn holds(path: &Path, expected: &Digest) -> Option<u64> {
    // Another user could change what is his after this.
    if !trust::is_our_file(&fs::symlink_metadata(path).ok()?) {
        return None;
    }
    let (digest, size) = Digest::of_reader(fs::File::open(path).ok()?).ok()?;
    (digest == *expected).then_some(size)
}

fn copy(source: &Path, cap: Size, landing: &mut Landing) -> Result<(), FetchError> {
    let at = |why| FetchError::File { path: source.to_owned(), why };
    // A FIFO would be waited for without end.
    if !fs::metadata(source).map_err(at)?.is_file() {
        return Err(at(io::Error::other("it is no regular file")));
    }
    let mut file = fs::File::open(source).map_err(at)?;
    let len = file.metadata().map_err(at)?.len();
    if len > cap.0 {
        return Err(FetchError::TooLarge { path: source.to_owned(), cap });
    }
    landing.begin(Some(len), None).map_err(at)?;
    let mut buffer = vec![0; 256 * 1024];
    let mut got = 0;
    loop {
        let n = match file.read(&mut buffer) {
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(at(e)),
        };
        got += n as u64;
        match n {
            0 if got == len => return Ok(()),
            _ if n == 0 || got > len => return Err(at(io::Error::other("it changed while it was read"))),
            _ => landing.write(buffer.get(..n).unwrap_or_default()).map_err(at)?,
        }
    }
}

/// Writes where `file` came from, unless the record there says so of these bytes already.
fn write_record(record: &Path, file: &File, release: &Release, request: &Request) -> io::Result<()> {
    let origin = Origin {
        schema: Origin::SCHEMA,
        source: request.source.spelling().to_owned(),
        version: release.tag.as_ref().map(|tag| tag.as_str().to_owned()),
        prerelease: release.marked_pre,
        published: release.published,
        asset: file.name.to_string(),
        digest: file.digest,
        time: clock::now(),
        proven: Vec::new(),
    };
    let is_ours = fs::symlink_metadata(record).is_ok_and(|meta| trust::is_our_file(&meta));
    match Origin::read(record) {
        Ok(Some(old)) if is_ours && (Origin { time: old.time, ..origin.clone() }) == old => Ok(()),
        _ => origin.write(record),
    }
}
