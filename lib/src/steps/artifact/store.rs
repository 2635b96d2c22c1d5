//! The store: verified files by content, `<cache>/store/<sha256>/<name>`.
//!
//! The path says what the file is; whoever takes a file from it hashes the bytes again. Unverified bytes have no way in:
//! the only door, [`Store::admit`], takes a [`Proven`], which only the evidence module makes, and hashes what is there.

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io::{self, Seek};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::thread;

use fs_err as fs;

use super::evidence::Proven;
use super::origin::Origin;
use crate::sys::{Host, durable, intake};
use crate::words::digest::Digest;
use crate::words::exit::{Coded, Exit};
use crate::words::member::FileName;

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

/// What the store did for a file that it admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// It is new.
    New,
    /// It was there already: the bytes were hashed again and are right.
    Kept,
    /// Something else was there under its name, and was replaced.
    Replaced,
}

/// Why a file was not admitted.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A folder of the store can be written by others, so nothing in it could be trusted.
    #[error(
        "{path}: is not trusted as a store: it belongs to user {owner}, mode {mode:04o}; it must be yours and writable by nobody else"
    )]
    Untrusted {
        /// The folder.
        path: String,
        /// Its owner's number.
        owner: u32,
        /// Its mode.
        mode: u32,
    },
    /// The bytes that were written are not the bytes that were proven.
    #[error("{path}: the bytes written are not the bytes that were proven (a failing disk or memory?)")]
    Changed {
        /// The file in the store.
        path: String,
    },
    /// It could not be written.
    #[error("{path}: can't be stored: {source}")]
    Io {
        /// The file in the store.
        path: String,
        /// Why.
        source: io::Error,
    },
}

impl Coded for StoreError {
    fn exit(&self) -> Exit {
        Exit::CouldNot
    }
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

    /// Puts a proven file into the store under `name` with `mode`, its origin record beside it, and tells its path.
    ///
    /// The bytes that are in the store are hashed before they have their name. A file that is there already is hashed too: kept when it is right.
    pub fn admit(
        &self,
        proven: &mut Proven,
        name: &FileName,
        mode: u32,
        origin: &Origin,
    ) -> Result<(PathBuf, Admitted), StoreError> {
        let path = self.path(&proven.digest(), name.as_os_str());
        let io = |source| StoreError::Io { path: path.display().to_string(), source };
        let folder = durable::parent(&path);
        for folder in [self.root.as_path(), folder] {
            durable::make_dirs(folder, 0o755).map_err(io)?;
            trusted(folder).map_err(io)??;
        }
        let there = fs::symlink_metadata(&path).is_ok();
        // The record comes first, so that no file in the store is ever without one.
        origin.write(&self.record(&proven.digest())).map_err(io)?;
        if there && holds(&path, &proven.digest()) {
            fs::set_permissions(&path, Permissions::from_mode(mode)).map_err(io)?;
            return Ok((path, Admitted::Kept));
        }
        let bytes = proven.bytes().map_err(io)?;
        let (temporary, digest) = if let Some(temporary) = intake::named(bytes, folder, ".upswap-").map_err(io)? {
            // The very file that was proven: nobody else could open it until now, and none of it is copied.
            (temporary, on_disk(bytes, mode).map_err(io)?)
        } else {
            let mut temporary = tempfile::Builder::new().prefix(".upswap-").tempfile_in(folder).map_err(io)?;
            io::copy(bytes, temporary.as_file_mut()).map_err(io)?;
            let digest = on_disk(temporary.as_file_mut(), mode).map_err(io)?;
            (temporary.into_temp_path(), digest)
        };
        if digest != proven.digest() {
            return Err(StoreError::Changed { path: path.display().to_string() });
        }
        temporary.persist(&path).map_err(|e| io(e.error))?;
        durable::sync_dir(folder).map_err(io)?;
        Ok((path, if there { Admitted::Replaced } else { Admitted::New }))
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
            if trusted(folder)?.is_err() {
                return Ok(None);
            }
        }
        Ok(Some(Stored { digest, origin: Origin::read(&self.record(&digest))? }))
    }
}

/// Gives `file` its mode and makes it durable, and meanwhile tells the digest of its bytes.
fn on_disk(file: &mut File, mode: u32) -> io::Result<Digest> {
    file.set_permissions(Permissions::from_mode(mode))?;
    file.rewind()?;
    let synced = file.try_clone()?;
    thread::scope(|scope| {
        let sync = thread::Builder::new().name("sync".to_owned()).spawn_scoped(scope, move || synced.sync_all())?;
        let (digest, _) = Digest::of_reader(&mut *file)?;
        sync.join().unwrap_or_else(|_| Err(io::Error::other("the thread that syncs is gone")))?;
        Ok(digest)
    })
}

/// That `folder` belongs to this user and nobody else can write to it.
fn trusted(folder: &Path) -> io::Result<Result<(), StoreError>> {
    let meta = fs::metadata(folder)?;
    if meta.uid() == nix::unistd::geteuid().as_raw() && meta.mode() & 0o022 == 0 {
        return Ok(Ok(()));
    }
    let path = folder.display().to_string();
    Ok(Err(StoreError::Untrusted { path, owner: meta.uid(), mode: meta.mode() & 0o7777 }))
}

/// True when `path` is a regular file, no link to one, with this digest.
fn holds(path: &Path, digest: &Digest) -> bool {
    let regular = fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file());
    let found = || intake::open_regular(path).and_then(Digest::of_reader);
    regular && found().is_ok_and(|(found, _)| found == *digest)
}
