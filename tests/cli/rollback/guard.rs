//! `rollback --guard`: success commits, everything else takes back.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use fs_err as fs;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::host::{Host, told};

/// Swaps `$FILE`, restarts by the systemd that is a script, and has it proved.
const CHAIN: &str = "swapbin --unit runed -t bin \"$FILE\"
svc-wait runed --timeout 10s --stable 0 --exe any -- usr/bin/systemctl restart -- runed.service";

fn chain(host: &Host, bytes: &str, then: &str) -> Command {
    let mut guard = host.guard(&format!("{CHAIN}\n{then}"));
    guard.env("FILE", host.stored("runed", bytes));
    guard
}

/// The same command as `program` starts it.
fn started_by(program: &[&str], command: &Command) -> Command {
    let mut started = Command::new(program[0]);
    started.args(&program[1..]).arg(command.get_program()).args(command.get_args());
    started.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(folder) = command.get_current_dir() {
        started.current_dir(folder);
    }
    started
}

#[test]
fn failures_in_a_row_do_not_push_the_good_generation_out() {
    let host = Host::with_runed();
    let old = host.inode("bin/runed");
    for bytes in ["2", "3", "4", "5"] {
        host.ran(&mut chain(&host, bytes, "exit 1")).is(5);
    }
    assert_eq!(host.record()["generations"].as_array().unwrap().len(), 3, "and they do not pile up");
    host.ran(&mut chain(&host, "6", "")).is(0);
    host.rollback(["runed"]).is(0);
    assert_eq!(host.inode("bin/runed"), old);
}

#[test]
fn success_commits_and_failure_takes_back_to_the_very_same_files() {
    let host = Host::with_runed();
    let first = host.inode("bin/runed");
    host.ran(&mut chain(&host, "2", "exit 3"))
        .is(5)
        .says("COMMAND failed with exit status 3; taking generation 2 back")
        .says("generation 1 is back in place; runed.service runs it and is healthy");
    assert_eq!(host.inode("bin/runed"), first);
    let restart = ["restart -- runed.service", "reset-failed -- runed.service", "restart -- runed.service"];
    assert_eq!(host.jobs(), restart);
    host.rollback(["runed"]).is(1).says("was brought back already");

    let ran = host.ran(&mut chain(&host, "3", "")).is(0);
    ran.says("generation 3 (v3) is committed, proven healthy").prints("DIR/bin/runed\n");
    assert_eq!((host.text("bin/runed"), host.record()["trial"].clone()), ("3".into(), Value::Null));
    host.rollback(["runed", "--no-restart"]).is(0);
    assert_eq!(host.inode("bin/runed"), first);
}

#[test]
fn a_unit_that_was_not_touched_is_not_restarted_and_one_that_did_not_run_is_not_started() {
    let host = Host::with_runed();
    let swap = "swapbin --unit runed -t bin \"$FILE\"";
    host.ran(host.guard(&format!("{CHAIN}; exit 1")).env("FILE", host.stored("runed", "2"))).is(5);
    fs::remove_file(host.path("systemctl.log")).unwrap();
    host.ran(host.guard(&format!("{swap}; exit 1")).env("FILE", host.stored("runed", "2"))).is(5);
    assert_eq!(host.jobs(), [""; 0]);
    host.has_unit("inactive");
    let ran = host.ran(host.guard(&format!("{CHAIN}; exit 1")).env("FILE", host.stored("runed", "2"))).is(5);
    ran.says("runed.service was not running and is left so");
    assert_eq!(host.jobs(), ["restart -- runed.service", "stop -- runed.service", "reset-failed -- runed.service"]);
}

