//! From timed observations to a verdict. Pure: it is told the time, and says what it wants to know next.
//!
//! Nothing is judged but what was read after COMMAND's job ended. NO comes as soon as it is certain; yes only when an
//! observation that began after the whole hold-down still finds the same run up, its executable proven and its probes answered.

use std::time::Duration;

use super::ending::{down, failure, refusal};
use super::state::{Active, State};
use super::{Name, shown};

/// How often the probes are asked and the control group is searched in the hold-down.
const AGAIN: Duration = Duration::from_secs(1);
/// This many probes in a row must fail in the hold-down: one may meet a service that is busy for a moment.
const FAILED_PROBES: u32 = 2;

/// What became of COMMAND.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// There was none: the unit is taken as it is.
    Nothing,
    /// It ended well. The state is the one before it began.
    Done(State),
    /// It failed, in its own words. The state is the one before it began.
    Failed(State, String),
}

/// What is known of the executable that the main process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Executable {
    /// It is the right one, or nobody asked.
    Proven,
    /// Not yet known: the process is about to execute it, or about to end.
    NotYet(Name, String),
    /// It is not the right one, can't be proven or can't be read; that won't change by itself.
    No(Name, String),
}

/// What the probes were answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probed {
    /// All of them as they should be; so also when there are none.
    Answered,
    /// A wrong answer, or a refusal.
    Wrong(String),
    /// An answer that proves nothing of this unit: why, by its own name.
    Unproven(Name, String),
    /// No answer at all within the time of one try.
    Silent(String),
    /// No answer either, but the deadline cut its try short.
    CutShort(String),
}

/// What was found at one time.
#[derive(Clone, Debug)]
pub struct Observation {
    /// When the looking began, counted from the end of COMMAND.
    pub from: Duration,
    /// When it ended.
    pub to: Duration,
    /// What systemd said.
    pub state: State,
    /// The main process was seen to end, whatever systemd says so far.
    pub ended: bool,
    /// The main process's executable, when [`Wants::executable`] asked for it.
    pub executable: Option<Executable>,
    /// The probes, when [`Wants::probes`] asked for them and the executable is proven.
    pub probed: Option<Probed>,
}

/// What the next look at a running unit should find out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// Which executable the main process runs.
    pub executable: bool,
    /// Whether an old process is left, and what the probes are answered.
    pub probes: bool,
}

/// The times a unit is given.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the end of COMMAND until first healthy.
    pub timeout: Duration,
    /// The hold-down on top.
    pub stable: Duration,
}

/// The fold over the observations of one unit.
#[derive(Debug)]
pub struct Fold {
    limits: Limits,
    service: bool,
    deed: Deed,
    /// `NRestarts` that the job left; more is a crash since.
    base: Option<u64>,
    held: Option<Held>,
    /// The run of the unit that was seen last, for its journal.
    seen: Option<State>,
    last_probes: Option<Duration>,
    failed_probes: u32,
    /// The last wrong answer before it was first healthy. It says more than a try that was cut short.
    wrong_answer: Option<(Name, String)>,
    /// Why it was not up at the last look.
    not_yet: Option<(Name, String)>,
}

/// The run that was first healthy.
#[derive(Debug)]
struct Held {
    since: Duration,
    invocation: Option<String>,
    restarts: u64,
}

/// What one observation says, before the deadline has its say.
enum Reading {
    /// Up and proven.
    Up,
    /// Finished, and that was its whole task.
    Finished,
    /// Not up yet; were the deadline now, this would be the verdict.
    NotYet(Name, String),
    /// Never again.
    Broken(Name, String),
}

impl Fold {
    /// The fold for `unit`, from the end of COMMAND on.
    #[must_use]
    pub fn new(unit: &str, limits: Limits, deed: Deed) -> Self {
        Self {
            limits,
            service: unit.ends_with(".service"),
            deed,
            base: None,
            held: None,
            seen: None,
            last_probes: None,
            failed_probes: 0,
            wrong_answer: None,
            not_yet: None,
        }
    }

    /// The refusal of a unit that nothing can make healthy, asked before COMMAND runs.
    #[must_use]
    pub fn refuse(state: &State) -> Option<(Name, String)> {
        refusal(state)
    }

    /// When the verdict is due at the latest. In the hold-down there is one more `timeout` for a last look that comes to
    /// nothing (a reload at that very moment, say).
    #[must_use]
    pub fn deadline(&self) -> Duration {
        match &self.held {
            None => self.limits.timeout,
            Some(held) => self.hold_end(held).saturating_add(self.limits.timeout),
        }
    }

