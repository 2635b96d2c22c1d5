//! What systemd says of a unit at one time: the properties that `systemctl show` prints, parsed once.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// `ActiveState=` of a unit (systemd's `unit_active_state`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Active {
    /// Up.
    Active,
    /// Up, and reading its configuration again (`reloading`, `refreshing`).
    Reloading,
    /// Not up, and nothing went wrong.
    #[default]
    Inactive,
    /// Not up, because something went wrong.
    Failed,
    /// On its way up, or between two tries.
    Activating,
    /// On its way down.
    Deactivating,
    /// Anything else, `maintenance` for example.
    Other,
}

/// A unit as systemd described it at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// `LoadState=`: `loaded`, `not-found`, `masked`, `bad-setting`, `error` …
    pub load: String,
    /// `ActiveState=`.
    pub active: Active,
    /// `SubState=`: `running`, `exited`, `auto-restart` …
    pub sub: String,
    /// `Result=` of the last run: `success`, `exit-code`, `signal` …
    pub result: String,
    /// `Type=` of a service; empty for other units.
    pub kind: String,
    /// `MainPID=`; `None` when there is no main process.
    pub main_pid: Option<u32>,
    /// `ExecMainPID=`: the main process of the last run, also when it is gone.
    pub last_pid: Option<u32>,
    /// `InvocationID=`: which run of the unit this is.
    pub invocation: Option<String>,
    /// `NRestarts=`: how often `Restart=` started it again.
    pub restarts: u64,
    /// `StartLimitBurst=`: how many starts systemd allows; 0 when there is no limit.
    pub start_limit: u64,
    /// `ExecMainCode=`: how the main process ended, as wait(2) has it: 1 exited, 2 killed, 3 dumped, 0 not at all. For
    /// `Type=forking` without a main process, how the command of `ExecStart=` ended.
    pub main_code: i32,
    /// `ExecMainStatus=`: its exit status or signal.
    pub main_status: i32,
    /// `ExecMainStartTimestampMonotonic=` in microseconds; 0 when it never started.
    pub main_started: u64,
    /// `ActiveEnterTimestampMonotonic=` in microseconds: when it was last up; 0 when it never was.
    pub last_up: u64,
    /// `ControlGroup=`; empty when it has none.
    pub cgroup: String,
    /// `NeedDaemonReload=`: the unit file on disk is not the one that is loaded.
    pub need_reload: bool,
    /// `ConditionResult=` was no when it was last to be started.
    pub condition_failed: bool,
    /// `AssertResult=` was no when it was last to be started.
    pub assert_failed: bool,
    /// The file that `ExecStart=` names; the last one when there are several. A name without a slash stands for the first such
    /// file in [`State::search`].
    pub exec_start: Option<PathBuf>,
    /// The words of that command line as they are shown, parted at blanks.
    pub exec_words: Vec<String>,
    /// `ExecSearchPath=`, or where systemd looks without it.
    pub search: Vec<PathBuf>,
    /// `FreezerState=frozen`: none of its processes runs (`systemctl freeze`).
    pub frozen: bool,
    /// `RootDirectory=` or `RootImage=` is set, so that `ExecStart=` speaks of another root.
    pub other_root: bool,
    /// `FragmentPath=`: the unit file.
    pub fragment: Option<PathBuf>,
    /// `Job=`: the job that is queued or running for the unit.
    pub job: Option<u64>,
    /// `StatusText=`: what the service said about itself (`sd_notify(3)`).
    pub status_text: String,
}

/// The properties a [`State`] is made of, for one `systemctl show`.
pub const PROPERTIES: &[&str] = &[
    "LoadState",
    "ActiveState",
    "SubState",
    "Result",
    "Type",
    "MainPID",
    "ExecMainPID",
    "InvocationID",
    "NRestarts",
    "StartLimitBurst",
    "ExecMainCode",
    "ExecMainStatus",
    "ExecMainStartTimestampMonotonic",
    "ActiveEnterTimestampMonotonic",
    "ControlGroup",
    "NeedDaemonReload",
    "ConditionResult",
    "ConditionTimestampMonotonic",
    "AssertResult",
    "AssertTimestampMonotonic",
    "ExecStart",
    "ExecSearchPath",
    "FreezerState",
    "RootDirectory",
    "RootImage",
    "FragmentPath",
    "Job",
    "StatusText",
];

