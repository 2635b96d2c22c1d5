//! Is the service healthy, and does it run the right file? Watching a unit, probing it, waiting for the verdict.

use std::time::Duration;

use crate::sys::Host;
use crate::sys::process;
use crate::sys::systemd::{Systemd, SystemdError};
use crate::words::verdict::state::{PROPERTIES, State};

mod executable;
mod journal;
mod probe;
mod wait;
mod watch;

pub use executable::prove;
pub use journal::journal_of;
pub use wait::{WaitError, run_command, runs_elsewhere, wait, watch};

/// What systemd says of `unit` now. A unit that does not exist is a state too (`not-found`), no error.
pub fn observe_unit(host: &Host, unit: &str) -> Result<State, SystemdError> {
    observe_within(host, unit, Duration::MAX)
}

/// [`observe_unit`] for a caller with a deadline of its own.
fn observe_within(host: &Host, unit: &str, within: Duration) -> Result<State, SystemdError> {
    let mut state = State::new(&Systemd::on(host).show_within(unit, PROPERTIES, within)?);
    if state.load.is_empty() {
        // An answer that says nothing of the unit must not be judged as if it did.
        let message = "its answer has no LoadState=".to_owned();
        return Err(SystemdError::Refused { verb: format!("show {unit}"), message });
    }
    if let Some(name) = state.exec_start.take_if(|path| path.is_relative()) {
        state.exec_start = state.search.iter().map(|dir| dir.join(&name)).find(|path| {
            let seen = match state.main_pid.filter(|_| state.other_root) {
                Some(pid) => process::seen_by(host, pid, path),
                None => host.path(path),
            };
            process::may_execute(&seen)
        });
    }
    Ok(state)
}
