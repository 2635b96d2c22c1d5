//! The wait: record, run COMMAND, look, ask, and fold it all into the verdict.

use std::ffi::OsString;
use std::fmt::Write;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::executable::ADVICE;
use super::probe::{self, Measure, Probes};
use super::watch::{ANSWER, Watch};
use super::{executable, observe_within};
use crate::sys::Host;
use crate::sys::process::{self, FileId};
use crate::sys::say::{Say, printable};
use crate::sys::systemd::{self, SystemdError};
use crate::sys::tool::ToolError;
use crate::words::duration::Span;
use crate::words::exit::{Coded, Exit, Stop};
use crate::words::proof::{Exe, Proof};
use crate::words::verdict::fold::{Deed, Executable, Fold, Limits, Observation, Probed, Wants};
use crate::words::verdict::state::{Active, State};
use crate::words::verdict::{Name, Times, Verdict, shown};

/// The least time a probe is given, however near the deadline is.
const LEAST_TRY: Duration = Duration::from_millis(250);

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// A pattern or a template instead of one unit.
    #[error("'{0}' is not one unit; name it in full, without *, ? or [ and with the instance of a template")]
    NotOneUnit(String),
    /// systemd could not be asked before COMMAND ran; nothing was done.
    #[error("{0}")]
    Systemd(#[from] SystemdError),
    /// COMMAND could not be begun.
    #[error("{0}")]
    Command(Stop),
    /// systemd gave no answer from the end of COMMAND to the deadline.
    #[error("{unit}: nothing was judged, systemd did not answer in {waited}: {last}")]
    Unjudged {
        /// The unit.
        unit: String,
        /// How long it was asked.
        waited: String,
        /// Its last failure to answer.
        last: SystemdError,
    },
}

impl Coded for WaitError {
    fn exit(&self) -> Exit {
        match self {
            Self::NotOneUnit(_) => Exit::Usage,
            Self::Systemd(SystemdError::Tool { source: ToolError::Deadline { .. }, .. }) | Self::Unjudged { .. } => {
                Exit::Deadline
            }
            Self::Systemd(e) => e.exit(),
            Self::Command(stop) => stop.exit,
        }
    }
}

/// Records the unit's state, does the `deed` (COMMAND, or a restart), then judges the unit by what is read after its end.
///
/// A deed that fails makes the verdict unhealthy, whatever the unit looks like. Only one that stops with [`Exit::Usage`]
/// could not even be begun, and ends the wait as it is.
pub fn wait(
    host: &Host,
    say: &Say,
    proof: &Proof,
    deed: impl FnOnce() -> Result<(), Stop>,
) -> Result<Verdict, WaitError> {
    let mut begun = Instant::now();
    let unit = one_unit(&proof.unit)?;
    let before = observe_within(host, &unit, proof.timeout.max(ANSWER))?;
    let refused = Fold::refuse(&before)
        .or_else(|| executable::never_provable(host, &before, &proof.exe))
        .or_else(|| probe::never_provable(host, proof, &before));
    if let Some((name, text)) = refused {
        let times = Times { total_ms: millis(begun.elapsed()), ..Times::default() };
        let text = format!("{text} (nothing was run)");
        let (probes, _) = Probes::of(proof).told();
        return Ok(Verdict { probes, ..verdict(&unit, (name, text), Some(&before), times) });
    }
    let measure = proof.measure.then(|| Measure::begin(host, proof, &before, say)).flatten();
    say.detail(format_args!("{unit}: before COMMAND: {} ({})", before.sub, before.load));
    let old = executable::of_the_run_before(host, &before);
    begun = Instant::now();
    let done = match deed() {
        Ok(()) => Deed::Done(before),
        Err(stop) if stop.exit == Exit::Usage => return Err(WaitError::Command(stop)),
        Err(stop) => Deed::Failed(before, stop.message),
    };
    let took = begun.elapsed();
    say.detail(format_args!("{unit}: COMMAND took {}", shown(took)));
    judge(host, say, proof, &unit, done, Some(Job { took, old, measure }))
}

