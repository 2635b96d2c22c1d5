//! What is removed on purpose: what no kept generation needs (`rollback --prune`), or all that is upswap's (`rollback --forget`).

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::{Dest, GenerationError, Id, OnTrial, Set, Settled, record};
use crate::steps::artifact::floor;
use crate::sys::durable;

impl<'h> Set<'h, OnTrial> {
    /// Takes what is in place for the end of the trial, because there is nothing to go back to; to be forgotten next. The mark
    /// stays on disk until then.
    #[must_use = "forget it"]
    pub fn give_up(self) -> Set<'h, Settled> {
        Set { host: self.host, record: self.record, state: Settled, found: self.found, turn: self.turn }
    }
}

impl Set<'_, Settled> {
    /// Removes the generations beyond `keep` (as many as before, when it is not said) and what killed runs left beside the
    /// set's files. Returns the paths, which with `dry_run` are only told.
    pub fn prune(mut self, keep: Option<usize>, dry_run: bool) -> Result<Vec<PathBuf>, GenerationError> {
        self.nothing_missing()?;
        self.record.keep = keep.unwrap_or(self.record.keep);
        let dests = self.dests();
        let surplus = self.record.prune(None);
        let needed = self.record.backups();
        let mut gone: BTreeSet<PathBuf> = surplus.into_iter().collect();
        gone.extend(strays(&dests)?.into_iter().filter(|path| !needed.contains(path)));
        gone.retain(|path| fs::symlink_metadata(path).is_ok());
        if !dry_run {
            // The record first: a generation must not be promised when its files may be gone.
            record::write(self.host, &self.record).map_err(GenerationError::record(&self.record.name))?;
            for dest in &dests {
                self.move_bak_off(dest);
            }
            self.remove(&gone, "--prune")?;
        }
        Ok(gone.into_iter().collect())
    }

    /// Removes the record, every backup and every `.FILE.bak` of the set, and leaves the files in place as they are. Returns the
    /// paths, which with `dry_run` are only told.
    pub fn forget(self, dry_run: bool) -> Result<Vec<PathBuf>, GenerationError> {
        let dests = self.dests();
        let mut gone = self.record.backups();
        gone.extend(dests.iter().filter(|dest| self.is_bak_ours(dest)).map(Dest::bak));
        gone.extend(strays(&dests)?);
        gone.insert(floor::path(self.host, &self.record.name));
        gone.retain(|path| fs::symlink_metadata(path).is_ok());
        let record = record::path(self.host, &self.record.name);
        if !dry_run {
            self.remove(&gone, "--forget")?;
            // The record last: until here the same command can be given again.
            self.remove(&[record.clone()].into(), "--forget")?;
            // Only when it is empty; what else is in it is not ours.
            let _ = fs::remove_dir(record::folder(self.host, &self.record.name));
        }
        Ok(gone.into_iter().chain([record]).collect())
    }

    /// Refuses while a file of the generation in place is missing and there are backups of it: one may be all that is left.
    fn nothing_missing(&self) -> Result<(), GenerationError> {
        let is_there = |path: &Path| fs::symlink_metadata(path).is_ok();
        let backed_up = |dest: &Dest| {
            let states = self.record.generations.iter().filter_map(|g| g.files.get(dest)?.as_ref());
            states.map(|state| dest.backup(state.born)).any(|backup| is_there(&backup))
        };
        let files = self.files_of(self.record.current);
        let missing =
            |(dest, state): &(&Dest, &Option<_>)| state.is_some() && !is_there(dest.path()) && backed_up(dest);
        match files.iter().find(missing) {
            None => Ok(()),
            Some((dest, _)) => {
                let path = dest.path().display();
                let why = format!(
                    "{path} is missing, and a backup may be all that is left of it; bring one back first: rollback {path}"
                );
                Err(GenerationError::Nothing { name: self.record.name.clone(), why })
            }
        }
    }

    /// Every path that any generation of the set has.
    pub(super) fn dests(&self) -> BTreeSet<Dest> {
        self.record.generations.iter().flat_map(|g| g.files.keys().cloned()).collect()
    }

    fn remove(&self, paths: &BTreeSet<PathBuf>, again: &'static str) -> Result<(), GenerationError> {
        let half = |path: &Path| {
            let (path, name) = (path.to_owned(), self.record.name.clone());
            move |source| GenerationError::HalfRemoved { name, path, source, again }
        };
        for path in paths {
            match std::fs::remove_file(path) {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(half(path)(e)),
                _ => {}
            }
        }
        let folders: BTreeSet<_> = paths.iter().map(|path| durable::parent(path)).collect();
        folders.into_iter().try_for_each(|folder| durable::sync_dir(folder).map_err(half(folder)))
    }
}

/// What lies beside `dests` under names that only upswap gives: numbered backups, staged files, half-made links. What was kept
/// aside for the operator is not of it, nor is `.FILE.bak`.
fn strays(dests: &BTreeSet<Dest>) -> Result<Vec<PathBuf>, GenerationError> {
    let mut found = Vec::new();
    for dest in dests {
        let folder = durable::parent(dest.path());
        let entries = match fs::read_dir(folder) {
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => continue,
            entries => entries.and_then(Iterator::collect::<io::Result<Vec<_>>>),
        };
        let entries = entries.map_err(GenerationError::io(folder, "the folder can't be read"))?;
        let names = entries.iter().map(fs::DirEntry::file_name);
        found.extend(names.filter(|name| is_stray(dest, name)).map(|name| folder.join(name)));
    }
    Ok(found)
}

fn is_stray(dest: &Dest, name: &OsStr) -> bool {
    let own = |suffix: &str| dest.sibling(suffix).file_name().is_some_and(|own| own == name);
    if own("upswap-new") || own("upswap-aside") {
        return true;
    }
    let bare = |name: &[u8], suffix: &str| {
        let prefix = dest.sibling(suffix);
        let prefix = prefix.file_name().unwrap_or_default().as_bytes();
        name.strip_prefix(prefix).map(<[u8]>::to_vec)
    };
    let name = name.as_bytes();
    // change::link_over makes `.LINK.link` first.
    let half_made = name.strip_prefix(b".").and_then(|name| name.strip_suffix(b".link"));
    if half_made.is_some_and(|link| {
        [b"bak".as_slice(), b"upswap-new"].into_iter().any(|end| bare(link, "") == Some(end.to_vec()))
    }) {
        return true;
    }
    let numbered = bare(half_made.unwrap_or(name), "upswap-");
    numbered.is_some_and(|number| str::from_utf8(&number).is_ok_and(|number| number.parse::<Id>().is_ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_upswap_gives_are_strays() {
        let dest = Dest::new("/usr/local/bin/runed".into());
        for stray in [
            ".runed.upswap-new",
            ".runed.upswap-aside",
            ".runed.upswap-12",
            "..runed.upswap-3.link",
            "..runed.bak.link",
            "..runed.upswap-new.link",
        ] {
            assert!(is_stray(&dest, stray.as_ref()), "{stray}");
        }
        for other in [
            "runed",
            ".runed.bak",
            ".runed.upswap-kept-17",
            ".runed.upswap-",
            ".runed.upswap-x",
            ".rune.upswap-1",
            "x.link",
        ] {
            assert!(!is_stray(&dest, other.as_ref()), "{other}");
        }
    }
}
