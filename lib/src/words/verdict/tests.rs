//! The fold on recorded states (systemd 252, `tests/fixtures/show`; 257 in a folder of its own) and on sequences made from them.

use std::time::Duration;

use super::Name;
use super::fold::{Deed, Executable, Fold, Limits, Observation, Probed};
use super::state::{Active, State, properties};

macro_rules! recorded {
    ($name:literal) => {
        State::new(&properties(include_str!(concat!("../../../../tests/fixtures/show/", $name, ".txt"))))
    };
}

const LIMITS: Limits = Limits { timeout: Duration::from_secs(15), stable: Duration::from_secs(10) };

/// A running service before COMMAND.
fn before() -> State {
    State {
        invocation: Some("00000000000000000000000000000001".into()),
        main_started: 1,
        main_pid: Some(1),
        last_pid: Some(1),
        ..recorded!("healthy")
    }
}

/// The new run, as it was recorded.
fn up() -> State {
    recorded!("healthy")
}

/// Plays states to the fold, each at its second, executable and probes as asked for good ones.
struct Play {
    fold: Fold,
    executable: Executable,
    probed: Probed,
}

impl Play {
    fn after(deed: Deed) -> Self {
        Self { fold: Fold::new("x.service", LIMITS, deed), executable: Executable::Proven, probed: Probed::Answered }
    }

    fn see(&mut self, at: f64, state: State) -> Option<(Name, String)> {
        let from = Duration::from_secs_f64(at);
        let wants = self.fold.wants(from, &state);
        let executable = wants.executable.then(|| self.executable.clone());
        let proven = executable.as_ref().is_none_or(|e| *e == Executable::Proven);
        let probed = (wants.probes && proven).then(|| self.probed.clone());
        let to = from + Duration::from_millis(5);
        self.fold.observe(&Observation { from, to, state, ended: false, executable, probed })
    }

    /// The name of the verdict on this state, which must come at once.
    fn name(&mut self, at: f64, state: State) -> Name {
        self.see(at, state).expect("a verdict").0
    }
}

fn play() -> Play {
    Play::after(Deed::Done(before()))
}

/// The verdict on one recorded state, seen first after COMMAND.
fn at_once(state: State) -> (Name, String) {
    play().see(0.0, state).expect("a verdict at the first look")
}

#[test]
fn healthy_is_said_after_the_whole_hold_down_and_not_before() {
    let mut play = play();
    for second in 0..=10 {
        assert_eq!(play.see(f64::from(second), up()), None, "{second}");
    }
    assert_eq!(play.name(10.01, up()), Name::Healthy);
    assert_eq!(play.fold.healthy_since(), Some(Duration::from_millis(5)));
}

#[test]
fn without_a_hold_down_the_first_healthy_look_is_enough() {
    let limits = Limits { stable: Duration::ZERO, ..LIMITS };
    let mut play = Play { fold: Fold::new("x.service", limits, Deed::Nothing), ..play() };
    assert_eq!(play.name(0.0, up()), Name::Healthy);
}

#[test]
fn each_recorded_failure_has_its_name_at_the_first_look() {
    for (state, name, evidence) in [
        (recorded!("exit3"), Name::Crashed, "exit status 3"),
        (recorded!("segv"), Name::Crashed, "signal 11/SEGV"),
        (recorded!("auto-restart"), Name::Crashed, "exit status 3"),
        (recorded!("no-executable"), Name::ExecFailed, "exit status 203/EXEC"),
        (recorded!("no-user"), Name::ExecFailed, "exit status 217/USER"),
        (recorded!("start-limit"), Name::StartLimit, "reset-failed"),
        (recorded!("clean-exit"), Name::Exited, "exit status 0"),
        (recorded!("condition"), Name::ConditionFailed, "condition"),
        (recorded!("exec-condition"), Name::ConditionFailed, "condition"),
        (recorded!("assertion"), Name::ConditionFailed, "assertion"),
        (recorded!("start-timeout"), Name::NeverReady, "TimeoutStartSec"),
        (recorded!("protocol"), Name::Protocol, "ready"),
        (recorded!("environment-file"), Name::Resources, "EnvironmentFile"),
        (recorded!("start-pre"), Name::StartFailed, "ExecStartPre"),
        (recorded!("watchdog"), Name::Watchdog, "WatchdogSec"),
        (recorded!("stale"), Name::StaleUnit, "daemon-reload"),
        (recorded!("masked"), Name::Masked, "masked"),
        (recorded!("masked-by-empty-file"), Name::Masked, "empty"),
        (recorded!("not-found"), Name::NotFound, "no such unit"),
        (recorded!("bad-setting"), Name::BadSetting, "LoadState=bad-setting"),
        (recorded!("unloaded-after-exit"), Name::Inactive, "inactive"),
        (recorded!("unloaded-oneshot"), Name::NotProvable, "forgotten"),
    ] {
        let (got, text) = at_once(state);
        assert_eq!(got, name, "{text}");
        assert!(text.contains(evidence) && !text.contains('\n'), "{name}: {text}");
    }
}

