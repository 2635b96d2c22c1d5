//! Writing that survives a power cut: write beside, fsync, rename, fsync the folder.

use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread::{Builder as Thread, JoinHandle};

use fs_err as fs;
use tempfile::{Builder, NamedTempFile};

/// Makes the names in `dir` durable (a rename is only on disk once its folder is; see fsync(2)).
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}

/// The folder that holds `path`; `.` for a bare name.
#[must_use]
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

/// Replaces `path` with `bytes` and `mode`: afterwards it holds the whole old or the whole new content, also after a power cut.
///
/// For a path with one writer at a time. The new content waits under a fixed name, so that what a killed run left there is
/// found and removed by the next.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".upswap-new");
    let make = || Builder::new().prefix(&name).rand_bytes(0).tempfile_in(parent(path));
    let temporary = match make() {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(path.with_file_name(&name))?;
            make()?
        }
        other => other?,
    };
    put(temporary, path, bytes, mode)
}

/// The same for a path that others may be writing at this moment too: the last one wins, whole.
pub fn replace_shared(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    put(Builder::new().prefix(".upswap-").tempfile_in(parent(path))?, path, bytes, mode)
}

fn put(mut temporary: NamedTempFile, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    temporary.write_all(bytes)?;
    temporary.as_file().set_permissions(Permissions::from_mode(mode))?;
    temporary.as_file().sync_all()?;
    // What is written here decides how a change ends; a write that only said it was whole must not.
    let mut there = Vec::new();
    temporary.rewind()?;
    temporary.read_to_end(&mut there)?;
    if there != bytes {
        return Err(io::Error::other(format!("{} of {} bytes arrived", there.len(), bytes.len())));
    }
    temporary.persist(path).map_err(|e| e.error)?;
    sync_dir(parent(path))
}

/// Makes `dir` and its parents with `mode`, each made durable in its own parent.
pub fn make_dirs(dir: &Path, mode: u32) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    make_dirs(parent(dir), mode)?;
    match fs::create_dir(dir) {
        Ok(()) => fs::set_permissions(dir, Permissions::from_mode(mode))?,
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
        Err(e) => return Err(e),
    }
    sync_dir(parent(dir))
}

/// Puts a large file on disk beside whoever is still writing it, so that the sync at its end has little left to do.
///
/// A sync that failed has told so once and never again (fsync(2)), so [`Behind::caught_up`] has to be asked before the last one.
#[derive(Debug, Default)]
pub struct Behind {
    /// How many bytes were written since the last sync began.
    waiting: u64,
    syncing: Option<JoinHandle<io::Result<()>>>,
}

impl Behind {
    /// How much is worth a sync, in bytes.
    const PIECE: u64 = 16 << 20;

    /// Another `bytes` bytes of `file` were written.
    pub fn wrote(&mut self, file: &File, bytes: u64) -> io::Result<()> {
        self.waiting += bytes;
        if self.waiting >= Self::PIECE && self.syncing.as_ref().is_none_or(JoinHandle::is_finished) {
            self.caught_up()?;
            let file = file.try_clone()?;
            self.syncing = Some(Thread::new().name("sync".to_owned()).spawn(move || file.sync_data())?);
            self.waiting = 0;
        }
        Ok(())
    }

    /// Waits for the sync that is under way.
    ///
    /// # Errors
    /// Why it failed: the file is not on disk then, whatever a later sync says.
    pub fn caught_up(&mut self) -> io::Result<()> {
        let gone = |_| Err(io::Error::other("the thread that syncs is gone"));
        self.syncing.take().map_or(Ok(()), |syncing| syncing.join().unwrap_or_else(gone))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replace_leaves_the_new_content_its_mode_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/file");
        make_dirs(parent(&path), 0o755).unwrap();
        replace(&path, b"old", 0o600).unwrap();
        replace(&path, b"new", 0o640).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
        assert_eq!(fs::read_dir(parent(&path)).unwrap().count(), 1);
    }
}
