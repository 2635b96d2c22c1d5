//! The way back: the files of an earlier generation, and then the proof that they run.
//!
//! Joins `generation`, which knows files, and `service`, which knows health. Every end of a trial that is not a commit
//! comes through [`take_back`].

pub mod guard;
pub mod list;
pub mod pending;
pub mod record_proof;
mod sockets;

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::generation::GenerationError;
use super::generation::record::{Arrived, Generation, Id, Judged, Record, UnitBefore};
use super::generation::set::{self, OnTrial, Opened, Set, Settled};
use super::service;
use crate::sys::Host;
use crate::sys::lock::Lock;
use crate::sys::say::Say;
use crate::sys::systemd::{Properties, Systemd, SystemdError};
use crate::words::exit::{Coded, Exit, Stop};
use crate::words::name::Name;
use crate::words::proof::{Exe, Proof};
use crate::words::verdict::{self, Verdict};

/// What is proved of a unit for which nothing else was ever asked: svc-wait's own defaults.
const TIMEOUT: Duration = Duration::from_secs(15);
const STABLE: Duration = Duration::from_secs(10);

/// Whether the way back ends with the files or with the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Services {
    /// Restart what needs it and prove it.
    Prove,
    /// Leave services alone (`--no-restart`; at boot nothing runs yet).
    Leave,
}

/// Where the way back led.
#[derive(Clone, Debug, Serialize)]
pub struct Back {
    /// The NAME.
    pub name: String,
    /// The generation in place now.
    pub generation: Id,
    /// The same, with its version, for people.
    #[serde(skip)]
    pub title: String,
    /// The paths that changed.
    #[serde(serialize_with = "crate::steps::as_text")]
    pub changed: Vec<PathBuf>,
    /// The units that were proved to run it.
    pub proven: Vec<Verdict>,
    /// Units that were not running before and are not running now.
    pub stopped: Vec<String>,
}

/// Why the way back did not lead to a service that is proven to run.
#[derive(Debug, thiserror::Error)]
pub enum BackError {
    /// The files are back and the service is not healthy.
    #[error("{name}: generation {title} is back in place, but {verdict}; {mend}")]
    Unhealthy {
        /// The NAME.
        name: String,
        /// The generation.
        title: String,
        /// What was found.
        verdict: Box<Verdict>,
        /// The command that mends it.
        mend: String,
    },
    /// No generation can be brought back.
    #[error(
        "{name}: no earlier generation can be brought back ({why}); end it with what is in place, then put a good version there: rollback --forget {name}"
    )]
    NoneGood {
        /// The NAME.
        name: String,
        /// Why the nearest can't.
        why: String,
    },
    /// The way back is begun, and a file of it can't be brought; the trial stays open.
    #[error("{name}: {why}; the way back is begun and not ended, try again: rollback {name}")]
    Begun {
        /// The NAME.
        name: String,
        /// Why.
        why: String,
    },
    /// systemd would not do its part; the files are back.
    #[error("{name}: the files are back, but {source}; try again: rollback {name}")]
    Systemd {
        /// The NAME.
        name: String,
        /// What systemd said.
        source: SystemdError,
    },
    /// Judging the service failed; the files are back, and it was restarted if it had to be.
    #[error(
        "{name}: generation {title} is back in place, but whether {unit} is healthy with it could not be judged: {why}; look again: svc-wait {unit}"
    )]
    Judge {
        /// The NAME.
        name: String,
        /// The generation.
        title: String,
        /// The unit.
        unit: String,
        /// Why.
        why: String,
    },
}

impl Coded for BackError {
    fn exit(&self) -> Exit {
        Exit::Changed
    }
}

/// Which generation a rollback is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// The one before.
    Previous,
    /// This number or version.
    Named(String),
}

/// What a rollback would do.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The NAME.
    pub name: String,
    /// The generation it would bring back.
    pub generation: Id,
    /// The same, with its version, for people.
    #[serde(skip)]
    pub title: String,
    /// The units it would restart and prove.
    pub units: Vec<String>,
}

/// Brings an earlier generation of `name` back and proves that it runs. On trial it ends the trial.
pub fn roll_back(
    host: &Host,
    name: &Name,
    to: &To,
    services: Services,
    wait: Duration,
    say: &Say,
) -> Result<Back, Stop> {
    let lock = Lock::take(host, name.as_str(), wait)?;
    match set::open(host, name, &lock)? {
        Opened::OnTrial(set) => {
            ends_trial(&set, to)?;
            take_back(host, set, services, say)
        }
        Opened::Settled(set) => {
            set.sweep(say);
            let target = target(&set, to, say)?;
            take_back(host, set.leave_for(target)?, services, say)
        }
    }
}