#[test]
fn what_can_not_be_loaded_is_refused_before_command() {
    for state in [recorded!("masked"), recorded!("not-found"), recorded!("bad-setting"), State::default()] {
        assert!(Fold::refuse(&state).is_some(), "{}", state.load);
    }
    assert_eq!(Fold::refuse(&recorded!("exit3")), None);
}

#[test]
fn a_crash_in_the_hold_down_is_seen_by_each_of_its_traces() {
    let started_again = State { restarts: 1, invocation: Some("f".repeat(32)), main_started: 9, ..up() };
    let by_hand = State { invocation: Some("f".repeat(32)), main_started: 9, ..up() };
    let starting = State { active: Active::Activating, sub: "start".into(), ..by_hand.clone() };
    for (state, name) in [
        (recorded!("exit3"), Name::Crashed),
        (recorded!("auto-restart"), Name::Crashed),
        (recorded!("clean-exit"), Name::Exited),
        (recorded!("unloaded-after-exit"), Name::Exited),
        (started_again, Name::Crashed),
        (by_hand, Name::Restarted),
        (starting, Name::Restarted),
        (State { main_code: 2, main_status: 15, ..recorded!("clean-exit") }, Name::Stopped),
    ] {
        let mut play = play();
        assert_eq!(play.see(0.0, up()), None);
        let (got, text) = play.see(3.0, state).expect("a verdict");
        assert_eq!(got, name, "{text}");
        assert!(text.ends_with("3.0 s after it was first healthy"), "{text}");
    }
}

#[test]
fn a_unit_that_was_started_again_before_the_first_look_has_crashed() {
    assert_eq!(at_once(State { restarts: 1, ..up() }).0, Name::Crashed);
    assert_eq!(at_once(State { restarts: 2, ..up() }).0, Name::CrashLoop);
    assert_eq!(at_once(State { restarts: 3, ..recorded!("auto-restart") }).0, Name::CrashLoop);
}

#[test]
fn an_old_version_in_a_crash_loop_is_not_held_against_the_new_one() {
    // systemd goes on counting when a restart finds the unit between two tries.
    let looping = State { restarts: 3, ..recorded!("auto-restart") };
    let mut fixed = Play::after(Deed::Done(looping.clone()));
    let fresh = State { restarts: 4, ..up() };
    assert_eq!(fixed.see(0.0, fresh.clone()), None);
    assert_eq!(fixed.name(11.0, fresh), Name::Healthy);
    let mut still = Play::after(Deed::Done(looping));
    assert_eq!(still.see(0.0, State { restarts: 4, ..up() }), None);
    assert_eq!(still.name(0.1, State { restarts: 5, ..up() }), Name::Crashed);
}

#[test]
fn restarts_of_a_run_that_command_left_alone_do_not_count() {
    let old = State { restarts: 7, ..up() };
    let mut play = Play::after(Deed::Done(old.clone()));
    assert_eq!(play.see(0.0, old.clone()), None);
    assert_eq!(play.name(11.0, old), Name::Healthy);
}

#[test]
fn nothing_is_judged_while_the_job_of_command_is_queued() {
    let stopping = recorded!("restart-queued");
    let mut play = Play::after(Deed::Done(State { active: Active::Active, job: None, ..stopping.clone() }));
    assert_eq!(play.see(0.0, stopping.clone()), None);
    // A failed old run whose restart is queued is no verdict either.
    assert_eq!(play.see(0.1, State { active: Active::Failed, result: "timeout".into(), ..stopping.clone() }), None);
    assert_eq!(play.see(0.2, up()), None);
    assert_eq!(play.name(11.0, up()), Name::Healthy);
}

