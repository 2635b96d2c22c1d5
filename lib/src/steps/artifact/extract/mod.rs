//! Named regular files out of a proven archive; nothing else of it is used, and it says nothing about owner, mode or place.
//!
//! The kind of archive is told by its first bytes, never by its name. The whole archive is read to its end before any
//! member counts: one that is cut off, goes on behind its end, names a path outside, or holds a member twice is refused.

mod tar;
mod zip;

use std::ffi::OsStr;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufReader, Read, Seek};
use std::os::unix::ffi::OsStrExt;

use super::evidence::Proven;
use crate::sys::{Host, intake};
use crate::words::exit::{Coded, Exit};
use crate::words::member::{self, Wanted};

/// The most that one member may hold, in bytes.
const MEMBER: u64 = 1 << 30;
/// The most that a whole archive may unpack to, in bytes.
const TOTAL: u64 = 4 << 30;
/// How much of an archive is read at once, in bytes.
const READ: usize = 256 * 1024;
/// The most members an archive may hold.
const MEMBERS: usize = 1_000_000;
/// The longest path of a member, in bytes; no file system of Linux takes a longer one (`PATH_MAX`).
const PATH: usize = 4096;
/// The largest window that a zstd stream may ask for, 64 MiB, as a power of two (zstd(1), `--long`).
const ZSTD_WINDOW: u32 = 26;
/// The most memory that an xz stream may ask for, in bytes: a dictionary of 64 MiB (`xz -9`) and what the decoder itself needs.
const XZ_MEMORY: u64 = 66 << 20;

/// How much of the archive is read at once, in bytes.
const PIECE: usize = 128 * 1024;

/// Why nothing was taken from an archive.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// The archive is not whole, not well-formed, or hostile.
    #[error("{archive}: refused: {why}")]
    Refused {
        /// The archive.
        archive: String,
        /// What is wrong with it.
        why: String,
    },
    /// A wanted member is not there, or is no regular file, or is there more than once.
    #[error("{archive}: '{wanted}': {why}")]
    Member {
        /// The archive, or how many of them.
        archive: String,
        /// The wanted name.
        wanted: String,
        /// What is wrong.
        why: String,
    },
    /// The copy of the archive could not be read, or no place was left for a member.
    #[error("{archive}: can't be unpacked: {source}")]
    Io {
        /// The archive.
        archive: String,
        /// Why.
        source: io::Error,
    },
}

impl Coded for ExtractError {
    fn exit(&self) -> Exit {
        match self {
            Self::Refused { .. } | Self::Member { .. } => Exit::No,
            Self::Io { .. } => Exit::CouldNot,
        }
    }
}

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Regular,
    Directory,
    Other(&'static str),
}

/// A member that a [`Wanted`] means.
#[derive(Debug)]
pub struct Member {
    /// Its path, in normal form.
    path: Vec<u8>,
    kind: Kind,
    /// Its bytes, when it is a regular file.
    bytes: Option<Proven>,
    /// True for a file that is no archive, and so is its own only member.
    bare: bool,
}

/// What an archive holds of the wanted files, and what else, for messages.
#[derive(Debug, Default)]
pub struct Contents {
    archive: String,
    members: Vec<Member>,
    others: Vec<String>,
}

/// Reads the whole of `asset`, called `name`, and takes copies of the members that any of `wanted` means.
pub fn contents(host: &Host, asset: &mut Proven, name: &OsStr, wanted: &[Wanted]) -> Result<Contents, ExtractError> {
    let archive = name.to_string_lossy().into_owned();
    let io = |source| ExtractError::Io { archive: archive.clone(), source };
    let whole = asset.again().map_err(io)?;
    let format = Format::of(asset.bytes().map_err(io)?).map_err(io)?;
    let mut sieve = Sieve { host, asset: &whole, wanted, count: 0, leaves: Vec::new(), contents: Contents::default() };
    sieve.contents.archive.clone_from(&archive);
    let file = asset.bytes().map_err(io)?;
    let read = match format {
        Format::Bare => {
            let path = name.as_bytes().to_vec();
            let bytes = whole.again().map_err(io)?;
            sieve.contents.members.push(Member { path, kind: Kind::Regular, bytes: Some(bytes), bare: true });
            Ok(())
        }
        Format::Zip => zip::scan(file, &mut sieve),
        Format::Tar => tar::scan(BufReader::with_capacity(PIECE, file), &mut sieve),
        Format::Gzip => {
            let packed = BufReader::with_capacity(PIECE, file);
            tar::scan(flate2::bufread::MultiGzDecoder::new(packed), &mut sieve)
        }
        Format::Zstd => zstd(file).and_then(|stream| tar::scan(stream, &mut sieve)),
        Format::Xz => xz(file).and_then(|stream| tar::scan(stream, &mut sieve)),
    };
    read.and_then(|()| sieve.end()).map_err(|trouble| trouble.of(&archive))?;
    Ok(sieve.contents)
}