/// What [`roll_back`] would do. Changes nothing.
pub fn plan(host: &Host, name: &Name, to: &To, wait: Duration, say: &Say) -> Result<Plan, Stop> {
    let lock = Lock::take(host, name.as_str(), wait)?;
    let (record, generation) = match set::open(host, name, &lock)? {
        Opened::OnTrial(set) => {
            ends_trial(&set, to)?;
            (set.record().clone(), set.trial().home)
        }
        Opened::Settled(set) => {
            let target = target(&set, to, say)?;
            (set.record().clone(), target)
        }
    };
    let title = title(&record, generation);
    Ok(Plan { name: name.to_string(), generation, title, units: record.units.into_iter().collect() })
}

/// Ends a trial with its home generation in place: files by rename, units read again, services restarted where they need
/// it, and proved by what svc-wait was asked to prove.
///
/// The mark goes last: killed anywhere in here, the next one to come does the rest.
pub fn take_back(host: &Host, mut set: Set<'_, OnTrial>, services: Services, say: &Say) -> Result<Back, Stop> {
    let name = set.record().name.clone();
    // A command that failed for other reasons says nothing about the generation.
    let left = Some(set.trial().judged()).filter(|judged| matches!(judged, Judged::Unhealthy(_)));
    choose_home(&mut set, say)?;
    let begun = |e: GenerationError| match e {
        GenerationError::Torn { .. } => Stop::from(e),
        e => BackError::Begun { name: set.record().name.clone(), why: e.to_string() }.into(),
    };
    let went = set.bring_home(say).map_err(begun)?;
    let systemd = Systemd::on(host);
    let failed = |source| BackError::Systemd { name: name.clone(), source };
    let mut stale = went.units_changed;
    if services == Services::Prove {
        for unit in set.trial().before.keys() {
            let seen = systemd.show(unit, &["NeedDaemonReload"]).map_err(failed)?;
            stale |= seen.get("NeedDaemonReload").is_some_and(|need| need == "yes");
        }
    }
    if stale {
        systemd.daemon_reload().map_err(failed)?;
    }
    if services == Services::Prove {
        sockets::reopen(systemd, &set, &went.changed, say).map_err(failed)?;
    }
    let generation = set.trial().home;
    let mut back = Back {
        title: title(set.record(), generation),
        name,
        generation,
        changed: went.changed.iter().map(|dest| dest.path().to_owned()).collect(),
        proven: Vec::new(),
        stopped: Vec::new(),
    };
    let mend = mend_of(&set);
    let mut unproven = None;
    if services == Services::Prove {
        // Others of the trial are the sockets' and run again already.
        let its = |(unit, _): &(String, UnitBefore)| set.record().units.contains(unit);
        for (unit, before) in set.trial().before.clone().into_iter().filter(its) {
            let (name, title) = (back.name.clone(), back.title.clone());
            match put_back(host, &set, &unit, &before, say)? {
                Some(Ok(verdict)) if verdict.healthy => back.proven.push(verdict),
                Some(Ok(verdict)) => {
                    let first = unproven.filter(|e| matches!(e, BackError::Unhealthy { .. }));
                    let mend = mend
                        .clone()
                        .unwrap_or_else(|| format!("when its cause is mended: systemctl restart {}", verdict.unit));
                    unproven = first.or(Some(BackError::Unhealthy { name, title, verdict: Box::new(verdict), mend }));
                }
                Some(Err(e)) => {
                    unproven = unproven.or(Some(BackError::Judge { name, title, unit, why: e.to_string() }));
                }
                None if !before.active => back.stopped.push(unit),
                None => {}
            }
        }
    }
    // A socket or timer that nobody had started says nothing about the files.
    let all_ran = !back.stopped.iter().any(|unit| unit.ends_with(".service"));
    let home_is = (unproven.is_none() && !back.proven.is_empty() && all_ran).then_some(Judged::Proven);
    // Where the old one is unhealthy too, it is not the new one's fault.
    let left = left.filter(|_| unproven.is_none());
    let (back_name, ended) = (back.name.clone(), set.settle_home(home_is, left, say));
    let _settled: Set<'_, Settled> = ended.map_err(|e| match e {
        // It is ended.
        GenerationError::NotDurable { .. } => Stop::from(e),
        e => BackError::Begun { name: back_name, why: e.to_string() }.into(),
    })?;
    // With the files in place and restarted there is nothing that a second way back could do better.
    unproven.map_or(Ok(back), |e| Err(e.into()))
}