    /// The next time at which looking may change the verdict, if nothing happens before.
    #[must_use]
    pub fn due(&self) -> Duration {
        self.held.as_ref().map_or(self.limits.timeout, |held| self.hold_end(held))
    }

    /// When the unit was first healthy.
    #[must_use]
    pub fn healthy_since(&self) -> Option<Duration> {
        self.held.as_ref().map(|held| held.since)
    }

    /// The last state that still knew its run (a unit that is down forgets its invocation).
    #[must_use]
    pub fn seen(&self) -> Option<&State> {
        self.seen.as_ref()
    }

    /// Whether the run in `state` was begun by COMMAND.
    #[must_use]
    pub fn is_new_run(&self, state: &State) -> bool {
        self.before().is_some_and(|before| !state.same_run(before))
    }

    /// What should be found out about `state`, read at `from`.
    #[must_use]
    pub fn wants(&self, from: Duration, state: &State) -> Wants {
        if matches!(self.deed, Deed::Failed(..)) || !self.is_up(state) {
            return Wants::default();
        }
        let due = |last: Duration| from >= last.saturating_add(AGAIN);
        let end = self.held.as_ref().is_some_and(|held| from >= self.hold_end(held));
        let probes = self.held.is_none() || end || self.failed_probes > 0 || self.last_probes.is_none_or(due);
        Wants { executable: self.has_main_process(state), probes }
    }

    /// Takes one observation; gives the verdict once there is one.
    pub fn observe(&mut self, o: &Observation) -> Option<(Name, String)> {
        if o.state.invocation.is_some() && (o.state.last_pid.is_some() || self.seen.is_none()) {
            self.seen = Some(o.state.clone());
        }
        let judged = match self.read(o) {
            Reading::Broken(name, text) => Some((name, self.dated(o, text))),
            Reading::Finished => {
                self.hold(o);
                Some((Name::Healthy, format!("done, in {}", shown(o.to))))
            }
            Reading::Up => self.hold(o),
            Reading::NotYet(name, text) if o.to >= self.deadline() => {
                Some((name, format!("{text}, after {}", shown(o.to))))
            }
            Reading::NotYet(name, text) => {
                self.not_yet = Some((name, text));
                None
            }
        };
        match (&self.deed, judged) {
            (Deed::Failed(before, message), judged) => Some(failed_deed(before, message, &o.state, judged)),
            (_, judged) => judged,
        }
    }

    /// The verdict when systemd is silent at the deadline: what it said before stands, if that was read after COMMAND's end and
    /// the unit was never healthy. A hold-down that nobody saw the end of is no verdict.
    #[must_use]
    pub fn unanswered(&self, at: Duration) -> Option<(Name, String)> {
        let (name, text) = self.not_yet.clone().filter(|_| self.held.is_none())?;
        Some((name, format!("{text}, and systemd does not answer, after {}", shown(at))))
    }

    fn hold_end(&self, held: &Held) -> Duration {
        held.since.saturating_add(self.limits.stable)
    }

    /// A healthy observation: the first, one in the hold-down, or the last.
    fn hold(&mut self, o: &Observation) -> Option<(Name, String)> {
        let held = self.held.get_or_insert_with(|| Held {
            since: o.to,
            invocation: o.state.invocation.clone(),
            restarts: o.state.restarts,
        });
        let since = held.since;
        let over = self.limits.stable.is_zero() || o.from >= since.saturating_add(self.limits.stable);
        over.then(|| {
            let pid = o.state.main_pid.map_or(String::new(), |pid| format!(", process {pid}"));
            let text = format!(
                "up after {}, then for {} without a restart{pid}",
                shown(since),
                shown(o.to.saturating_sub(since))
            );
            (Name::Healthy, text)
        })
    }