/// For each of `wanted` the one member that is meant, from all the archives together.
pub fn pick(wanted: &[Wanted], archives: &[Contents]) -> Result<Vec<(usize, Proven)>, ExtractError> {
    let all = match archives {
        [one] => one.archive.clone(),
        many => format!("{} files", many.len()),
    };
    let alone = wanted.len() == 1 && archives.len() == 1;
    wanted.iter().map(|wanted| pick_one(wanted, archives, alone, &all)).collect()
}

fn pick_one(wanted: &Wanted, archives: &[Contents], alone: bool, all: &str) -> Result<(usize, Proven), ExtractError> {
    let name = wanted.name().as_os_str().to_string_lossy().into_owned();
    let meant = |member: &Member| {
        if member.bare {
            wanted.is_meant_by_bare(OsStr::from_bytes(&member.path), alone)
        } else {
            wanted.is_meant_by(&member.path)
        }
    };
    let found: Vec<(usize, &Member)> = archives
        .iter()
        .enumerate()
        .flat_map(|(index, contents)| contents.members.iter().map(move |member| (index, member)))
        .filter(|(_, member)| meant(member))
        .collect();
    let path = |member: &Member| shown(&member.path);
    let refused = |why| ExtractError::Member { archive: all.to_owned(), wanted: name.clone(), why };
    // A folder of the wanted name beside the file itself is usual (`rune/rune`); one in its place is not.
    let files: Vec<_> = found.iter().filter(|(_, member)| member.kind != Kind::Directory).collect();
    match files.as_slice() {
        [] if !found.is_empty() => Err(refused("is a folder, not a regular file".to_owned())),
        [] => Err(refused(format!("no such member; {}", holds(archives)))),
        [(index, member)] => match (&member.bytes, member.kind) {
            _ if found.iter().any(|(_, other)| other.kind == Kind::Directory && other.path == member.path) => {
                Err(refused("is there twice, once as a folder".to_owned()))
            }
            (Some(bytes), Kind::Regular) => {
                let archive = all.to_owned();
                bytes.again().map(|bytes| (*index, bytes)).map_err(|source| ExtractError::Io { archive, source })
            }
            (_, Kind::Other(what)) => Err(refused(format!("is {what}, not a regular file"))),
            _ => Err(refused("is not a regular file".to_owned())),
        },
        [(_, first), .., (_, last)] if first.path == last.path => Err(refused("is there more than once".to_owned())),
        [(_, first), .., (_, last)] => {
            let (first, last) = (path(first), path(last));
            Err(refused(format!("both '{first}' and '{last}' match; name one as {name}=./{first}")))
        }
    }
}

fn holds(archives: &[Contents]) -> String {
    const SHOWN: usize = 8;
    let bare = archives.iter().flat_map(|c| c.members.iter().filter(|m| m.bare)).count();
    if bare == archives.len() {
        return "it is a bare file and no archive".to_owned();
    }
    let mut names: Vec<_> = archives
        .iter()
        .flat_map(|c| {
            let members = c.members.iter().map(|m| shown(&m.path));
            members.chain(c.others.iter().cloned()).collect::<Vec<_>>()
        })
        .collect();
    names.sort();
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    let more = if more > 0 { " and more" } else { "" };
    if names.is_empty() { "it is empty".to_owned() } else { format!("it holds {}{more}", names.join(", ")) }
}

/// Whoever is given the members of an archive.
pub(super) trait Takes {
    /// The next member: its path as it is written, what it is, its size in bytes, and its bytes, which need not be read.
    fn member(&mut self, path: &[u8], kind: Kind, size: u64, bytes: &mut dyn Read) -> Result<(), Trouble>;
}

/// Gives every member of the tar archive in `file`, compressed or not, to `taker`; reads it to its end.
pub(super) fn members(file: &mut File, taker: &mut impl Takes) -> Result<(), Trouble> {
    match Format::of(file).map_err(Trouble::Io)? {
        Format::Gzip => tar::scan(flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(READ, file)), taker),
        Format::Zstd => zstd(file).and_then(|stream| tar::scan(stream, taker)),
        // An empty archive has no header that could be known.
        Format::Tar | Format::Bare => tar::scan(BufReader::with_capacity(READ, file), taker),
        Format::Xz | Format::Zip => Err(Trouble::refused("it is no tar archive, nor one in gzip or zstd")),
    }
}

