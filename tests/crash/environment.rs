//! What a process may find itself in: closed streams, no environment, a folder that is gone, limits, an old kernel, a clock
//! that jumps. (A stdout that fails is in tests/cli/streams.rs and tests/cli/swapbin/operands.rs: catalogue 149.)

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use fs_err as fs;

use crate::host::{Host, Ran};

/// The change that every test here makes: `bin/runed`, `v1` before and [`new`] after.
const SWAP: [&str; 2] = ["src/runed", "bin/runed"];

/// Longer than what any limit here lets through.
fn new() -> String {
    "v2".repeat(50_000)
}

fn host() -> Host {
    let host = Host::with_runed();
    host.file("src/runed", new());
    host
}

/// The judge: the path is the old file or the new one as the code says, and nothing else is left.
fn judge(host: &Host, ran: &Ran) -> Result<(), String> {
    let content = host.text("bin/runed");
    let names = host.names("bin");
    let (done, not_done) = (content == new(), content == "v1" && names == ["runed"]);
    match ran.code {
        0 if done => Ok(()),
        3 if not_done && ran.stderr.lines().count() >= 1 => Ok(()),
        code => Err(format!("exit {code}, {} bytes in place, {names:?}, said: {}", content.len(), ran.stderr)),
    }
}

#[track_caller]
fn judged(host: &Host, ran: &Ran) {
    judge(host, ran).unwrap_or_else(|why| panic!("{why}"));
}

/// swapbin's call, behind the words of another program.
fn behind(host: &Host, words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).arg(host.tool("swapbin").get_program()).args(SWAP);
    command.current_dir(host.path("")).env("UPSWAP_ROOT", host.path(""));
    command
}

/// The canary: cp(1) in the place of swapbin, under a limit and over a full disk, leaves what the judge must see.
#[test]
fn the_judge_sees_a_half_file_and_litter() {
    let host = host();
    let ran =
        host.ran(Command::new("prlimit").args(["--fsize=1000", "--", "cp"]).args(SWAP).current_dir(host.path("")));
    assert!(judge(&host, &ran).is_err(), "{ran:?}");
    let host = self::host();
    host.file("bin/.runed.upswap-new", "");
    let failed = Ran { code: 3, stdout: String::new(), stderr: "swapbin: no\n".into() };
    assert!(judge(&host, &failed).is_err());
    let silent = Ran { code: 0, stdout: String::new(), stderr: String::new() };
    assert!(judge(&self::host(), &silent).is_err());
}

/// Catalogue 150: no file of ours gets the number of a standard stream, to be written to by a message.
#[test]
fn closed_streams_are_no_files_of_ours() {
    for closed in ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"] {
        let host = host();
        let script = format!("exec \"$@\" {closed}");
        let ran = host.ran(&mut behind(&host, &["sh", "-c", &script, "sh"]));
        assert_eq!(ran.code, 0, "{closed}: {ran:?}");
        judged(&host, &ran);
        assert!(host.record()["trial"].is_null());
        host.ran(
            Command::new("sh")
                .args(["-c", &script, "sh"])
                .arg(host.tool("rollback").get_program())
                .arg("runed")
                .env("UPSWAP_ROOT", host.path(""))
                .current_dir(host.path("")),
        )
        .is(0);
        assert_eq!(host.text("bin/runed"), "v1");
    }
}

/// Catalogue 151.
#[test]
fn an_empty_environment_and_a_folder_that_is_gone_are_no_matter() {
    let host = host();
    let [file, dest] = SWAP.map(|name| host.path(name));
    let gone = "cd \"$1\"; rmdir \"$1\"; shift; exec \"$@\"";
    fs::create_dir(host.path("gone")).unwrap();
    let mut command = Command::new("sh");
    command.args(["-ec", gone, "sh"]).arg(host.path("gone")).arg(host.tool("swapbin").get_program());
    command.args(["--unit", "runed.service"]).args([&file, &dest]).env_clear().env("UPSWAP_ROOT", host.path(""));
    let ran = host.ran(&mut command).is(0);
    judged(&host, &ran);
    // A relative path leads nowhere then: one line, and nothing done.
    let mut command = Command::new("sh");
    fs::create_dir(host.path("gone")).unwrap();
    command.args(["-ec", gone, "sh"]).arg(host.path("gone")).arg(host.tool("swapbin").get_program());
    let ran = host.ran(command.args(["runed", "there"]).env_clear().env("UPSWAP_ROOT", host.path(""))).is(3);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    for (name, value) in
        [("TZ", "Nowhere/Never"), ("LANG", "xx_XX.UTF-8"), ("TERM", "\u{1b}"), ("COLUMNS", "-1"), ("HOME", "")]
    {
        let host = self::host();
        let ran = host.ran(behind(&host, &["env"]).env(name, value)).is(0);
        judged(&host, &ran);
    }
}

