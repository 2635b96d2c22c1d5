//! Looking at a unit: what systemd says, and a descriptor of the main process that tells of its end within a millisecond.

use std::os::fd::BorrowedFd;
use std::thread;
use std::time::{Duration, Instant};

use super::observe_within;
use crate::sys::Host;
use crate::sys::process::{self, First, Pidfd};
use crate::sys::systemd::SystemdError;
use crate::words::verdict::state::State;

/// The shortest pause between two looks.
const BRISK: Duration = Duration::from_millis(20);
/// The longest while all is quiet: with a descriptor that tells of the end of the main process, and without.
const QUIET: (Duration, Duration) = (Duration::from_secs(1), Duration::from_millis(250));
/// The least time systemd is given to answer, however near the deadline is.
pub(super) const ANSWER: Duration = Duration::from_millis(500);

/// The watch over one unit.
pub(super) struct Watch<'a> {
    host: &'a Host,
    unit: &'a str,
    main: Option<Main>,
    pace: Duration,
    last: Option<State>,
}

/// The main process of one run, and its descriptor (none on kernels before 5.3).
struct Main {
    pid: u32,
    invocation: Option<String>,
    pidfd: Option<Pidfd>,
}

impl<'a> Watch<'a> {
    pub(super) fn over(host: &'a Host, unit: &'a str) -> Self {
        Self { host, unit, main: None, pace: BRISK, last: None }
    }

    /// What systemd says now, asked for no longer than about `within`. When there is a main process, the state was read
    /// after its descriptor was open, so that no other process can be meant.
    pub(super) fn look(&mut self, within: Duration) -> Result<State, SystemdError> {
        let begun = Instant::now();
        let mut state = self.ask(within)?;
        // A process that ends between the two is replaced by another one, or none; a few times, in a fast crash loop.
        for _ in 0..3 {
            if self.follows(&state) {
                break;
            }
            self.main = state.main_pid.map(|pid| Main {
                pid,
                invocation: state.invocation.clone(),
                pidfd: Pidfd::open(pid).ok(),
            });
            if self.main.is_some() {
                state = self.ask(within.saturating_sub(begun.elapsed()))?;
            }
        }
        if self.last.as_ref().is_none_or(|last| !last.same_run(&state) || last.active != state.active) {
            self.pace = BRISK;
        }
        self.last = Some(state.clone());
        Ok(state)
    }

    /// True when the main process has ended, whatever systemd says so far.
    pub(super) fn ended(&self) -> bool {
        self.pause_on(Duration::ZERO)
    }

    /// Waits until the main process ends or `other` can be read, for at most `time`.
    pub(super) fn first_of(&self, other: BorrowedFd, time: Duration) -> First {
        process::first_of(self.main.as_ref().and_then(|main| main.pidfd.as_ref()), Some(other), time)
    }

    /// Sleeps until it is time to look again: at most `limit`, longer and longer while nothing changes, and not a
    /// millisecond longer than the main process lives.
    pub(super) fn pause(&mut self, limit: Duration) {
        let time = self.pace.min(limit);
        let told = self.main.as_ref().is_some_and(|main| main.pidfd.is_some());
        self.pace = (self.pace * 2).min(if told { QUIET.0 } else { QUIET.1 });
        if told {
            if self.pause_on(time) {
                self.pace = BRISK;
            }
        } else {
            thread::sleep(time);
        }
    }

    fn pause_on(&self, time: Duration) -> bool {
        let pidfd = self.main.as_ref().and_then(|main| main.pidfd.as_ref());
        pidfd.is_some_and(|pidfd| pidfd.ended_within(time))
    }

    fn follows(&self, state: &State) -> bool {
        match (&self.main, state.main_pid) {
            (None, None) => true,
            (Some(main), Some(pid)) => main.pid == pid && main.invocation == state.invocation,
            _ => false,
        }
    }

    fn ask(&self, within: Duration) -> Result<State, SystemdError> {
        observe_within(self.host, self.unit, within.max(ANSWER))
    }
}
