//! The way home: the files of an earlier generation, by renames alone.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::change::{Move, Way};
use super::{
    Arrived, Dest, FileState, GenerationError, Id, Judged, OnTrial, Set, Settled, Trial, Went, change, in_place,
    keep_aside, not_durable,
};
use crate::sys::attrs::CAPABILITY;
use crate::sys::clock;
use crate::sys::say::Say;
use crate::words::filecaps::FileCaps;

impl<S> Set<'_, S> {
    /// Whether every file of generation `id` can be brought back, or why not.
    pub fn usable(&self, id: Id) -> Result<(), GenerationError> {
        for (dest, state) in self.files_of(id) {
            let Some(state) = state else { continue };
            let backup = dest.backup(state.born);
            if !is_good(&backup, &state)? && !is_good(dest.path(), &state)? {
                let why =
                    format!("generation {id} can't be brought back: this backup is missing or not what was recorded");
                return Err(GenerationError::refused(&backup, why));
            }
        }
        Ok(())
    }
}

impl<'h> Set<'h, OnTrial> {
    /// Whether every file of the trial is in place, durably, with the bytes it was recorded with: a swap that was killed between
    /// its renames is not, and must never be committed.
    pub fn whole(&self) -> Result<(), GenerationError> {
        let trial = self.trial();
        let files = self.files_of(trial.generation);
        for (dest, state) in &files {
            let Some(state) = state else { continue };
            if !is_good(dest.path(), state)? {
                let (id, name) = (trial.generation, &self.record.name);
                let why = format!(
                    "this is not the file of generation {id}: its swap was cut short, or it was changed since; take it back: rollback {name}"
                );
                return Err(GenerationError::refused(dest.path(), why));
            }
        }
        // The run that renamed them may have been killed before it came to that.
        change::sync_folders(files.keys().map(Dest::path)).map_err(not_durable)
    }

    /// A folder of the trial that is not there, or is another than it was: its file system is not mounted. What is missing
    /// there must not be taken for files that were never put in place.
    #[must_use]
    pub fn unreachable(&self) -> Option<&Path> {
        let is_it = |(folder, inode): &(&Dest, &u64)| fs::metadata(folder.path()).is_ok_and(|m| m.ino() == **inode);
        self.trial().folders.iter().find(|entry| !is_it(entry)).map(|(folder, _)| folder.path())
    }

    /// Chooses another generation to bring in, because the one before can't be.
    pub fn go_home_to(&mut self, home: Id) -> Result<(), GenerationError> {
        self.state.0.home = home;
        self.write()
    }

    /// Brings the files of the trial's home generation back, by renames alone. Does nothing where they are there already,
    /// so it can be called again after a kill. Whether they can be brought back is [`Set::usable`]'s to say, before.
    pub fn bring_home(&self, say: &Say) -> Result<Went, GenerationError> {
        let leaving = self.files_of(self.trial().generation);
        let mut went = Went::default();
        let (mut moves, mut there) = (Vec::new(), Vec::new());
        for (dest, wanted) in self.files_of(self.trial().home) {
            // Also when the renames were done by a run that was killed before systemd read the units again.
            went.units_changed |= dest.is_unit() && leaving.get(&dest) != Some(&wanted);
            let found = match in_place(&dest) {
                // Not a file: somebody put it there since, and it must not be in the way.
                Err(GenerationError::Refused { .. }) => {
                    let aside = give_way(&dest)?;
                    say.note(format_args!(
                        "{} is not a regular file any more; what is there is kept as {}",
                        dest.path().display(),
                        aside.display()
                    ));
                    if wanted.is_none() {
                        moves.push(Move { dest: dest.clone(), arrives: false });
                        went.changed.push(dest);
                        continue;
                    }
                    None
                }
                found => found?,
            };
            let backup = wanted.as_ref().map(|w| dest.backup(w.born));
            let is_there = match (&wanted, &found) {
                (None, None) => true,
                (Some(wanted), Some(found)) if found.digest == wanted.digest => match &backup {
                    Some(backup) => change::same_inode(backup, dest.path()) || !is_good(backup, wanted)?,
                    None => true,
                },
                _ => false,
            };
            if is_there {
                there.push(dest);
                continue;
            }
            if let Some(found) = &found {
                let left = leaving.get(&dest).and_then(Option::as_ref);
                let home_bytes = wanted.as_ref().is_some_and(|w| w.digest == found.digest);
                match left.filter(|left| left.digest == found.digest) {
                    Some(left) => change::link_over(dest.path(), &dest.backup(left.born))?,
                    None if home_bytes => {}
                    None => {
                        let aside = keep_aside(dest.path(), &dest)?;
                        say.note(format_args!(
                            "{} was edited since the swap; what it held is kept as {}",
                            dest.path().display(),
                            aside.display()
                        ));
                    }
                }
            }
            if let Some(backup) = &backup {
                change::stage_backup(backup, &dest)?;
            }
            moves.push(Move { dest: dest.clone(), arrives: wanted.is_some() });
            went.changed.push(dest);
        }
        // What the trial staged and never renamed.
        let staged: Vec<_> = leaving.keys().filter(|dest| !moves.iter().any(|m| m.dest == **dest)).collect();
        for dest in staged {
            let _ = std::fs::remove_file(dest.staged());
        }
        if !moves.is_empty() {
            change::carry_out(moves, Way::Back).map_err(|(path, source)| GenerationError::Torn {
                name: self.record.name.clone(),
                path,
                what: "the old file could not be renamed back",
                source,
            })?;
        }
        for (dest, wanted) in self.files_of(self.trial().home) {
            if let Some(lost) = wanted.and_then(|wanted| lost_since(dest.path(), &wanted)) {
                say.error(format_args!("{}: other hands changed this backup: {lost}", dest.path().display()));
            }
        }
        // What was there already may have been renamed by a run that was killed before it made that durable.
        change::sync_folders(there.iter().map(Dest::path)).map_err(not_durable)?;
        Ok(went)
    }

