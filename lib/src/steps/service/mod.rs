//! Is the service healthy, and does it run the right file? Watching a unit, probing it, waiting for the verdict.

use crate::sys::Host;
use crate::sys::systemd::{Systemd, SystemdError};
use crate::words::verdict::state::{PROPERTIES, State};

mod executable;
mod journal;
mod probe;
mod wait;
mod watch;

pub use executable::prove;
pub use wait::{WaitError, run_command, wait, watch};

/// What systemd says of `unit` now. A unit that does not exist is a state too (`not-found`), no error.
pub fn observe_unit(host: &Host, unit: &str) -> Result<State, SystemdError> {
    Ok(State::new(&Systemd::on(host).show(unit, PROPERTIES)?))
}
