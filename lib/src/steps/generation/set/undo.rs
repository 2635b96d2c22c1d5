//! A swap that did not happen: nothing of it is left, neither a name beside the files nor a word in the history.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{Dest, GenerationError, OnTrial, Set, change, fs, record};

/// What each `.FILE.bak` was before a swap, and which backups there were.
pub(super) struct Baks(Vec<(PathBuf, Was)>, BTreeSet<PathBuf>);

enum Was {
    /// There was none.
    Absent,
    /// One more link to this file.
    LinkTo(PathBuf),
    /// A file of its own, of other hands: [`super::keep_aside`] gives it a name before its own is given away.
    Own(Dest, BTreeSet<PathBuf>),
}

impl Baks {
    /// The `.FILE.bak` of `dests` as they are now.
    pub(super) fn of<'d>(set: &Set<'_, OnTrial>, dests: impl Iterator<Item = &'d Dest>) -> Self {
        let was = |dest: &Dest| {
            let bak = dest.bak();
            if fs::symlink_metadata(&bak).is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound) {
                return Was::Absent;
            }
            let files = set.record.generations.iter().filter_map(|g| g.files.get(dest)?.as_ref());
            let names = files.map(|file| dest.backup(file.born)).chain([dest.path().to_owned()]);
            let link = names.into_iter().find(|name| change::same_inode(name, &bak));
            link.map_or_else(|| Was::Own(dest.clone(), kept_aside(dest)), Was::LinkTo)
        };
        let mut backups = set.record.backups();
        backups.retain(|backup| fs::symlink_metadata(backup).is_ok());
        Self(dests.map(|dest| (dest.bak(), was(dest))).collect(), backups)
    }

    fn put_back(&self) -> Result<(), GenerationError> {
        for (bak, was) in &self.0 {
            match was {
                Was::Absent => remove(bak)?,
                Was::LinkTo(file) => change::link_over(file, bak)?,
                Was::Own(dest, before) => {
                    if let Some(aside) = kept_aside(dest).difference(before).next() {
                        std::fs::rename(aside, bak).map_err(GenerationError::io(bak, "it can't get its name back"))?;
                        // rename(2) does nothing where both names are one file's already.
                        remove(aside)?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Set<'_, OnTrial> {
    /// Takes away what the trial left beside the files, and then its mark.
    pub(super) fn forget_trial(&self, baks: &Baks) -> Result<(), GenerationError> {
        baks.put_back()?;
        for backup in self.record.backups().difference(&baks.1) {
            remove(backup)?;
        }
        let name = &self.record.name;
        record::put_back(self.host, name, self.found.as_ref()).map_err(GenerationError::record(name))
    }
}

/// The files that were kept aside at `dest`.
fn kept_aside(dest: &Dest) -> BTreeSet<PathBuf> {
    let prefix = dest.sibling("upswap-kept-");
    let Some((folder, prefix)) = prefix.parent().zip(prefix.file_name()) else { return BTreeSet::new() };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let ours = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        name.starts_with(prefix.as_encoded_bytes())
    };
    entries.filter(ours).collect()
}

fn remove(path: &std::path::Path) -> Result<(), GenerationError> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(GenerationError::io(path, "it can't be removed")(e)),
        _ => Ok(()),
    }
}
