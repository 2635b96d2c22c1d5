//! Staging: the new file, whole and with all its metadata, beside the one it will replace. All slow work is here.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use fs_err as fs;
use nix::fcntl::{FallocateFlags, OFlag, fallocate};
use nix::sys::stat::Mode;
use nix::unistd::{Group, User};

use super::error::GenerationError;
use super::record::{Dest, FileState, Id};
use crate::steps::artifact::store::Store;
use crate::sys::attrs::{Attrs, CAPABILITY};
use crate::sys::durable::parent;
use crate::sys::say::Say;
use crate::sys::{Host, intake};
use crate::words::digest::Digest;
use crate::words::filecaps::FileCaps;

/// What the caller wants otherwise than the file it replaces has it.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Permission bits.
    pub mode: Option<u32>,
    /// The owner, by name or number.
    pub owner: Option<String>,
    /// The group, by name or number.
    pub group: Option<String>,
    /// The capabilities.
    pub caps: Caps,
}

/// Which capabilities the new file gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Caps {
    /// Those of the file it replaces, byte for byte.
    #[default]
    Keep,
    /// These.
    Set(FileCaps),
    /// None, for a service that has moved to `AmbientCapabilities=`.
    Drop,
}

/// What is at a managed path now.
#[derive(Debug)]
pub struct InPlace {
    /// Its content.
    pub digest: Digest,
    /// Its owner, mode and attributes.
    pub attrs: Attrs,
    /// Its length in bytes.
    pub size: u64,
    stamp: Stamp,
}

/// Device, inode, length, and the times of the last write and the last change of metadata: while these stay, so do the bytes.
type Stamp = (u64, u64, u64, (i64, i64), (i64, i64));

/// A new file that waits beside its DEST for the rename. Dropped unused, it is removed again.
#[derive(Debug)]
pub struct Staged {
    /// Where it will be.
    pub dest: Dest,
    /// What it is; `born` is filled in by the generation it joins.
    pub state: FileState,
    /// What is at `dest`, as it was when this was staged.
    pub old: Option<InPlace>,
    waiting: Waiting,
}

impl Staged {
    /// The staged file's own path.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dest.staged()
    }

    /// The rename has happened: there is nothing left to remove.
    pub(super) fn renamed(&mut self) {
        self.waiting.0 = None;
    }
}

/// A file under a staging name, removed when it is dropped before its rename.
///
/// Not undo: until the mark names it, it is litter, and the next run sweeps it by its fixed name anyway.
#[derive(Debug)]
struct Waiting(Option<PathBuf>);

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

/// The managed path that `dest` means: absolute, every symlink resolved, its folder existing.
///
/// A symlink at DEST itself is followed, its target is what gets replaced, and that is said.
pub fn resolve(dest: &Path, say: &Say) -> Result<Dest, GenerationError> {
    let name = dest.file_name().ok_or_else(|| GenerationError::refused(dest, "this names no file"))?;
    let folder = parent(dest);
    let folder = std::fs::canonicalize(folder).map_err(GenerationError::io(folder, "the folder can't be found"))?;
    let path = folder.join(name);
    let is_link = fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_symlink());
    let path = if is_link {
        let target = std::fs::canonicalize(&path).map_err(GenerationError::io(&path, "its symlink leads nowhere"))?;
        say.note(format_args!(
            "{} is a symlink; its target {} is what gets replaced",
            path.display(),
            target.display()
        ));
        target
    } else {
        path
    };
    if path.file_name().is_some_and(|name| name.len() > 230) {
        return Err(GenerationError::refused(
            &path,
            "the name is too long to keep a backup beside it (230 bytes at most)",
        ));
    }
    Ok(Dest::new(path))
}

/// What is at `dest` now; `None` when nothing is. Anything but a regular file is refused.
pub fn in_place(dest: &Dest) -> Result<Option<InPlace>, GenerationError> {
    let path = dest.path();
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(GenerationError::io(path, "it can't be looked at")(e)),
        Ok(meta) if !meta.is_file() => {
            return Err(GenerationError::refused(path, "it is not a regular file; only regular files are managed"));
        }
        Ok(_) => {}
    }
    let file = open_regular(path)?;
    let attrs = Attrs::of(&file).map_err(|source| GenerationError::Attrs { path: path.to_owned(), source })?;
    // The stamp before the bytes: what is written meanwhile makes it old.
    let stamp = file.metadata().map(|meta| stamp(&meta)).map_err(GenerationError::io(path, "it can't be looked at"))?;
    let (digest, size) = Digest::of_reader(&file).map_err(GenerationError::io(path, "it can't be read"))?;
    Ok(Some(InPlace { digest, attrs, size, stamp }))
}

fn stamp(meta: &Metadata) -> Stamp {
    (meta.dev(), meta.ino(), meta.size(), (meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec()))
}