/// The way out when home is unhealthy: to where a rollback by hand came from, if that was not; past a home that was never
/// proven, to the generation before it. A home that was proven once is right, and what is wrong lies elsewhere.
fn mend_of(set: &Set<'_, OnTrial>) -> Option<String> {
    let (trial, record) = (set.trial(), set.record());
    let (told, to) = if trial.by == Arrived::Rollback {
        let healthy = |from: &&Generation| !matches!(from.verdict, Judged::Unhealthy(_));
        ("go where it came from", record.generation(trial.generation).filter(healthy)?)
    } else {
        record.generation(trial.home).filter(|home| home.verdict != Judged::Proven)?;
        let before = record.way_back().into_iter().filter(|id| *id < trial.home && set.usable(*id).is_ok());
        ("go further back", before.filter_map(|id| record.generation(id)).find(|before| !before.is_empty())?)
    };
    Some(format!("{told}: rollback {} --to {}", record.name, to.id))
}

/// One sentence on where the way back led, for people.
#[must_use]
pub fn tell(back: &Back) -> String {
    let mut text = format!("{}: generation {} is back in place", back.name, back.title);
    for verdict in &back.proven {
        let _ = write!(text, "; {} runs it and is healthy", verdict.unit);
    }
    for unit in &back.stopped {
        let _ = write!(text, "; {unit} was not running and is left so");
    }
    text
}

/// Makes `unit` run the files that are back, if it was running before, and what was found then; `None` when it was not, or
/// when it is a socket or timer, which runs no file of ours.
fn put_back(
    host: &Host,
    set: &Set<'_, OnTrial>,
    unit: &str,
    before: &UnitBefore,
    say: &Say,
) -> Result<Option<Result<Verdict, service::WaitError>>, Stop> {
    let name = &set.record().name;
    let systemd = Systemd::on(host);
    let failed = |source| BackError::Systemd { name: name.clone(), source };
    let now = systemd.show(unit, &["ActiveState", "InvocationID"]).map_err(failed)?;
    let value = |key: &str| Properties::get(&now, key).map(String::as_str).unwrap_or_default();
    if !before.active {
        if !matches!(value("ActiveState"), "inactive" | "") {
            systemd.stop(unit).map_err(failed)?;
            // Only a failed unit can be reset; any other has nothing to forget.
            let _ = systemd.reset_failed(unit);
        }
        return Ok(None);
    }
    // Only services run our files; timers need no more than the reload, and sockets are open again.
    if !unit.ends_with(".service") {
        return Ok(None);
    }
    let untouched = set.trial().by == Arrived::Swap
        && value("ActiveState") == "active"
        && value("InvocationID") == before.invocation;
    let proof = set.record().proofs.get(unit).cloned().unwrap_or_else(|| Proof {
        unit: unit.to_owned(),
        timeout: TIMEOUT,
        stable: STABLE,
        probes: Vec::new(),
        exe: Exe::default(),
        advisory: Vec::new(),
        via_proxy: false,
        measure: false,
    });
    let version = |id: Id| set.record().generation(id).and_then(Generation::version);
    let proof = proof.for_the_way_back(version(set.trial().generation), version(set.trial().home));
    let restart = || {
        // The attempts of the bad version must not use up the good one's start limit.
        let _ = systemd.reset_failed(unit);
        let shown = crate::words::duration::Span::from(proof.stable);
        say.note(format_args!("{name}: restarting {unit}, then proving for {shown} that it is healthy"));
        systemd.restart(unit)
    };
    let judged = if untouched {
        say.detail(format_args!("{unit} was not restarted since; the process that runs is still the old one"));
        service::watch(host, say, &proof)
    } else {
        let mut restarted = false;
        let judged = service::wait(host, say, &proof, || {
            restarted = true;
            restart().map_err(Stop::from)
        });
        // What can't be proven ends the wait before its deed; the files are back all the same, and must be what runs.
        let unprovable = |v: &Verdict| matches!(v.name, verdict::Name::NotProvable | verdict::Name::Unreadable);
        if !restarted && judged.as_ref().map_or(true, unprovable) {
            restart().map_err(failed)?;
        }
        judged
    };
    for line in judged.iter().flat_map(|verdict| service::journal_of(host, verdict)) {
        say.note(format_args!("journal: {line}"));
    }
    Ok(Some(judged))
}