#[test]
fn a_way_back_that_can_t_be_proved_is_4_and_names_the_command_that_mends_it() {
    let host = Host::with_runed();
    let ran = host.ran(&mut chain(&host, "2", ">refuses-restart; exit 1")).is(4);
    ran.says("is back in place, but").says("systemctl restart runed.service");
    assert_eq!((host.text("bin/runed"), host.record()["trial"].clone()), ("v1".into(), Value::Null));

    let host = Host::with_runed();
    let file = host.stored("runed", "2");
    host.ran(host.guard("swapbin -t bin \"$FILE\"; rm bin/.runed.upswap-1; exit 1").env("FILE", file))
        .is(4)
        .says("no earlier generation can be brought back");
    let host = Host::with_runed();
    let file = host.stored("runed", "2");
    let broken = "swapbin -t bin \"$FILE\"; echo '{' >var/lib/upswap/runed/state.json";
    host.ran(host.guard(broken).env("FILE", file)).is(4).says("neither kept nor taken back: rollback runed");
}

#[test]
fn where_nothing_changed_the_command_s_own_code_is_passed_on() {
    let host = Host::with_runed();
    for (script, code) in [("exit 7", 7), (":", 0), ("kill -9 $$", 137), ("no-such-tool-at-all", 127)] {
        host.guarded(script).is(code);
    }
    host.rollback(["--guard", "runed", "--", "/no/such/tool"]).is(3).says("COMMAND could not be run: /no/such/tool");
    let json = host.ran(host.tool("rollback").args(["--json", "--guard", "runed", "--", "false"])).is(1).json();
    assert_eq!(json["outcome"], "nothing-changed");
    let ran = host.rollback(["-n", "--guard", "runed", "--", "touch", "it was run"]).is(0);
    insta::assert_snapshot!(ran.stderr);
    assert!(!host.path("it was run").exists() && !host.record_path().exists());
}

#[test]
fn a_unit_that_runs_another_file_of_that_name_proves_nothing() {
    let host = Host::with_runed();
    fs::create_dir_all(host.path("opt")).unwrap();
    host.file("opt/runed", "v1");
    let unit = fs::read_to_string(host.path("unit")).unwrap();
    host.file("unit", format!("{unit}ExecStart={{ path=/opt/runed ; argv[]=/opt/runed ; ignore_errors=no }}\n"));
    let swap = "swapbin --unit runed -t bin \"$FILE\"";
    let wait = "-- usr/bin/systemctl restart -- runed.service";
    let mut guard = host.guard(&format!("{swap}; svc-wait runed --timeout 1s --stable 0 {wait}"));
    let ran = host.ran(guard.env("FILE", host.stored("runed", "2")));
    ran.says("runed.service: wrong-binary: ExecStart= names /opt/runed, and DIR/bin/runed is what was swapped in");
    assert_eq!((host.jobs(), host.text("bin/runed")), (vec![], "v1".into()));
    // Whoever says what runs is believed.
    let mut guard = host.guard(&format!("{swap}; svc-wait runed --timeout 10s --stable 0 --exe any {wait}"));
    host.ran(guard.env("FILE", host.stored("runed", "2"))).is(0).says("proven healthy");
}

#[test]
fn what_is_not_verified_is_refused_unless_it_is_asked_for() {
    let host = Host::with_runed();
    host.file("src/runed", "v2");
    let ran = host.guarded("swapbin src/runed bin/runed").is(1);
    ran.says(
        "src/runed: under a guard only files that verify put into the store are taken; verify it, or say --unverified",
    );
    host.guarded("swapbin -n src/runed bin/runed").is(1);
    assert_eq!(host.names("bin"), ["runed"]);
    host.guarded("swapbin --unverified src/runed bin/runed").is(0);
    assert_eq!(host.text("bin/runed"), "v2");
}

