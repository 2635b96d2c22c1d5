//! svc-wait under a guard: what it proves, and what it finds, go into the trial, so that every way back proves the same.

use std::time::Duration;

use crate::steps::generation::GenerationError;
use crate::steps::generation::set::{self, Opened};
use crate::steps::service::{self, WaitError};
use crate::sys::Host;
use crate::sys::lock::{self, Lock};
use crate::sys::scope;
use crate::sys::systemd::unit_name;
use crate::words::exit::Stop;
use crate::words::name::Name;
use crate::words::proof::Proof;
use crate::words::verdict::Verdict;

/// Runs `judge`. Under a guard whose trial is open, `proof` is recorded before it, while the unit is untouched, and the
/// verdict after it; a unit that runs another file of the same name than the trial's is not even judged.
pub fn recorded(
    host: &Host,
    proof: &Proof,
    judge: impl FnOnce() -> Result<Verdict, WaitError>,
) -> Result<Verdict, Stop> {
    let guard: Option<Name> = lock::guard_name().and_then(|name| name.parse().ok());
    let Some(name) = guard else { return Ok(judge()?) };
    let lock = Lock::take(host, name.as_str(), Duration::ZERO)?;
    let unit = unit_name(&proof.unit);
    if scope::unit_around(host, [unit.as_str()]).is_some() {
        return Err(GenerationError::Inside(unit).into());
    }
    let mut elsewhere = None;
    if let Opened::OnTrial(mut set) = set::open(host, &name, &lock)? {
        set.note_proof(proof)?;
        elsewhere = service::runs_elsewhere(host, proof, &set.brought())?;
    }
    let verdict = match elsewhere {
        Some(verdict) => verdict,
        None => judge()?,
    };
    if let Opened::OnTrial(mut set) = set::open(host, &name, &lock)? {
        set.note_verdict(&proof.unit, (!verdict.healthy).then(|| format!("{}: {}", verdict.name, verdict.text)))?;
    }
    Ok(verdict)
}
