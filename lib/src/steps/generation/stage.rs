//! Staging: the new file, whole and with all its metadata, beside the one it will replace. All slow work is here.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use fs_err as fs;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::{Group, User};

use super::error::GenerationError;
use super::record::{Dest, FileState, Id};
use super::refuse::{self, Allow};
use super::room::reserve;
use crate::steps::artifact::store::{Store, Stored};
use crate::sys::attrs::{Attrs, left_behind};
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
    /// How many names it has.
    pub links: u64,
    /// Its attributes that are not carried to another file.
    pub stays: Vec<OsString>,
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
    let found = std::fs::canonicalize(folder)
        .and_then(|found| if found.is_dir() { Ok(found) } else { Err(io::ErrorKind::NotADirectory.into()) });
    let folder = found.map_err(GenerationError::io(folder, "the folder can't be found"))?;
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
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
        Err(e) => return Err(GenerationError::io(path, "it can't be looked at")(e)),
        Ok(meta) if !meta.is_file() => {
            return Err(GenerationError::refused(path, "it is not a regular file; only regular files are managed"));
        }
        Ok(_) => {}
    }
    let file = open_regular(path)?;
    let unread = |source| GenerationError::Attrs { path: path.to_owned(), source };
    let attrs = Attrs::of(&file).map_err(unread)?;
    let stays = left_behind(&file).map_err(unread)?;
    // The stamp before the bytes: what is written meanwhile makes it old.
    let meta = file.metadata().map_err(GenerationError::io(path, "it can't be looked at"))?;
    let stamp = stamp(&meta);
    let (digest, size) = Digest::of_reader(&file).map_err(GenerationError::io(path, "it can't be read"))?;
    Ok(Some(InPlace { digest, attrs, size, links: meta.nlink(), stays, stamp }))
}

fn stamp(meta: &Metadata) -> Stamp {
    (meta.dev(), meta.ino(), meta.size(), (meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec()))
}

impl InPlace {
    /// Whether `dest` still is this file, without reading it again.
    pub fn is_still_at(&self, dest: &Dest) -> Result<bool, GenerationError> {
        match std::fs::symlink_metadata(dest.path()) {
            Ok(meta) => Ok(stamp(&meta) == self.stamp),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(GenerationError::io(dest.path(), "it can't be looked at")(e)),
        }
    }

    /// Whether `meta` is of this very file.
    #[must_use]
    pub fn is_inode(&self, meta: &Metadata) -> bool {
        (self.stamp.0, self.stamp.1) == (meta.dev(), meta.ino())
    }

    /// How the record describes it, born in generation `born`.
    #[must_use]
    pub fn state(&self, born: Id) -> FileState {
        described(self.digest, self.size, &self.attrs, born)
    }
}

/// A file that is to go to its DEST: looked at, not refused, nothing written yet.
#[derive(Debug)]
pub struct Ready {
    /// Where it will be.
    pub dest: Dest,
    source: PathBuf,
    input: File,
    old: Option<InPlace>,
    attrs: Attrs,
    stored: Option<Stored>,
}

/// A new file beside its DEST, empty, its space its own.
#[derive(Debug)]
pub struct Reserved {
    ready: Ready,
    output: File,
    waiting: Waiting,
}

/// Looks at `source` and at `dest`, and refuses what must not be replaced. `None` when `dest` is already that file.
pub fn examine(
    host: &Host,
    source: &Path,
    dest: &Dest,
    wanted: &Wanted,
    allow: &[Allow],
    say: &Say,
) -> Result<Option<Ready>, GenerationError> {
    let stored = Store::of(host).lookup(source).map_err(GenerationError::io(source, "the store's record of it"))?;
    let mut input = open_regular(source)?;
    let old = in_place(dest)?;
    let attrs = attrs_for(dest, old.as_ref(), wanted, &mut input)?;
    if let Some(old) = &old
        && already(&input, dest, old, &attrs)?
    {
        say.detail(format_args!("{} is already this file", dest.path().display()));
        return Ok(None);
    }
    refuse::dest(host, dest, old.as_ref(), &attrs, allow, say)?;
    refuse::program(source, &input, &attrs)?;
    if let Some(old) = old.as_ref().filter(|old| !old.stays.is_empty()) {
        let stays: Vec<_> = old.stays.iter().map(|name| name.to_string_lossy()).collect();
        say.note(format_args!(
            "{}: {} is of the old file alone and not carried to the new one",
            dest.path().display(),
            stays.join(", ")
        ));
    }
    input.rewind().map_err(GenerationError::io(source, "it can't be read"))?;
    Ok(Some(Ready { dest: dest.clone(), source: source.to_owned(), input, old, attrs, stored }))
}

