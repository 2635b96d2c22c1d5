//! Signals held back while a change must not be torn, and the one that is never to end a tool.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};

/// The signals that ask a tool to end: they must not end it between two renames.
#[must_use]
pub fn endings() -> SigSet {
    [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGQUIT,
        Signal::SIGPIPE,
        Signal::SIGXFSZ,
        Signal::SIGALRM,
    ]
    .into_iter()
    .collect()
}

/// Lets a write that is longer than the limit of `ulimit -f` fail (EFBIG) instead of ending the process (setrlimit(2)).
/// A handler, not "ignore": what this process runs gets the default back.
pub fn outlive_file_size_limit() {
    // Fails only for a signal that can't be caught.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::new(AtomicBool::new(false)));
}

/// Holds [`endings`] back in this thread for as long as it lives; one that came meanwhile is delivered after.
#[derive(Debug)]
pub struct Held {
    before: SigSet,
}

impl Held {
    /// Begins to hold them back.
    #[must_use = "the signals are let through again when this is dropped"]
    pub fn begin() -> Self {
        let mut before = SigSet::empty();
        // Fails only for an unknown `how` (pthread_sigmask(3)).
        let _ = pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&endings()), Some(&mut before));
        Self { before }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None);
    }
}
