//! Putting one capability back: on a file that nobody could have slipped in.
//!
//! A write takes a file's capability away (capabilities(7)), so the bytes that count are those at the moment it is set.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use xattr::FileExt;

use crate::sys::attrs::CAPABILITY;
use crate::sys::{durable, intake};

/// The permission bits by which others than the owner write.
const OTHERS_WRITE: u32 = 0o022;

/// Who could write a file before: what was so then is not the work of somebody else since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Before {
    uid: u32,
    others_write: u32,
    /// Where the path led, where that is known.
    target: Option<PathBuf>,
    by_symlink: bool,
}

impl Before {
    /// What a save tells.
    pub(super) fn owned_by(uid: u32) -> Self {
        Self { uid, others_write: 0, target: None, by_symlink: false }
    }

    pub(super) fn uid(&self) -> u32 {
        self.uid
    }

    pub(super) fn of(path: &Path, file: &File) -> io::Result<Self> {
        let meta = file.metadata()?;
        Ok(Self {
            uid: meta.uid(),
            others_write: meta.mode() & OTHERS_WRITE,
            target: Some(fs::canonicalize(path)?),
            by_symlink: is_symlink(path),
        })
    }
}

/// The file that a path leads to now, open, and one that a capability may be put on.
#[derive(Debug)]
pub(super) struct Found {
    file: File,
    target: PathBuf,
}

/// What a file had when its capability was to be put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Had {
    /// That very capability.
    It,
    /// None.
    None,
    /// Another one: these bytes.
    Other(Vec<u8>),
}

impl Found {
    /// The file at `path`, or why it gets no capability. `before` is what is known of the file it had.
    pub(super) fn at(path: &Path, before: Option<&Before>) -> Result<Self, String> {
        let file = intake::open_regular(path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => "it is gone, so its capability can't be kept".to_owned(),
            io::ErrorKind::InvalidInput => "it is not a regular file now, so its capability can't be kept".to_owned(),
            _ => format!("it can't be opened: {e}"),
        })?;
        let seen = file.metadata().and_then(|meta| Ok((meta, fs::canonicalize(path)?)));
        let (meta, target) = seen.map_err(|e| format!("it can't be looked at: {e}"))?;
        match distrust(path, &meta, before) {
            Some(why) => Err(format!("{why}, so it gets no capability")),
            None => Ok(Self { file, target }),
        }
    }

    /// Where the path leads now, when it led elsewhere before.
    pub(super) fn leads_elsewhere(&self, before: &Before) -> Option<&Path> {
        before.target.as_ref().filter(|target| **target != self.target).map(|_| self.target.as_path())
    }

    /// Sets the capability, durably; says what was there.
    pub(super) fn put_back(&self, capability: &[u8]) -> io::Result<Had> {
        let had = match self.file.get_xattr(CAPABILITY)? {
            Some(bytes) if bytes == capability => return Ok(Had::It),
            Some(bytes) => Had::Other(bytes),
            None => Had::None,
        };
        self.file.set_xattr(CAPABILITY, capability)?;
        self.file.sync_all()?;
        Ok(had)
    }
}

/// Who else than root, than this user and than its owner before could have put those bytes there.
fn distrust(path: &Path, meta: &Metadata, before: Option<&Before>) -> Option<String> {
    let own = nix::unistd::geteuid().as_raw();
    let trusted = |uid: u32| uid == 0 || uid == own || before.is_some_and(|before| before.uid == uid);
    if !trusted(meta.uid()) {
        return Some(format!("it belongs to user {} now", meta.uid()));
    }
    let others = meta.mode() & OTHERS_WRITE & !before.map_or(0, |before| before.others_write);
    if others != 0 {
        return Some(format!("others than its owner can write to it (mode {:04o})", meta.mode() & 0o7777));
    }
    // In a folder of theirs others can make a link to a file of root.
    let link = is_symlink(path) && !before.is_some_and(|before| before.by_symlink);
    let folder = durable::parent(path);
    let theirs = |meta: Metadata| !trusted(meta.uid()) || meta.mode() & OTHERS_WRITE != 0;
    let unseen = before.is_none_or(|before| before.target.is_none());
    if (link || meta.nlink() > 1) && unseen && fs::metadata(folder).is_ok_and(theirs) {
        let folder = folder.display();
        return Some(format!("it is a link in {folder}, where others than root can make links"));
    }
    None
}

fn is_symlink(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink())
}
