//! What is refused before anything is written: a path that must not be replaced, or that could not be what it is to be.
//!
//! Asked of the way forward only. The way back stops at nothing but what its renames themselves stop at.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use fs_err as fs;
use nix::errno::Errno;
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};

use super::error::GenerationError;
use super::record::Dest;
use super::stage::InPlace;
use crate::sys::attrs::{Attrs, CAPABILITY, supported};
use crate::sys::durable::parent;
use crate::sys::mounts::{Mount, is_mount_point};
use crate::sys::packages::{self, Package};
use crate::sys::say::Say;
use crate::sys::{Host, trust};
use crate::words::elf::{self, ElfError};

/// A refusal that who knows his host can do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Allow {
    /// Replace a file of a package
    PackageOwned,
    /// Put files where other users could replace them
    WritableFolder,
}

/// Refuses `dest` when a file with `attrs` could not be put there, or should not.
pub fn dest(
    host: &Host,
    dest: &Dest,
    old: Option<&InPlace>,
    attrs: &Attrs,
    allow: &[Allow],
    say: &Say,
) -> Result<(), GenerationError> {
    let (path, folder) = (dest.path(), parent(dest.path()));
    let refused = |why: String| Err(GenerationError::refused(path, why));
    if is_backup_name(path) {
        return refused("this is the name of a backup, which the way back needs as it is; choose another name".into());
    }
    let mount = Mount::of(folder).map_err(GenerationError::io(folder, "its file system can't be looked at"))?;
    if mount.read_only() {
        let read_only = io::Error::from(Errno::EROFS);
        return Err(GenerationError::io(path, "the new file can't be put there")(read_only));
    }
    if old.is_some() && is_mount_point(path).unwrap_or(false) {
        return refused(
            "something is mounted at this very path (container engines mount single files so), and a rename can't replace that; replace the file it is mounted from".into(),
        );
    }
    movable(path)?;
    if mount.noexec() && attrs.mode & 0o111 != 0 {
        return refused(
            "its file system is mounted noexec, so it could not be run; choose another folder, or mount it with exec"
                .into(),
        );
    }
    let set_id = attrs.mode & 0o4000 != 0 || attrs.mode & 0o2010 == 0o2010;
    if mount.nosuid() && (attrs.capability.is_some() || set_id) {
        let what = if attrs.capability.is_some() { CAPABILITY } else { "a set-ID bit" };
        return refused(format!(
            "it has {what}, and its file system is mounted nosuid: the kernel would ignore it; choose another folder, or --no-caps and --mode"
        ));
    }
    if attrs.capability.is_some() && !supported(folder) {
        return refused(format!(
            "its file system has no extended attributes, so {CAPABILITY} can't be set; choose another folder, or --no-caps"
        ));
    }
    if let Some(found) =
        trust::untrusted(host, folder).map_err(GenerationError::io(folder, "its folders can't be looked at"))?
    {
        if !allow.contains(&Allow::WritableFolder) {
            let mend = found.mend();
            return refused(format!(
                "{found} and could replace it; mend that: {mend}, or accept it: --allow writable-folder"
            ));
        }
        say.note(format_args!("{}: {found} and could replace it; that is accepted", path.display()));
    }
    if let Some(old) = old {
        tell_further_links(dest, old, say);
    }
    Ok(())
}

/// Whether swapbin itself makes files of this name: `.FILE.upswap-…`, and `.FILE.bak` beside FILE.
fn is_backup_name(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_bytes();
    let Some(inner) = name.strip_prefix(b".") else { return false };
    let of_a_file = |file: &[u8]| path.with_file_name(OsStr::from_bytes(file)).exists();
    inner.windows(8).any(|part| part == b".upswap-") || inner.strip_suffix(b".bak").is_some_and(of_a_file)
}

/// Refuses a path whose own or whose folder's chattr(1) flags let no rename happen: what stops the way back too.
pub fn movable(path: &Path) -> Result<(), GenerationError> {
    let folder = parent(path);
    for (which, said) in [(folder, ["its folder is", "make it writable"]), (path, ["it is", "if not"])] {
        let (flag, letter) = match flag_of(which) {
            Some(Flag::Immutable) => ("immutable", 'i'),
            Some(Flag::AppendOnly) => ("append-only", 'a'),
            None => continue,
        };
        let meant = if which == path { ", so somebody means it to stay" } else { "" };
        let [whose, way] = said;
        let why = format!("{whose} {flag}{meant}; {way}: chattr -{letter} {}", which.display());
        return Err(GenerationError::refused(path, why));
    }
    Ok(())
}