/// What a stream of members goes through: counts them, judges their paths, keeps copies of the wanted ones.
struct Sieve<'s> {
    host: &'s Host,
    asset: &'s Proven,
    wanted: &'s [Wanted],
    count: usize,
    /// Hashes of the paths of all members that are no folders: a million of them need eight megabytes.
    leaves: Vec<u64>,
    contents: Contents,
}

impl Sieve<'_> {
    /// True when a member of this path is wanted; a hostile path is left to [`Sieve::member`].
    fn wants(&self, path: &[u8]) -> bool {
        member::normal(path).is_ok_and(|normal| self.wanted.iter().any(|wanted| wanted.is_meant_by(&normal)))
    }

    /// The next member of the archive. Its bytes are read only when it is wanted.
    fn member(&mut self, path: &[u8], kind: Kind, size: u64, bytes: &mut dyn Read) -> Result<(), Trouble> {
        const LISTED: usize = 20;
        self.count += 1;
        if self.count > MEMBERS {
            return Err(Trouble::refused(format!("it holds more than {MEMBERS} members")));
        }
        if path.len() > PATH {
            return Err(Trouble::refused(format!("a path in it is longer than {PATH} bytes")));
        }
        let Ok(normal) = member::normal(path) else {
            let path = shown(path);
            return Err(Trouble::refused(format!("member '{path}' points outside of the archive")));
        };
        if kind != Kind::Directory {
            self.leaves.push(hash(&normal));
        }
        if !self.wanted.iter().any(|wanted| wanted.is_meant_by(&normal)) {
            if kind == Kind::Regular && self.contents.others.len() < LISTED {
                self.contents.others.push(shown(&normal));
            }
            return Ok(());
        }
        let bytes = match kind {
            Kind::Regular => Some(self.take(&normal, size, bytes)?),
            _ => None,
        };
        // Wanted members are few in an honest archive; thousands of folders of one name need no memory either.
        if self.contents.members.len() >= 64 {
            return Err(Trouble::refused("more than 64 of its members match".to_owned()));
        }
        self.contents.members.push(Member { path: normal, kind, bytes, bare: false });
        Ok(())
    }

    /// After the last member: refuses wanted ones that lie below a link or a file, where no unpacker puts them but by following it.
    fn end(&mut self) -> Result<(), Trouble> {
        self.leaves.sort_unstable();
        for member in &self.contents.members {
            let slashes = member.path.iter().enumerate().filter(|(_, b)| **b == b'/');
            for above in slashes.filter_map(|(at, _)| member.path.get(..at)) {
                if self.leaves.binary_search(&hash(above)).is_ok() {
                    let (path, above) = (shown(&member.path), shown(above));
                    return Err(Trouble::refused(format!("member '{path}' lies below '{above}', which is no folder")));
                }
            }
        }
        Ok(())
    }

    fn take(&self, path: &[u8], size: u64, bytes: &mut dyn Read) -> Result<Proven, Trouble> {
        let shown = shown(path);
        let too_large = || Trouble::refused(format!("member '{shown}' is larger than {} MiB", MEMBER >> 20));
        if size > MEMBER {
            return Err(too_large());
        }
        let mut copy = intake::unnamed(self.host).map_err(Trouble::Io)?;
        let mut bytes = Source { inner: bytes, failed: None };
        match intake::copy_hashed(&mut bytes, &mut copy, MEMBER) {
            Ok((digest, copied)) if copied == size => Ok(Proven::part_of(self.asset, copy, (digest, copied))),
            Ok(_) => Err(Trouble::refused(format!("member '{shown}' does not have the size it claims"))),
            Err(e) => match bytes.failed {
                Some(failed) => Err(Trouble::reading(&failed)),
                None if e.kind() == io::ErrorKind::FileTooLarge => Err(too_large()),
                None => Err(Trouble::Io(e)),
            },
        }
    }
}

/// A member's path for a message: one line, no control characters, not longer than a line of a log.
fn shown(path: &[u8]) -> String {
    const LENGTH: usize = 200;
    let text = String::from_utf8_lossy(path.get(..LENGTH).unwrap_or(path));
    let mut out: String = text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
    if path.len() > LENGTH {
        out.push('…');
    }
    out
}

fn hash(path: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}

