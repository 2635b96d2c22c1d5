//! `rollback --pending`: settles every trial whose chain is gone.

use std::time::Duration;

use super::{Back, Services, take_back};
use crate::steps::generation::record;
use crate::steps::generation::set::{self, Opened};
use crate::sys::Host;
use crate::sys::lock::{Lock, LockError};
use crate::sys::say::Say;
use crate::words::exit::{Exit, Stop};

/// Takes back every open trial that no chain is at work on. All are tried; the first failure is told at the end.
pub fn settle(host: &Host, services: Services, say: &Say) -> Result<Vec<Back>, Stop> {
    let names =
        record::names(host).map_err(|e| Stop::new(Exit::CouldNot, format!("the state folder can't be read: {e}")))?;
    let mut settled = Vec::new();
    let mut failure = None;
    for name in names {
        match settle_one(host, &name, services, say) {
            Ok(back) => settled.extend(back),
            Err(stop) if failure.is_none() => failure = Some(stop),
            Err(stop) => say.error(stop),
        }
    }
    failure.map_or(Ok(settled), Err)
}

fn settle_one(host: &Host, name: &str, services: Services, say: &Say) -> Result<Option<Back>, Stop> {
    let Ok(parsed) = name.parse() else { return Ok(None) };
    let open = record::read(host, name).map_err(|e| Stop::new(Exit::CouldNot, format!("{name}: its record: {e}")))?;
    if open.is_none_or(|record| record.trial.is_none()) {
        return Ok(None);
    }
    let lock = match Lock::take(host, name, Duration::ZERO) {
        Err(LockError::Held { holder, .. }) => {
            say.note(format_args!("{name}: {holder} is at work on its trial; it is left alone"));
            return Ok(None);
        }
        lock => lock?,
    };
    match set::open(host, &parsed, &lock)? {
        Opened::Settled(_) => Ok(None),
        Opened::OnTrial(set) => take_back(host, set, services, say).map(Some),
    }
}