/// Refuses a program that can't run: an empty file, or an ELF image that is cut off. What else is in `new` is not looked at.
pub fn program(path: &Path, new: &File, attrs: &Attrs) -> Result<(), GenerationError> {
    let size = new.metadata().map_err(GenerationError::io(path, "it can't be looked at"))?.size();
    if size == 0 && attrs.mode & 0o111 != 0 {
        return Err(GenerationError::refused(path, "it is empty, and its destination is a program"));
    }
    broken(new).map_or(Ok(()), |e| Err(GenerationError::refused(path, format!("it can't run: {e}"))))
}

/// Why an ELF file can't run, by its own headers; `None` for any other file.
pub(super) fn broken(mut file: &File) -> Option<ElfError> {
    let mut start = [0; 4];
    file.rewind().and_then(|()| file.read_exact(&mut start)).ok()?;
    if start != elf::MAGIC {
        return None;
    }
    file.rewind().ok()?;
    elf::Program::read(file).err()
}

/// Refuses what belongs to a package: the package manager would put its own file back, and finds this one altered.
pub fn packaged<'d>(
    host: &Host,
    dests: impl IntoIterator<Item = &'d Dest>,
    allow: &[Allow],
    say: &Say,
) -> Result<(), GenerationError> {
    let paths: Vec<&Path> = dests.into_iter().map(Dest::path).collect();
    let owners = packages::owners(host, &paths).map_err(|source| GenerationError::Io {
        path: paths.first().map(|path| path.to_path_buf()).unwrap_or_default(),
        what: "whether a package has it can't be read",
        source,
    })?;
    for (path, package) in owners {
        let shown = path.display();
        let (package, instead) = match package {
            Package::Dpkg(name) => (name, format!("set it aside: dpkg-divert --local --no-rename --add {shown}, or")),
            Package::Rpm(name) => (name, String::new()),
        };
        if !allow.contains(&Allow::PackageOwned) {
            let why = format!(
                "it belongs to the package {package}, whose next update would put its own back; use the package manager or another path, or {instead} accept it: --allow package-owned"
            );
            return Err(GenerationError::refused(path, why.replace("or  ", "or ")));
        }
        say.note(format_args!("{shown} belongs to the package {package}; that is accepted"));
    }
    Ok(())
}

/// Refuses files that would not go onto their file systems as these are now. Only a dry run believes an estimate.
pub fn space<'d>(files: impl IntoIterator<Item = (&'d Dest, u64)>) -> Result<(), GenerationError> {
    let mut wanted = std::collections::BTreeMap::new();
    for (dest, size) in files {
        let folder = parent(dest.path());
        let device = fs::metadata(folder).map_err(GenerationError::io(folder, "the folder can't be looked at"))?.dev();
        let (bytes, count) = wanted.entry(device).or_insert((0_u64, 0_u64));
        (*bytes, *count) = (bytes.saturating_add(size), *count + 1);
        let mount = Mount::of(folder).map_err(GenerationError::io(folder, "its file system can't be looked at"))?;
        if !mount.has_room(*bytes, *count) {
            let full = io::Error::from(Errno::ENOSPC);
            return Err(GenerationError::io(dest.path(), "the new file would not go there")(full));
        }
    }
    Ok(())
}

enum Flag {
    Immutable,
    AppendOnly,
}

/// What chattr(1) gave it. Where the kernel or the file system can't tell, the first link or rename does.
fn flag_of(path: &Path) -> Option<Flag> {
    let found = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty()).ok()?.stx_attributes;
    match found {
        flags if flags.contains(StatxAttributes::IMMUTABLE) => Some(Flag::Immutable),
        flags if flags.contains(StatxAttributes::APPEND) => Some(Flag::AppendOnly),
        _ => None,
    }
}

/// Other names of the old file go on naming the old file. Our own backups are meant to.
fn tell_further_links(dest: &Dest, old: &InPlace, say: &Say) {
    if old.links < 2 {
        return;
    }
    let folder = parent(dest.path());
    let prefix = dest.sibling("upswap-");
    let (prefix, bak) = (prefix.file_name().unwrap_or_default(), dest.bak());
    let is_ours = |path: &Path| {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        path == bak || name.starts_with(prefix.as_encoded_bytes())
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let same = |path: &Path| fs::symlink_metadata(path).is_ok_and(|meta| old.is_inode(&meta));
    let ours = entries.filter(|path| is_ours(path) && same(path)).count() as u64;
    let others = old.links.saturating_sub(1 + ours);
    if others > 0 {
        say.note(format_args!(
            "{} has {others} further hard {}; other names keep the old file",
            dest.path().display(),
            if others == 1 { "link" } else { "links" }
        ));
    }
}
