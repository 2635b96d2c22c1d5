//! Asking the service itself. All probes are asked at the same time, each by a thread of its own with a deadline of its own,
//! while the one that asks goes on watching the main process.

use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::AsFd;
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::watch::Watch;
use crate::sys::Host;
use crate::sys::process::First;
use crate::words::proof::{Probe, Proof};
use crate::words::verdict::fold::Probed;
use crate::words::verdict::state::State;
use crate::words::verdict::{Asked, Name, shown};

mod ask;
mod listener;
mod measure;

pub(super) use measure::Measure;

/// How long one probe may take to be answered.
const TRY: Duration = Duration::from_secs(3);
/// What a probe's own deadline may be late by before it is taken for silent.
const GRACE: Duration = Duration::from_millis(100);

/// The unit that is asked, as it was when it was looked at.
#[derive(Clone, Debug)]
pub(super) struct Target {
    host: Host,
    /// Its control group, in which whoever answers must be; `None` where that is not to be proven.
    group: Option<String>,
    pid: Option<u32>,
}

impl Target {
    fn new(host: &Host, proof: &Proof, state: &State) -> Self {
        let proves = proof.unit.ends_with(".service") && !proof.via_proxy;
        Self { host: host.clone(), group: proves.then(|| state.cgroup.clone()), pid: state.main_pid }
    }
}

/// The reason why a probe can never prove anything of this unit, known before it is restarted for nothing.
pub(super) fn never_provable(host: &Host, proof: &Proof, state: &State) -> Option<(Name, String)> {
    let target = Target::new(host, proof, state);
    let mut of_unit = proof.probes.iter().filter(|probe| !proof.is_advisory(probe));
    of_unit.find_map(|probe| listener::is_systemd(&target, probe)).map(|text| (Name::NotProvable, text))
}

/// What became of the probes of one unit so far.
#[derive(Debug)]
pub(super) struct Probes<'a> {
    proof: &'a Proof,
    told: Vec<Asked>,
    /// When all of them were first answered.
    answered: Option<Duration>,
}

impl<'a> Probes<'a> {
    pub(super) fn of(proof: &'a Proof) -> Self {
        let asked = |probe: &Probe| Asked {
            name: probe.to_string(),
            advisory: proof.is_advisory(probe),
            answered: None,
            text: String::new(),
            answer_ms: None,
        };
        Self { proof, told: proof.probes.iter().map(asked).collect(), answered: None }
    }

    pub(super) fn told(self) -> (Vec<Asked>, Option<Duration>) {
        (self.told, self.answered)
    }

    /// Asks all of them, for at most `within`. `None` when the main process ended meanwhile: then nobody waits for an answer.
    pub(super) fn ask(
        &mut self,
        host: &Host,
        watch: &Watch,
        state: &State,
        begun: Instant,
        within: Duration,
    ) -> Option<Probed> {
        if self.proof.probes.is_empty() {
            return Some(Probed::Answered);
        }
        let round = match Round::begin(&Target::new(host, self.proof, state), &self.proof.probes, within.min(TRY)) {
            Ok(round) => round,
            Err(e) => return Some(Probed::Wrong(format!("the probes could not be asked: {e}"))),
        };
        let found = round.wait(watch)?;
        let now = begun.elapsed();
        let mut first = Probed::Answered;
        for (told, (probed, at)) in self.told.iter_mut().zip(found) {
            told.answered = Some(probed == Probed::Answered);
            told.text = match &probed {
                Probed::Answered => String::new(),
                Probed::Wrong(text) | Probed::Unproven(_, text) | Probed::Silent(text) | Probed::CutShort(text) => {
                    text.clone()
                }
            };
            if probed == Probed::Answered {
                let at = at.saturating_duration_since(begun);
                told.answer_ms.get_or_insert(u64::try_from(at.as_millis()).unwrap_or(u64::MAX));
            } else if !told.advisory && first == Probed::Answered {
                first = probed;
            }
        }
        if first == Probed::Answered {
            self.answered.get_or_insert(now);
        }
        match first {
            Probed::Silent(text) if within < TRY => Some(Probed::CutShort(text)),
            other => Some(other),
        }
    }
}

