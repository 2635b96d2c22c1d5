//! `rollback PATH`: the way back that needs nothing but PATH and `.FILE.bak` beside it.
//!
//! It is for the host on which nothing else is left: what is missing or broken around the two files is said, and does not stop it.

use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use super::change;
use super::error::GenerationError;
use super::record::{self, Dest, Record};
use super::refuse;
use super::set::owner;
use super::stage::{InPlace, in_place, resolve};
use crate::sys::Host;
use crate::sys::durable::{parent, sync_dir};
use crate::sys::lock::{Lock, LockError};
use crate::sys::say::Say;
use crate::words::filecaps::FileCaps;

/// What changed places.
#[derive(Debug)]
pub struct Exchanged {
    /// The path.
    pub path: PathBuf,
    /// Where the file it held is now.
    pub backup: PathBuf,
    /// The path held nothing: it is one more name of the backup now.
    pub was_missing: bool,
    /// The units of the set it belongs to, when a record of that is left.
    pub units: Vec<String>,
}

/// Lets `path` and its `.FILE.bak` change places, in one step. No record is needed; when there is one, its lock is respected.
pub fn exchange(host: &Host, path: &Path, dry_run: bool, say: &Say) -> Result<Exchanged, GenerationError> {
    let dest = resolve(path, say)?;
    // A record that can't be read must not stop the last resort, nor a lock that can't be made.
    let set = owner(host, &dest).ok().flatten();
    let _lock = match set.as_deref().map(|name| Lock::take(host, name, std::time::Duration::ZERO)) {
        Some(Err(e @ LockError::Io { .. })) => {
            say.note(format_args!("{e}; going on without it"));
            None
        }
        Some(lock) => Some(lock?),
        None => None,
    };
    let record = set.and_then(|name| record::read(host, &name).ok().flatten());
    let backup = dest.bak();
    let Some(old) = in_place(&Dest::new(backup.clone()))? else {
        let why = format!("there is no {} to go back to", backup.display());
        return Err(GenerationError::refused(dest.path(), why));
    };
    let now = in_place(&dest)?;
    if now.as_ref().is_some_and(|now| now.digest == old.digest && now.attrs == old.attrs) {
        let why = format!("{} is the same file; there is nothing to go back to", backup.display());
        return Err(GenerationError::refused(dest.path(), why));
    }
    if let Some(why) = unfit(&backup, &old, now.as_ref()) {
        return Err(GenerationError::refused(&backup, format!("{why}; {} stays as it is", dest.path().display())));
    }
    tell_what_differs(&backup, &old, now.as_ref(), say);
    remark(&dest, &backup, &old, record.as_ref(), say);
    let was_missing = now.is_none();
    if !dry_run {
        carry_out(&dest, &backup, now.as_ref(), record.as_ref(), say)?;
    }
    let units = record.map(|r| r.units.into_iter().collect()).unwrap_or_default();
    Ok(Exchanged { path: dest.path().to_owned(), backup, was_missing, units })
}

/// Why the backup must not take the place of the file, if it must not.
fn unfit(backup: &Path, old: &InPlace, now: Option<&InPlace>) -> Option<String> {
    if old.size == 0 {
        return Some("it is empty, so it is nothing to go back to".to_owned());
    }
    let own = nix::unistd::geteuid().as_raw();
    let owners = [Some(0), Some(own), now.map(|now| now.attrs.uid)];
    if !owners.contains(&Some(old.attrs.uid)) {
        let shown = backup.display();
        return Some(format!(
            "it belongs to user {}, who could have written anything to it; if it is good: chown 0:0 {shown}",
            old.attrs.uid
        ));
    }
    let others = old.attrs.mode & 0o022 & !now.map_or(0, |now| now.attrs.mode);
    if others != 0 {
        let shown = backup.display();
        return Some(format!("others than its owner can write to it; if it is good: chmod go-w {shown}"));
    }
    let file = std::fs::File::open(backup).ok()?;
    refuse::broken(&file).map(|e| format!("it is no good: {e}"))
}