impl InPlace {
    /// Whether `dest` still is this file, without reading it again.
    #[must_use]
    pub fn is_still_at(&self, dest: &Dest) -> bool {
        fs::symlink_metadata(dest.path()).is_ok_and(|meta| stamp(&meta) == self.stamp)
    }

    /// How the record describes it, born in generation `born`.
    #[must_use]
    pub fn state(&self, born: Id) -> FileState {
        FileState {
            digest: self.digest,
            size: self.size,
            mode: self.attrs.mode,
            uid: self.attrs.uid,
            gid: self.attrs.gid,
            capabilities: self.attrs.capability.as_deref().map(FileCaps::describe),
            born,
            verified: false,
            origin: None,
        }
    }
}

/// Copies `source` beside `dest` with all metadata, durable and closed. `None` when `dest` is already that file.
///
/// A file of the store must have the bytes that its path promises; they are hashed as they lie beside `dest`, so it does
/// not matter what happened to them on the way.
pub fn stage(
    host: &Host,
    source: &Path,
    dest: &Dest,
    wanted: &Wanted,
    say: &Say,
) -> Result<Option<Staged>, GenerationError> {
    let stored = Store::of(host).lookup(source).map_err(GenerationError::io(source, "the store's record of it"))?;
    let mut input = open_regular(source)?;
    let old = in_place(dest)?;
    if let Some(old) = &old
        && already(&mut input, dest, old, wanted)?
    {
        say.detail(format_args!("{} is already this file", dest.path().display()));
        return Ok(None);
    }
    let staged = dest.staged();
    sweep(&staged)?;

    let mut output = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(&staged)
        .map_err(GenerationError::io(&staged, "the new file can't be made"))?;
    let waiting = Waiting(Some(staged.clone()));
    let digest =
        copy(&mut input, &mut output).map_err(GenerationError::io(&staged, "the new file can't be written"))?;
    if let Some(stored) = &stored
        && stored.digest != digest
    {
        return Err(GenerationError::Altered { path: source.to_owned(), found: digest });
    }

    let attrs = attrs_for(dest, old.as_ref(), wanted, &mut output)?;
    let carry = |source| GenerationError::Attrs { path: dest.path().to_owned(), source };
    attrs.set_on(&output).map_err(carry)?;
    output.sync_all().map_err(GenerationError::io(&staged, "the new file can't be made durable"))?;
    let meta = output.metadata().map_err(GenerationError::io(&staged, "the new file can't be looked at"))?;
    let new = InPlace { digest, size: meta.size(), attrs, stamp: stamp(&meta) };
    let state = FileState { verified: stored.is_some(), origin: stored.and_then(|s| s.origin), ..new.state(0) };
    Ok(Some(Staged { dest: dest.clone(), state, old, waiting }))
}

/// What [`stage`] would stage: whether it is a verified file, and its digest; `None` when `dest` is already `source`.
pub fn would_stage(
    host: &Host,
    source: &Path,
    dest: &Dest,
    wanted: &Wanted,
) -> Result<Option<(bool, Digest)>, GenerationError> {
    let stored = Store::of(host).lookup(source).map_err(GenerationError::io(source, "the store's record of it"))?;
    let mut input = open_regular(source)?;
    let old = in_place(dest)?;
    if let Some(old) = &old
        && already(&mut input, dest, old, wanted)?
    {
        return Ok(None);
    }
    attrs_for(dest, old.as_ref(), wanted, &mut input)?;
    input.rewind().map_err(GenerationError::io(source, "it can't be read"))?;
    let (digest, _) = Digest::of_reader(&input).map_err(GenerationError::io(source, "it can't be read"))?;
    match stored {
        Some(stored) if stored.digest != digest => {
            Err(GenerationError::Altered { path: source.to_owned(), found: digest })
        }
        stored => Ok(Some((stored.is_some(), digest))),
    }
}

/// Whether `old` has the bytes of `input` and all that is wanted besides, so that nothing needs to be touched.
fn already(input: &mut File, dest: &Dest, old: &InPlace, wanted: &Wanted) -> Result<bool, GenerationError> {
    let same_size = input.metadata().is_ok_and(|meta| meta.size() == old.size);
    if !same_size || attrs_for(dest, Some(old), wanted, input)? != old.attrs {
        return Ok(false);
    }
    let read = |e| GenerationError::io(dest.path(), "the new file can't be compared with it")(e);
    let same = same_bytes(input, &open_regular(dest.path())?).map_err(read)?;
    input.rewind().map_err(read)?;
    Ok(same)
}

/// Compares two files up to their first difference: an upgrade's is near the beginning.
fn same_bytes(a: &File, b: &File) -> io::Result<bool> {
    let (mut a, mut b) = (BufReader::with_capacity(1 << 16, a), BufReader::with_capacity(1 << 16, b));
    loop {
        let (left, right) = (a.fill_buf()?, b.fill_buf()?);
        let n = left.len().min(right.len());
        if n == 0 || left[..n] != right[..n] {
            return Ok(left.is_empty() && right.is_empty());
        }
        a.consume(n);
        b.consume(n);
    }
}