/// Sees to it that the trial's home can be brought back, or the next generation before it that can.
fn choose_home(set: &mut Set<'_, OnTrial>, say: &Say) -> Result<(), Stop> {
    let home = set.trial().home;
    let Err(first) = set.usable(home) else { return Ok(()) };
    let mut record = set.record().clone();
    record.current = home;
    // Not the time before the first installation: that would leave a service without its files.
    let has_files = |id: &Id| record.generation(*id).is_some_and(|g| !g.is_empty());
    for id in record.way_back().into_iter().filter(has_files) {
        if set.usable(id).is_ok() {
            say.note(format_args!("{first}; generation {} is taken instead", title(&record, id)));
            return Ok(set.go_home_to(id)?);
        }
    }
    let why = first.to_string();
    Err(match first.exit() {
        // What could not be read may be good all the same.
        Exit::CouldNot => BackError::Begun { name: record.name, why }.into(),
        _ => BackError::NoneGood { name: record.name, why }.into(),
    })
}

fn ends_trial(set: &Set<'_, OnTrial>, to: &To) -> Result<(), Stop> {
    let home = set.trial().home;
    match to {
        To::Previous => Ok(()),
        To::Named(text) if set.record().find(text) == Some(home) => Ok(()),
        To::Named(_) => {
            let name = &set.record().name;
            let line = format!(
                "{name}: a trial is open and is ended first: rollback {name} (it brings generation {home} back)"
            );
            Err(Stop::new(Exit::No, line))
        }
    }
}

/// The generation a rollback of a settled set goes to.
fn target(set: &Set<'_, Settled>, to: &To, say: &Say) -> Result<Id, Stop> {
    let record = set.record();
    let name = &record.name;
    let no = |why: String| Stop::new(Exit::No, format!("{name}: {why}"));
    if record.generations.is_empty() {
        return Err(no(list::unknown(set.host(), name)));
    }
    // A file that is new can go away again; a service that runs can't be left without its files.
    let before_it_was_there =
        |id: Id| !record.units.is_empty() && record.generation(id).is_some_and(Generation::is_empty);
    match to {
        To::Named(text) => {
            let id =
                record.find(text).ok_or_else(|| no(format!("there is no generation '{text}'; {}", choices(set))))?;
            if before_it_was_there(id) {
                return Err(no(format!("generation {id} is from before the service was installed; {}", choices(set))));
            }
            set.usable(id).map_err(|e| Stop::new(e.exit(), format!("{e}; {}", choices(set))))?;
            if let Some(Judged::Unhealthy(why)) = record.generation(id).map(|g| &g.verdict) {
                say.note(format_args!("{name}: generation {} was found unhealthy: {why}", title(record, id)));
            }
            Ok(id)
        }
        To::Previous if record.arrived == Arrived::Rollback => Err(no(format!(
            "generation {} was brought back already; say where to: {}",
            title(record, record.current),
            choices(set)
        ))),
        To::Previous => {
            let mut unread = None;
            for id in record.way_back().into_iter().filter(|id| !before_it_was_there(*id)) {
                match set.usable(id) {
                    Ok(()) => return Ok(id),
                    Err(why) => {
                        say.note(format_args!("{why}; it is passed over"));
                        unread = unread.or((why.exit() == Exit::CouldNot).then_some(why));
                    }
                }
            }
            if let Some(unread) = unread {
                return Err(unread.into());
            }
            Err(no(format!("there is no earlier good generation to go back to; {}", choices(set))))
        }
    }
}

/// What `--to` can be: the generations whose files are all there, those found unhealthy marked.
fn choices(set: &Set<'_, Settled>) -> String {
    let record = set.record();
    let others = record.generations.iter().rev().filter(|g| g.id != record.current && !g.is_empty());
    let others: Vec<_> = others
        .filter(|g| set.usable(g.id).is_ok())
        .map(|g| match g.verdict {
            Judged::Unhealthy(_) => format!("{} found unhealthy", g.title()),
            _ => g.title(),
        })
        .collect();
    if others.is_empty() {
        return "no other generation is kept".to_owned();
    }
    format!("rollback {} --to N, one of: {}", record.name, others.join(", "))
}

fn title(record: &Record, id: Id) -> String {
    record.generation(id).map_or_else(|| id.to_string(), Generation::title)
}
