//! Members of a zip file (APPNOTE.TXT 6.3.10).
//!
//! A zip file says everything twice, before each member and in the directory at its end; one that contradicts itself is
//! refused, because another reader would see another archive.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use zip::ZipArchive;
use zip::result::ZipError;

use super::{Capped, Kind, Sieve, TOTAL, Trouble};

/// Gives every member to `sieve`.
pub(super) fn scan(file: &mut File, sieve: &mut Sieve<'_>) -> Result<(), Trouble> {
    ends_right(file)?;
    let mut archive = ZipArchive::new(io::BufReader::new(file)).map_err(|e| trouble(&e))?;
    if archive.offset() != 0 {
        return Err(Trouble::refused("something stands in front of it"));
    }
    archive.validate_header_consistency().map_err(|e| trouble(&e))?;
    let mut total = 0u64;
    for index in 0..archive.len() {
        let member = archive.by_index_raw(index).map_err(|e| trouble(&e))?;
        let path = member.name_raw().to_vec();
        let shown = String::from_utf8_lossy(&path).into_owned();
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

/// The end record (section 4.3.16) must end the file. Zip64, which only archives above our caps need, is refused: its
/// directory may claim any number of members.
fn ends_right(file: &mut File) -> Result<(), Trouble> {
    const RECORD: usize = 22;
    let len = file.metadata().map_err(Trouble::Io)?.len();
    let start = len.saturating_sub(RECORD as u64 + 0xffff + 20);
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(start)).and_then(|_| file.read_to_end(&mut tail)).map_err(Trouble::Io)?;
    file.rewind().map_err(Trouble::Io)?;
    let ends_here = |at: &usize| {
        let record = tail.get(*at..).unwrap_or_default();
        let comment = match record.get(20..RECORD) {
            Some([low, high]) => usize::from(u16::from_le_bytes([*low, *high])),
            _ => return false,
        };
        record.starts_with(b"PK\x05\x06") && record.len() == RECORD + comment
    };
    let Some(at) = (0..tail.len()).rev().find(ends_here) else {
        return Err(Trouble::refused("it is cut off, or goes on behind its end"));
    };
    let locator = at.checked_sub(20).and_then(|from| tail.get(from..at)).unwrap_or_default();
    if locator.starts_with(b"PK\x06\x07") {
        return Err(Trouble::refused("it is a zip64 archive"));
    }
    Ok(())
}

fn trouble(error: &ZipError) -> Trouble {
    match error {
        ZipError::Io(e) => Trouble::reading(e),
        other => Trouble::refused(other.to_string()),
    }
}