    fn read(&mut self, o: &Observation) -> Reading {
        let state = &o.state;
        if let Some((name, text)) = refusal(state) {
            return Reading::Broken(name, text);
        }
        if let Some(job) = state.job
            && self.held.is_none()
            && !state.between_tries()
            && self.before().is_none_or(|before| state.same_run(before))
        {
            return Reading::NotYet(Name::NeverReady, format!("job {job} of the unit has not ended"));
        }
        let base = self.base.get_or_insert_with(|| base(&self.deed, state));
        if let Some(held) = &mut self.held
            && state.invocation == held.invocation
            && state.restarts < held.restarts
        {
            // The same run: `systemctl reset-failed` has the counting begin anew.
            (held.restarts, *base) = (state.restarts, state.restarts);
        }
        let base = *base;
        let again = state.restarts.saturating_sub(base);
        match state.active {
            Active::Failed => self.broken(state, again),
            _ if state.between_tries() => self.broken(state, again),
            _ if again > 0 => {
                let name = if again > 1 { Name::CrashLoop } else { Name::Crashed };
                Reading::Broken(
                    name,
                    format!("its process ended and Restart= started it again (NRestarts={})", state.restarts),
                )
            }
            Active::Inactive => self.down(o),
            Active::Active => self.up(o),
            Active::Reloading => Reading::NotYet(Name::NeverReady, format!("still reloading (SubState={})", state.sub)),
            Active::Deactivating => {
                Reading::NotYet(Name::StopTimedOut, format!("still stopping (SubState={})", state.sub))
            }
            Active::Activating if self.held.is_some() => self.replaced(state),
            Active::Activating => {
                let said =
                    if state.status_text.is_empty() { String::new() } else { format!(": {}", state.status_text) };
                Reading::NotYet(Name::NeverReady, format!("still starting (SubState={}){said}", state.sub))
            }
            Active::Other => Reading::NotYet(Name::NeverReady, format!("SubState={}", state.sub)),
        }
    }

    fn broken(&self, state: &State, again: u64) -> Reading {
        let old = self.before().is_some_and(|before| before.main_pid.is_some() && state.same_run(before));
        // Without COMMAND nobody knows when the counting began, so all of it counts.
        let again = if self.deed == Deed::Nothing { state.restarts } else { again };
        let (name, text) = failure(state, again, self.held.is_some() || state.was_up(), old);
        Reading::Broken(name, text)
    }

    fn down(&self, o: &Observation) -> Reading {
        let state = &o.state;
        let before = self.before();
        let ran = state.main_started != 0 && before.is_none_or(|before| before.main_started != state.main_started);
        if let (Some(_), Some(job)) = (&self.held, state.job) {
            let text = format!("something else restarts the unit (it is down, and job {job} is queued)");
            return Reading::Broken(Name::Restarted, text);
        }
        let (name, text) = down(state, ran || self.held.is_some());
        if name == Name::ConditionFailed {
            return Reading::Broken(name, text);
        }
        if self.is_oneshot(state) && state.result == "success" && ran {
            return match &o.probed {
                Some(Probed::Answered) => Reading::Finished,
                Some(Probed::Wrong(text)) => Reading::NotYet(Name::ProbeFailed, text.clone()),
                Some(Probed::Unproven(name, text)) => Reading::NotYet(*name, text.clone()),
                Some(Probed::Silent(text) | Probed::CutShort(text)) => Reading::NotYet(Name::Hang, text.clone()),
                None => unasked("its probes were not asked"),
            };
        }
        // A unit that nothing refers to is forgotten by systemd as soon as it is down, with all that it knew of its last run.
        let forgotten = state.main_started == 0;
        if forgotten && self.is_oneshot(state) && before.is_some() {
            let text = "it is down, and systemd has forgotten whether it ran; RemainAfterExit=yes makes it remember";
            return Reading::Broken(Name::NotProvable, text.into());
        }
        let seen = self.seen.as_ref().filter(|seen| before.is_none_or(|before| !before.same_run(seen)));
        if let (true, Some(pid)) = (forgotten, seen.and_then(|seen| seen.last_pid)) {
            return Reading::Broken(
                Name::Exited,
                format!("process {pid} ended without a failure, and the unit is down"),
            );
        }
        // Without COMMAND somebody else may be about to start it.
        if name == Name::Inactive && before.is_none() && self.held.is_none() {
            return Reading::NotYet(name, text);
        }
        Reading::Broken(name, text)
    }

