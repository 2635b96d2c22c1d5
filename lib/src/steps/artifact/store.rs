//! The store: verified files by content, `<cache>/store/<sha256>/<name>`.
//!
//! The path says what the file is; whoever takes a file from it hashes the bytes again. Unverified bytes have no way in:
//! the only door takes a [`Proven`], which only the evidence module makes.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use fs_err as fs;

use super::origin::Origin;
use crate::sys::Host;
use crate::words::digest::Digest;

/// The name of the origin record in an object's folder.
const RECORD: &str = ".origin.json";

/// The store of one host.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// A file of the store, found by its path. Its bytes are still to be hashed by whoever takes them.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The digest its path promises.
    pub digest: Digest,
    /// Where it came from.
    pub origin: Option<Origin>,
}

impl Store {
    /// The store of `host`.
    #[must_use]
    pub fn of(host: &Host) -> Self {
        Self { root: host.cache().join("store") }
    }

    /// The folder of the store.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where an object of this digest and name is kept.
    #[must_use]
    pub fn path(&self, digest: &Digest, name: &OsStr) -> PathBuf {
        self.root.join(digest.to_string()).join(name)
    }

    /// Where the origin record of an object is kept.
    #[must_use]
    pub fn record(&self, digest: &Digest) -> PathBuf {
        self.root.join(digest.to_string()).join(RECORD)
    }

    /// What the store promises about `path`: `None` when it is not a path of this store, or when the store is not
    /// trustworthy for this user (every folder from the store down must belong to them and be writable by nobody else).
    pub fn lookup(&self, path: &Path) -> io::Result<Option<Stored>> {
        let (Ok(path), Ok(root)) = (fs::canonicalize(path), fs::canonicalize(&self.root)) else {
            return Ok(None);
        };
        let Ok(inside) = path.strip_prefix(&root) else { return Ok(None) };
        let mut parts = inside.components();
        let (Some(Component::Normal(digest)), Some(Component::Normal(_)), None) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Ok(None);
        };
        let Some(digest) = digest.to_str().and_then(|text| text.parse::<Digest>().ok()) else { return Ok(None) };
        for folder in [root.as_path(), path.parent().unwrap_or(&root)] {
            let meta = fs::metadata(folder)?;
            if meta.uid() != nix::unistd::geteuid().as_raw() || meta.mode() & 0o022 != 0 {
                return Ok(None);
            }
        }
        Ok(Some(Stored { digest, origin: Origin::read(&self.record(&digest))? }))
    }
}