/// Catalogue 152: names of any bytes, and of all lengths that a folder takes.
#[test]
fn names_are_as_long_as_a_folder_takes_them_or_refused() {
    let host = host();
    for length in [1, 200, 230, 231, 240, 254, 255, 256] {
        let name: OsString = OsStr::from_bytes(&b"\xff".repeat(length)).to_owned();
        let dest = host.path("bin").join(&name);
        let ran = host.swapbin([OsStr::new("--name"), "long".as_ref(), "src/runed".as_ref(), dest.as_ref()]);
        if length <= 230 {
            assert_eq!((ran.code, fs::read(&dest).unwrap()), (0, new().into_bytes()), "{length}: {ran:?}");
        } else {
            assert!([1, 3].contains(&ran.code) && ran.stderr.lines().count() == 1, "{length}: {ran:?}");
            assert!(!dest.exists());
        }
    }
    assert_eq!(host.names("bin").len(), 1 + 3, "{:?}", host.names("bin"));
    // A path longer than the kernel takes at once.
    let deep = "d/".repeat(2500);
    let ran = host.swapbin(["src/runed", &format!("{deep}runed")]).is(3);
    assert_eq!(ran.stderr.lines().count(), 1);
}

/// Catalogue 81, 82: a limit is an error like another, and no death.
#[test]
fn limits_are_errors_and_leave_the_disk_as_it_was() {
    let mut codes = std::collections::BTreeMap::new();
    let limits = [
        "--fsize=0",
        "--fsize=1000",
        "--fsize=99999",
        "--nofile=3",
        "--nofile=4",
        "--nofile=5",
        "--nofile=6",
        "--nofile=7",
        "--nofile=8",
        "--nofile=12",
        "--as=16777216",
        "--as=20971520",
        "--as=25165824",
        "--as=33554432",
    ];
    for limit in limits {
        let host = host();
        let ran = host.ran(&mut behind(&host, &["prlimit", limit, "--"]));
        codes.insert(limit, ran.code);
        if ran.code == 127 && ran.stderr.contains("loading shared libraries") {
            // The dynamic loader itself found no room: no code of ours was run.
            assert_eq!((host.text("bin/runed").as_str(), host.names("bin").len()), ("v1", 1), "{limit}");
            continue;
        }
        judge(&host, &ran).unwrap_or_else(|why| panic!("{limit}: {why}"));
        // And afterwards it goes as if nothing had been.
        host.swapbin(SWAP).is(0);
        assert_eq!(host.text("bin/runed"), new());
    }
    eprintln!("limits: {codes:?}");
    for (limit, code) in [("--fsize=1000", 3), ("--nofile=5", 3), ("--as=33554432", 0)] {
        assert_eq!(codes[limit], code, "{codes:?}");
    }
}

/// Catalogue 67: a signal that asks for the end comes when all renames of a change are done, or before the first.
#[test]
fn a_signal_between_two_renames_waits_for_the_second() {
    for signal in ["TERM", "INT", "HUP"] {
        let mut ended = 0;
        // strace counts each call by its name: with backups to give to `.FILE.bak` before, rename(2)'s third and fourth are the files'
        // own, after all of the mark's.
        for when in 1..=5 {
            let host = host();
            for (path, bytes) in [("bin/rune", "v0"), ("src/old/runed", "v1"), ("src/old/rune", "v1")] {
                fs::create_dir_all(host.path("src/old")).unwrap();
                host.file(path, bytes);
            }
            host.file("bin/runed", "v0");
            host.swapbin(["--name", "runed", "-t", "bin", "src/old/runed", "src/old/rune"]).is(0);
            host.file("src/rune", new());
            // Whoever runs the tests in the background has them ignore SIGINT.
            let mut command = Command::new("env");
            command.args(["--default-signal=TERM,INT,HUP", "strace"]);
            let inject = format!("inject=rename,renameat,renameat2:signal={signal}:when={when}");
            command.args(["-qq", "-o", "/dev/null", "-e", "trace=rename,renameat,renameat2", "-e", &inject]);
            command.arg(host.tool("swapbin").get_program()).args(["--name", "runed", "-t", "bin", SWAP[0], "src/rune"]);
            let ran = host.ran(command.current_dir(host.path("")).env("UPSWAP_ROOT", host.path("")));
            ended += usize::from(ran.code != 0);
            let is_new = || ["bin/runed", "bin/rune"].map(|path| host.text(path) == new());
            assert!(
                [[true; 2], [false; 2]].contains(&is_new()),
                "SIG{signal} at rename {when}: {:?}, {ran:?}",
                is_new()
            );
            host.rollback(["--pending"]).is(0);
            assert!([[true; 2], [false; 2]].contains(&is_new()), "SIG{signal} at rename {when}, taken back");
        }
        assert!(ended > 0, "no SIG{signal} arrived");
    }
}

