//! The space that a change will need after it can't be refused any more.

use std::fs::File;
use std::io;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

use super::error::GenerationError;
use super::record;
use crate::sys::Host;
use crate::sys::durable::{make_dirs, parent};

/// More than a record grows by in one change.
const SPARE: u64 = 16 << 10;

/// Room for one more writing of a record, held by a file without a name: a kill gives it back too.
#[derive(Debug)]
pub struct Room {
    _file: File,
}

impl Room {
    /// Takes the room beside the record of `name`. Drop it just before the record is written.
    pub fn take(host: &Host, name: &str) -> Result<Self, GenerationError> {
        let path = record::path(host, name);
        let folder = parent(&path);
        let size = path.metadata().map_or(0, |meta| meta.len());
        let take = || {
            make_dirs(folder, 0o755)?;
            let file = tempfile::tempfile_in(folder)?;
            reserve(&file, size.saturating_add(SPARE)).map(|()| Self { _file: file })
        };
        take().map_err(GenerationError::io(folder, "there is no room for the record"))
    }
}

/// Takes `size` bytes on the file system of `file`: reserved, not estimated. A file system that can't reserve says so, and
/// what is written then finds out itself.
pub(super) fn reserve(file: &File, size: u64) -> io::Result<()> {
    let Ok(length) = i64::try_from(size) else { return Err(io::ErrorKind::FileTooLarge.into()) };
    if length == 0 {
        return Ok(());
    }
    loop {
        match fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, length) {
            Err(Errno::EINTR) => {}
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS) | Ok(()) => return Ok(()),
            Err(e) => return Err(e.into()),
        }
    }
}