/// Judges the unit as it is, from now on.
pub fn watch(host: &Host, say: &Say, proof: &Proof) -> Result<Verdict, WaitError> {
    let unit = one_unit(&proof.unit)?;
    judge(host, say, proof, &unit, Deed::Nothing, None)
}

/// The verdict on a unit that runs none of the files `brought`, though `ExecStart=` names one that is called the same: restarted,
/// it would be healthy and prove nothing of them. `None` when there is no reason to say so.
pub fn runs_elsewhere(host: &Host, proof: &Proof, brought: &[PathBuf]) -> Result<Option<Verdict>, WaitError> {
    let unit = one_unit(&proof.unit)?;
    if proof.exe != Exe::ExecStart {
        return Ok(None);
    }
    let state = observe_within(host, &unit, proof.timeout.max(ANSWER))?;
    let Some(path) = state.exec_start.as_ref().filter(|_| !state.other_root) else { return Ok(None) };
    let Ok(file) = FileId::of(&host.path(path)) else { return Ok(None) };
    if brought.iter().any(|dest| FileId::of(dest).is_ok_and(|brought| brought == file)) {
        return Ok(None);
    }
    let Some(dest) = brought.iter().find(|dest| dest.file_name() == path.file_name()) else { return Ok(None) };
    let text = format!(
        "ExecStart= names {}, and {} is what was swapped in; if that is meant, {ADVICE} (nothing was run)",
        path.display(),
        dest.display()
    );
    let (probes, _) = Probes::of(proof).told();
    Ok(Some(Verdict { probes, ..verdict(&unit, (Name::WrongBinary, text), Some(&state), Times::default()) }))
}

/// The deed of a wrapper: COMMAND in the foreground, its stdout on our stderr.
pub fn run_command(command: &[OsString]) -> Result<(), Stop> {
    let shown = || command.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    match process::foreground(command) {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Stop::new(Exit::No, format!("COMMAND '{}' failed: {status}", shown()))),
        Err(e) => {
            let wrong = matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied);
            let exit = if wrong { Exit::Usage } else { Exit::CouldNot };
            Err(Stop::new(exit, format!("COMMAND '{}' could not be run: {e}", shown())))
        }
    }
}

/// What COMMAND leaves to be judged with.
struct Job {
    took: Duration,
    /// What the main process ran before it.
    old: Option<FileId>,
    measure: Option<Measure>,
}

