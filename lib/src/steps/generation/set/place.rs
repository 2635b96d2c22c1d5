//! The files of a trial: the old ones linked for the way back, the new ones renamed into place.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::home::is_good;
use super::{Dest, GenerationError, Judged, OnTrial, Set, Staged, Way, change};
use crate::sys::clock;
use crate::sys::say::Say;

impl Set<'_, OnTrial> {
    /// Links the old files for the way back, then renames the new ones into place. What this trial put in place before
    /// (`again`) is not old: home's own file is linked already, and may have the very same bytes.
    pub(super) fn put_in_place(
        &self,
        mut staged: Vec<Staged>,
        again: &BTreeSet<Dest>,
        say: &Say,
    ) -> Result<(), GenerationError> {
        let home = self.files_of(self.trial().home);
        let home_proven = self.record.generation(self.trial().home).is_some_and(|g| g.verdict == Judged::Proven);
        let moves_bak = home_proven || self.record.last_proven(None).is_none();
        let old_of = |s: &Staged| home.get(&s.dest)?.as_ref().filter(|_| !again.contains(&s.dest));
        for s in &staged {
            let Some(recorded) = old_of(s) else { continue };
            let found = s.old.as_ref();
            let still = found.filter(|old| old.digest == recorded.digest).map(|old| old.is_still_at(&s.dest));
            if still.transpose()? != Some(true) {
                let why = "other hands changed it while it was being replaced; it is left as it is now, try again";
                return Err(GenerationError::refused(s.dest.path(), why));
            }
        }
        for s in &staged {
            let Some(old) = old_of(s) else { continue };
            let backup = s.dest.backup(old.born);
            // Of a set whose record is lost.
            if fs::symlink_metadata(&backup).is_ok() && !is_good(&backup, old)? {
                let aside = keep_aside(&backup, &s.dest)?;
                say.note(format_args!("{} is of no generation; it is kept as {}", backup.display(), aside.display()));
            }
            change::link_over(s.dest.path(), &backup)?;
            if moves_bak {
                self.move_bak(&s.dest, say)?;
            }
        }
        change::sync_folders(staged.iter().map(|s| s.dest.path())).map_err(not_durable)?;
        let moves = change::moves_of(&staged);
        let carried = change::carry_out(moves, Way::Forward);
        let gone = |s: &&mut Staged| fs::symlink_metadata(s.path()).is_err_and(|e| e.kind() == ErrorKind::NotFound);
        staged.iter_mut().filter(gone).for_each(Staged::renamed);
        carried.map_err(|(path, source)| GenerationError::Io {
            path,
            what: "the new file could not be renamed into place",
            source,
        })
    }

    /// Makes `.FILE.bak` the file in place. A file of other hands by that name is kept aside, not lost.
    pub(super) fn move_bak(&self, dest: &Dest, say: &Say) -> Result<(), GenerationError> {
        let bak = dest.bak();
        if fs::symlink_metadata(&bak).is_ok() && !self.is_bak_ours(dest) {
            let aside = keep_aside(&bak, dest)?;
            say.note(format_args!("{} is not upswap's; it is kept as {}", bak.display(), aside.display()));
        }
        change::link_over(dest.path(), &bak)
    }
}

/// The folder of `dest` and its inode.
pub(super) fn folder_of(dest: &Dest) -> Option<(Dest, u64)> {
    let folder = dest.path().parent()?;
    Some((Dest::new(folder.to_owned()), fs::metadata(folder).ok()?.ino()))
}

/// Makes the files that are to be replaced durable: the way back stands on them, and other hands may have written them a moment ago.
pub(super) fn make_old_durable(staged: &[Staged]) -> Result<(), GenerationError> {
    let old: Vec<&Path> = staged.iter().filter(|s| s.old.is_some()).map(|s| s.dest.path()).collect();
    for path in &old {
        change::sync_file(path).map_err(GenerationError::io(path, "it can't be made durable for the way back"))?;
    }
    change::sync_folders(old).map_err(not_durable)
}

pub(super) fn not_durable((path, source): (PathBuf, io::Error)) -> GenerationError {
    GenerationError::Io { path, what: "this folder can't be made durable", source }
}

/// Links `file` to a name beside `dest` that nothing else has, so that it is not lost when its own name is given away.
pub(super) fn keep_aside(file: &Path, dest: &Dest) -> Result<PathBuf, GenerationError> {
    let mut time = clock::now();
    loop {
        let aside = dest.kept_aside(time);
        match fs::hard_link(file, &aside) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists && !change::same_inode(file, &aside) => time += 1,
            Err(e) if e.kind() != ErrorKind::AlreadyExists => {
                return Err(GenerationError::io(&aside, "a hard link to keep a file of other hands can't be made")(e));
            }
            _ => return Ok(aside),
        }
    }
}
