//! The terminal, lent to COMMAND's process group as a shell lends it to a job: whoever is not in front may not read it.

use std::fs::File;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, killpg, pthread_sigmask};
use nix::unistd::Pid as Group;
use rustix::process::{Pid, getpgrp};
use rustix::termios::{tcgetpgrp, tcsetpgrp};

/// A terminal that another process group has until this is dropped.
#[derive(Debug)]
pub(super) struct Lent {
    terminal: File,
    to: Group,
}

impl Lent {
    /// Puts `group` in front, if there is a terminal and this process is in front of it.
    pub(super) fn to(group: Group) -> Option<Self> {
        let terminal = File::open("/dev/tty").ok()?;
        if tcgetpgrp(&terminal).ok()? != getpgrp() {
            return None;
        }
        tcsetpgrp(&terminal, Pid::from_raw(group.as_raw())?).ok()?;
        let lent = Self { terminal, to: group };
        // It may have asked for input before it was in front, and been stopped for that.
        lent.go_on();
        Some(lent)
    }

    /// Lets the group run on after it was stopped: a chain under a lock is not put aside half done.
    pub(super) fn go_on(&self) {
        let _ = killpg(self.to, Signal::SIGCONT);
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // Who is not in front gets SIGTTOU for this, unless it is blocked (tcsetpgrp(3)).
        let mut before = SigSet::empty();
        let held: SigSet = std::iter::once(Signal::SIGTTOU).collect();
        let _ = pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&held), Some(&mut before));
        let _ = tcsetpgrp(&self.terminal, getpgrp());
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None);
    }
}
