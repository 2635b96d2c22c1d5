//! A file that is being received: under a name of its own in the folder it will be in, until it is whole and on disk.

use std::fs::{File, Permissions, TryLockError};
use std::io::{self, Seek, Write};
use std::mem;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use fs_err as fs;
use indicatif::{ProgressBar, ProgressStyle};
use tempfile::NamedTempFile;

use super::durable;
use super::say::Say;
use crate::words::digest::{Digest, Hashing};

/// How a file that is being received is called.
const PREFIX: &str = ".upswap-part-";
/// The age from which a part that nobody holds is nobody's; until then its owner may be about to lock it.
const STALE: Duration = Duration::from_secs(60);

/// A file that is being received. Dropped, it is removed.
pub struct Landing {
    part: NamedTempFile,
    hashing: Hashing<io::Sink>,
    bar: Bar,
}

/// The progress that is drawn, if any; it leaves no trace on the terminal.
struct Bar(Option<ProgressBar>);

impl Drop for Bar {
    fn drop(&mut self) {
        self.hide();
    }
}

impl Bar {
    fn hide(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// A file that is whole and on disk, still under its own name.
pub struct Landed {
    part: NamedTempFile,
    /// The digest of its bytes as they were received.
    pub digest: Digest,
    /// Its size in bytes.
    pub len: u64,
}

impl Landing {
    /// A new file in `dir`. Progress is drawn as that of `name` when `say` may draw.
    pub fn in_dir(dir: &Path, name: &str, say: &Say) -> io::Result<Self> {
        let part = tempfile::Builder::new().prefix(PREFIX).tempfile_in(dir)?;
        // Held until it is closed, so that `sweep` knows it is in use, also by another process.
        part.as_file().lock()?;
        let bar = say.draws_progress().then(|| ProgressBar::no_length().with_prefix(name.to_owned()));
        Ok(Self { part, hashing: Hashing::new(io::sink()), bar: Bar(bar) })
    }

    /// Starts over with an empty file, and reserves `len` bytes when the length is known: a full disk is told at once.
    pub fn begin(&mut self, len: Option<u64>) -> io::Result<()> {
        let file = self.part.as_file_mut();
        file.set_len(0)?;
        file.rewind()?;
        self.hashing = Hashing::new(io::sink());
        if let Some(len) = len.filter(|len| *len > 0) {
            reserve(file, len)?;
        }
        if let Some(bar) = &self.bar.0 {
            bar.reset();
            let form = match len {
                Some(len) => {
                    bar.set_length(len);
                    "{prefix} {bar:30} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}"
                }
                None => "{prefix} {spinner} {binary_bytes} {binary_bytes_per_sec}",
            };
            bar.set_style(ProgressStyle::with_template(form).unwrap_or_else(|_| ProgressStyle::default_bar()));
        }
        Ok(())
    }

    /// Takes the progress off the terminal, so that something can be said; [`Landing::begin`] brings it back.
    pub fn hide(&self) {
        self.bar.hide();
    }

    /// Appends `bytes`.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.part.as_file_mut().write_all(bytes)?;
        self.hashing.write_all(bytes)?;
        if let Some(bar) = &self.bar.0 {
            bar.inc(bytes.len() as u64);
        }
        Ok(())
    }

    /// The digest of the bytes written since [`Landing::begin`] and their number, with mode 0644 and on disk.
    pub fn finish(mut self) -> io::Result<Landed> {
        self.bar.hide();
        let (digest, len, _) = mem::replace(&mut self.hashing, Hashing::new(io::sink())).finish();
        let file = self.part.as_file();
        file.set_len(len)?;
        file.set_permissions(Permissions::from_mode(0o644))?;
        file.sync_all()?;
        Ok(Landed { part: self.part, digest, len })
    }
}

impl Landed {
    /// Its bytes, from their start.
    pub fn bytes(&mut self) -> io::Result<&mut File> {
        let file = self.part.as_file_mut();
        file.rewind()?;
        Ok(file)
    }

    /// Gives the file its name. What was there before is replaced; only a regular file is.
    pub fn settle(self, path: &Path) -> io::Result<()> {
        match fs::symlink_metadata(path) {
            Ok(meta) if !meta.is_file() => {
                return Err(io::Error::other(format!("{}: is there and no regular file; remove it", path.display())));
            }
            _ => {}
        }
        self.part.persist(path).map_err(|e| e.error)?;
        durable::sync_dir(durable::parent(path))
    }
}

/// Reserves the space of `len` bytes without changing the file's size, where the file system can.
fn reserve(file: &File, len: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;
    match fallocate(file, FallocateFlags::KEEP_SIZE, 0, len) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
        Err(e) => Err(io::Error::new(io::Error::from(e).kind(), format!("no room for {len} bytes: {e}"))),
    }
}

/// Removes the parts that killed processes left in `dir`: those that nobody holds and nobody touched for a minute.
pub fn sweep(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let meta = match entry.metadata() {
            Ok(meta) if meta.is_file() && entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) => meta,
            _ => continue,
        };
        let old = meta.modified()?.elapsed().is_ok_and(|age| age > STALE);
        if old && let Ok(file) = File::open(entry.path()) {
            match file.try_lock() {
                Ok(()) => fs::remove_file(entry.path())?,
                Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::say::Say;
    use std::time::SystemTime;

    #[test]
    fn a_file_has_its_name_only_when_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("asset");
        let mut landing = Landing::in_dir(dir.path(), "asset", &Say::quiet("t")).unwrap();
        landing.begin(Some(1000)).unwrap();
        landing.write(b"half of the first try").unwrap();
        landing.begin(None).unwrap();
        landing.write(b"whole").unwrap();
        assert!(!path.exists());
        let landed = landing.finish().unwrap();
        assert_eq!((landed.digest, landed.len), (Digest::of(b"whole"), 5));
        assert!(!path.exists());
        landed.settle(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o644);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_regular_file_stays() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("asset");
        std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
        let landing = Landing::in_dir(dir.path(), "asset", &Say::quiet("t")).unwrap();
        assert!(landing.finish().unwrap().settle(&link).is_err());
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn only_old_parts_that_nobody_holds_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        let old = SystemTime::now() - 2 * STALE;
        let part = |name: &str| {
            let file = File::create(dir.path().join(name)).unwrap();
            file.set_modified(old).unwrap();
            file
        };
        let held = part(".upswap-part-held");
        held.lock().unwrap();
        part(".upswap-part-left");
        part("asset");
        File::create(dir.path().join(".upswap-part-new")).unwrap();
        sweep(dir.path()).unwrap();
        let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [".upswap-part-held", ".upswap-part-new", "asset"]);
    }
}