/// A program that is run by ours has the default back: its own limit ends it as everywhere.
#[test]
fn what_a_wrapper_runs_is_ended_by_its_limit_as_ever() {
    let host = host();
    let script = "head -c 5000 /dev/zero >too-long; test $? -eq 153";
    let rollback = host.tool("rollback").get_program().to_owned();
    let mut command = Command::new("prlimit");
    command.args(["--fsize=2000", "--"]).arg(rollback).args(["--guard", "runed", "--", "sh", "-c", script]);
    host.ran(command.current_dir(host.path("")).env("UPSWAP_ROOT", host.path(""))).is(0);
}

/// Catalogue 153: no deadline asks the clock that is set; and a history that comes from the future is a history.
#[test]
fn a_clock_that_jumps_moves_nothing() {
    let mut asks = Vec::new();
    let mut left = vec![crate::material::project().join("lib/src"), crate::material::project().join("bins")];
    while let Some(path) = left.pop() {
        // What comes from the network has its own times: when a limit ends, how old a release is, or half of one.
        if ["artifact", "net", "landing.rs", "part.rs"].iter().any(|name| path.ends_with(name)) {
            continue;
        }
        if path.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if fs::read_to_string(&path).unwrap_or_default().contains("SystemTime::now") {
            asks.push(path.file_name().unwrap().to_owned());
        }
    }
    assert_eq!(asks, ["clock.rs"], "only records have the time of day");

    let host = host();
    host.swapped_in("future");
    let text = host.text("var/lib/upswap/runed/state.json");
    let mut record: serde_json::Value = serde_json::from_str(&text).unwrap();
    for generation in record["generations"].as_array_mut().unwrap() {
        generation["time"] = 4_102_444_800_u64.into();
    }
    fs::write(host.record_path(), record.to_string()).unwrap();
    host.swapbin(SWAP).is(0);
    host.rollback(["--list", "runed"]).is(0).says("");
    host.rollback(["runed"]).is(0);
    assert_eq!(host.text("bin/runed"), "future");
    // A source from before 1970, and one from the year 2400.
    for date in ["1960-01-01", "2400-01-01"] {
        crate::odd::run(Command::new("touch").args(["-d", date]).arg(host.path("src/runed")));
        host.file("src/other", date);
        crate::odd::run(Command::new("touch").args(["-d", date]).arg(host.path("src/other")));
        host.swapbin(["src/other", "bin/runed"]).is(0);
        assert_eq!(host.text("bin/runed"), date);
    }
}

/// Catalogue 154: what a kernel does not have is done another way.
#[test]
fn calls_that_an_old_kernel_lacks_are_done_without() {
    for call in [
        "statx",
        "copy_file_range",
        "renameat2",
        "fallocate",
        "openat2",
        "close_range",
        "statx,copy_file_range,renameat2",
    ] {
        let host = host();
        let traced = |tool: &str, arguments: &[&str]| {
            let mut command = Command::new("strace");
            let (trace, inject) = (format!("trace={call}"), format!("inject={call}:error=ENOSYS"));
            command.args(["-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject]);
            command.arg(host.tool(tool).get_program()).args(arguments);
            host.ran(command.current_dir(host.path("")).env("UPSWAP_ROOT", host.path("")))
        };
        let ran = traced("swapbin", &SWAP).is(0);
        judged(&host, &ran);
        let names = host.names("bin");
        traced("rollback", &["bin/runed"]).is(0);
        assert_eq!(host.text("bin/runed"), "v1", "{call}");
        traced("rollback", &["bin/runed"]).is(0);
        assert_eq!(host.text("bin/runed"), new(), "{call}");
        assert!(host.names("bin").len() <= names.len() + 1, "{call}: {:?}", host.names("bin"));
        traced("rollback", &["runed"]).is(0);
        assert_eq!(host.text("bin/runed"), "v1", "{call}");
    }
}