#[test]
fn all_that_is_swapped_under_one_guard_is_one_change() {
    let host = Host::with_runed();
    host.file("etc/systemd/system/runed.service", "unit 1");
    host.file("src/runed.service", "unit 2");
    let (runed, unit) = (host.inode("bin/runed"), host.inode("etc/systemd/system/runed.service"));
    let swaps = format!(
        "swapbin -t bin {}; swapbin src/runed.service etc/systemd/system; swapbin --mode 700 -t bin {}; swapbin --mode 750 -t bin {} {}",
        host.stored("runed", "2").display(),
        host.stored("runed", "v1").display(),
        host.stored("runed", "v1").display(),
        host.stored("rune", "new").display(),
    );
    host.guarded(&format!("{swaps}; exit 1")).is(5);
    assert_eq!(host.inode("bin/runed"), runed, "not a later file of the same bytes");
    assert_eq!(host.inode("etc/systemd/system/runed.service"), unit);
    assert!(!host.path("bin/rune").exists());
    assert_eq!(host.jobs(), ["daemon-reload"]);

    host.guarded(&swaps).is(0);
    assert_eq!((host.text("bin/rune"), host.text("etc/systemd/system/runed.service")), ("new".into(), "unit 2".into()));
    let generations = host.record()["generations"].as_array().unwrap().len();
    host.rollback(["runed", "--no-restart", "--to", "1"]).is(0);
    assert_eq!((generations, host.inode("bin/runed") == runed, host.path("bin/rune").exists()), (3, true, false));
}

#[test]
fn a_unit_that_is_named_without_a_new_file_belongs_to_the_trial() {
    let host = Host::with_runed();
    let file = host.stored("runed", "2");
    let script =
        "swapbin -t bin \"$FILE\"; swapbin --unit runed -t bin \"$FILE\"; usr/bin/systemctl stop runed; exit 1";
    host.file("refuses-restart", "");
    host.ran(host.guard(script).env("FILE", file)).is(4).says("runed.service");
}

#[test]
fn a_state_folder_that_is_asked_for_holds_below_the_guard_too() {
    let host = Host::with_runed();
    let file = host.stored("runed", "2");
    let guard =
        ["--state-dir", "elsewhere", "--guard", "runed", "--", "sh", "-ec", "cd bin; swapbin -t . \"$FILE\"; exit 1"];
    host.ran(host.tool("rollback").args(guard).env("FILE", file)).is(5);
    assert_eq!((host.text("bin/runed"), host.record_path().exists()), ("v1".into(), false));
}

#[test]
fn the_lock_is_taken_when_the_stage_before_has_written() {
    let host = Host::with_runed();
    let mut guard =
        host.guard("swapbin -t bin --files-from -").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The guard waits for its input, so another one can work.
    host.guarded(":").is(0);
    let line = format!("{}\n", host.stored("runed", "2").display());
    guard.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
    assert_eq!(guard.wait().unwrap().code(), Some(0));
    assert_eq!(host.text("bin/runed"), "2");
    // A stage before that gave nothing.
    let guard =
        host.guard("swapbin -t bin --files-from -").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let output = guard.wait_with_output().unwrap();
    host.told(&output).is(2).says("the stage before gave nothing");
}

#[test]
fn a_signal_to_the_guard_takes_everything_back() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        let host = Host::with_runed();
        let old = host.inode("bin/runed");
        let file = host.stored("runed", "2");
        let guard = host.guard("swapbin -t bin \"$FILE\"; echo told; exec sleep 600");
        // A shell ignores the keys for what it runs in the background.
        let mut guard = started_by(&["env", "--default-signal=HUP", "--ignore-signal=INT,QUIT"], &guard);
        let mut guard = guard.env("FILE", file).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let _out = told(&mut guard);
        assert_eq!(host.text("bin/runed"), "2");
        kill(Pid::from_raw(guard.id().cast_signed()), signal).unwrap();
        let output = guard.wait_with_output().unwrap();
        host.told(&output).is(5).says("the chain was told to end");
        assert_eq!(host.inode("bin/runed"), old, "{signal}");
    }
}

/// nohup(1) ignores a hang-up so that it does not matter.
#[test]
fn a_hang_up_that_was_ignored_from_the_start_takes_nothing_back() {
    let host = Host::with_runed();
    let file = host.stored("runed", "2");
    let guard = host.guard("swapbin -t bin \"$FILE\"; echo told; read line");
    let mut guard = started_by(&["nohup"], &guard);
    guard.env("FILE", file).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut guard = guard.spawn().unwrap();
    let mut input = guard.stdin.take().unwrap();
    input.write_all(b"x").unwrap();
    let _out = told(&mut guard);
    kill(Pid::from_raw(guard.id().cast_signed()), Signal::SIGHUP).unwrap();
    input.write_all(b"\n").unwrap();
    let output = guard.wait_with_output().unwrap();
    host.told(&output).is(0).says("is committed");
    assert_eq!(host.text("bin/runed"), "2");
}