#[test]
fn what_is_not_up_at_the_deadline_says_what_it_waited_for() {
    let not_yet = |name| Executable::NotYet(name, "e".into());
    let mut cases = vec![
        (recorded!("activating"), Executable::Proven, Probed::Answered, Name::NeverReady),
        (recorded!("restart-queued"), Executable::Proven, Probed::Answered, Name::StopTimedOut),
        (up(), not_yet(Name::OldProcess), Probed::Answered, Name::OldProcess),
        (State { main_pid: None, ..up() }, not_yet(Name::NotProvable), Probed::Answered, Name::NotProvable),
        (up(), Executable::Proven, Probed::Wrong("w".into()), Name::ProbeFailed),
        (up(), Executable::Proven, Probed::Silent("s".into()), Name::Hang),
    ];
    for (state, executable, probed, name) in cases.drain(..) {
        let mut play = Play { executable, probed, ..play() };
        assert_eq!(play.see(0.0, state.clone()), None, "{name}");
        assert_eq!(play.see(14.9, state.clone()), None, "{name}");
        let (got, text) = play.see(15.0, state).expect("a verdict");
        assert_eq!(got, name, "{text}");
        assert!(text.ends_with("after 15.0 s"), "{text}");
    }
}

#[test]
fn a_try_that_the_deadline_cut_short_does_not_hide_the_answer_before_it() {
    for (before, last, name) in [
        (Probed::Wrong("w".into()), Probed::CutShort("s".into()), Name::ProbeFailed),
        (Probed::Wrong("w".into()), Probed::Silent("s".into()), Name::Hang),
        (Probed::Silent("s".into()), Probed::CutShort("s".into()), Name::Hang),
    ] {
        let mut play = Play { probed: before, ..play() };
        assert_eq!(play.see(0.0, up()), None);
        play.probed = last;
        assert_eq!(play.name(15.0, up()), name);
    }
}

#[test]
fn a_wrong_executable_is_told_at_once_and_no_probe_can_outweigh_it() {
    let mut play = Play { executable: Executable::No(Name::WrongBinary, "old".into()), ..play() };
    assert_eq!(play.name(0.0, up()), Name::WrongBinary);
}

#[test]
fn an_executable_that_was_not_looked_at_is_never_healthy() {
    let mut fold = Fold::new("x.service", Limits { stable: Duration::ZERO, ..LIMITS }, Deed::Nothing);
    let (from, to) = (Duration::ZERO, Duration::from_millis(5));
    let unseen = Observation { from, to, state: up(), ended: false, executable: None, probed: Some(Probed::Answered) };
    let unasked = Observation { executable: Some(Executable::Proven), probed: None, ..unseen.clone() };
    let ended = Observation { ended: true, probed: Some(Probed::Answered), ..unasked.clone() };
    assert_eq!(fold.observe(&unseen), None);
    assert_eq!(fold.observe(&unasked), None);
    assert_eq!(fold.observe(&ended), None);
    assert_eq!(fold.healthy_since(), None);
}

#[test]
fn one_failed_probe_in_the_hold_down_is_asked_again_two_are_a_no() {
    let mut play = play();
    assert_eq!(play.see(0.0, up()), None);
    play.probed = Probed::Wrong("w".into());
    assert_eq!(play.see(2.0, up()), None);
    play.probed = Probed::Answered;
    assert_eq!(play.see(2.2, up()), None);
    play.probed = Probed::Silent("s".into());
    assert_eq!(play.see(4.0, up()), None);
    assert_eq!(play.name(4.2, up()), Name::Hang);
}

#[test]
fn the_hold_down_does_not_end_with_a_probe_that_fails() {
    let mut play = play();
    assert_eq!(play.see(0.0, up()), None);
    play.probed = Probed::Wrong("w".into());
    assert_eq!(play.see(10.01, up()), None);
    assert_eq!(play.name(10.1, up()), Name::ProbeFailed);
}

#[test]
fn a_reload_in_the_hold_down_is_not_a_crash_and_not_yet_healthy() {
    let reloading = State { active: Active::Reloading, sub: "reload".into(), ..up() };
    let mut play = play();
    assert_eq!(play.see(0.0, up()), None);
    assert_eq!(play.see(5.0, reloading.clone()), None);
    assert_eq!(play.see(10.1, reloading.clone()), None);
    assert_eq!(play.name(10.2, up()), Name::Healthy);
}