    fn up(&mut self, o: &Observation) -> Reading {
        let state = &o.state;
        if let Some(held) = &self.held
            && (state.invocation != held.invocation || state.restarts != held.restarts)
        {
            return self.replaced(state);
        }
        if state.need_reload {
            let text =
                "its unit file was changed and systemd runs the old one: systemctl daemon-reload, then restart it";
            return Reading::Broken(Name::StaleUnit, text.into());
        }
        if o.ended {
            return Reading::NotYet(Name::Crashed, "its main process has ended and systemd has not said so".into());
        }
        let wants = self.wants(o.from, state);
        match &o.executable {
            Some(Executable::No(name, text)) => return Reading::Broken(*name, text.clone()),
            Some(Executable::NotYet(name, text)) => return Reading::NotYet(*name, text.clone()),
            None if wants.executable => return unasked("its executable was not looked at"),
            Some(Executable::Proven) | None => {}
        }
        match &o.probed {
            Some(Probed::Wrong(text)) => {
                self.wrong_answer = Some((Name::ProbeFailed, text.clone()));
                return self.unanswered_probe(Name::ProbeFailed, text);
            }
            // These don't change by themselves.
            Some(Probed::Unproven(name @ (Name::NotProvable | Name::Unreadable), text)) => {
                return Reading::Broken(*name, text.clone());
            }
            Some(Probed::Unproven(name, text)) => {
                self.wrong_answer = Some((*name, text.clone()));
                return self.unanswered_probe(*name, text);
            }
            Some(Probed::CutShort(text)) => {
                return match self.wrong_answer.clone().filter(|_| self.held.is_none()) {
                    Some((name, wrong)) => self.unanswered_probe(name, &wrong),
                    None => self.unanswered_probe(Name::Hang, text),
                };
            }
            Some(Probed::Silent(text)) => {
                self.wrong_answer = None;
                return self.unanswered_probe(Name::Hang, text);
            }
            Some(Probed::Answered) => {
                self.failed_probes = 0;
                self.last_probes = Some(o.to);
            }
            None if wants.probes => return unasked("its probes were not asked"),
            None => {}
        }
        Reading::Up
    }

    fn unanswered_probe(&mut self, name: Name, text: &str) -> Reading {
        if self.held.is_none() {
            return Reading::NotYet(name, text.to_owned());
        }
        self.failed_probes += 1;
        if self.failed_probes >= FAILED_PROBES {
            Reading::Broken(name, text.to_owned())
        } else {
            Reading::NotYet(name, text.to_owned())
        }
    }

    /// Another run than the one that was healthy.
    fn replaced(&self, state: &State) -> Reading {
        let counted = self.held.as_ref().is_some_and(|held| state.restarts > held.restarts);
        if counted {
            return Reading::Broken(Name::Crashed, format!("Restart= started it again (NRestarts={})", state.restarts));
        }
        Reading::Broken(Name::Restarted, "something else restarted the unit (another InvocationID)".into())
    }

    fn is_up(&self, state: &State) -> bool {
        state.active == Active::Active && !state.need_reload
            || self.is_oneshot(state) && state.active == Active::Inactive
    }

    fn is_oneshot(&self, state: &State) -> bool {
        self.service && state.kind == "oneshot"
    }

    /// The state before COMMAND.
    fn before(&self) -> Option<&State> {
        match &self.deed {
            Deed::Nothing => None,
            Deed::Done(before) | Deed::Failed(before, _) => Some(before),
        }
    }

    /// A service that is up with a process of its own: `exited` is `RemainAfterExit=` after the end of it.
    fn has_main_process(&self, state: &State) -> bool {
        self.service && state.active == Active::Active && state.sub != "exited"
    }

    /// `text` with how long the unit had been healthy.
    fn dated(&self, o: &Observation, text: String) -> String {
        match &self.held {
            Some(held) => format!("{text}, {} after it was first healthy", shown(o.to.saturating_sub(held.since))),
            None => text,
        }
    }
}

fn failed_deed(before: &State, message: &str, now: &State, judged: Option<(Name, String)>) -> (Name, String) {
    // What the unit shows is the reason only when it is news since COMMAND began.
    let news = |name: Name| match name {
        Name::Healthy | Name::Inactive | Name::Exited => false,
        Name::StartLimit | Name::StopTimedOut | Name::ConditionFailed => true,
        _ => !now.same_run(before) || now.load != "loaded",
    };
    match judged {
        Some((name, text)) if news(name) => (name, format!("{text}; {message}")),
        _ => (Name::JobFailed, message.to_owned()),
    }
}

fn unasked(text: &str) -> Reading {
    Reading::NotYet(Name::NotProvable, text.to_owned())
}

/// `NRestarts` as the job left it. A job that starts the unit counts from 0 again, except when it found it between two
/// tries: then systemd goes on counting.
fn base(deed: &Deed, now: &State) -> u64 {
    match deed {
        Deed::Nothing => now.restarts,
        Deed::Done(before) | Deed::Failed(before, _) if now.invocation == before.invocation => before.restarts,
        Deed::Done(before) | Deed::Failed(before, _) if before.restarts > 0 || before.between_tries() => now.restarts,
        Deed::Done(_) | Deed::Failed(..) => 0,
    }
}