    /// Ends the trial with its home generation in place; `home_is` and `left` are what became known of it and of the one left.
    #[must_use = "the set is settled"]
    pub fn settle_home(
        mut self,
        home_is: Option<Judged>,
        left: Option<Judged>,
        say: &Say,
    ) -> Result<Set<'h, Settled>, GenerationError> {
        let Trial { generation, home, .. } = *self.trial();
        if let (Some(verdict), Some(home)) = (home_is, self.record.generation_mut(home)) {
            home.verdict = verdict;
        }
        if let (Some(verdict), Some(left)) = (left, self.record.generation_mut(generation)) {
            left.verdict = verdict;
        }
        for id in [generation, home] {
            self.record.learn(id, clock::now());
        }
        self.record.current = home;
        self.record.arrived = Arrived::Rollback;
        // What was left on purpose is kept, so that there is a way forward again.
        self.record.prune(Some(generation));
        let set = self.settled()?;
        set.refresh_bak(generation);
        set.sweep(say);
        Ok(set)
    }
}

impl Set<'_, Settled> {
    /// `.FILE.bak` must not be the last name of a file that the history has forgotten: the last proven file takes its place or,
    /// when there is none, the one before; when there is none either, it goes away.
    pub(super) fn move_bak_off(&self, dest: &Dest) {
        let bak = dest.bak();
        if !self.record.gone.iter().any(|gone| change::same_inode(gone.path(), &bak)) {
            return;
        }
        let proven = self.record.last_proven(Some(self.record.current)).map(|g| g.id);
        let others = proven.into_iter().chain(self.record.way_back());
        let backups =
            others.filter_map(|id| Some(dest.backup(self.record.generation(id)?.files.get(dest)?.as_ref()?.born)));
        let other = backups.into_iter().find(|b| b.exists() && !change::same_inode(b, dest.path()));
        // A convenience for `rollback PATH`, as below.
        match other {
            Some(other) => drop(change::link_over(&other, &bak)),
            None => drop(std::fs::remove_file(&bak)),
        }
    }

    /// After a rollback the file in place may be the very one `.FILE.bak` names: then the last proven one before it takes its
    /// place or, when no other was proven, the one that was `left`, unless it was found unhealthy.
    fn refresh_bak(&self, left: Id) {
        let left = self.record.generation(left).filter(|g| !matches!(g.verdict, Judged::Unhealthy(_)));
        let Some(other) = self.record.last_proven(Some(self.record.current)).or(left) else { return };
        for (dest, state) in &other.files {
            if let Some(state) = state
                && change::same_inode(dest.path(), &dest.bak())
                && !change::same_inode(dest.path(), &dest.backup(state.born))
            {
                // A convenience for `rollback PATH`; the numbered backups are what the way back stands on.
                let _ = change::link_over(&dest.backup(state.born), &dest.bak());
            }
        }
    }
}

/// What of owner, mode and capabilities is not as it was recorded: what is done to a file that was brought back is done to its
/// backup too, for they are one. `None` when all is, or can't be read.
fn lost_since(path: &Path, wanted: &FileState) -> Option<String> {
    let meta = fs::metadata(path).ok()?;
    let capabilities = xattr::get(path, CAPABILITY).ok()?.as_deref().map(FileCaps::describe);
    let mode = meta.mode() & 0o7777;
    let shown = path.display();
    if (meta.uid(), meta.gid()) != (wanted.uid, wanted.gid) {
        let (uid, gid) = (wanted.uid, wanted.gid);
        return Some(format!("it belongs to {}:{}; put that right: chown {uid}:{gid} {shown}", meta.uid(), meta.gid()));
    }
    if mode != wanted.mode {
        return Some(format!("it has the mode {mode:04o}; put that right: chmod {:04o} {shown}", wanted.mode));
    }
    if capabilities != wanted.capabilities {
        let told = |caps: Option<String>| caps.unwrap_or_else(|| "no capabilities".to_owned());
        let (now, then) = (told(capabilities), told(wanted.capabilities.clone()));
        return Some(format!("it has {now}, and had {then}; put that right: setcap(8)"));
    }
    None
}

/// Keeps what is at `dest`, and is no regular file, under a name of its own. Only a folder leaves the path, for no file can
/// be renamed over one.
fn give_way(dest: &Dest) -> Result<PathBuf, GenerationError> {
    let path = dest.path();
    if !fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir()) {
        return keep_aside(path, dest);
    }
    let mut time = clock::now();
    loop {
        let aside = dest.kept_aside(time);
        if fs::symlink_metadata(&aside).is_ok() {
            time = time.saturating_add(1);
            continue;
        }
        let failed = GenerationError::io(path, "a folder is in the way and can't be moved aside");
        return std::fs::rename(path, &aside).map(|()| aside).map_err(failed);
    }
}

/// Whether `path` has the bytes of `state`. What can't be read is not known to be bad.
pub(super) fn is_good(path: &Path, state: &FileState) -> Result<bool, GenerationError> {
    match in_place(&Dest::new(path.to_owned())) {
        Ok(found) => Ok(found.is_some_and(|f| f.digest == state.digest)),
        Err(GenerationError::Refused { .. }) => Ok(false),
        Err(e) => Err(e),
    }
}
