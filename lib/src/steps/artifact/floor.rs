//! The floor of a NAME: the highest version that a verdict found healthy. verify takes nothing below it, so that nobody can
//! bring an old hole back by serving an old release; generations that are kept are not bound by it.
//!
//! `<state>/NAME/floor` holds one version and nothing else, for root to edit. It only ever goes up by itself.

use std::io;
use std::path::{Path, PathBuf};

use crate::sys::{Host, durable, trust};
use crate::words::exit::{Coded, Exit};
use crate::words::policy;
use crate::words::release::Tag;

/// Why a floor does not tell what may be taken.
#[derive(Debug, thiserror::Error)]
pub enum FloorError {
    /// It can't be read, or is not to be believed.
    #[error("{path}: the floor can't be read: {source}", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds something else than one version.
    #[error("{path}: {why}; write the lowest version that may be taken into it", path = .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl Coded for FloorError {
    fn exit(&self) -> Exit {
        Exit::CouldNot
    }
}

/// Where the floor of `name` is.
#[must_use]
pub fn path(host: &Host, name: &str) -> PathBuf {
    host.state().join(name).join("floor")
}

/// The version in the floor at `path`; `None` when nothing was proven yet and nobody wrote one.
pub fn read(host: &Host, path: &Path) -> Result<Option<Tag>, FloorError> {
    let bytes = trust::read(host, path).map_err(|source| FloorError::Unreadable { path: path.to_owned(), source })?;
    let Some(bytes) = bytes else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes);
    policy::floor(text.trim_end()).map(Some).map_err(|why| FloorError::Malformed { path: path.to_owned(), why })
}

/// Raises the floor of `name` to `version`, durably. A version that can't be compared, or is not above it, changes nothing;
/// nor is a floor that can't be read written over.
pub fn raise(host: &Host, name: &str, version: &str) -> io::Result<()> {
    let path = path(host, name);
    let Ok(version) = policy::floor(version) else { return Ok(()) };
    match read(host, &path) {
        Ok(Some(floor)) if !is_newer(&version, &floor) => Ok(()),
        Ok(_) => durable::replace(&path, format!("{version}\n").as_bytes(), 0o644),
        Err(FloorError::Malformed { .. }) => Ok(()),
        Err(FloorError::Unreadable { source, .. }) => Err(source),
    }
}

fn is_newer(version: &Tag, floor: &Tag) -> bool {
    version.version().zip(floor.version()).is_some_and(|(version, floor)| version.is_newer_than(floor) == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fs_err as fs;

    #[test]
    fn it_goes_up_and_never_down() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::below(root.path());
        let path = path(&host, "runed");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        assert!(read(&host, &path).unwrap().is_none());
        for (version, floor) in
            [("v1.0.0", "v1.0.0"), ("nightly", "v1.0.0"), ("v0.9", "v1.0.0"), ("v2.0.0-rc.1", "v2.0.0-rc.1")]
        {
            raise(&host, "runed", version).unwrap();
            assert_eq!(read(&host, &path).unwrap().unwrap().as_str(), floor);
        }
        // Root may lower it.
        fs::write(&path, "0.5").unwrap();
        raise(&host, "runed", "0.6").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "0.6\n");
    }

    #[test]
    fn a_floor_that_says_nothing_is_an_error_and_stays() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::below(root.path());
        let path = path(&host, "runed");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        for text in ["", "\n", "nightly\n", "1.0\n2.0\n", "\0\0\0\0"] {
            fs::write(&path, text).unwrap();
            assert!(matches!(read(&host, &path), Err(FloorError::Malformed { .. })), "{text:?}");
            raise(&host, "runed", "9.0").unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
