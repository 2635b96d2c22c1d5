//! `rollback --prune` and `--forget`, under the lock.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::error::GenerationError;
use super::record;
use super::set::{self, Opened, Set, Settled};
use crate::sys::lock::Lock;
use crate::sys::say::Say;
use crate::sys::{Host, clock};
use crate::words::exit::{Coded, Exit};
use crate::words::name::Name;

/// What to remove of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upkeep {
    /// What is beyond this many generations, or as many as were said before, and what killed runs left.
    Prune(Option<usize>),
    /// All but the files in place: the set is not managed any more.
    Forget,
}

/// What was removed of one set, or would be.
#[derive(Debug, Serialize)]
pub struct Removed {
    /// The set.
    pub name: String,
    /// The paths.
    #[serde(serialize_with = "crate::steps::as_text")]
    pub paths: Vec<PathBuf>,
}

/// Removes it of `name`, or of every name that is settled and that nobody is at work on; with `dry_run` only says what.
pub fn remove(
    host: &Host,
    name: Option<&Name>,
    what: Upkeep,
    dry_run: bool,
    wait: Duration,
    say: &Say,
) -> Result<Vec<Removed>, GenerationError> {
    if let Some(name) = name {
        return Ok(vec![remove_of(host, name, what, dry_run, wait)?]);
    }
    let mut removed = Vec::new();
    let mut failure = None;
    for name in record::names(host).map_err(GenerationError::record("upswap"))? {
        let Ok(name) = name.parse() else { continue };
        match remove_of(host, &name, what, dry_run, wait) {
            Ok(one) => removed.push(one),
            Err(e @ (GenerationError::Nothing { .. } | GenerationError::Lock(_))) => say.note(e),
            Err(e) if failure.is_none() => failure = Some(e),
            Err(e) => say.error(e),
        }
    }
    failure.map_or(Ok(removed), Err)
}

fn remove_of(
    host: &Host,
    name: &Name,
    what: Upkeep,
    dry_run: bool,
    wait: Duration,
) -> Result<Removed, GenerationError> {
    let lock = Lock::take(host, name.as_str(), wait)?;
    let paths = match (what, settled(host, name, what, &lock)) {
        (Upkeep::Prune(keep), set) => set?.prune(keep, dry_run)?,
        (Upkeep::Forget, Ok(set)) => set.forget(dry_run)?,
        (Upkeep::Forget, Err(GenerationError::Record { source, .. })) if source.kind() == ErrorKind::InvalidData => {
            vec![set_aside(host, name, dry_run)?]
        }
        (Upkeep::Forget, Err(e)) => return Err(e),
    };
    Ok(Removed { name: name.to_string(), paths })
}

/// A record that says nothing can't say which backups are its own: it alone goes, and is kept beside its place.
fn set_aside(host: &Host, name: &Name, dry_run: bool) -> Result<PathBuf, GenerationError> {
    let path = record::path(host, name.as_str());
    if !dry_run {
        let aside = path.with_extension(format!("unreadable-{}", clock::now()));
        std::fs::rename(&path, aside).map_err(GenerationError::record(name.as_str()))?;
    }
    Ok(path)
}

fn settled<'h>(host: &'h Host, name: &Name, what: Upkeep, lock: &Lock) -> Result<Set<'h, Settled>, GenerationError> {
    let nothing = |why: String| Err(GenerationError::Nothing { name: name.to_string(), why });
    match set::open(host, name, lock)? {
        Opened::Settled(set) if set.record().generations.is_empty() => {
            nothing("nothing is recorded under this name; see: rollback --list".to_owned())
        }
        Opened::Settled(set) => Ok(set),
        // There is no other end for a trial whose way back is lost. A backup that can't be read is not known to be.
        Opened::OnTrial(set) if what == Upkeep::Forget && is_lost(&set.usable(set.trial().home)) => Ok(set.give_up()),
        Opened::OnTrial(set) => nothing(set.trial().must_end_first(name)),
    }
}

fn is_lost(usable: &Result<(), GenerationError>) -> bool {
    usable.as_ref().is_err_and(|why| why.exit() == Exit::No)
}
