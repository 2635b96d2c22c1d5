//! The pause of a restart: how long the service did not answer, as one who asks all the time feels it.

use std::io::{self, PipeWriter};
use std::os::fd::AsFd;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{Target, ask, listener};
use crate::sys::Host;
use crate::sys::process::{self, First};
use crate::sys::say::Say;
use crate::words::proof::{Probe, Proof};
use crate::words::verdict::fold::Probed;
use crate::words::verdict::state::State;

/// The time between two questions: what is measured is that much too long at most. Each needs a port of its own, which the
/// kernel keeps for a minute, and there are 28,000.
const PACE: Duration = Duration::from_millis(5);
/// How long one answer is waited for.
const TRY: Duration = Duration::from_secs(1);

/// Somebody who asks the first probe all the time.
pub(in super::super) struct Measure {
    stop: Option<PipeWriter>,
    /// Closed, it ends a question half way.
    open: Option<PipeWriter>,
    asker: Option<JoinHandle<Option<Duration>>>,
    is_command: bool,
}

impl Measure {
    /// Begins to ask; `None`, and said, when there is nobody to ask or no answer to begin with.
    pub(in super::super) fn begin(host: &Host, proof: &Proof, state: &State, say: &Say) -> Option<Self> {
        let mut of_unit = proof.probes.iter().filter(|probe| !proof.is_advisory(probe));
        let probe = of_unit.find(|probe| !matches!(probe, Probe::Version { .. }))?.clone();
        let target = Target::new(host, proof, state);
        let not = |why: String| say.note(format_args!("{}: the pause is not measured: {why}", proof.unit));
        if listener::is_in_another_network(&target, &probe) {
            not("it has a network of its own, and gets a new one when it is started".into());
            return None;
        }
        let (stopped, stop) = io::pipe().ok()?;
        let (cut, open) = io::pipe().ok()?;
        if let Probed::Wrong(why) | Probed::Silent(why) = ask::answer(&target, &probe, TRY, cut.as_fd()) {
            not(format!("there is no answer before COMMAND ({why})"));
            return None;
        }
        let is_command = ask::is_command(&probe);
        let mut last = Instant::now();
        let work = move || {
            let mut longest = Duration::ZERO;
            loop {
                let is_last = process::first_of(None, Some(stopped.as_fd()), PACE) == First::Other;
                let answered = ask::answer(&target, &probe, TRY, cut.as_fd()) == Probed::Answered;
                if answered {
                    let now = Instant::now();
                    longest = longest.max(now.saturating_duration_since(last));
                    last = now;
                }
                if is_last {
                    return answered.then_some(longest);
                }
            }
        };
        let asker = thread::Builder::new().name("measure".into()).spawn(work).ok()?;
        Some(Self { stop: Some(stop), open: Some(open), asker: Some(asker), is_command })
    }

    /// Asks once more, and then no more; the longest time without an answer, `None` when it was not over.
    pub(in super::super) fn end(mut self) -> Option<Duration> {
        self.stop = None;
        self.asker.take()?.join().ok().flatten()
    }
}

/// A command line does not outlive the wait.
impl Drop for Measure {
    fn drop(&mut self) {
        (self.stop, self.open) = (None, None);
        if let Some(asker) = self.asker.take().filter(|_| self.is_command) {
            let _ = asker.join();
        }
    }
}