/// Where systemd looks for a command without a slash in its name.
const SEARCH: &str = "/usr/local/sbin /usr/local/bin /usr/sbin /usr/bin /sbin /bin";

impl State {
    /// The state in the properties that `systemctl show` printed. A property that is missing has its empty value: another
    /// unit type, or an older systemd.
    #[must_use]
    pub fn new(properties: &BTreeMap<String, String>) -> Self {
        let text = |key: &str| properties.get(key).map_or("", String::as_str);
        let number = |key: &str| text(key).parse::<u64>().unwrap_or(0);
        let pid = |key: &str| text(key).parse::<u32>().ok().filter(|pid| *pid != 0);
        let path = |key: &str| Some(PathBuf::from(text(key))).filter(|path| !path.as_os_str().is_empty());
        // `no` also stands there before anything was ever checked; then the timestamp is 0.
        let failed = |result: &str, time: &str| text(result) == "no" && number(time) != 0;
        let code = |key: &str| text(key).parse::<i32>().unwrap_or(0);
        let (main_code, main_status) = match (code("ExecMainCode"), text("Type")) {
            // What ExecStart= runs then is no main process: it starts one, and may fail before.
            (0, "forking") => exec_end(text("ExecStart")).unwrap_or((0, 0)),
            (main_code, _) => (main_code, code("ExecMainStatus")),
        };
        Self {
            load: text("LoadState").to_owned(),
            active: match text("ActiveState") {
                "active" => Active::Active,
                "reloading" | "refreshing" => Active::Reloading,
                "inactive" => Active::Inactive,
                "failed" => Active::Failed,
                "activating" => Active::Activating,
                "deactivating" => Active::Deactivating,
                _ => Active::Other,
            },
            sub: text("SubState").to_owned(),
            result: text("Result").to_owned(),
            kind: text("Type").to_owned(),
            main_pid: pid("MainPID"),
            last_pid: pid("ExecMainPID"),
            invocation: Some(text("InvocationID").to_owned()).filter(|id| !id.is_empty()),
            restarts: number("NRestarts"),
            start_limit: number("StartLimitBurst"),
            main_code,
            main_status,
            main_started: number("ExecMainStartTimestampMonotonic"),
            last_up: number("ActiveEnterTimestampMonotonic"),
            cgroup: text("ControlGroup").to_owned(),
            need_reload: text("NeedDaemonReload") == "yes",
            condition_failed: failed("ConditionResult", "ConditionTimestampMonotonic"),
            assert_failed: failed("AssertResult", "AssertTimestampMonotonic"),
            exec_start: exec_path(text("ExecStart")),
            exec_words: exec_words(text("ExecStart")),
            search: Some(text("ExecSearchPath"))
                .filter(|dirs| !dirs.is_empty())
                .unwrap_or(SEARCH)
                .split(' ')
                .map(PathBuf::from)
                .collect(),
            frozen: text("FreezerState").starts_with("frozen"),
            other_root: !text("RootDirectory").is_empty() || !text("RootImage").is_empty(),
            fragment: path("FragmentPath"),
            job: text("Job").parse().ok().filter(|job| *job != 0),
            status_text: text("StatusText").to_owned(),
        }
    }

    /// True while systemd waits to start it again (`auto-restart`, since v254 also `auto-restart-queued` and
    /// `failed-before-auto-restart`).
    #[must_use]
    pub fn between_tries(&self) -> bool {
        self.sub.contains("auto-restart")
    }

    /// True when the last run of the main process was up, by what its `Type=` calls up.
    #[must_use]
    pub fn was_up(&self) -> bool {
        self.last_up != 0 && self.last_up >= self.main_started
    }

    /// True when this is the same run of the unit as `other`: nothing was started in between.
    #[must_use]
    pub fn same_run(&self, other: &Self) -> bool {
        self.invocation == other.invocation && self.main_started == other.main_started
    }
}

