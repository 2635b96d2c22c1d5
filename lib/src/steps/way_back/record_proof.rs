//! svc-wait under a guard: what it proves, and what it finds, go into the trial, so that every way back proves the same.

use std::time::Duration;

use crate::steps::generation::GenerationError;
use crate::steps::generation::record::{Finding, Judged};
use crate::steps::generation::set::{self, Opened};
use crate::steps::service::{self, WaitError};
use crate::sys::Host;
use crate::sys::lock::{self, Lock};
use crate::sys::scope;
use crate::sys::systemd::unit_name;
use crate::words::exit::{Exit, Stop};
use crate::words::name;
use crate::words::proof::Proof;
use crate::words::verdict::{Name, Verdict};

/// What was found of a unit.
#[derive(Debug)]
pub struct Found {
    /// The verdict.
    pub verdict: Verdict,
    /// Whether it is in an open trial, whose guard then says in one line why it takes it back and where that led.
    pub in_trial: bool,
}

/// Runs `judge`. Under a guard whose trial is open, `proof` is recorded before it, while the unit is untouched, and the
/// verdict after it; a unit that runs another file of the same name than the trial's is not even judged.
pub fn recorded(host: &Host, proof: &Proof, judge: impl FnOnce() -> Result<Verdict, WaitError>) -> Result<Found, Stop> {
    let guard: Option<name::Name> = lock::guard_name().and_then(|name| name.parse().ok());
    let Some(name) = guard else {
        return Ok(Found { verdict: judge()?, in_trial: false });
    };
    if host.is_user_manager() {
        let message =
            format!("--user: the guard of {name} brings back units of the system's manager alone; leave --user out");
        return Err(Stop::new(Exit::Usage, message));
    }
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
    let Opened::OnTrial(mut set) = set::open(host, &name, &lock)? else {
        return Ok(Found { verdict, in_trial: false });
    };
    set.note_verdict(&proof.unit, finding(&verdict))?;
    Ok(Found { verdict, in_trial: true })
}

/// What a verdict says of the generation whose unit it judged.
fn finding(verdict: &Verdict) -> Finding {
    let text = format!("{}: {}", verdict.name, verdict.text);
    let judged = match verdict.name {
        Name::Healthy => Judged::Proven,
        name if name.blames_the_program() => Judged::Unhealthy(text.clone()),
        _ => Judged::Unproven,
    };
    Finding { judged, text, pause_ms: verdict.times.pause_ms }
}
