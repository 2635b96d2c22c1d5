//! unit-diff: units that systemd has loaded (a stub plays it), and hostile input.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use assert_cmd::assert::Assert;
use fs_err as fs;

use crate::host::program;

mod fixtures;
mod notes;

fn unit_diff() -> assert_cmd::Command {
    assert_cmd::Command::from_std(raw())
}

fn raw() -> Command {
    Command::new(assert_cmd::cargo::cargo_bin!("unit-diff"))
}

fn stdout(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

fn stderr(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stderr.clone()).unwrap()
}

/// Every folder with an `expected.drop-in`: what `--drop-in` gives of `old` and `new`, with `base` when it has one.
/// `expected.conflicts` is what it says instead.
#[test]
fn each_fixture_with_a_drop_in_gives_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/unit");
    let mut folders: Vec<PathBuf> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|folder| folder.join("expected.drop-in").exists());
    assert!(folders.len() >= 6, "{folders:?}");
    for folder in folders {
        let mut command = unit_diff();
        command.current_dir(&folder).arg("--drop-in");
        if folder.join("base").exists() {
            command.args(["--base", "base"]);
        }
        let ran = command.args(["old", "new"]).assert();
        let conflicts = stderr(&ran);
        for (name, given) in [("expected.drop-in", stdout(&ran)), ("expected.conflicts", conflicts.clone())] {
            let expected = folder.join(name);
            if std::env::var_os("UPSWAP_BLESS").is_some() && !(name == "expected.conflicts" && given.is_empty()) {
                fs::write(&expected, &given).unwrap();
            }
            let meant = if expected.exists() { fs::read_to_string(&expected).unwrap() } else { String::new() };
            assert_eq!(given, meant, "{}", expected.display());
        }
        ran.code(i32::from(!conflicts.is_empty()));
    }
}

/// A unit with drop-ins: those of other names stay and are not repeated, an older 00-upswap.conf is taken over.
#[test]
fn a_drop_in_of_a_loaded_unit_takes_an_older_one_over_and_repeats_no_other() {
    let folder = "/etc/systemd/system/runed.service.d";
    let root = host(&format!(
        "LoadState=loaded\nFragmentPath=/usr/lib/systemd/system/runed.service\n\
         DropInPaths={folder}/00-upswap.conf {folder}/10-mine.conf"
    ));
    let path = |path: &str| root.path().join(path.trim_start_matches('/'));
    fs::write(path("usr/lib/systemd/system/runed.service"), "[Service]\nExecStart=/a\nUMask=0077\n").unwrap();
    fs::write(path(&format!("{folder}/00-upswap.conf")), "[Service]\nEnvironment=A=1\n").unwrap();
    fs::write(path(&format!("{folder}/10-mine.conf")), "[Service]\nNice=5\n").unwrap();
    fs::write(path("base"), "[Service]\nExecStart=/a\n").unwrap();
    fs::write(path("new"), "[Service]\nExecStart=/a -x\n").unwrap();
    let run = |arguments: &[&str]| {
        let mut command = unit_diff();
        command.current_dir(&root).env("UPSWAP_ROOT", root.path()).args(["--drop-in", "--base", "base"]);
        command.args(arguments).args(["runed.service", "new"]).assert()
    };
    let ran = run(&[]).success();
    assert!(stdout(&ran).ends_with("[Service]\nEnvironment=A=1\nUMask=0077\n"), "{}", stdout(&ran));
    let object: serde_json::Value = serde_json::from_str(&stdout(&run(&["--json"]).success())).unwrap();
    assert_eq!((object["drop_in"].as_str(), object["changes"][0]["part"].as_str()), (Some(&*stdout(&ran)), Some("A")));
    // A conflict is told, and nothing is printed.
    fs::write(path("new"), "[Service]\nExecStart=/a -x\nUMask=0027\n").unwrap();
    let ran = run(&[]).code(1);
    assert_eq!(stdout(&ran), "");
    insta::assert_snapshot!(stderr(&ran), @"unit-diff: [Service] UMask=: BASE says '0022', OLD '0077', NEW '0027': both changed it; say which holds in a drop-in of your own (systemctl edit), or let OLD say what NEW says");
    let object: serde_json::Value = serde_json::from_str(&stdout(&run(&["--json"]).code(1))).unwrap();
    assert_eq!((object["drop_in"].is_null(), object["conflicts"][0]["old"].as_str()), (true, Some("0077")));
}

