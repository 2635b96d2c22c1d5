//! The saves on disk: one that a running setcap-keep works with, and those that killed runs left.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::sys::process::FileId;
use crate::sys::{Host, clock, durable, intake, trust};
use crate::words::filecaps::save::{self, Saved};

/// A save that one process works with: it holds the file's lock, and a killed one holds none.
pub(super) struct InUse {
    path: PathBuf,
    _lock: File,
}

impl InUse {
    /// A save of `saved` for this run: on disk, durably, when this returns.
    pub(super) fn write(host: &Host, saved: &[Saved]) -> Result<Self, (PathBuf, io::Error)> {
        // The time as well: a number comes again, and what a killed run left must not be written over.
        let path = folder(host).join(format!("{}-{}.save", std::process::id(), clock::now()));
        let failed = |e| (path.clone(), e);
        durable::make_dirs(&folder(host), 0o755).map_err(failed)?;
        believable(host)?;
        loop {
            durable::replace(&path, &save::write(saved), 0o600).map_err(failed)?;
            // A --restore may have taken it for left over before it was locked, and removed it.
            if let Some(mine) = Self::take(&path) {
                return Ok(mine);
            }
        }
    }

    /// The save, when nobody works with it and it still is there.
    fn take(path: &Path) -> Option<Self> {
        let file = File::open(path).ok()?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return None,
            // A file system without locks: a save that may be in use is better put back twice than never.
            Err(TryLockError::Error(_)) | Ok(()) => {}
        }
        FileId::of(path).is_ok_and(|id| FileId::of_open(&file).is_ok_and(|mine| mine == id)).then_some(())?;
        Some(Self { path: path.to_owned(), _lock: file })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// All of it is done.
    pub(super) fn remove(self) {
        let _ = fs::remove_file(&self.path);
    }

    /// What is in it, if that can be read.
    pub(super) fn read(&self) -> Option<Vec<Saved>> {
        save::read(&intake::read_small(&self.path).ok()?).ok()
    }
}

/// The saves that no running setcap-keep has, oldest first.
pub(super) fn left(host: &Host) -> Result<Vec<InUse>, (PathBuf, io::Error)> {
    believable(host)?;
    let mut left: Vec<PathBuf> = fs::read_dir(folder(host)).into_iter().flatten().flatten().map(|e| e.path()).collect();
    // Killed before it was a save.
    for half in left.iter().filter(|path| path.extension().is_some_and(|e| e == "upswap-new") && !maker_runs(path)) {
        let _ = fs::remove_file(half);
    }
    left.retain(|path| path.extension().is_some_and(|e| e == "save"));
    let time = |path: &PathBuf| fs::metadata(path).and_then(|meta| meta.modified()).ok();
    left.sort_by_key(time);
    Ok(left.iter().filter_map(|path| InUse::take(path)).collect())
}

/// What a save says is done with all rights, so it is read only where nobody else can write: `$STATE_DIRECTORY` may be a service's.
fn believable(host: &Host) -> Result<(), (PathBuf, io::Error)> {
    let folders = [host.state().to_owned(), folder(host)];
    folders.into_iter().try_for_each(|folder| trust::check(host, &folder).map_err(|e| (folder, e)))
}

fn folder(host: &Host) -> PathBuf {
    host.state().join(".setcap-keep")
}

/// Whether the process still runs whose number is in the name of a half-written save. Another one of that number keeps it a while.
fn maker_runs(half: &Path) -> bool {
    let stem = half.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let pid = stem.trim_start_matches('.').split('-').next().and_then(|pid| pid.parse::<u32>().ok());
    pid.is_some_and(|pid| Path::new("/proc").join(pid.to_string()).exists())
}