#[test]
fn a_oneshot_is_healthy_by_a_new_run_with_success() {
    let finished = recorded!("oneshot");
    let mut fresh = Play::after(Deed::Done(State { main_started: 1, ..finished.clone() }));
    assert_eq!(fresh.name(0.0, finished.clone()), Name::Healthy);
    let mut not_run = Play::after(Deed::Done(finished.clone()));
    assert_eq!(not_run.name(0.0, finished), Name::Inactive);
    let mut remains = Play { executable: Executable::No(Name::NotProvable, "unasked".into()), ..play() };
    assert_eq!(remains.see(0.0, recorded!("remain-after-exit")), None);
    assert_eq!(remains.name(10.1, recorded!("remain-after-exit")), Name::Healthy);
}

#[test]
fn a_unit_that_is_no_service_is_healthy_when_it_is_active() {
    let socket = State { kind: String::new(), main_pid: None, exec_start: None, sub: "listening".into(), ..up() };
    let mut play = Play {
        fold: Fold::new("x.socket", LIMITS, Deed::Nothing),
        executable: Executable::No(Name::NotProvable, String::new()),
        ..play()
    };
    assert_eq!(play.see(0.0, socket.clone()), None);
    assert_eq!(play.name(10.1, socket), Name::Healthy);
}

#[test]
fn a_failed_command_is_never_healthy_and_names_what_is_news() {
    let failed = |before: State| Play::after(Deed::Failed(before, "COMMAND failed".into()));
    assert_eq!(failed(before()).see(0.0, up()), Some((Name::JobFailed, "COMMAND failed".into())));
    assert_eq!(failed(before()).name(0.0, recorded!("dependency")), Name::JobFailed);
    assert_eq!(failed(before()).name(0.0, recorded!("activating")), Name::JobFailed);
    let (name, text) = failed(before()).see(0.0, recorded!("start-timeout")).unwrap();
    assert!(name == Name::NeverReady && text.ends_with("; COMMAND failed"), "{text}");
    // The failure was there before; that COMMAND failed is all the news.
    assert_eq!(failed(recorded!("exit3")).name(0.0, recorded!("exit3")), Name::JobFailed);
    assert_eq!(failed(recorded!("start-limit")).name(0.0, recorded!("start-limit")), Name::StartLimit);
}

#[test]
fn an_old_process_that_does_not_stop_is_named_so() {
    let stuck = recorded!("stop-timeout");
    let running = State { active: Active::Active, sub: "running".into(), main_pid: Some(7), ..stuck.clone() };
    let mut play = Play::after(Deed::Failed(running, "COMMAND failed".into()));
    assert_eq!(play.name(0.0, stuck), Name::StopTimedOut);
}

#[test]
fn without_command_an_inactive_unit_may_still_be_started_and_a_failed_one_is_judged() {
    let mut waiting = Play::after(Deed::Nothing);
    assert_eq!(waiting.see(0.0, recorded!("dependency")), None);
    assert_eq!(waiting.see(1.0, up()), None);
    assert_eq!(waiting.name(11.1, up()), Name::Healthy);
    assert_eq!(Play::after(Deed::Nothing).name(0.0, recorded!("start-limit")), Name::StartLimit);
    assert_eq!(Play::after(Deed::Nothing).name(15.0, recorded!("dependency")), Name::Inactive);
}

#[test]
fn a_start_that_only_a_silent_systemd_could_end_is_judged_by_what_was_seen() {
    let mut starting = play();
    assert_eq!(starting.fold.unanswered(Duration::from_secs(15)), None);
    assert_eq!(starting.see(0.0, recorded!("activating")), None);
    let (name, text) = starting.fold.unanswered(Duration::from_secs(15)).unwrap();
    assert!(name == Name::NeverReady && text.ends_with("systemd does not answer, after 15.0 s"), "{text}");
    // Healthy at first, and nobody saw the rest.
    let mut held = play();
    assert_eq!(held.see(0.0, up()), None);
    assert_eq!(held.fold.unanswered(Duration::from_secs(30)), None);
}

#[test]
fn a_timeout_after_it_was_up_is_not_one_of_its_start() {
    let late = recorded!("start-timeout");
    let was_up = State { last_up: late.main_started + 1, ..late.clone() };
    let up_in_the_run_before = State { last_up: late.main_started - 1, ..late };
    assert_eq!(at_once(was_up).0, Name::Timeout);
    assert_eq!(at_once(up_in_the_run_before).0, Name::NeverReady);
}

