//! svc-wait against a systemctl that plays recorded states, and real processes for it to prove.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use fs_err as fs;
use tempfile::TempDir;

use crate::host::program;

mod evidence;
mod probes;
mod record;

/// A systemd host below a temporary root: its systemctl prints `states/N` at the N-th question, the last one for ever, and
/// `down` instead as soon as the process in `watched` has ended.
struct Host {
    root: TempDir,
    processes: Vec<Child>,
}

const SYSTEMCTL: &str = r#"#!/bin/sh
root=@ROOT@
n=$(($(cat "$root/count") + 1))
echo $n > "$root/count"
[ ! -s "$root/watched" ] || grep -q '^State:.*[RSD] ' "/proc/$(cat "$root/watched")/status" || exec cat "$root/down"
while [ ! -e "$root/states/$n" ]; do n=$((n - 1)); done
exec cat "$root/states/$n"
"#;

const RUNED: &str = "/usr/local/bin/runed";

impl Host {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let host = Self { root, processes: Vec::new() };
        for dir in ["usr/bin", "usr/local/bin", "states", "sys/fs/cgroup/system.slice/runed.service"] {
            fs::create_dir_all(host.path(dir)).unwrap();
        }
        symlink("/proc", host.path("proc")).unwrap();
        fs::write(host.path("count"), "0").unwrap();
        fs::write(host.path("watched"), "").unwrap();
        host.tool("systemctl", &SYSTEMCTL.replace("@ROOT@", host.root.path().to_str().unwrap()));
        host
    }

    fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below.trim_start_matches('/'))
    }

    fn tool(&self, name: &str, script: &str) {
        program(self.path("usr/bin").join(name), script);
    }

    /// Installs a new runed by rename, as swapbin does.
    fn install(&self) {
        let new = self.path("usr/local/bin/.new");
        program(&new, fs::read("/bin/sleep").unwrap());
        fs::rename(new, self.path(RUNED)).unwrap();
    }

    /// Starts what is installed as a process of the unit, for so many seconds.
    fn start(&mut self, seconds: &str) -> u32 {
        let child = Command::new(self.path(RUNED)).arg(seconds).stdin(Stdio::null()).spawn().unwrap();
        let pid = child.id();
        self.processes.push(child);
        let mut pids: Vec<_> = self.processes.iter().map(|child| child.id().to_string()).collect();
        // The servers that the probes ask are threads of this process.
        pids.push(std::process::id().to_string());
        fs::write(self.path("sys/fs/cgroup/system.slice/runed.service/cgroup.procs"), pids.join("\n")).unwrap();
        pid
    }

    /// From question `n` on systemd says what was recorded as `name`, with these properties changed.
    fn says(&self, n: u32, name: &str, changes: &[(&str, &str)]) -> &Self {
        fs::write(self.path(&format!("states/{n}")), state(name, changes)).unwrap();
        self
    }

    /// Running as `pid`, from question `n` on.
    fn up(&self, n: u32, pid: u32) -> &Self {
        self.says(n, "healthy", &[("MainPID", &pid.to_string())])
    }

    /// What is found with these probes and without a hold-down. A machine so busy that its systemctl gave no answer in time is
    /// given more of it.
    fn judged(&self, timeout: &str, probes: &[&str]) -> Answer {
        let run = |timeout| self.run(&[&["runed", "--timeout", timeout, "--stable", "0"], probes].concat());
        let answer = run(timeout);
        if answer.code == 124 { run("20s") } else { answer }
    }

    fn run(&self, arguments: &[&str]) -> Answer {
        let begun = Instant::now();
        let output = assert_cmd::cargo::cargo_bin_cmd!("svc-wait")
            .args(arguments)
            .env("UPSWAP_ROOT", self.root.path())
            .timeout(Duration::from_secs(120))
            .output()
            .unwrap();
        Answer::new(output, begun.elapsed())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for child in &mut self.processes {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A recorded state (tests/fixtures/show) of `runed.service` with some properties changed.
fn state(name: &str, changes: &[(&str, &str)]) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/show/{name}.txt"));
    let exec = format!("{{ path={RUNED} ; argv[]={RUNED} ; ignore_errors=no ; pid=0 ; code=(null) ; status=0/0 }}");
    let fixed = [("ExecStart", exec.as_str()), ("ControlGroup", "/system.slice/runed.service")];
    let change = |line: &str| {
        let (key, value) = line.split_once('=').unwrap();
        let change = changes.iter().chain(&fixed).find(|(changed, _)| *changed == key);
        format!("{key}={}", change.map_or(value, |(_, value)| value))
    };
    fs::read_to_string(file).unwrap().lines().map(change).collect::<Vec<_>>().join("\n")
}

#[derive(Debug)]
struct Answer {
    code: i32,
    stdout: String,
    stderr: String,
    took: Duration,
}

impl Answer {
    fn new(output: Output, took: Duration) -> Self {
        Self {
            code: output.status.code().expect("an exit code, not a signal"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            took,
        }
    }

    /// What people read, without the numbers that differ from run to run.
    #[track_caller]
    fn says(&self, code: i32, expected: &str) {
        assert_eq!((self.shown().as_str(), self.code, self.stdout.as_str()), (expected, code, ""), "{self:?}");
    }

    fn shown(&self) -> String {
        let mut shown = Vec::new();
        for word in self.stderr.trim_end().split(' ') {
            let bare = word.trim_end_matches([',', ')', ':', ';']);
            let number = !bare.is_empty() && bare.chars().all(|c| c.is_ascii_digit() || c == '.');
            shown.push(if number { word.replacen(bare, "N", 1) } else { word.to_owned() });
        }
        shown.join(" ").replace("N ms", "TIME").replace("N s", "TIME")
    }
}

const QUICK: [&str; 5] = ["runed", "--timeout", "30s", "--stable", "100ms"];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    QUICK.iter().chain(more).copied().collect()
}

#[test]
fn healthy_is_said_to_people_and_nothing_to_stdout() {
    let mut host = Host::new();
    host.install();
    let pid = host.start("600");
    host.up(1, pid);
    host.run(&QUICK)
        .says(0, "svc-wait: runed.service: healthy: up after TIME, then for TIME without a restart, process N");
    let quiet = host.run(&with(&["-q"]));
    assert_eq!((quiet.code, quiet.stderr.as_str()), (0, ""));
}

#[test]
fn the_verdict_is_one_json_object() {
    let host = Host::new();
    host.says(1, "exit3", &[]);
    host.tool("journalctl", "#!/bin/sh\ncase $* in *_SYSTEMD_INVOCATION_ID=*) echo 'config: no such key';; esac\n");
    let answer = host.run(&with(&["--json"]));
    let mut json: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
    json["times"]["total_ms"] = 0.into();
    insta::assert_snapshot!(serde_json::to_string_pretty(&json).unwrap());
    answer_lines(&answer, &["svc-wait: runed.service: crashed: exit status 3", "svc-wait: | config: no such key"]);
    assert_eq!(answer.code, 1);
}

#[track_caller]
fn answer_lines(answer: &Answer, lines: &[&str]) {
    assert_eq!(answer.stderr.lines().collect::<Vec<_>>(), lines);
}

/// A host with a service that is up, and whose main process ends with status 3 after a moment.
fn host_whose_process_ends() -> Host {
    let mut host = Host::new();
    host.install();
    let pid = host.start("0.3");
    host.up(1, pid);
    fs::write(host.path("down"), state("exit3", &[])).unwrap();
    fs::write(host.path("watched"), pid.to_string()).unwrap();
    host
}

#[test]
fn a_process_that_ends_in_the_hold_down_is_seen_at_once() {
    let host = host_whose_process_ends();
    let answer = host.run(&["runed", "--stable", "100s"]);
    answer.says(1, "svc-wait: runed.service: crashed: exit status N, TIME after it was first healthy");
    assert!(answer.took < Duration::from_secs(50), "{answer:?}");
}

#[test]
fn the_replaced_file_of_the_main_process_is_the_wrong_binary() {
    let mut host = Host::new();
    host.install();
    let old = host.start("600");
    host.install();
    host.up(1, old);
    let answer = host.run(&QUICK);
    assert!(answer.stderr.starts_with("svc-wait: runed.service: wrong-binary: process "), "{answer:?}");
    assert!(answer.stderr.contains("runs the old, replaced"), "{answer:?}");
    assert_eq!(answer.code, 1);
    assert_eq!(host.run(&with(&["--exe", "any"])).code, 0);
}

#[test]
fn an_old_process_left_in_the_control_group_is_not_healthy_until_it_is_gone() {
    let mut host = Host::new();
    host.install();
    host.start("600");
    host.install();
    let new = host.start("600");
    host.up(1, new);
    let answer = host.run(&["runed", "--timeout", "300ms", "--stable", "0"]);
    assert!(answer.stderr.starts_with("svc-wait: runed.service: old-process: process "), "{answer:?}");
    assert_eq!(answer.code, 1);
    host.processes[0].kill().unwrap();
    host.processes[0].wait().unwrap();
    assert_eq!(host.run(&QUICK).code, 0);
}

#[test]
fn a_process_whose_file_was_put_back_runs_the_right_one() {
    let mut host = Host::new();
    host.install();
    fs::hard_link(host.path(RUNED), host.path("usr/local/bin/.kept")).unwrap();
    let pid = host.start("600");
    host.up(1, pid).install();
    assert_eq!(host.run(&QUICK).code, 1);
    fs::rename(host.path("usr/local/bin/.kept"), host.path(RUNED)).unwrap();
    assert_eq!(host.run(&QUICK).code, 0);
}

#[test]
fn another_executable_is_wrong_and_a_script_is_not_provable_before_command_runs() {
    let mut host = Host::new();
    host.install();
    let pid = host.start("600");
    let ran = host.path("ran");
    let command = ["--", "touch", ran.to_str().unwrap()];

    fs::remove_file(host.path(RUNED)).unwrap();
    program(host.path("usr/local/bin/other"), fs::read("/bin/true").unwrap());
    let other = "{ path=/usr/local/bin/other ; argv[]=other ; }";
    host.says(1, "healthy", &[("MainPID", &pid.to_string()), ("ExecStart", other)]);
    let answer = host.run(&with(&command));
    assert!(answer.stderr.starts_with("svc-wait: runed.service: wrong-binary: "), "{answer:?}");
    assert!(ran.exists());
    fs::remove_file(&ran).unwrap();

    fs::write(host.path("usr/local/bin/other"), "#!/bin/sh\nexec runed\n").unwrap();
    let answer = host.run(&with(&command));
    assert!(answer.stderr.starts_with("svc-wait: runed.service: not-provable: "), "{answer:?}");
    assert!(answer.stderr.trim_end().ends_with("--exe PATH, or --exe any (nothing was run)"), "{answer:?}");
    assert_eq!((answer.code, ran.exists()), (1, false));
}

#[test]
fn command_runs_first_and_its_output_is_not_data() {
    let mut host = Host::new();
    host.install();
    let pid = host.start("600");
    // Before COMMAND it has failed; what is read after COMMAND is judged alone.
    host.says(1, "exit3", &[]).up(2, pid);
    let answer = host.run(&with(&["--", "echo", "out"]));
    answer.says(0, "out\nsvc-wait: runed.service: healthy: up after TIME, then for TIME without a restart, process N");
}

#[test]
fn a_failed_command_is_never_healthy() {
    let mut host = Host::new();
    host.install();
    let pid = host.start("600");
    host.up(1, pid);
    let answer = host.run(&with(&["--", "sh", "-c", "exit 7"]));
    let line = "svc-wait: runed.service: job-failed: COMMAND 'sh -c exit 7' failed: exit status: 7";
    answer_lines(&answer, &[line]);
    assert_eq!(answer.code, 1);
    let answer = host.run(&with(&["--", "no-such-program"]));
    assert_eq!(answer.code, 2, "{answer:?}");
    assert!(answer.stderr.starts_with("svc-wait: COMMAND 'no-such-program' could not be run: "), "{answer:?}");
}

#[test]
fn a_unit_that_can_not_start_is_refused_before_command_runs() {
    for (recorded, name) in [("masked", "masked"), ("not-found", "not-found"), ("bad-setting", "bad-setting")] {
        let host = Host::new();
        let ran = host.path("ran");
        host.says(1, recorded, &[]);
        let answer = host.run(&with(&["--", "touch", ran.to_str().unwrap()]));
        assert!(answer.stderr.starts_with(&format!("svc-wait: runed.service: {name}: ")), "{answer:?}");
        assert_eq!((answer.code, ran.exists()), (1, false), "{answer:?}");
    }
}

#[test]
fn a_systemctl_that_hangs_lies_or_is_missing_gives_no_verdict() {
    let host = Host::new();
    host.tool("systemctl", "#!/bin/sh\nexec sleep 600\n");
    let ran = host.path("ran");
    let quick = ["runed", "--timeout", "200ms", "--", "touch", ran.to_str().unwrap()];
    for arguments in [&quick[..3], &quick] {
        let answer = host.run(arguments);
        assert_eq!(answer.code, 124, "{answer:?}");
        assert!(answer.took < Duration::from_secs(60), "{answer:?}");
    }
    host.tool("systemctl", "#!/bin/sh\necho 'ActiveState=active'\n");
    assert_eq!(host.run(&quick[..3]).code, 124);
    assert_eq!(host.run(&quick).code, 3);
    host.tool("systemctl", "#!/bin/sh\necho 'Failed to connect to bus' >&2; exit 1\n");
    let answer = host.run(&quick[..3]);
    assert!(answer.stderr.ends_with("systemctl show runed.service: Failed to connect to bus\n"), "{answer:?}");
    assert_eq!(answer.code, 124);
    fs::remove_file(host.path("usr/bin/systemctl")).unwrap();
    assert_eq!(host.run(&quick).code, 3);
    assert_eq!(host.run(&quick[..3]).code, 3);
    assert!(!ran.exists());
}

#[test]
fn wrong_command_lines_are_usage() {
    let host = Host::new();
    for arguments in [
        &[][..],
        &["exe*"],
        &["tenant@.service"],
        &["runed", "--timeout", "infinity"],
        &["runed", "--stable", "soon"],
        &["runed", "--status", "200"],
        &["runed", "--body", "ok"],
        &["runed", "--http", "127.0.0.1:80"],
        &["runed", "--tcp", "localhost"],
        &["runed", "systemctl"],
    ] {
        let answer = host.run(arguments);
        assert_eq!(answer.code, 2, "{arguments:?} {answer:?}");
        assert_eq!(answer.stderr.lines().count(), 1, "{answer:?}");
    }
}

/// A server that gives each connection one answer; none at all when it is empty, the connection stays open then.
fn serve(answer: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut silent = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            if answer.is_empty() {
                silent.push(stream);
                continue;
            }
            let mut request = [0; 1024];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    port
}

fn refusing_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn probes_decide_and_the_reason_is_told() {
    let mut host = Host::new();
    host.install();
    let pid = host.start("600");
    host.up(1, pid);
    let good = serve("HTTP/1.1 200 OK\r\ncontent-length: 16\r\nconnection: close\r\n\r\n{\"status\":\"up\"}\n");
    let sick = serve("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let moved = serve("HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let garbage = serve("hello\r\n\r\n");
    let (silent, refused) = (serve(""), refusing_port());
    let url = |port: u16| format!("http://127.0.0.1:{port}/health");
    let (good_url, sick_url, moved_url) = (url(good), url(sick), url(moved));
    let (garbage_url, silent_url, refused_url) = (url(garbage), url(silent), url(refused));
    let (good_tcp, refused_tcp) = (format!("127.0.0.1:{good}"), format!("127.0.0.1:{refused}"));
    for (probes, name, reason) in [
        (&["--http", &good_url][..], "healthy", ""),
        (&["--http", &good_url, "--body", "\"up\""], "healthy", ""),
        (&["--http", &good_url, "--body", "down"], "probe-failed", "but its body does not match 'down'"),
        (&["--http", &good_url, "--status", "204"], "probe-failed", "status 200, not 204"),
        (&["--http", &good_url, "--http", &sick_url], "probe-failed", "status 503, not 200 to 299"),
        (&["--http", &sick_url, "--status", "503"], "healthy", ""),
        (&["--http", &moved_url], "probe-failed", "status 302"),
        (&["--http", &garbage_url], "probe-failed", "/health: "),
        (&["--http", &silent_url], "hang", "no answer within"),
        (&["--http", &refused_url], "probe-failed", "refused"),
        (&["--tcp", &good_tcp], "healthy", ""),
        (&["--tcp", &refused_tcp], "probe-failed", "refused"),
        (&["--exec", "exit 0"], "healthy", ""),
        (&["--exec", "echo the reason >&2; exit 3"], "probe-failed", "exit status: 3: the reason"),
        (&["--exec", "sleep 600"], "hang", "no end within"),
    ] {
        let timeout = if name == "healthy" { "30s" } else { "1s" };
        let answer = host.judged(timeout, probes);
        assert!(answer.stderr.starts_with(&format!("svc-wait: runed.service: {name}: ")), "{probes:?} {answer:?}");
        assert!(answer.stderr.contains(reason), "{probes:?} {answer:?}");
        assert_eq!(answer.code, i32::from(name != "healthy"));
    }
}

#[test]
fn a_report_that_can_not_be_written_does_not_undo_the_deed() {
    let mut host = Host::new();
    host.install();
    let pid = host.start("600");
    host.up(1, pid);
    let run = |command: &[&str]| {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        Command::new(assert_cmd::cargo::cargo_bin!("svc-wait"))
            .args(with(&["--json"]))
            .args(command)
            .env("UPSWAP_ROOT", host.root.path())
            .stdout(full.into_parts().0)
            .status()
            .unwrap()
            .code()
    };
    assert_eq!(run(&["--", "true"]), Some(0));
    assert_eq!(run(&[]), Some(3));
}

#[test]
fn help_shows_what_there_is() {
    insta::assert_snapshot!(Host::new().run(&["--help"]).stdout);
}