#[test]
fn colour_comes_when_asked_for_and_marks_losses() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("old"), "[Service]\nUser=a\nGroup=b\nUMask=0077\n").unwrap();
    fs::write(dir.path().join("new"), "[Service]\nUser=b\nNice=1\nUMask=0022\nPrivateTmp=yes\n").unwrap();
    let run = |when| stdout(&unit_diff().current_dir(&dir).args(["--color", when, "old", "new"]).assert().code(1));
    insta::assert_snapshot!(run("always").replace('\x1b', "^"), @r"
    ^[1m--- old^[0m
    ^[1m+++ new^[0m
    ^[33mchanges  [Service] User=a -> b^[0m
    ^[1;31mLOSES    [Service] Group=b^[0m
    ^[1;35mweakens  [Service] UMask=0077 -> 0022^[0m
    ^[32madds     [Service] Nice=1^[0m
    ^[36mhardens  [Service] PrivateTmp=yes^[0m
    ");
    assert!(!run("auto").contains('\x1b'));
}

#[test]
fn refuse_loss_answers_1_for_what_is_lost_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| fs::write(dir.path().join(name), format!("[Service]\n{text}")).unwrap();
    file("old", "User=a\nUMask=0077\nNoNewPrivileges=yes\n");
    for (new, code) in [
        ("User=a\nUMask=0077\nNoNewPrivileges=yes\n", 0),
        ("User=root\nUMask=0022\nNoNewPrivileges=no\nNice=1\n", 0),
        ("User=a\nUMask=0077\n", 1),
        ("UMask=0077\nNoNewPrivileges=yes\nNice=1\n", 1),
    ] {
        file("new", new);
        let run = |options: &[&str]| unit_diff().current_dir(&dir).args(options).args(["old", "new"]).assert();
        let refusing = run(&["--refuse-loss"]).code(code);
        assert_eq!(stdout(&refusing), stdout(&run(&[])), "the difference is printed as always");
        assert_eq!(stdout(&refusing).lines().any(|line| line.starts_with("LOSES")), code == 1, "{new}");
        let json: serde_json::Value = serde_json::from_str(&stdout(&run(&["--refuse-loss", "--json"]))).unwrap();
        assert_eq!(json["exit"], code, "{new}");
    }
    unit_diff().current_dir(&dir).args(["--refuse-loss", "old", "nowhere"]).assert().code(3);
}

/// A host whose systemd knows one unit, by the lines that `systemctl show` would print.
fn host(show: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for folder in ["usr/bin", "etc/systemd/system/runed.service.d", "usr/lib/systemd/system"] {
        fs::create_dir_all(root.path().join(folder)).unwrap();
    }
    let stub = root.path().join("usr/bin/systemctl");
    program(stub, format!("#!/bin/sh\n[ \"$*\" = \"${{WANT:-$*}}\" ] || exit 9\ncat <<'END'\n{show}\nEND\n"));
    root
}

#[test]
fn a_unit_name_is_the_loaded_fragment_with_its_drop_ins() {
    let root = host(
        "LoadState=loaded\nNeedDaemonReload=yes\nFragmentPath=/usr/lib/systemd/system/runed.service\n\
         DropInPaths=/etc/systemd/system/runed.service.d/10-a.conf \"/etc/systemd/system/runed.service.d/20 b.conf\"",
    );
    let path = |path: &str| root.path().join(path);
    fs::write(path("usr/lib/systemd/system/runed.service"), "[Service]\nExecStart=/a\nUser=a\nUMask=0022\n").unwrap();
    fs::write(path("etc/systemd/system/runed.service.d/10-a.conf"), "[Service]\nExecStart=\nExecStart=/b\n").unwrap();
    fs::write(path("etc/systemd/system/runed.service.d/20 b.conf"), "[Service]\nUMask=0077\n").unwrap();
    fs::write(path("new"), "[Service]\nExecStart=/b\nUser=a\n").unwrap();
    let want = "show --no-pager --property=LoadState,FragmentPath,DropInPaths,NeedDaemonReload,User,Group,DynamicUser -- runed.service";
    let run = |json: &[&str]| {
        let mut command = unit_diff();
        command.current_dir(&root).env("UPSWAP_ROOT", root.path()).env("WANT", want);
        command.args(json).args(["runed.service", "new"]).assert().code(1)
    };
    let ran = run(&[]);
    insta::assert_snapshot!(stdout(&ran), @"
    --- runed.service (/usr/lib/systemd/system/runed.service, /etc/systemd/system/runed.service.d/10-a.conf, /etc/systemd/system/runed.service.d/20 b.conf)
    +++ new
    LOSES    [Service] UMask=0077 (weakens)
    ");
    insta::assert_snapshot!(stderr(&ran), @"
    unit-diff: runed.service: its files changed since systemd read them, and the files are what was read here; systemctl daemon-reload makes systemd read them
    unit-diff: runed.service is loaded from /usr/lib/systemd/system/runed.service, which belongs to a package: NEW in /etc/systemd/system would shadow it and all its later versions; what is yours alone belongs into a drop-in: systemctl edit runed.service
    unit-diff: /etc/systemd/system/runed.service.d/10-a.conf, /etc/systemd/system/runed.service.d/20 b.conf go on applying when NEW takes the fragment's place, so what is said of UMask= does not come to pass
    ");
    let object: serde_json::Value = serde_json::from_str(&stdout(&run(&["--json"]))).unwrap();
    assert_eq!(object["old"]["fragment"], "/usr/lib/systemd/system/runed.service");
    assert_eq!(object["old"]["need_daemon_reload"], true);
    assert_eq!(object["old"]["drop_ins"][1], "/etc/systemd/system/runed.service.d/20 b.conf");
}

#[test]
fn a_unit_that_is_not_there_masked_or_without_a_file_is_said() {
    let said = |show: &str| {
        let root = host(show);
        let ran = unit_diff().env("UPSWAP_ROOT", root.path()).args(["runed", "/dev/null"]).assert().code(3);
        assert_eq!(stdout(&ran), "");
        stderr(&ran)
    };
    insta::assert_snapshot!(said("LoadState=not-found"), @"unit-diff: runed.service: no file of this name here, and systemd knows no such unit");
    insta::assert_snapshot!(said("LoadState=masked\nFragmentPath=/dev/null"), @"unit-diff: runed.service: is masked; systemctl unmask runed.service brings it back");
    insta::assert_snapshot!(said("LoadState=loaded"), @"unit-diff: runed.service: is loaded without a unit file (LoadState=loaded)");
    let root = tempfile::tempdir().unwrap();
    let ran = unit_diff().env("UPSWAP_ROOT", root.path()).args(["runed", "/dev/null"]).assert().code(3);
    assert!(stderr(&ran).contains("systemctl: not found"), "{}", stderr(&ran));
    let (root, here) = (host("LoadState=not-found"), tempfile::tempdir().unwrap());
    fs::write(here.path().join("runed.service"), "[Service]\n").unwrap();
    let mut tool = unit_diff();
    tool.current_dir(here.path()).env("UPSWAP_ROOT", root.path()).args(["runed.service", "/dev/null"]);
    insta::assert_snapshot!(stderr(&tool.assert().code(3)), @"unit-diff: runed.service: systemd knows no such unit; the file of this name here is ./runed.service");
}

#[test]
fn a_wrong_command_line_is_exit_2() {
    for arguments in [
        &["-", "-"][..],
        &["only"],
        &["runed*", "-"],
        &["", "-"],
        &["a b", "-"],
        &["--", "-x", "-"],
        &["--no-such", "a", "b"],
        &["--base", "a", "b", "c"],
        &["--drop-in", "--base", "-", "-", "c"],
    ] {
        let ran = unit_diff().args(arguments).assert().code(2);
        assert!(stdout(&ran).is_empty() && stderr(&ran).lines().count() == 1, "{arguments:?} {}", stderr(&ran));
    }
}

#[test]
fn what_is_no_unit_file_is_exit_3_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("header"), "[Service\n").unwrap();
    fs::write(path("latin1"), b"[Unit]\nDescription=caf\xe9\n").unwrap();
    fs::File::create(path("huge")).unwrap().set_len(2 << 30).unwrap();
    fs::write(path("good"), "[Unit]\n").unwrap();
    for (operand, said) in [
        (path("header"), "line 1: invalid section header"),
        (path("latin1"), "line 2: not UTF-8"),
        (path("huge"), "larger than 1024 KiB"),
        (path("missing"), "No such file"),
        (dir.path().to_owned(), "directory"),
        (PathBuf::from("/dev/zero"), "larger than 1024 KiB"),
        (PathBuf::from("/bin/sh"), "not UTF-8"),
    ] {
        let ran = unit_diff().arg(&operand).arg(path("good")).assert().code(3);
        let text = stderr(&ran);
        assert!(text.contains(said) && text.contains(operand.to_str().unwrap()), "{operand:?}: {text}");
    }
}

#[test]
fn a_name_that_is_not_utf_8_works() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(OsStr::from_bytes(b"run\xffed.service"));
    fs::write(&path, "[Unit]\nDescription=a\n").unwrap();
    for json in [&[][..], &["--json"]] {
        let ran = unit_diff().args(json).arg(&path).arg("-").write_stdin("[Unit]\n").assert().code(1);
        assert!(stdout(&ran).contains("run\u{fffd}ed.service"));
    }
    unit_diff().arg(OsStr::from_bytes(b"\xff")).arg("-").write_stdin("").assert().code(2);
}

/// The text of a numbered line.
type LineOf<'a> = &'a dyn Fn(u32) -> String;

#[test]
fn a_hundred_thousand_lines_are_compared_in_little_time_and_memory() {
    let dir = tempfile::tempdir().unwrap();
    let lines = |line: &dyn Fn(u32) -> String| "[Service]\n".to_owned() + &(0..100_000).map(line).collect::<String>();
    let many: [(&str, LineOf, LineOf); 6] = [
        ("keys", &|n| format!("K{n}=\n"), &|n| format!("L{n}=1\n")),
        ("commands", &|n| format!("ExecStop=/{n}\n"), &|n| format!("ExecStop=/{}\n", 100_000 - n)),
        ("one program", &|_| "ExecStop=/a\n".into(), &|_| "ExecStop=/b\n".into()),
        ("flags", &|n| if n == 0 { "ExecStop=/a \\\n".into() } else { format!("-{n:x} \\\n") }, &|n| {
            if n == 0 { "ExecStop=/a \\\n".into() } else { "-b \\\n".into() }
        }),
        ("conditions", &|n| if n == 0 { "[Unit]\n".into() } else { format!("AssertX{}=1\n", n % 60_000) }, &|n| {
            if n == 0 { "[Unit]\n".into() } else { format!("AssertX{}={}\n", n / 2, ["", "1"][n as usize % 2]) }
        }),
        ("sets", &|n| format!("Alias=a{n}\n"), &|n| format!("Alias=b{n}\n")),
    ];
    for (name, old, new) in many {
        // Whole lines, and no more than a unit file may have.
        let trimmed = |text: String| {
            text.get(..1 << 20).and_then(|t| t.rsplit_once('\n')).map_or(text.clone(), |(t, _)| t.to_owned())
        };
        fs::write(dir.path().join("old"), trimmed(lines(old))).unwrap();
        fs::write(dir.path().join("new"), trimmed(lines(new))).unwrap();
        // The bound is generous for a debug build on a busy machine; what is quadratic takes minutes.
        let deadline = std::time::Duration::from_secs(60);
        unit_diff()
            .current_dir(&dir)
            .args(["-q", "old", "new"])
            .timeout(deadline)
            .assert()
            .append_context("input", name)
            .code(1);
    }
}

#[test]
fn a_stdout_that_fails_is_exit_3_and_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("old"), "[Unit]\nDescription=a\n").unwrap();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let run = |out: Stdio| {
        let ran =
            raw().current_dir(&dir).args(["old", "/dev/null"]).stdout(out).stderr(Stdio::piped()).output().unwrap();
        (ran.status.code(), String::from_utf8(ran.stderr).unwrap())
    };
    let (code, said) = run(full.into_parts().0.into());
    assert_eq!(code, Some(3));
    assert!(said.starts_with("unit-diff: standard output: "), "{said}");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(run(writer.into()), (Some(3), String::new()));
}
