//! `rollback --guard NAME -- COMMAND`: COMMAND's success commits; its failure, a signal or a hang-up takes everything back.

use std::ffi::OsString;
use std::os::unix::fs::FileTypeExt;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::SIGTERM;

use super::{Back, Services, take_back, tell};
use crate::steps::generation::GenerationError;
use crate::steps::generation::record::{self, Generation, Id, Judged};
use crate::steps::generation::set::{self, OnTrial, Opened, Set};
use crate::sys::Host;
use crate::sys::child::{self, Ended, Endings, Grip};
use crate::sys::lock::Lock;
use crate::sys::say::Say;
use crate::sys::scope;
use crate::sys::systemd::{Systemd, unit_name};
use crate::words::exit::{Exit, Stop};
use crate::words::name::Name;

/// How long the stage before may say nothing before that is told: a stdin that only looks like a pipeline (ssh, Ansible) never does.
const SILENCE: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// How a guard ended.
#[derive(Debug)]
pub enum Guarded {
    /// COMMAND changed nothing; its own exit status is passed on.
    Passed(u8),
    /// COMMAND succeeded and its change is committed.
    Committed(Id),
    /// COMMAND failed and its change is taken back; the old generation is proven to run.
    TakenBack(Box<Back>),
}

/// Runs `command` under the lock of `name`, and ends the trial it opens: there is one exit path.
pub fn guard(host: &Host, name: &Name, command: &[OsString], lock_wait: Duration, say: &Say) -> Result<Guarded, Stop> {
    leave_own_unit(host, name)?;
    wait_for_input(say);
    let lock = Lock::take_new(host, name.as_str(), lock_wait)?;
    // From here on a signal is news, not the end.
    let mut endings =
        Endings::catch(Grip::Kills).map_err(|e| Stop::new(Exit::CouldNot, format!("signals can't be caught: {e}")))?;
    say_who_would_settle(host, name, say);
    settle_what_was_left(host, name, &lock, say)?;
    let mut environment = lock
        .hand_down(name.as_str())
        .map_err(|e| Stop::new(Exit::CouldNot, format!("the lock can't be handed to COMMAND: {e}")))?;
    // The tools below must write to the very record that is read here afterwards.
    let state = std::path::absolute(host.state()).unwrap_or_else(|_| host.state().to_owned());
    environment.push(("UPSWAP_STATE_DIR", state.into_os_string()));
    let mut ended = child::run(command, &environment, Grip::Kills, &mut endings);
    if let Ok(ended) = &mut ended
        && endings.take()
    {
        ended.asked_to_end = ended.asked_to_end.or(Some(SIGTERM));
    }

    let opened = set::open(host, name, &lock).map_err(|e| {
        let line =
            format!("{e}; COMMAND has ended and what it changed was neither kept nor taken back: rollback {name}");
        Stop::new(Exit::Changed, line)
    })?;
    match opened {
        Opened::Settled(_) => match ended {
            Ok(ended) => Ok(Guarded::Passed(code_of(ended))),
            Err(e) => Err(Stop::new(Exit::CouldNot, format!("COMMAND could not be run: {e}"))),
        },
        Opened::OnTrial(set) => {
            let well = ended.as_ref().is_ok_and(Ended::well);
            let why = match set.whole() {
                Ok(()) if well => return commit(set, say),
                Err(torn) if well => torn.to_string(),
                _ => ended.map_or_else(|e| format!("COMMAND could not be watched: {e}"), why),
            };
            say.note(format_args!("{name}: {why}; taking generation {} back", set.trial().generation));
            let reason = set.trial().unhealthy().unwrap_or(why);
            let taken = super::title(set.record(), set.trial().generation);
            let not_back = |stop: Stop| match stop.exit {
                Exit::Changed => stop,
                _ => {
                    Stop::new(Exit::Changed, format!("{stop}; what COMMAND changed is still in place: rollback {name}"))
                }
            };
            let back = take_back(host, set, Services::Prove, say).map_err(not_back)?;
            // Said with -q too, and whole: it is why the chain did not do what it was for.
            let led = tell(&back);
            let led = led.strip_prefix(&format!("{name}: ")).unwrap_or(&led);
            say.error(format_args!("{name}: generation {taken} is taken back ({reason}); {led}"));
            Ok(Guarded::TakenBack(Box::new(back)))
        }
    }
}