/// Keeps a reader's error apart from a writer's: a broken archive is refused, a full disk is not the archive's fault.
struct Source<'r> {
    inner: &'r mut dyn Read,
    failed: Option<io::Error>,
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).inspect_err(|e| {
            if e.kind() != io::ErrorKind::Interrupted {
                let copy = e
                    .raw_os_error()
                    .map_or_else(|| io::Error::new(e.kind(), e.to_string()), io::Error::from_raw_os_error);
                self.failed = Some(copy);
            }
        })
    }
}

impl Takes for Sieve<'_> {
    fn member(&mut self, path: &[u8], kind: Kind, size: u64, bytes: &mut dyn Read) -> Result<(), Trouble> {
        Sieve::member(self, path, kind, size, bytes)
    }
}

/// What stopped the reading of an archive, before its name is put in front.
pub(super) enum Trouble {
    Refused(String),
    Io(io::Error),
}

impl Trouble {
    pub(super) fn refused(why: impl Into<String>) -> Self {
        Self::Refused(why.into())
    }

    /// An error while the archive was read. One of the operating system's is about this host; any other about the archive.
    pub(super) fn reading(error: &io::Error) -> Self {
        if let Some(code) = error.raw_os_error() {
            return Self::Io(io::Error::from_raw_os_error(code));
        }
        // The words of liblzma and libzstd for a limit of ours.
        let text = error.to_string();
        if text.contains("memory limit") || text.contains("too much memory") {
            return Self::refused(
                "it asks for a window of more than 64 MiB to be unpacked (xz --lzma2=dict=, zstd --long=)",
            );
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::refused("it is cut off"),
            io::ErrorKind::FileTooLarge => Self::refused(text),
            _ => Self::refused(format!("it is damaged, or goes on behind its end: {text}")),
        }
    }

    fn of(self, archive: &str) -> ExtractError {
        let archive = archive.to_owned();
        match self {
            Self::Refused(why) => ExtractError::Refused { archive, why },
            Self::Io(source) => ExtractError::Io { archive, source },
        }
    }
}

/// A stream that ends with an error when it gives more than [`TOTAL`] bytes.
struct Capped<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Capped<R> {
    fn new(inner: R) -> Self {
        Self { inner, left: TOTAL }
    }
}

impl<R: Read> Read for Capped<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(n as u64).ok_or_else(|| {
            io::Error::new(io::ErrorKind::FileTooLarge, format!("it unpacks to more than {} MiB", TOTAL >> 20))
        })?;
        Ok(n)
    }
}

fn zstd(file: &mut File) -> Result<impl Read + use<'_>, Trouble> {
    let mut stream = zstd::Decoder::new(file).map_err(|e| Trouble::reading(&e))?;
    stream.window_log_max(ZSTD_WINDOW).map_err(|e| Trouble::reading(&e))?;
    Ok(stream)
}

fn xz(file: &mut File) -> Result<impl Read + use<'_>, Trouble> {
    let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)
        .map_err(|e| Trouble::reading(&e.into()))?;
    Ok(liblzma::bufread::XzDecoder::new_stream(BufReader::with_capacity(PIECE, file), stream))
}

/// True when `file` is an archive that could be extracted from.
pub(super) fn is_archive(file: &mut File) -> io::Result<bool> {
    Format::of(file).map(|format| format != Format::Bare)
}

/// The kind of a file, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Gzip,
    Zstd,
    Xz,
    Zip,
    Tar,
    Bare,
}

