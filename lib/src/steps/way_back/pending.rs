//! `rollback --pending`: settles every trial whose chain is gone.

use std::time::Duration;

use super::{Back, Services, take_back, tell};
use crate::steps::generation::record;
use crate::steps::generation::set::{self, OnTrial, Opened, Set};
use crate::sys::lock::{Lock, LockError};
use crate::sys::say::Say;
use crate::sys::{Host, clock};
use crate::words::exit::{Exit, Stop};

/// Takes back every open trial that no chain is at work on; one that an operator opened by hand only when it is not whole, or
/// at boot, where nobody can be about to end it. All are tried; the gravest failure is told at the end.
pub fn settle(host: &Host, services: Services, at_boot: bool, say: &Say) -> Result<Vec<Back>, Stop> {
    let names =
        record::names(host).map_err(|e| Stop::new(Exit::CouldNot, format!("the state folder can't be read: {e}")))?;
    let mut settled = Vec::new();
    let mut failures = Vec::new();
    for name in names {
        match settle_one(host, &name, services, at_boot, say) {
            Ok(Some(back)) => {
                // Said with -q too: a service is not what it was, and nobody was there.
                say.error(format_args!("{}; its chain was gone", tell(&back)));
                settled.push(back);
            }
            Ok(None) => {}
            Err(stop) => failures.push(stop),
        }
    }
    failures.sort_by_key(|stop| stop.exit == Exit::Changed);
    let Some(gravest) = failures.pop() else { return Ok(settled) };
    for stop in &failures {
        say.error(stop);
    }
    Err(gravest)
}

fn settle_one(host: &Host, name: &str, services: Services, at_boot: bool, say: &Say) -> Result<Option<Back>, Stop> {
    let Ok(parsed) = name.parse() else { return Ok(None) };
    let open = record::read(host, name).map_err(|e| Stop::new(Exit::CouldNot, format!("{name}: its record: {e}")))?;
    if open.is_none_or(|record| record.trial.is_none()) {
        return Ok(None);
    }
    // Also under a guard: its trial has a chain, which this is a part of.
    let lock = match Lock::take_new(host, name, Duration::ZERO) {
        Err(LockError::Held { holder, .. }) => {
            say.note(format_args!("{name}: {holder} is at work on its trial; it is left alone"));
            return Ok(None);
        }
        lock => lock?,
    };
    match set::open(host, &parsed, &lock)? {
        Opened::OnTrial(set) if !at_boot && is_an_operators(&set) => {
            let age = clock::now().saturating_sub(set.trial().opened);
            say.note(format_args!(
                "{name}: generation {} is on trial, opened by hand {age} s ago; keep it: swapbin --commit {name}, or take it back: rollback {name}",
                set.trial().generation
            ));
            Ok(None)
        }
        Opened::OnTrial(set) => match set.unreachable() {
            None => take_back(host, set, services, say).map(Some),
            Some(folder) => {
                let line = format!(
                    "{name}: {} is not the folder of generation {}, as when its file system is not mounted; the trial stays open until it is there: rollback {name}",
                    folder.display(),
                    set.trial().generation
                );
                Err(Stop::new(Exit::CouldNot, line))
            }
        },
        Opened::Settled(_) => Ok(None),
    }
}

/// Whether the trial is whole and was opened by hand: then it waits for the hand that opened it.
pub(super) fn is_an_operators(set: &Set<'_, OnTrial>) -> bool {
    set.trial().by_hand && set.whole().is_ok()
}
