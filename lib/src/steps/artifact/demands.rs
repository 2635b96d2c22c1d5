//! What must hold of a proven file besides its evidence: it is not below the floor, and it meets a policy.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::floor::{self, FloorError};
use crate::sys::{Host, trust};
use crate::words::exit::{Coded, Exit};
use crate::words::name::{Name, NotAName};
use crate::words::policy::{self, BadPolicy, Facts, Policy, Unmet};
use crate::words::release::Tag;

/// Where the demands stand.
#[derive(Clone, Debug, Default)]
pub struct Demands {
    /// A floor: a NAME, or a path with a `/`.
    pub floor: Option<PathBuf>,
    /// A policy.
    pub policy: Option<PathBuf>,
}

/// Demands that were read.
#[derive(Clone, Debug, Default)]
pub struct Held {
    floor: Option<(PathBuf, Tag)>,
    policy: Option<(PathBuf, Policy)>,
}

/// Why a file is not taken though its evidence holds.
#[derive(Debug, thiserror::Error)]
pub enum DemandError {
    /// The floor tells nothing.
    #[error(transparent)]
    Floor(#[from] FloorError),
    /// The floor is of no NAME.
    #[error("--floor: {0}; or a path with a '/'")]
    Name(#[from] NotAName),
    /// The policy can't be read, or is not to be believed.
    #[error("{path}: the policy can't be read: {source}", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no such policy.
    #[error("{path}: there is no such policy, so nothing is taken", path = .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The policy makes no sense.
    #[error("{path}: not a policy: {source}", path = .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        source: BadPolicy,
    },
    /// The file is below the floor.
    #[error(
        "{file}: {}, and {floor} was proven healthy here ({path}); {}",
        policy::is(found.as_deref()),
        lower(found.as_deref(), path),
        path = .path.display()
    )]
    Below {
        /// The file.
        file: String,
        /// Its version, if it is known.
        found: Option<String>,
        /// The lowest that is taken.
        floor: String,
        /// Where that stands.
        path: PathBuf,
    },
    /// The file does not meet the policy.
    #[error("{file}: refused by {path}: {why}", path = .path.display())]
    Unmet {
        /// The file.
        file: String,
        /// The policy.
        path: PathBuf,
        /// Which demand, and why.
        why: Unmet,
    },
}

impl Coded for DemandError {
    fn exit(&self) -> Exit {
        match self {
            Self::Floor(e) => e.exit(),
            Self::Name(_) => Exit::Usage,
            Self::Unreadable { .. } | Self::Missing { .. } | Self::Malformed { .. } => Exit::CouldNot,
            Self::Below { .. } | Self::Unmet { .. } => Exit::No,
        }
    }
}

fn lower(found: Option<&str>, path: &Path) -> String {
    match found {
        Some(_) => format!("for an older one all the same lower the floor: echo VERSION >{}", path.display()),
        None => "name it with --expect-version".to_owned(),
    }
}

/// The policy in `path`, which nobody but root and the user this runs as may be able to write.
pub fn policy(host: &Host, path: &Path) -> Result<Policy, DemandError> {
    let at = || path.to_owned();
    let bytes = trust::read(host, path).map_err(|source| DemandError::Unreadable { path: at(), source })?;
    let bytes = bytes.ok_or_else(|| DemandError::Missing { path: at() })?;
    Policy::parse(&bytes).map_err(|source| DemandError::Malformed { path: at(), source })
}

impl Demands {
    /// Reads what is demanded. The floor of a NAME that is not there yet demands nothing.
    pub fn read(&self, host: &Host) -> Result<Held, DemandError> {
        let mut held = Held::default();
        if let Some(floor) = &self.floor {
            // A NAME has none before its first proof; a FILE that is not there was meant to demand something.
            held.floor = if floor.as_os_str().as_bytes().contains(&b'/') {
                let found = floor::read(host, floor)?.ok_or_else(|| FloorError::Missing { path: floor.clone() })?;
                Some((floor.clone(), found))
            } else {
                let path = floor::path(host, floor.to_string_lossy().parse::<Name>()?.as_str());
                floor::read(host, &path)?.map(|floor| (path, floor))
            };
        }
        if let Some(path) = &self.policy {
            held.policy = Some((path.clone(), policy(host, path)?));
        }
        Ok(held)
    }
}

impl Held {
    /// Holds what is known of `file` against the demands.
    pub fn judge(&self, file: &str, facts: &Facts) -> Result<(), DemandError> {
        if let Some((path, floor)) = &self.floor
            && let Err(Unmet::Floor { found, floor }) = policy::above(floor, facts.version.as_ref())
        {
            return Err(DemandError::Below { file: file.to_owned(), found, floor, path: path.clone() });
        }
        if let Some((path, policy)) = &self.policy {
            policy.judge(facts).map_err(|why| DemandError::Unmet { file: file.to_owned(), path: path.clone(), why })?;
        }
        Ok(())
    }
}