/// What of owner, mode and capabilities comes with the old file: a copy by hand has lost some.
fn tell_what_differs(backup: &Path, old: &InPlace, now: Option<&InPlace>, say: &Say) {
    let Some(now) = now else { return };
    let (old, now, shown) = (&old.attrs, &now.attrs, backup.display());
    if (old.uid, old.gid) != (now.uid, now.gid) {
        say.note(format_args!("{shown} belongs to {}:{}, not to {}:{}", old.uid, old.gid, now.uid, now.gid));
    }
    if old.mode != now.mode {
        say.note(format_args!("{shown} has the mode {:04o}, not {:04o}", old.mode, now.mode));
    }
    if old.capability != now.capability {
        let told = |caps: Option<&[u8]>| caps.map_or_else(|| "no capabilities".to_owned(), FileCaps::describe);
        let (old, now) = (told(old.capability.as_deref()), told(now.capability.as_deref()));
        say.note(format_args!("{shown} has {old}, not {now}; setcap-keep --explain UNIT says what a service loses"));
    }
}

/// What the record, when there is one, says of this.
fn remark(dest: &Dest, backup: &Path, old: &InPlace, record: Option<&Record>, say: &Say) {
    let Some(record) = record else { return };
    let name = &record.name;
    if let Some(trial) = &record.trial {
        say.note(format_args!(
            "generation {} of {name} is on trial; this brings one file back and leaves the trial open, all of it goes back with: \
             rollback {name}",
            trial.generation
        ));
    }
    if !record.knows(dest, &old.digest) {
        say.note(format_args!("{} is no file that {name} ever had there", backup.display()));
    }
}

fn carry_out(
    dest: &Dest,
    backup: &Path,
    now: Option<&InPlace>,
    record: Option<&Record>,
    say: &Say,
) -> Result<(), GenerationError> {
    // The next swap gives .FILE.bak to another file; a recorded generation must not go with it.
    let state = record.and_then(|r| r.generation(r.current)?.files.get(dest)?.as_ref());
    let kept = state.filter(|state| now.is_some_and(|now| now.digest == state.digest)).map(|s| dest.backup(s.born));
    let new = kept.as_ref().filter(|kept| !kept.exists());
    if let Some(kept) = &kept
        && let Err(e) = change::link_over(dest.path(), kept)
    {
        say.note(format_args!("{e}; going on without it"));
    }
    let swapped = match now {
        Some(_) => swap_names(dest, backup),
        None => match change::stage_backup(backup, dest) {
            Ok(()) => rename(&dest.staged(), dest.path()),
            // A file system without hard links: there is nothing to lose where PATH is missing.
            Err(_) => rename(backup, dest.path()),
        },
    };
    if let (Err(_), Some(new)) = (&swapped, new) {
        let _ = std::fs::remove_file(new);
    }
    swapped?;
    let failed = |source| GenerationError::NotDurable { path: dest.path().to_owned(), source };
    sync_dir(parent(dest.path())).map_err(failed)
}

fn swap_names(dest: &Dest, backup: &Path) -> Result<(), GenerationError> {
    match renameat2(AT_FDCWD, dest.path(), AT_FDCWD, backup, RenameFlags::RENAME_EXCHANGE) {
        Ok(()) => Ok(()),
        // A file system without RENAME_EXCHANGE (renameat2(2)): the same by links, the path never empty.
        Err(Errno::EINVAL | Errno::ENOSYS) => {
            let aside = dest.sibling("upswap-aside");
            change::link_over(dest.path(), &aside)?;
            change::stage_backup(backup, dest)?;
            rename(&dest.staged(), dest.path())?;
            rename(&aside, backup)
        }
        Err(e) => Err(GenerationError::io(dest.path(), "it can't change places with its backup")(e.into())),
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), GenerationError> {
    std::fs::rename(from, to)
        .map_err(|e: io::Error| GenerationError::io(to, "its backup can't be renamed into place")(e))
}