/// All probes on their way.
struct Round {
    within: Duration,
    begun: Instant,
    names: Vec<String>,
    answers: Receiver<(usize, Probed, Instant)>,
    /// Has a byte for each answer.
    bell: PipeReader,
    /// Closed, it stops the commands.
    stop: Option<PipeWriter>,
    commands: Vec<JoinHandle<()>>,
}

impl Round {
    fn begin(target: &Target, probes: &[Probe], within: Duration) -> io::Result<Self> {
        let (sender, answers) = mpsc::channel();
        let (bell, ring) = io::pipe()?;
        let (stopped, stop) = io::pipe()?;
        let mut round = Self {
            within,
            begun: Instant::now(),
            names: probes.iter().map(Probe::to_string).collect(),
            answers,
            bell,
            stop: Some(stop),
            commands: Vec::new(),
        };
        for (n, probe) in probes.iter().enumerate() {
            let (sender, mut ring, stopped) = (sender.clone(), ring.try_clone()?, stopped.try_clone()?);
            let (target, probe) = (target.clone(), probe.clone());
            let is_command = ask::is_command(&probe);
            let work = move || {
                let outcome = ask::one(&target, &probe, within, stopped.as_fd());
                // Nobody waits any more when these fail.
                let _ = sender.send((n, outcome, Instant::now()));
                let _ = ring.write_all(b".");
            };
            let thread = thread::Builder::new().name("probe".into()).spawn(work)?;
            if is_command {
                round.commands.push(thread);
            }
        }
        Ok(round)
    }

    /// The answers, in the order of the probes; `None` when the main process ended before they were all there.
    fn wait(mut self, watch: &Watch) -> Option<Vec<(Probed, Instant)>> {
        let mut found: Vec<Option<(Probed, Instant)>> = vec![None; self.names.len()];
        let until = self.begun + self.within + GRACE;
        let mut is_over = false;
        while found.iter().any(Option::is_none) {
            let left = until.saturating_duration_since(Instant::now());
            match watch.first_of(self.bell.as_fd(), left) {
                First::Ended => return None,
                First::Neither => {}
                First::Other => is_over = !matches!(io::Read::read(&mut self.bell, &mut [0]), Ok(1..)),
            }
            for (n, probed, at) in self.answers.try_iter() {
                if let Some(place) = found.get_mut(n) {
                    *place = Some((probed, at));
                }
            }
            // Nobody is left to ring: a thread ended without an answer.
            if is_over || left.is_zero() {
                break;
            }
        }
        let silent = |name: &String| {
            if is_over {
                return Probed::Wrong(format!("{name}: it could not be asked"));
            }
            Probed::Silent(format!("{name}: no answer within {}", shown(self.within)))
        };
        let each = found.into_iter().zip(&self.names);
        Some(each.map(|(found, name)| found.unwrap_or_else(|| (silent(name), Instant::now()))).collect())
    }
}

/// A command line does not outlive the round that it belongs to; a thread that waits for an answer harms nobody.
impl Drop for Round {
    fn drop(&mut self) {
        self.stop = None;
        for command in self.commands.drain(..) {
            let _ = command.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Where a host has no room for one more process or thread, one that asks can end by a panic.
    #[test]
    fn an_asker_that_is_gone_is_not_waited_for() {
        let host = Host::below(Path::new("/"));
        let round = |within| {
            let (_, answers) = mpsc::channel();
            let (bell, _) = io::pipe().unwrap();
            let (begun, names) = (Instant::now(), vec!["tcp h:1".to_owned()]);
            Round { within, begun, names, answers, bell, stop: None, commands: Vec::new() }
        };
        for within in [Duration::ZERO, Duration::from_secs(3600)] {
            let found = round(within).wait(&Watch::over(&host, "x.service")).unwrap();
            assert_eq!(found[0].0, Probed::Wrong("tcp h:1: it could not be asked".into()));
        }
    }
}