impl Ready {
    /// Whether the store of verified files promises its bytes.
    #[must_use]
    pub fn verified(&self) -> bool {
        self.stored.is_some()
    }

    /// How many bytes it has.
    pub fn size(&self) -> Result<u64, GenerationError> {
        let meta = self.input.metadata().map_err(GenerationError::io(&self.source, "it can't be looked at"))?;
        Ok(meta.size())
    }

    /// Reads it all for a dry run: a file of the store must have the bytes that its path promises.
    pub fn read(&self) -> Result<FileState, GenerationError> {
        let (digest, size) =
            Digest::of_reader(&self.input).map_err(GenerationError::io(&self.source, "it can't be read"))?;
        self.promised(digest)?;
        Ok(described(digest, size, &self.attrs, 0))
    }

    /// Makes the file beside DEST and takes the space that it will need.
    pub fn reserve(self) -> Result<Reserved, GenerationError> {
        let staged = self.dest.staged();
        sweep(&staged)?;
        let output = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(&staged)
            .map_err(GenerationError::io(&staged, "the new file can't be made"))?;
        let waiting = Waiting(Some(staged.clone()));
        let size = self.size()?;
        reserve(&output, size).map_err(GenerationError::io(&staged, "there is no room for the new file"))?;
        Ok(Reserved { ready: self, output, waiting })
    }

    fn promised(&self, digest: Digest) -> Result<(), GenerationError> {
        match &self.stored {
            Some(stored) if stored.digest != digest => {
                Err(GenerationError::Altered { path: self.source.clone(), found: digest })
            }
            _ => Ok(()),
        }
    }
}

impl Reserved {
    /// Copies the bytes and gives them all metadata, durable and closed.
    ///
    /// A file of the store must have the bytes that its path promises; they are hashed as they lie beside DEST, so it does
    /// not matter what happened to them on the way. Its time of modification is that of FILE: when these bytes were made.
    pub fn stage(self) -> Result<Staged, GenerationError> {
        let Self { mut ready, mut output, waiting } = self;
        let staged = ready.dest.staged();
        let digest = copy(&mut ready.input, &mut output)
            .map_err(GenerationError::io(&staged, "the new file can't be written"))?;
        ready.promised(digest)?;
        let made = ready.input.metadata().and_then(|meta| meta.modified());
        let made = made.map_err(GenerationError::io(&ready.source, "it can't be looked at"))?;
        // Before the owner changes: only an owner may set times.
        output.set_modified(made).map_err(GenerationError::io(&staged, "its time of modification can't be set"))?;
        let carry = |source| GenerationError::Attrs { path: ready.dest.path().to_owned(), source };
        ready.attrs.set_on(&output).map_err(carry)?;
        output.sync_all().map_err(GenerationError::io(&staged, "the new file can't be made durable"))?;
        let size = output.metadata().map_err(GenerationError::io(&staged, "the new file can't be looked at"))?.size();
        let Ready { dest, old, attrs, stored, .. } = ready;
        let state = FileState {
            verified: stored.is_some(),
            origin: stored.and_then(|s| s.origin),
            ..described(digest, size, &attrs, 0)
        };
        Ok(Staged { dest, state, old, waiting })
    }
}

/// How the record describes a file.
fn described(digest: Digest, size: u64, attrs: &Attrs, born: Id) -> FileState {
    FileState {
        digest,
        size,
        mode: attrs.mode,
        uid: attrs.uid,
        gid: attrs.gid,
        capabilities: attrs.capability.as_deref().map(FileCaps::describe),
        born,
        verified: false,
        origin: None,
    }
}

/// Whether `old` has the bytes of `input` and all that is wanted besides, so that nothing needs to be touched.
fn already(input: &File, dest: &Dest, old: &InPlace, attrs: &Attrs) -> Result<bool, GenerationError> {
    let same_size = input.metadata().is_ok_and(|meta| meta.size() == old.size);
    if !same_size || *attrs != old.attrs {
        return Ok(false);
    }
    let read = |e| GenerationError::io(dest.path(), "the new file can't be compared with it")(e);
    let mut from_the_start = input;
    from_the_start.rewind().map_err(read)?;
    same_bytes(input, &open_regular(dest.path())?).map_err(read)
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
        attrs.set_mode(mode);
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