/// The file in a shown `ExecStart=`: `{ path=/usr/bin/x ; argv[]=/usr/bin/x -a ; ignore_errors=no ; … }`.
fn exec_path(shown: &str) -> Option<PathBuf> {
    let (path, _) = shown.strip_prefix("{ path=")?.split_once(" ; argv[]=")?;
    let is_name = !path.is_empty() && !path.contains('/');
    Some(PathBuf::from(path)).filter(|path| path.is_absolute() || is_name)
}

/// The words behind the first one of `argv[]=` in a shown `ExecStart=`; how they were quoted is not shown.
fn exec_words(shown: &str) -> Vec<String> {
    let line = shown.split_once(" ; argv[]=").and_then(|(_, rest)| rest.split_once(" ; ignore_errors="));
    line.map_or_else(Vec::new, |(line, _)| line.split(' ').skip(1).map(str::to_owned).collect())
}

/// How the command in a shown `ExecStart=` ended, as [`State::main_code`] and [`State::main_status`] have it; `None` when it did not.
fn exec_end(shown: &str) -> Option<(i32, i32)> {
    let (_, end) = shown.rsplit_once(" ; code=")?;
    let (code, status) = end.split_once(" ; status=")?;
    let code = match code {
        "exited" => 1,
        "killed" => 2,
        "dumped" => 3,
        _ => return None,
    };
    let number = status.split(['/', ' ']).next()?.parse().ok()?;
    Some((code, number))
}

/// The `KEY=value` lines that `systemctl show` prints.
#[must_use]
pub fn properties(text: &str) -> BTreeMap<String, String> {
    text.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_exec_start_is_read_up_to_its_arguments() {
        let shown =
            "{ path=/opt/a b/x;y ; argv[]=/opt/a b/x;y --z ; ignore_errors=no ; pid=0 ; code=(null) ; status=0/0 }";
        assert_eq!(exec_path(shown), Some(PathBuf::from("/opt/a b/x;y")));
        assert_eq!(exec_path("{ path=x ; argv[]=x -a ; ignore_errors=no ; }"), Some(PathBuf::from("x")));
        assert_eq!(exec_words(shown), ["b/x;y", "--z"]);
        for bad in ["", "{ path= ; argv[]= ; }", "/usr/bin/x", "{ path=x/y ; argv[]=x/y ; }"] {
            assert_eq!(exec_path(bad), None, "{bad}");
            assert!(exec_words(bad).is_empty(), "{bad}");
        }
    }

    #[test]
    fn the_end_of_a_forking_start_is_read_from_exec_start() {
        let of = |kind: &str, end: &str| {
            let shown = format!("ExecStart={{ path=/x ; argv[]=/x ; code=exited ; pid=7 ; {end} }}");
            let state = State::new(&properties(&format!("Type={kind}\nExecMainCode=0\n{shown}\n")));
            (state.main_code, state.main_status)
        };
        assert_eq!(of("forking", "code=exited ; status=3"), (1, 3));
        assert_eq!(of("forking", "code=killed ; status=11/SEGV"), (2, 11));
        assert_eq!(of("forking", "code=(null) ; status=0/0"), (0, 0));
        assert_eq!(of("simple", "code=exited ; status=3"), (0, 0));
    }

    #[test]
    fn a_unit_that_was_never_to_be_started_has_no_failed_condition() {
        let never = State::new(&properties("ConditionResult=no\nConditionTimestampMonotonic=0\n"));
        let failed = State::new(&properties("ConditionResult=no\nConditionTimestampMonotonic=77\n"));
        assert!(!never.condition_failed && failed.condition_failed);
    }

    #[test]
    fn garbage_is_an_empty_state_and_no_panic() {
        let state =
            State::new(&properties("MainPID=-1\nNRestarts=x\nExecMainCode=99999999999\n=\nJob=0\nno equals sign"));
        assert_eq!(state, State { active: Active::Other, search: state.search.clone(), ..State::default() });
    }
}