impl Format {
    /// Tells the kind of `file`, which is then at its start again.
    fn of(file: &mut File) -> io::Result<Self> {
        let mut start = Vec::new();
        file.by_ref().take(512).read_to_end(&mut start)?;
        file.rewind()?;
        Ok(match start.as_slice() {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // A plain frame, or a skippable one in front (RFC 8878, sections 3.1.1 and 3.1.2).
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Self::Zip,
            block if tar::is_header(block) => Self::Tar,
            _ => Self::Bare,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::evidence::{Evidence, Given, Subject};
    use super::*;
    use crate::words::digest::Digest;
    use std::io::Write;
    use std::path::Path;

    fn taken(host: &Host, bytes: &[u8]) -> Result<Vec<(usize, Proven)>, ExtractError> {
        let copy = tempfile::tempfile().unwrap();
        let given = Given { sha256: Some(Digest::of(bytes)), ..Given::default() };
        let subject = Subject { place: Path::new("a"), name: OsStr::new("a") };
        let evidence = Evidence::given(given).unwrap();
        let judge = evidence.judge(host).unwrap();
        let (mut asset, _) = judge.prove(subject, bytes, copy, u64::MAX - 1).unwrap().unwrap();
        let wanted = [Wanted::parse("rune").unwrap()];
        let contents = contents(host, &mut asset, OsStr::new("a"), &wanted)?;
        pick(&wanted, &[contents])
    }

    /// The caps by themselves; what it takes to reach them in an archive is in the long form of the hostile archives.
    #[test]
    fn bytes_and_members_are_counted() {
        let mut capped = Capped { inner: io::repeat(7), left: 10 };
        assert_eq!(capped.read(&mut [0; 10]).unwrap(), 10);
        assert_eq!(capped.read(&mut [0; 1]).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(Capped::new(io::empty()).left, TOTAL);

        let root = tempfile::tempdir().unwrap();
        let host = Host::below(root.path());
        let (_, asset) = taken(&host, &archive()).unwrap().remove(0);
        let wanted = [Wanted::parse("rune").unwrap()];
        let mut sieve = Sieve {
            host: &host,
            asset: &asset,
            wanted: &wanted,
            count: MEMBERS - 1,
            leaves: Vec::new(),
            contents: Contents::default(),
        };
        assert!(sieve.member(b"last", Kind::Regular, 0, &mut io::empty()).is_ok());
        let why = sieve.member(b"beyond", Kind::Regular, 0, &mut io::empty());
        assert!(matches!(why, Err(Trouble::Refused(why)) if why == "it holds more than 1000000 members"));
    }

    fn archive() -> Vec<u8> {
        let mut builder = ::tar::Builder::new(Vec::new());
        let mut header = ::tar::Header::new_gnu();
        header.set_size(4);
        builder.append_data(&mut header, "v1/rune", &b"1234"[..]).unwrap();
        builder.into_inner().unwrap()
    }

    #[test]
    fn no_flip_and_no_cut_of_a_compressed_archive_gives_other_bytes() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::below(root.path());
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&archive()).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(&archive()).unwrap();
        let mut zst = zstd::Encoder::new(Vec::new(), 1).unwrap();
        zst.include_checksum(true).unwrap();
        zst.write_all(&archive()).unwrap();
        let mut zipped = ::zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        zipped.start_file("v1/rune", ::zip::write::SimpleFileOptions::default()).unwrap();
        zipped.write_all(b"1234").unwrap();
        let (gz, xz, zst) = (gz.finish().unwrap(), xz.finish().unwrap(), zst.finish().unwrap());
        for good in [gz, xz, zst, zipped.finish().unwrap().into_inner()] {
            let right = taken(&host, &good).unwrap();
            assert_eq!(right[0].1.digest(), Digest::of(b"1234"));
            for bit in 0..good.len() * 8 {
                let mut flipped = good.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                // A flip in a time stamp or a flag that means nothing changes nothing. The first bytes tell the kind:
                // without them it is a bare file, which is its own only member and no program.
                if let Ok(found) = taken(&host, &flipped) {
                    let bare = bit < 6 * 8 && found[0].1.digest() == Digest::of(&flipped);
                    assert!(bare || found[0].1.digest() == Digest::of(b"1234"), "bit {bit}");
                }
            }
            for len in 8..good.len() {
                assert!(taken(&host, &good[..len]).is_err(), "{len} of {}", good.len());
            }
        }
    }

    /// A plain tar has checksums over its headers alone: a flip in a file's bytes gives that file, any other nothing or the same.
    #[test]
    fn a_flip_in_a_plain_tar_changes_nothing_but_the_bytes_of_the_file() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::below(root.path());
        let good = archive();
        for bit in 0..good.len() * 8 {
            let mut flipped = good.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(found) = taken(&host, &flipped) {
                let digest = found[0].1.digest();
                let in_file = (512..516).contains(&(bit / 8)) && digest == Digest::of(&flipped[512..516]);
                // Without its first header it is no archive, and so its own only member.
                let bare = bit / 8 < 512 && digest == Digest::of(&flipped);
                assert!(in_file || bare || digest == Digest::of(b"1234"), "bit {bit}");
            }
        }
    }

    #[test]
    fn a_stream_that_unpacks_to_more_than_the_cap_is_refused() {
        let mut capped = Capped { inner: io::repeat(0), left: 1000 };
        let ended = io::copy(&mut capped, &mut io::sink()).unwrap_err();
        assert!(matches!(Trouble::reading(&ended), Trouble::Refused(why) if why.contains("unpacks to more")));
    }
}
