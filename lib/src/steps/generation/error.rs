//! Why a change of generation did not happen.

use std::io;
use std::path::{Path, PathBuf};

use crate::sys::attrs::AttrError;
use crate::sys::lock::LockError;
use crate::sys::systemd::SystemdError;
use crate::words::digest::Digest;
use crate::words::exit::{Coded, Exit};

/// Why a change of generation did not happen, or not whole.
#[derive(Debug, thiserror::Error)]
pub enum GenerationError {
    /// A path can't be read or written; nothing was changed.
    #[error("{path}: {what}: {source}", path = path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// A file's owner, mode or attribute can't be carried; nothing was changed.
    #[error("{path}: its metadata can't be carried to the new file: {source}", path = path.display())]
    Attrs {
        /// The managed path.
        path: PathBuf,
        /// The attribute and why.
        source: AttrError,
    },
    /// Checked and refused; nothing was changed.
    #[error("{path}: {why}", path = path.display())]
    Refused {
        /// The path.
        path: PathBuf,
        /// Why, and what to do.
        why: String,
    },
    /// The bytes of a file of the store are not those its path promises.
    #[error("{path}: the bytes are {found}, not what the store's path promises; run verify again", path = path.display())]
    Altered {
        /// The file of the store.
        path: PathBuf,
        /// The digest of what was read.
        found: Digest,
    },
    /// There is nothing to do what was asked with.
    #[error("{name}: {why}")]
    Nothing {
        /// The NAME.
        name: String,
        /// What is missing, and what to do.
        why: String,
    },
    /// The chain would be stopped by its own restart.
    #[error(
        "{0}: this chain runs inside that unit and is stopped with it; run the whole chain in a scope of its own: systemd-run --scope COMMAND"
    )]
    Inside(String),
    /// The command line asks for what can't be.
    #[error("{0}")]
    Usage(String),
    /// The record of a NAME can't be read or written; nothing was changed.
    #[error("{name}: its record: {source}; a file can still go back without it: rollback PATH")]
    Record {
        /// The NAME.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// The change began and stopped; recovery knows the way back.
    #[error("{path}: {what}: {source}; the change is half done, take it back: rollback {name}", path = path.display())]
    Torn {
        /// The NAME.
        name: String,
        /// The path it stopped at.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The new files are in place; only that they may stay could not be recorded.
    #[error("{source}; generation {generation} is in place and still on trial, commit it: swapbin --commit {name}")]
    NotCommitted {
        /// The NAME.
        name: String,
        /// The generation.
        generation: u64,
        /// Why.
        source: Box<GenerationError>,
    },
    /// The change is made, and a power cut could still undo it.
    #[error("{path}: the change is made, but its folder could not be made durable: {source}; make it so: sync", path = path.display())]
    NotDurable {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// systemd.
    #[error(transparent)]
    Systemd(#[from] SystemdError),
}

impl GenerationError {
    /// For `map_err`: an I/O error on `path` while trying `what`.
    pub fn io(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, what, source }
    }

    /// For `map_err`: the record of `name` failed.
    pub fn record(name: &str) -> impl FnOnce(io::Error) -> Self {
        let name = name.to_owned();
        move |source| Self::Record { name, source }
    }

    /// A refusal of `path`.
    pub fn refused(path: &Path, why: impl Into<String>) -> Self {
        Self::Refused { path: path.to_owned(), why: why.into() }
    }
}

impl Coded for GenerationError {
    fn exit(&self) -> Exit {
        match self {
            Self::Io { .. } | Self::Attrs { .. } | Self::Record { .. } => Exit::CouldNot,
            Self::Refused { .. } | Self::Altered { .. } | Self::Nothing { .. } | Self::Inside(_) => Exit::No,
            Self::Usage(_) => Exit::Usage,
            Self::Torn { .. } | Self::NotCommitted { .. } | Self::NotDurable { .. } => Exit::Changed,
            Self::Lock(e) => e.exit(),
            Self::Systemd(e) => e.exit(),
        }
    }
}