/// A service that upgrades itself would be stopped by its own restart, and the guard with it.
fn leave_own_unit(host: &Host, name: &Name) -> Result<(), Stop> {
    // A record that can't be read is told of under the lock.
    let record = record::read(host, name.as_str()).ok().flatten();
    let own = unit_name(name.as_str());
    let units = record.iter().flat_map(|record| &record.units).chain([&own]);
    match scope::unit_around(host, units.map(String::as_str)) {
        Some(unit) => Err(scope::leave(host, unit).into()),
        None => Ok(()),
    }
}

/// Says once when nobody would end the trial of a guard that was killed, on a host that runs systemd.
fn say_who_would_settle(host: &Host, name: &Name, say: &Say) {
    if !nix::unistd::geteuid().is_root() || !host.path("/run/systemd/system").is_dir() {
        return;
    }
    let missing = |unit, key, wanted: fn(&str) -> bool| {
        let shown = Systemd::on(host).show(unit, &["LoadState", key]).ok()?;
        let value = |key| shown.get(key).map(String::as_str).unwrap_or_default();
        match value("LoadState") {
            "loaded" if wanted(value(key)) => None,
            "loaded" => Some(format!("{unit} is not active (systemctl start {unit})")),
            "masked" => Some(format!("{unit} is masked (systemctl unmask {unit})")),
            other => Some(format!("{unit} is {other} (make install)")),
        }
    };
    let each_minute = missing("upswap-settle.timer", "ActiveState", |state| state == "active");
    let at_boot = missing("upswap-recover.service", "LoadState", |_| true);
    let missing: Vec<_> = each_minute.into_iter().chain(at_boot).collect();
    if !missing.is_empty() {
        say.note(format_args!(
            "{name}: {}: if this is killed, its trial stays open until the next chain or 'rollback --pending'",
            missing.join(", ")
        ));
    }
}

/// In a pipeline the guard comes into being long before there is anything to swap; the lock is taken when data is there.
fn wait_for_input(say: &Say) {
    let stdin = std::io::stdin();
    let piped =
        std::fs::metadata("/proc/self/fd/0").is_ok_and(|m| m.file_type().is_fifo() || m.file_type().is_socket());
    if piped {
        let mut waiting = [PollFd::new(&stdin, PollFlags::IN)];
        // An error or the end of input is COMMAND's to find.
        if let Ok(0) = poll(&mut waiting, Some(&SILENCE)) {
            say.note("waiting for the stage before to write; where there is none, redirect standard input: </dev/null");
            let _ = poll(&mut waiting, None);
        }
    }
}

/// A trial whose chain is gone is settled by whoever comes first.
fn settle_what_was_left(host: &Host, name: &Name, lock: &Lock, say: &Say) -> Result<(), Stop> {
    if let Opened::OnTrial(set) = set::open(host, name, lock)? {
        if super::pending::is_an_operators(&set) {
            let id = set.trial().generation;
            let line = format!(
                "{name}: generation {id} is on trial, opened by hand; keep it with 'swapbin --commit {name}' or take it back with 'rollback {name}' first"
            );
            return Err(Stop::new(Exit::No, line));
        }
        say.note(format_args!(
            "{name}: an earlier chain left generation {} on trial; it is taken back first",
            set.trial().generation
        ));
        say.note(tell(&take_back(host, set, Services::Prove, say)?));
    }
    Ok(())
}

fn commit(set: Set<'_, OnTrial>, say: &Say) -> Result<Guarded, Stop> {
    let id = set.trial().generation;
    let name = set.record().name.clone();
    let settled = set.commit(say).map_err(|e| match e {
        // It is committed.
        GenerationError::NotDurable { .. } => Stop::from(e),
        e => Stop::new(
            Exit::Changed,
            format!(
                "{e}; generation {id} runs and is still on trial, and is taken back unless it is committed soon: swapbin --commit {name}"
            ),
        ),
    })?;
    let generation = settled.record().generation(id);
    let title = generation.map_or_else(|| id.to_string(), Generation::title);
    let verdict = match generation.map(|g| &g.verdict) {
        Some(Judged::Proven) => "proven healthy",
        _ => "unproven: no svc-wait judged it",
    };
    say.note(format_args!("{name}: generation {title} is committed, {verdict}"));
    Ok(Guarded::Committed(id))
}

fn why(ended: Ended) -> String {
    match ended.asked_to_end {
        Some(_) => "the chain was told to end".to_owned(),
        None => format!("COMMAND failed with exit status {}", ended.code),
    }
}

fn code_of(ended: Ended) -> u8 {
    match ended {
        Ended { code: 0, asked_to_end: Some(signal) } => 128_u8.saturating_add(u8::try_from(signal).unwrap_or(0)),
        Ended { code, .. } => code,
    }
}