fn judge(
    host: &Host,
    say: &Say,
    proof: &Proof,
    unit: &str,
    deed: Deed,
    job: Option<Job>,
) -> Result<Verdict, WaitError> {
    let begun = Instant::now();
    let (job, old, mut measure) = job.map_or((None, None, None), |job| (Some(job.took), job.old, job.measure));
    let (mut answers, mut active, mut pause) = (Probes::of(proof), None, None);
    let limits = Limits { timeout: proof.timeout, stable: proof.stable };
    let mut fold = Fold::new(unit, limits, deed);
    let mut watch = Watch::over(host, unit);
    let judged = loop {
        let from = begun.elapsed();
        match watch.look(fold.deadline().saturating_sub(from)) {
            Ok(state) => {
                let was_up = fold.healthy_since().is_some();
                let wants = fold.wants(from, &state);
                let left = fold.deadline().saturating_sub(begun.elapsed());
                if state.active == Active::Active {
                    active.get_or_insert(from);
                }
                let ask = || answers.ask(host, &watch, &state, begun, left.max(LEAST_TRY));
                let (executable, probed) = evidence(host, proof, &state, wants, (fold.is_new_run(&state), old), ask);
                let ended = watch.ended();
                let observation = Observation { from, to: begun.elapsed(), state, ended, executable, probed };
                let judged = fold.observe(&observation);
                if fold.healthy_since().is_some() {
                    pause = pause.or_else(|| measure.take().and_then(Measure::end));
                }
                if let Some(judged) = judged {
                    break judged;
                }
                if !was_up && fold.healthy_since().is_some() {
                    say.detail(format_args!("{unit}: up; it must now stay so for {}", Span::from(proof.stable)));
                }
            }
            Err(last @ SystemdError::Tool { source: ToolError::Missing { .. }, .. }) => return Err(last.into()),
            Err(last) if begun.elapsed() >= fold.deadline() => {
                if let Some(judged) = fold.unanswered(begun.elapsed()) {
                    break judged;
                }
                return Err(WaitError::Unjudged { unit: unit.to_owned(), waited: shown(begun.elapsed()), last });
            }
            Err(last) => say.detail(format_args!("{unit}: {last}; asking again")),
        }
        let now = begun.elapsed();
        let next = if now < fold.due() { fold.due() } else { fold.deadline() };
        watch.pause(next.saturating_sub(now).max(Duration::from_millis(1)));
    };
    let total = job.unwrap_or_default().saturating_add(begun.elapsed());
    let (probes, answered) = answers.told();
    let (name, mut text) = judged;
    if let Some(pause) = pause {
        let _ = write!(text, "; {} without an answer", shown(pause));
    }
    for advisory in probes.iter().filter(|asked| asked.advisory && asked.answered == Some(false)) {
        let _ = write!(text, "; advisory: {}", advisory.text);
    }
    let times = Times {
        job_ms: job.map(millis),
        active_ms: active.map(millis),
        answer_ms: answered.map(millis),
        healthy_ms: fold.healthy_since().map(millis),
        stable_ms: fold.healthy_since().map(|since| millis(begun.elapsed().saturating_sub(since))),
        pause_ms: pause.map(millis),
        total_ms: millis(total),
    };
    Ok(Verdict { probes, ..verdict(unit, (name, text), fold.seen(), times) })
}

/// What `wants` asks for: the executable first and that it runs, then old processes, then the probes; each only when all before
/// it is proven. Beside: whether the run is `new`, and the `old` file of the run before.
fn evidence(
    host: &Host,
    proof: &Proof,
    state: &State,
    wants: Wants,
    (new, old): (bool, Option<FileId>),
    ask: impl FnOnce() -> Option<Probed>,
) -> (Option<Executable>, Option<Probed>) {
    let mut executable = wants.executable.then(|| executable::prove(host, state, &proof.exe, new));
    if executable == Some(Executable::Proven) {
        executable = Some(executable::prove_not_suspended(host, state));
    }
    if wants.probes && executable == Some(Executable::Proven) {
        executable = Some(executable::prove_none_old(host, state, &proof.exe, old));
    }
    let proven = executable.as_ref().is_none_or(|executable| *executable == Executable::Proven);
    (executable, if wants.probes && proven { ask() } else { None })
}

fn verdict(unit: &str, (name, text): (Name, String), seen: Option<&State>, times: Times) -> Verdict {
    Verdict {
        unit: unit.to_owned(),
        healthy: name == Name::Healthy,
        name,
        // It may quote what a service wrote, and it is kept and printed elsewhere.
        text: printable(&text),
        pid: seen.and_then(|state| state.main_pid.or(state.last_pid)),
        invocation: seen.and_then(|state| state.invocation.clone()),
        times,
        probes: Vec::new(),
        journal: Vec::new(),
    }
}

fn one_unit(name: &str) -> Result<String, WaitError> {
    systemd::one_unit(name).ok_or_else(|| WaitError::NotOneUnit(name.to_owned()))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_a_template_or_a_path_is_not_one_unit() {
        for bad in
            ["exe*", "ex?.service", "a[bc]", "tenant@", "tenant@.service", "/etc/x.service", "", "--now", "a b", "a\nb"]
        {
            assert!(matches!(one_unit(bad), Err(WaitError::NotOneUnit(_))), "{bad}");
        }
        assert_eq!(one_unit("runed").unwrap(), "runed.service");
        assert_eq!(one_unit("tenant@a.b.service").unwrap(), "tenant@a.b.service");
        assert_eq!(one_unit("runed.socket").unwrap(), "runed.socket");
    }
}
