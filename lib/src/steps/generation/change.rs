//! The visible change: hard links for the way back, then every rename, back to back.
//!
//! Knows paths and links, not the record: [`super::set`] writes the mark before it calls here.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::error::GenerationError;
use super::record::Dest;
use super::stage::Staged;
use crate::sys::durable::{parent, sync_dir};
use crate::sys::intake;
use crate::sys::signals::Held;

/// One path's change: a file that waits beside it, or nothing when the path is to go away.
#[derive(Debug)]
pub(super) struct Move {
    /// The managed path.
    pub dest: Dest,
    /// Whether a file waits under [`Dest::staged`]; otherwise the path is removed.
    pub arrives: bool,
}

/// Which way a change goes: it decides what is renamed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Binaries first, units last.
    Forward,
    /// Units first, binaries last.
    Back,
}

/// Does all moves, nothing between them, with the ending signals held; then makes the folders durable.
///
/// On an error the moves before it are done and the ones after it are not: the path it stopped at is returned with it.
pub(super) fn carry_out(mut moves: Vec<Move>, way: Way) -> Result<(), (PathBuf, io::Error)> {
    moves.sort_by_key(|m| m.dest.is_unit());
    if way == Way::Back {
        moves.reverse();
    }
    let pairs: Vec<_> = moves.iter().map(|m| (m.arrives.then(|| m.dest.staged()), m.dest.path())).collect();
    let held = Held::begin();
    for (staged, dest) in &pairs {
        let result = match staged {
            Some(staged) => std::fs::rename(staged, dest),
            None => match std::fs::remove_file(dest) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            },
        };
        result.map_err(|e| (dest.to_path_buf(), e))?;
    }
    drop(held);
    sync_folders(pairs.iter().map(|(_, dest)| *dest))
}

/// Makes the names in the folders of `paths` durable, each folder once. One that is gone has none.
pub(super) fn sync_folders<'p>(paths: impl IntoIterator<Item = &'p Path>) -> Result<(), (PathBuf, io::Error)> {
    let folders: BTreeSet<_> = paths.into_iter().map(parent).collect();
    folders.into_iter().try_for_each(|folder| match sync_dir(folder) {
        Err(e) if !matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Err((folder.to_owned(), e))
        }
        _ => Ok(()),
    })
}

/// Makes the file at `path` durable. Its name is its folder's ([`sync_folders`]).
pub(super) fn sync_file(path: &Path) -> io::Result<()> {
    intake::open_regular(path)?.sync_all()
}

/// Makes `link` one more name of `file`'s inode, in place of whatever had that name.
pub(super) fn link_over(file: &Path, link: &Path) -> Result<(), GenerationError> {
    let failed = |e| GenerationError::io(link, "a hard link to keep the old file can't be made")(e);
    match std::fs::hard_link(file, link) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        other => return other.map_err(failed),
    }
    if same_inode(file, link) {
        return Ok(());
    }
    let dest = Dest::new(link.to_owned());
    let beside = dest.sibling("link");
    // Left by a run that was killed between the next two calls.
    match std::fs::remove_file(&beside) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e)),
        _ => {}
    }
    std::fs::hard_link(file, &beside).map_err(failed)?;
    std::fs::rename(&beside, link).map_err(|e| {
        let _ = std::fs::remove_file(&beside);
        failed(e)
    })
}

/// Removes what [`link_over`] left of `link` when it was killed.
pub(super) fn sweep_link(link: &Path) {
    let beside = Dest::new(link.to_owned()).sibling("link");
    if fs::symlink_metadata(&beside).is_ok() {
        let _ = fs::remove_file(beside);
    }
}

/// Makes a second name of `backup` wait beside `dest` for the rename. Backups themselves are never renamed.
pub(super) fn stage_backup(backup: &Path, dest: &Dest) -> Result<(), GenerationError> {
    link_over(backup, &dest.staged())
}

/// Whether both paths are names of one file.
pub(super) fn same_inode(a: &Path, b: &Path) -> bool {
    match (fs::symlink_metadata(a), fs::symlink_metadata(b)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

/// The moves of a swap.
pub(super) fn moves_of(staged: &[Staged]) -> Vec<Move> {
    staged.iter().map(|s| Move { dest: s.dest.clone(), arrives: true }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binaries_go_first_and_units_last_and_back_in_reverse() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("systemd")).unwrap();
        let make = |name: &str| {
            let dest = Dest::new(dir.path().join(name));
            fs::write(dest.path(), "old").unwrap();
            fs::write(dest.staged(), "new").unwrap();
            Move { dest, arrives: true }
        };
        // A move that can't be done shows what came before it.
        let blocked = Dest::new(dir.path().join("b"));
        fs::create_dir(blocked.path()).unwrap();
        let moves = vec![make("systemd/x.service"), Move { dest: blocked.clone(), arrives: false }, make("a")];
        let (path, _) = carry_out(moves, Way::Forward).unwrap_err();
        assert_eq!(path, blocked.path());
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!((read("systemd/x.service").as_str(), read("a").as_str()), ("old", "old"));
        carry_out(vec![make("systemd/x.service"), make("a")], Way::Back).unwrap();
        assert_eq!((read("systemd/x.service").as_str(), read("a").as_str()), ("new", "new"));
    }

    #[test]
    fn a_link_takes_the_place_of_another_file_and_keeps_the_inode() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join(".file.bak"));
        fs::write(&file, "file").unwrap();
        fs::write(&link, "other").unwrap();
        link_over(&file, &link).unwrap();
        link_over(&file, &link).unwrap();
        assert!(same_inode(&file, &link));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
