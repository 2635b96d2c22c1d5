//! `rollback PATH`: the way back that needs nothing but PATH and `.FILE.bak` beside it.

use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use super::change;
use super::error::GenerationError;
use super::record::{self, Dest};
use super::set::owner;
use super::stage::{in_place, resolve};
use crate::sys::Host;
use crate::sys::durable::{parent, sync_dir};
use crate::sys::lock::Lock;
use crate::sys::say::Say;

/// What changed places.
#[derive(Debug)]
pub struct Exchanged {
    /// The path.
    pub path: PathBuf,
    /// Where the file it held is now.
    pub backup: PathBuf,
    /// The units of the set it belongs to, when a record of that is left.
    pub units: Vec<String>,
}

/// Lets `path` and its `.FILE.bak` change places, in one step. No record is needed; when there is one, its lock is respected.
pub fn exchange(host: &Host, path: &Path, dry_run: bool, say: &Say) -> Result<Exchanged, GenerationError> {
    let dest = resolve(path, say)?;
    // A record that can't be read must not stop the last resort.
    let set = owner(host, &dest).ok().flatten();
    let _lock = set.as_deref().map(|name| Lock::take(host, name, std::time::Duration::ZERO)).transpose()?;
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
    let record = set.and_then(|name| record::read(host, &name).ok().flatten());
    let mut kept = None;
    if !dry_run {
        // The next swap gives .FILE.bak to another file; a recorded generation must not go with it.
        let state = record.as_ref().and_then(|r| r.generation(r.current)?.files.get(&dest)?.as_ref());
        if let (Some(state), Some(now)) = (state, &now)
            && state.digest == now.digest
        {
            kept = Some(dest.backup(state.born)).filter(|backup| !backup.exists());
            change::link_over(dest.path(), &dest.backup(state.born))?;
        }
        let swapped = match now {
            Some(_) => swap_names(&dest, &backup),
            None => change::stage_backup(&backup, &dest).and_then(|()| rename(&dest.staged(), dest.path())),
        };
        if let (Err(_), Some(kept)) = (&swapped, &kept) {
            let _ = std::fs::remove_file(kept);
        }
        swapped?;
        sync_dir(parent(dest.path()))
            .map_err(|source| GenerationError::NotDurable { path: dest.path().to_owned(), source })?;
    }
    let units = record.map(|r| r.units.into_iter().collect()).unwrap_or_default();
    Ok(Exchanged { path: dest.path().to_owned(), backup, units })
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