fn open_regular(path: &Path) -> Result<File, GenerationError> {
    intake::open_regular(path).map_err(|e| match e.kind() {
        io::ErrorKind::InvalidInput => GenerationError::refused(path, "it is not a regular file"),
        _ => GenerationError::io(path, "it can't be opened")(e),
    })
}

/// Removes what a killed run left under the staging name.
fn sweep(staged: &Path) -> Result<(), GenerationError> {
    // Looked at first: a read-only file system refuses to remove also what is not there.
    if fs::symlink_metadata(staged).is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
        return Ok(());
    }
    match fs::remove_file(staged) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(GenerationError::io(staged, "an earlier run left this and it can't be removed")(e))
        }
        _ => Ok(()),
    }
}

/// Copies all of `input` (the kernel reflinks where it can), and hashes what arrived.
fn copy(input: &mut File, output: &mut File) -> io::Result<Digest> {
    let size = input.metadata()?.size();
    if let Ok(length) = i64::try_from(size)
        && length > 0
    {
        // Space is reserved, not estimated. A file system that can't reserve says so, and the copy finds out itself.
        match fallocate(&*output, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, length) {
            Err(nix::errno::Errno::EOPNOTSUPP | nix::errno::Errno::ENOSYS) | Ok(()) => {}
            Err(e) => return Err(e.into()),
        }
    }
    io::copy(input, output)?;
    output.rewind()?;
    let (digest, length) = Digest::of_reader(&*output)?;
    if length != size {
        return Err(io::Error::other(format!("{length} of {size} bytes arrived; did somebody write to the source?")));
    }
    Ok(digest)
}

/// What the new file's owner, mode and attributes are: those of the file it replaces, or install(1)'s for a new one.
fn attrs_for(dest: &Dest, old: Option<&InPlace>, wanted: &Wanted, new: &mut File) -> Result<Attrs, GenerationError> {
    let mut attrs = if let Some(old) = old {
        old.attrs.clone()
    } else {
        let runs = runnable(new).map_err(GenerationError::io(dest.path(), "the new file can't be read"))?;
        let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        Attrs { uid, gid, mode: if runs { 0o755 } else { 0o644 }, xattrs: Vec::new(), capability: None }
    };
    if let Some(mode) = wanted.mode {
        attrs.mode = mode;
    }
    if let Some(owner) = &wanted.owner {
        attrs.uid = id(owner, |name| Ok(User::from_name(name)?.map(|u| u.uid.as_raw())), "user")?;
    }
    if let Some(group) = &wanted.group {
        attrs.gid = id(group, |name| Ok(Group::from_name(name)?.map(|g| g.gid.as_raw())), "group")?;
    }
    match wanted.caps {
        Caps::Keep => {}
        Caps::Set(caps) => attrs.capability = Some(caps.to_bytes()),
        Caps::Drop => attrs.capability = None,
    }
    if attrs.capability.is_some() && nosuid(dest) {
        let why = format!("it has {CAPABILITY}, and its file system is mounted nosuid: the kernel would ignore it");
        return Err(GenerationError::refused(dest.path(), why));
    }
    Ok(attrs)
}

/// An ELF image or a script: what install(1) would make 0755.
fn runnable(file: &mut File) -> io::Result<bool> {
    let mut head = [0; 4];
    file.rewind()?;
    let n = file.read(&mut head)?;
    Ok(head[..n].starts_with(b"\x7fELF") || head[..n].starts_with(b"#!"))
}

fn id(text: &str, by_name: impl FnOnce(&str) -> nix::Result<Option<u32>>, kind: &str) -> Result<u32, GenerationError> {
    match (text.parse(), by_name(text)) {
        (_, Ok(Some(id))) | (Ok(id), _) => Ok(id),
        _ => Err(GenerationError::Usage(format!("'{text}' is no {kind} of this host; make it first"))),
    }
}

fn nosuid(dest: &Dest) -> bool {
    nix::sys::statvfs::statvfs(parent(dest.path()))
        .is_ok_and(|fs| fs.flags().contains(nix::sys::statvfs::FsFlags::ST_NOSUID))
}

/// Reads permission bits as install(1) takes them: octal.
pub fn parse_mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= Mode::all().bits() => Ok(mode),
        _ => Err(format!("'{text}' is not a mode: octal digits such as 0755 are needed")),
    }
}

/// The basename of a source, for `-t DIR`.
pub fn basename(source: &Path) -> Result<&OsStr, GenerationError> {
    source.file_name().ok_or_else(|| GenerationError::refused(source, "this names no file"))
}