#[test]
fn a_command_that_fails_around_the_main_process_is_not_its_crash() {
    // ExecStartPost= failed, and the main process ended in order when it was told to.
    let orderly = State { main_code: 1, main_status: 0, ..recorded!("exit3") };
    assert_eq!(at_once(orderly).0, Name::StartFailed);
}

#[test]
fn a_unit_that_is_down_in_the_hold_down_with_a_job_queued_is_restarted_by_others() {
    let mut play = play();
    assert_eq!(play.see(0.0, up()), None);
    let between = State { job: Some(9), main_code: 2, main_status: 15, ..recorded!("clean-exit") };
    assert_eq!(play.name(3.0, between), Name::Restarted);
}

#[test]
fn what_systemd_257_shows_has_the_same_names() {
    for (state, name, evidence) in [
        (recorded!("257/exit3"), Name::Crashed, "exit status 3"),
        (recorded!("257/segv"), Name::Crashed, "signal 11/SEGV"),
        (recorded!("257/auto-restart"), Name::Crashed, "exit status 3"),
        (recorded!("257/start-limit"), Name::StartLimit, "reset-failed"),
        (recorded!("257/no-executable"), Name::ExecFailed, "exit status 203/EXEC"),
        (recorded!("257/no-user"), Name::ExecFailed, "exit status 217/USER"),
        (recorded!("257/clean-exit"), Name::Exited, "exit status 0"),
        (recorded!("257/condition"), Name::ConditionFailed, "condition"),
        (recorded!("257/assertion"), Name::ConditionFailed, "assertion"),
        (recorded!("257/start-timeout"), Name::NeverReady, "TimeoutStartSec"),
        (recorded!("257/runs-too-long"), Name::Timeout, "RuntimeMaxSec"),
        (recorded!("257/protocol"), Name::Protocol, "ready"),
        (recorded!("257/environment-file"), Name::Resources, "EnvironmentFile"),
        (recorded!("257/start-pre"), Name::StartFailed, "ExecStartPre"),
        (recorded!("257/start-post"), Name::StartFailed, "ExecStartPost"),
        (recorded!("257/forking-fails"), Name::Crashed, "exit status 3"),
        (recorded!("257/watchdog"), Name::Watchdog, "WatchdogSec"),
        (recorded!("257/oneshot"), Name::Healthy, "done"),
    ] {
        let (got, text) = at_once(state);
        assert_eq!(got, name, "{text}");
        assert!(text.contains(evidence) && !text.contains('\n'), "{name}: {text}");
    }
    // Starting, then up; a reload with notify in the hold-down; nobody has a wrong name for what is still on its way.
    for on_its_way in [recorded!("257/activating"), recorded!("257/reload")] {
        let mut play = play();
        assert_eq!(play.see(0.0, on_its_way.clone()), None);
        assert_eq!(play.name(15.0, on_its_way), Name::NeverReady);
    }
    for up in [recorded!("257/healthy"), recorded!("257/remain-after-exit")] {
        let mut play = play();
        assert_eq!(play.see(0.0, up.clone()), None);
        assert_eq!(play.name(10.1, up), Name::Healthy);
    }
}

#[test]
fn counting_that_began_anew_is_no_restart_and_hides_none() {
    let counted = |restarts: u64| State { restarts, ..up() };
    let mut play = Play::after(Deed::Nothing);
    assert_eq!(play.see(0.0, counted(5)), None);
    // systemctl reset-failed
    assert_eq!(play.see(3.0, counted(0)), None);
    let again = State { invocation: Some("f".repeat(32)), main_started: 9, ..counted(1) };
    assert_eq!(play.name(5.0, again), Name::Crashed);
    let mut play = Play::after(Deed::Nothing);
    assert_eq!(play.see(0.0, counted(5)), None);
    assert_eq!(play.see(3.0, counted(0)), None);
    assert_eq!(play.name(10.1, counted(0)), Name::Healthy);
}

#[test]
fn the_last_look_asks_the_probes_however_lately_they_were_asked() {
    let mut play = play();
    assert_eq!(play.see(0.0, up()), None);
    assert_eq!(play.see(9.5, up()), None);
    play.probed = Probed::Wrong("no".into());
    assert_eq!(play.see(10.1, up()), None);
    assert_eq!(play.name(10.2, up()), Name::ProbeFailed);
}
