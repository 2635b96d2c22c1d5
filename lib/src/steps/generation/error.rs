//! Why a change of generation did not happen.

use std::io;
use std::path::{Path, PathBuf};

use super::record::{Dest, FileState, Id, Record};
use crate::sys::attrs::AttrError;
use crate::sys::clock;
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
    /// The very version was tried before and found unhealthy; nothing was changed.
    #[error("{name}: {version} was found unhealthy at {when}: {why}; to try it again all the same, say --retry-failed")]
    FailedBefore {
        /// The NAME.
        name: String,
        /// Its version, or what stands for one.
        version: String,
        /// When, RFC 3339.
        when: String,
        /// What was found.
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
    #[error(
        "{name}: its record: {source}; a file can still go back without it: rollback PATH; to begin anew with what is in place: rollback --forget {name}"
    )]
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
    /// The same for whatever else stopped it.
    #[error("{source}; the change is half done, take it back: rollback {name}")]
    HalfDone {
        /// The NAME.
        name: String,
        /// What stopped it.
        source: Box<GenerationError>,
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
    /// What was to be removed is removed in part.
    #[error("{path}: it can't be removed: {source}; what is before it is removed, go on: rollback {again} {name}", path = path.display())]
    HalfRemoved {
        /// The NAME.
        name: String,
        /// The path it stopped at.
        path: PathBuf,
        /// Why.
        source: io::Error,
        /// The option it was asked for by.
        again: &'static str,
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

impl Record {
    /// Refuses to make generation `base` with the `new` files in it a version that failed before.
    pub(super) fn refuse_failed(&self, base: Id, new: &[(Dest, FileState)]) -> Result<(), GenerationError> {
        let Some(failed) = self.failed_before(base, new) else { return Ok(()) };
        Err(GenerationError::FailedBefore {
            name: self.name.clone(),
            version: failed.version.clone().unwrap_or_else(|| "this version".to_owned()),
            when: clock::rfc3339(failed.time),
            why: failed.why.clone(),
        })
    }
}

impl Coded for GenerationError {
    fn exit(&self) -> Exit {
        match self {
            Self::Io { .. } | Self::Attrs { .. } | Self::Record { .. } => Exit::CouldNot,
            Self::Refused { .. }
            | Self::Altered { .. }
            | Self::Nothing { .. }
            | Self::FailedBefore { .. }
            | Self::Inside(_) => Exit::No,
            Self::Usage(_) => Exit::Usage,
            Self::Torn { .. }
            | Self::HalfDone { .. }
            | Self::NotCommitted { .. }
            | Self::NotDurable { .. }
            | Self::HalfRemoved { .. } => Exit::Changed,
            Self::Lock(e) => e.exit(),
            Self::Systemd(e) => e.exit(),
        }
    }
}
