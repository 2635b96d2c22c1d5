//! Members of a zip file (APPNOTE.TXT 6.3.10).
//!
//! A zip file says everything twice, before each member and in the directory at its end; one that contradicts itself is
//! refused, because another reader would see another archive.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use zip::ZipArchive;
use zip::result::ZipError;

use super::{Capped, Kind, Sieve, TOTAL, Trouble, shown};

/// The largest directory that is read, in bytes: it is held in memory, in about eight times its size.
const DIRECTORY: u64 = 1 << 20;

/// Gives every member to `sieve`.
pub(super) fn scan(file: &mut File, sieve: &mut Sieve<'_>) -> Result<(), Trouble> {
    let end = End::of(file)?;
    let mut archive = ZipArchive::new(io::BufReader::new(file)).map_err(|e| trouble(&e))?;
    if archive.offset() != 0 {
        return Err(Trouble::refused("something stands in front of it"));
    }
    // The crate may have found another end record, which another reader would not.
    let read = (archive.central_directory_start(), archive.len(), archive.comment().len());
    // Names are the directory's keys, so of two that are one only one is left.
    if read.0 == end.directory && read.1 < end.members {
        return Err(Trouble::refused("it names a member twice"));
    }
    if read != (end.directory, end.members, end.comment) {
        return Err(Trouble::refused("it has two directories"));
    }
    archive.validate_header_consistency().map_err(|e| trouble(&e))?;
    let mut total = 0u64;
    for index in 0..archive.len() {
        let member = archive.by_index_raw(index).map_err(|e| trouble(&e))?;
        let path = member.name_raw().to_vec();
        let shown = shown(&path);
        if member.encrypted() {
            return Err(Trouble::refused(format!("member '{shown}' is encrypted")));
        }
        let size = member.size();
        total = total.saturating_add(size);
        if total > TOTAL {
            return Err(Trouble::refused(format!("it unpacks to more than {} MiB", TOTAL >> 20)));
        }
        // The file type in the upper half of the external attributes; archives made elsewhere leave it zero.
        let kind = match member.unix_mode().unwrap_or(0) & 0o170_000 {
            _ if member.is_dir() => Kind::Directory,
            0 | 0o100_000 => Kind::Regular,
            0o120_000 => Kind::Other("a symbolic link"),
            0o040_000 => Kind::Directory,
            _ => Kind::Other("a device or a FIFO"),
        };
        drop(member);
        if kind == Kind::Regular && sieve.wants(&path) {
            let member = archive.by_index(index).map_err(|e| trouble(&e))?;
            sieve.member(&path, kind, size, &mut Capped::new(member))?;
        } else {
            sieve.member(&path, kind, size, &mut io::empty())?;
        }
    }
    Ok(())
}

/// What the end record (section 4.3.16) says.
#[derive(Debug, PartialEq, Eq)]
struct End {
    /// Where the directory begins.
    directory: u64,
    members: usize,
    /// How long the comment behind the record is.
    comment: usize,
}

impl End {
    /// The end record of `file`, which must end it, right behind the directory. Zip64, which only archives above our caps
    /// need, is refused: its directory may claim any number of members.
    fn of(file: &mut File) -> Result<Self, Trouble> {
        const RECORD: usize = 22;
        let len = file.metadata().map_err(Trouble::Io)?.len();
        let start = len.saturating_sub(RECORD as u64 + 0xffff + 20);
        let mut tail = Vec::new();
        file.seek(SeekFrom::Start(start)).and_then(|_| file.read_to_end(&mut tail)).map_err(Trouble::Io)?;
        file.rewind().map_err(Trouble::Io)?;
        // The last one, as every reader looks for it; that it stands in the comment of an earlier one is a trick.
        let at = tail.windows(4).rposition(|four| four == b"PK\x05\x06").filter(|at| at + RECORD <= tail.len());
        let (before, record) = tail.split_at(at.unwrap_or(tail.len()));
        let short = |at: usize| match record.get(at..at + 2) {
            Some([low, high]) => u16::from_le_bytes([*low, *high]),
            _ => 0,
        };
        let long = |at: usize| u32::from(short(at)) | u32::from(short(at + 2)) << 16;
        let comment = usize::from(short(20));
        if at.is_none() || record.len() != RECORD + comment {
            return Err(Trouble::refused("it is cut off, or goes on behind its end"));
        }
        if before
            .len()
            .checked_sub(20)
            .and_then(|from| before.get(from..))
            .is_some_and(|b| b.starts_with(b"PK\x06\x07"))
        {
            return Err(Trouble::refused("it is a zip64 archive"));
        }
        let (size, directory) = (u64::from(long(12)), u64::from(long(16)));
        if [short(4), short(6)] != [0, 0] || short(8) != short(10) {
            return Err(Trouble::refused("it is a part of a split archive"));
        }
        if directory + size != start + before.len() as u64 {
            return Err(Trouble::refused("something stands in front of it, or between its directory and its end"));
        }
        if size > DIRECTORY {
            return Err(Trouble::refused(format!("its directory is larger than {} MiB", DIRECTORY >> 20)));
        }
        Ok(Self { directory, members: usize::from(short(8)), comment })
    }
}

fn trouble(error: &ZipError) -> Trouble {
    match error {
        ZipError::Io(e) => Trouble::reading(e),
        // The crate quotes names, which may be long and hold anything.
        other => Trouble::refused(shown(other.to_string().as_bytes())),
    }
}