#[test]
fn a_command_that_shrugs_off_the_signal_is_not_committed() {
    let host = Host::with_runed();
    let file = host.stored("runed", "2");
    let script = "swapbin -t bin \"$FILE\"; trap 'exit 0' TERM; sleep 600 & echo told; wait";
    let guard = host.guard(script).env("FILE", file).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut guard = guard.unwrap();
    let _out = told(&mut guard);
    kill(Pid::from_raw(guard.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert_eq!((guard.wait().unwrap().code(), host.text("bin/runed")), (Some(5), "v1".into()));
}

/// Who is not in front of a terminal may not read it: apt-get's question or sudo's would stop the chain for ever.
#[test]
fn a_command_may_ask_at_the_terminal_and_can_t_be_put_aside_there() {
    // The last is ended by the terminal, or by the guard when it is still in front itself.
    for (script, typed, codes) in [
        ("echo told; read line </dev/tty; test $line = hello; exit 3", "hello\n", [3, 3]),
        ("echo told; kill -STOP $$; read line; exit 4", "hello\n", [4, 4]),
        ("echo told; read line; exit 5", "\u{3}", [130, 143]),
    ] {
        let host = Host::with_runed();
        let tool = host.tool("rollback");
        let line = format!("rollback --guard runed -- sh -c '{script}'");
        // script(1) makes the terminal; timeout(1) lets a hang fail.
        let mut terminal = Command::new("timeout");
        terminal.args(["20", "script", "-qec", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        terminal.current_dir(host.path("")).envs(tool.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut terminal = terminal.spawn().unwrap();
        let mut keyboard = terminal.stdin.take().unwrap();
        let _out = told(&mut terminal);
        keyboard.write_all(typed.as_bytes()).unwrap();
        let code = terminal.wait().unwrap().code().unwrap();
        assert!(codes.contains(&code), "{script}: {code}");
        drop(keyboard);
    }
}

#[test]
fn what_a_killed_guard_left_is_settled_by_whoever_comes_first() {
    for settler in [&["--pending"][..], &["runed"], &["--guard", "runed", "--", "false"]] {
        let host = Host::with_runed();
        let old = host.inode("bin/runed");
        let file = host.stored("runed", "2");
        let script = "swapbin -t bin \"$FILE\"; echo told $$; exec sleep 600";
        let mut guard = host.guard(script).env("FILE", file).stdout(Stdio::piped()).spawn().unwrap();
        let (command, mut out) = told(&mut guard);
        guard.kill().unwrap();
        guard.wait().unwrap();
        // What is left of the chain still has the lock.
        host.rollback(["--pending"]).is(0).says("is at work on its trial; it is left alone");
        host.rollback(["--pending", "-n"]).is(0);
        assert!(host.rollback(["--list"]).is(0).stdout.contains("is at work on it"));
        assert_eq!(host.text("bin/runed"), "2");
        kill(Pid::from_raw(command.parse().unwrap()), Signal::SIGKILL).unwrap();
        // Ends when the last of COMMAND is gone.
        out.read_to_end(&mut Vec::new()).unwrap();
        assert!(host.rollback(["--pending", "-n"]).is(0).stdout.contains("its chain is gone: rollback runed"));
        let code = i32::from(settler.len() > 1);
        host.rollback(settler).is(code).says("runed: generation 1 is back in place");
        assert_eq!((host.inode("bin/runed"), host.record()["trial"].clone()), (old, Value::Null));
        host.rollback(["--pending"]).is(0).prints("");
    }
}

#[test]
fn a_report_that_can_t_be_written_does_not_undo_the_deed() {
    for (then, code, holds) in [("", 0, "2"), ("exit 1", 5, "v1")] {
        let host = Host::with_runed();
        let mut guard = chain(&host, "2", then);
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap().into_parts().0;
        guard.arg("ignored").stdout(full).env("JSON", "1");
        host.ran(&mut guard).is(code);
        assert_eq!(host.text("bin/runed"), holds);
    }
}

#[test]
fn a_second_signal_does_not_break_the_way_back() {
    let host = Host::with_runed();
    let old = host.inode("bin/runed");
    // The way back restarts by a systemctl that is hit by the same signals, as all of a control group or a terminal are.
    let waits = "if [ $1 = restart ] && [ -p way ]; then echo $$ >way; read -r go <on; fi";
    let systemctl = host.text("usr/bin/systemctl").replace("#!/bin/sh\n", &format!("#!/bin/bash\n{waits}\n"));
    host.program("usr/bin/systemctl", systemctl);
    let mut guard = chain(&host, "2", "echo told; exec sleep 600");
    let mut guard = guard.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let _out = told(&mut guard);
    let (way, mut on) = (host.fifo("way"), host.gate("on"));
    let pid = Pid::from_raw(guard.id().cast_signed());
    kill(pid, Signal::SIGTERM).unwrap();
    let systemctl = Pid::from_raw(fs::read_to_string(way).unwrap().trim().parse().unwrap());
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        kill(pid, signal).unwrap();
        kill(systemctl, signal).unwrap();
    }
    on.write_all(b"\n").unwrap();
    let output = guard.wait_with_output().unwrap();
    host.told(&output).is(5).says("runed.service runs it and is healthy");
    assert_eq!((host.inode("bin/runed"), host.record()["trial"].clone()), (old, Value::Null));
}

/// A host whose guard finds itself in the control group of `unit`, and whose systemd-run moves it to `then`.
fn inside(unit: &str, then: &str) -> Host {
    let host = Host::with_runed();
    fs::create_dir_all(host.path("proc/self")).unwrap();
    host.file("proc/self/cgroup", format!("9:name=systemd:/system.slice/{unit}\n0::/\n"));
    host.program(
        "usr/bin/systemd-run",
        format!(
            "#!/bin/sh\n[ $1 != --help ] || exec echo\necho systemd-run $1 $2 $3 >&2\necho 9:name=systemd:/system.slice/{then} >proc/self/cgroup
            while [ \"$1\" != -- ]; do shift; done; shift; exec \"$@\"\n"
        ),
    );
    host
}

#[test]
fn a_guard_inside_a_unit_of_its_name_goes_on_in_a_scope() {
    let host = inside("runed.service", "run-1.scope");
    let mut guard = chain(&host, "2", "echo told $PPID '$HOME'; read -r line; test \"$line\" = hello");
    let mut guard = guard.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    guard.stdin.take().unwrap().write_all(b"hello\n").unwrap();
    let (what, _out) = told(&mut guard);
    assert_eq!(what, format!("{} $HOME", guard.id()), "the same process with the same words");
    let output = guard.wait_with_output().unwrap();
    host.told(&output).is(0).says("systemd-run --scope --quiet --collect\n").says("is committed");

    // A unit of its record, too.
    let host = inside("other.service", "run-1.scope");
    let (first, second) = (host.stored("runed", "2"), host.stored("runed", "3"));
    host.swapbin(["--unit".into(), "other".into(), first, host.path("bin/runed")]).is(0);
    host.ran(host.guard("swapbin -t bin \"$FILE\"").env("FILE", second)).is(0).says("systemd-run --scope");
}

#[test]
fn a_guard_that_can_t_leave_a_unit_of_its_name_changes_nothing() {
    let host = inside("runed.service", "runed.service/still");
    host.guarded("touch ran")
        .is(1)
        .says("this runs inside runed.service and is stopped with it, and systemd-run --scope did not");
    let host = inside("runed.service", "");
    fs::remove_file(host.path("usr/bin/systemd-run")).unwrap();
    host.guarded("touch ran").is(3).says("systemd-run: not found in /usr/bin");
    assert!(!host.path("ran").exists());

    // The unit's main process is stopped wherever it is.
    let host = inside("runed.service", "");
    let is_main = "sed -i \"s/^MainPID=.*/MainPID=$$/\" unit; exec \"$@\"";
    let mut main = started_by(&["sh", "-ec", is_main, "sh"], &host.guard("touch ran"));
    host.ran(&mut main).is(1).says("this is the main process of runed.service");
    assert!(!host.path("ran").exists() && !host.record_path().exists());
}

#[test]
fn a_unit_that_would_stop_the_chain_does_not_join_it() {
    let host = inside("late.service", "");
    let file = host.stored("runed", "2");
    let swap = "swapbin --unit late.service -t bin \"$FILE\"";
    host.ran(host.guard(swap).env("FILE", &file)).is(1).says("late.service: this chain runs inside that unit");
    let wait = "swapbin -t bin \"$FILE\"; svc-wait late --timeout 1s --stable 0 -- touch ran";
    host.ran(host.guard(wait).env("FILE", &file)).is(5).says("late.service: this chain runs inside that unit");
    assert_eq!((host.text("bin/runed"), host.path("ran").exists()), ("v1".into(), false));
    // Without a guard there is no chain to be stopped.
    host.swapbin(["--unit".into(), "late".into(), file, host.path("bin/runed")]).is(0);
}

#[test]
fn a_service_that_can_t_be_judged_runs_the_old_files_and_nothing_stays_open() {
    let host = Host::with_runed();
    let mute = "case $*,$(cat mute) in show*ExecStart*,yes) echo mute >&2; exit 1 ;; esac";
    let systemctl = host.text("usr/bin/systemctl").replace("#!/bin/sh\n", &format!("#!/bin/sh\n{mute}\n"));
    host.program("usr/bin/systemctl", systemctl);
    host.file("mute", "no");
    let mut guard = chain(&host, "2", "echo yes >mute; exit 1");
    host.ran(&mut guard)
        .is(4)
        .says("generation 1 is back in place, but whether runed.service is healthy with it could not be judged: ")
        .says("; look again: svc-wait runed.service");
    // By the chain, and then with the old file.
    assert_eq!(host.jobs().iter().filter(|job| job.starts_with("restart")).count(), 2);
    assert_eq!((host.text("bin/runed"), host.record()["trial"].clone()), ("v1".into(), Value::Null));
}

#[test]
fn an_operators_trial_is_not_a_guard_s_to_end() {
    let host = Host::with_runed();
    host.file("src/runed", "v2");
    host.swapbin(["--trial", "src/runed", "bin/runed"]).is(0);
    host.guarded("touch ran")
        .is(1)
        .says("generation 2 is on trial, opened by hand; keep it with 'swapbin --commit runed'");
    assert_eq!((host.text("bin/runed").as_str(), host.path("ran").exists()), ("v2", false));
    host.swapbin(["--commit", "runed"]).is(0);
    host.guarded("touch ran").is(0);
}

#[test]
fn what_an_operator_adds_to_a_dead_chain_s_trial_is_his() {
    let host = Host::with_runed();
    host.file("src/runed", "v3");
    let new = host.stored("runed", "2");
    host.guarded(&format!("swapbin {} bin/runed; kill -9 $PPID", new.display())).is(-1);
    host.swapbin(["--trial", "src/runed", "bin/runed"]).is(0);
    host.rollback(["--pending"]).is(0).says("opened by hand");
    assert_eq!(host.text("bin/runed"), "v3");
}

/// Who settles runs the probe again, as root and from anywhere.
#[test]
fn a_probe_is_run_in_the_root_and_not_where_somebody_stands() {
    let host = Host::with_runed();
    let new = host.stored("runed", "2");
    // The host's folder, where all tools stand in these tests, is not the root.
    let ran = host.guarded(&format!(
        "swapbin --unit runed {} bin/runed
        svc-wait runed --timeout 10s --stable 0 --exe any --exec '[ $PWD = / ]' -- usr/bin/systemctl restart -- runed.service",
        new.display()
    ));
    ran.is(0);
}
