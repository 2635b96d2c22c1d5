//! How a run of a unit ended: its name, and its evidence in words.

use super::Name;
use super::state::{Active, State};

/// wait(2)'s codes, as `ExecMainCode=` has them.
const EXITED: i32 = 1;
const KILLED: i32 = 2;
const DUMPED: i32 = 3;

/// The exit statuses by which systemd itself says why a process could not be executed (systemd.exec(5), "Process exit codes").
const SETUP: [(i32, &str); 46] = [
    (200, "CHDIR"),
    (201, "NICE"),
    (202, "FDS"),
    (203, "EXEC"),
    (204, "MEMORY"),
    (205, "LIMITS"),
    (206, "OOM_ADJUST"),
    (207, "SIGNAL_MASK"),
    (208, "STDIN"),
    (209, "STDOUT"),
    (210, "CHROOT"),
    (211, "IOPRIO"),
    (212, "TIMERSLACK"),
    (213, "SECUREBITS"),
    (214, "SETSCHEDULER"),
    (215, "CPUAFFINITY"),
    (216, "GROUP"),
    (217, "USER"),
    (218, "CAPABILITIES"),
    (219, "CGROUP"),
    (220, "SETSID"),
    (221, "CONFIRM"),
    (222, "STDERR"),
    (223, "TCPWRAP"),
    (224, "PAM"),
    (225, "NETWORK"),
    (226, "NAMESPACE"),
    (227, "NO_NEW_PRIVILEGES"),
    (228, "SECCOMP"),
    (229, "SELINUX_CONTEXT"),
    (230, "PERSONALITY"),
    (231, "APPARMOR_PROFILE"),
    (232, "ADDRESS_FAMILIES"),
    (233, "RUNTIME_DIRECTORY"),
    (234, "MAKE_STARTER"),
    (235, "CHOWN"),
    (236, "SMACK_PROCESS_LABEL"),
    (237, "KEYRING"),
    (238, "STATE_DIRECTORY"),
    (239, "CACHE_DIRECTORY"),
    (240, "LOGS_DIRECTORY"),
    (241, "CONFIGURATION_DIRECTORY"),
    (242, "NUMA_POLICY"),
    (243, "CREDENTIALS"),
    (244, "BPF"),
    (245, "BPF_SETUP"),
];

const SIGNALS: [(i32, &str); 14] = [
    (1, "HUP"),
    (2, "INT"),
    (3, "QUIT"),
    (4, "ILL"),
    (5, "TRAP"),
    (6, "ABRT"),
    (7, "BUS"),
    (8, "FPE"),
    (9, "KILL"),
    (11, "SEGV"),
    (13, "PIPE"),
    (14, "ALRM"),
    (15, "TERM"),
    (31, "SYS"),
];

/// Why a unit that is not loaded can't be healthy; `None` when it is loaded.
pub(super) fn refusal(state: &State) -> Option<(Name, String)> {
    let fragment = || state.fragment.as_ref().map_or(String::new(), |path| format!(" ({})", path.display()));
    match state.load.as_str() {
        "loaded" => None,
        "masked" => Some((Name::Masked, format!("the unit is masked{}; an empty unit file masks too", fragment()))),
        "not-found" => {
            Some((Name::NotFound, "there is no such unit; after installing one: systemctl daemon-reload".into()))
        }
        other => Some((Name::BadSetting, format!("systemd could not load the unit{}: LoadState={other}", fragment()))),
    }
}

/// The name and the evidence of a run that failed or is between two tries. `again` is how often it was started again since
/// the job, `lasted` whether it was healthy before, `old` whether nothing was started since before COMMAND.
pub(super) fn failure(state: &State, again: u64, lasted: bool, old: bool) -> (Name, String) {
    let used_up = state.active == Active::Failed && state.start_limit > 0 && state.restarts >= state.start_limit;
    let main = main_process(state);
    match state.result.as_str() {
        "start-limit-hit" => (Name::StartLimit, start_limit(state)),
        "exit-code" | "signal" | "core-dump" if used_up => {
            (Name::StartLimit, format!("{main}; {}", start_limit(state)))
        }
        // The main process has not failed: it was never started, or systemd ended it.
        "exit-code" if state.main_code != EXITED || state.main_status == 0 => {
            (Name::StartFailed, "a command of ExecStartPre=, ExecStartPost= or ExecStop= failed".into())
        }
        "exit-code" | "signal" | "core-dump" => {
            let setup = state.main_code == EXITED && SETUP.iter().any(|(status, _)| *status == state.main_status);
            let name = match again {
                _ if setup => Name::ExecFailed,
                0 | 1 => Name::Crashed,
                _ => Name::CrashLoop,
            };
            (name, if again == 0 { main } else { format!("{main}; started again {again} times") })
        }
        "timeout" if old => (Name::StopTimedOut, format!("the old process did not stop in time: {main}")),
        "timeout" if lasted => {
            (Name::Timeout, format!("systemd ended it on a timeout (RuntimeMaxSec= or TimeoutStopSec=): {main}"))
        }
        "timeout" => (Name::NeverReady, format!("not ready within systemd's TimeoutStartSec=: {main}")),
        "protocol" => (Name::Protocol, format!("ended before it said that it was ready: {main}")),
        "watchdog" => (Name::Watchdog, format!("no sign of life within WatchdogSec=: {main}")),
        "resources" => (Name::Resources, "systemd could not set up what it needs, such as an EnvironmentFile=, or old processes are left (SendSIGKILL=no)".into()),
        "oom-kill" => (Name::OomKilled, format!("out of memory: {main}")),
        "exec-condition" => (Name::ConditionFailed, "a command of ExecCondition= said no".into()),
        "success" | "" if state.between_tries() => (Name::Exited, format!("{main}; Restart= starts it again")),
        other => (Name::Crashed, format!("Result={other}: {main}")),
    }
}

/// The name and the evidence of a unit that is down though nothing failed. `ran` is whether it was started since COMMAND.
pub(super) fn down(state: &State, ran: bool) -> (Name, String) {
    if state.condition_failed || state.result == "exec-condition" {
        return (Name::ConditionFailed, "a condition of the unit does not hold, so nothing was started".into());
    }
    if state.assert_failed {
        return (Name::ConditionFailed, "an assertion of the unit does not hold, so nothing was started".into());
    }
    match state.main_code {
        EXITED if ran => (Name::Exited, format!("{}, and the unit is down", main_process(state))),
        KILLED | DUMPED if ran => (Name::Stopped, format!("{}, and the unit is down", main_process(state))),
        _ => (Name::Inactive, format!("ActiveState=inactive, SubState={}", state.sub)),
    }
}

/// How the main process ended: `exit status 3`, `exit status 203/EXEC`, `signal 11/SEGV, core dumped`.
fn main_process(state: &State) -> String {
    let named = |table: &[(i32, &str)], number: i32| match table.iter().find(|(n, _)| *n == number) {
        Some((_, name)) => format!("{number}/{name}"),
        None => number.to_string(),
    };
    match state.main_code {
        EXITED => format!("exit status {}", named(&SETUP, state.main_status)),
        KILLED => format!("signal {}", named(&SIGNALS, state.main_status)),
        DUMPED => format!("signal {}, core dumped", named(&SIGNALS, state.main_status)),
        _ => "no main process was started".into(),
    }
}

fn start_limit(state: &State) -> String {
    let starts = match state.start_limit {
        0 => String::new(),
        limit => format!(" (StartLimitBurst={limit})"),
    };
    format!("systemd starts it no more{starts} until 'systemctl reset-failed'")
}
