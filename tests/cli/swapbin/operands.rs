//! The forms of the command line, what is refused, and what is printed.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Stdio;

use fs_err as fs;

use crate::host::{Host, chmod, needs_root};

#[test]
fn help_says_it_all() {
    insta::assert_snapshot!(Host::new().swapbin(["--help"]).is(0).stdout);
}

#[test]
fn every_form_of_install_and_cp_puts_the_files_where_those_would() {
    for arguments in [
        &["src/runed", "bin/runed"][..],
        &["src/runed", "bin"],
        &["src/runed", "bin/"],
        &["-t", "bin", "src/runed"],
        &["src/runed", "-t", "bin/"],
        &["-T", "src/runed", "bin/runed"],
    ] {
        let host = Host::with_runed();
        host.file("src/runed", "v2");
        host.swapbin(arguments).is(0).prints("DIR/bin/runed\n");
        assert_eq!(host.text("bin/runed"), "v2", "{arguments:?}");
    }
}

#[test]
fn several_files_are_one_change_and_one_generation() {
    let host = Host::with_runed();
    let (rune, runed) = (host.stored("rune", "2"), host.stored("runed", "2d"));
    let ran = host.swapbin([OsStr::new("--name"), "runed".as_ref(), rune.as_ref(), runed.as_ref(), "bin".as_ref()]);
    ran.is(0).prints("DIR/bin/rune\nDIR/bin/runed\n");
    let record = host.record();
    assert_eq!(record["generations"].as_array().unwrap().len(), 2, "{record:#}");
    assert_eq!(record["generations"][1]["files"].as_object().unwrap().len(), 2);
    assert_eq!(record["trial"], serde_json::Value::Null);
}

#[test]
fn lists_come_from_files_and_pipes_and_need_a_folder() {
    let host = Host::with_runed();
    host.file("src/runed", "v2");
    host.file("src/rune client", "v2");
    host.file("list", "src/runed\nsrc/rune client\n");
    host.file("list0", "src/runed\0src/rune client\0");
    host.swapbin(["--name", "runed", "-t", "bin", "--files-from", "list"])
        .is(0)
        .prints("DIR/bin/runed\nDIR/bin/rune client\n");
    host.swapbin(["--name", "runed", "-t", "bin", "--files0-from", "list0"]).is(0).prints("");
    let piped = fs::File::open(host.path("list")).unwrap().into_parts().0;
    host.ran(host.tool("swapbin").args(["-n", "-t", "src", "--files-from", "-"]).stdin(piped)).is(0).prints("");
    // The last name of a list is never taken for the destination: that would write into the store.
    host.swapbin(["--files-from", "list"]).is(2).says("-t DIR");
    assert_eq!(host.text("src/rune client"), "v2");
}

#[test]
fn a_wrong_command_line_is_one_line_and_2() {
    let host = Host::with_runed();
    for name in ["a", "b"] {
        host.file(format!("src/{name}"), name);
    }
    host.file("empty", "");
    let mut told = String::new();
    for arguments in [
        &[][..],
        &["src/a"],
        &["src/a", "src/b", "bin/runed"],
        &["-T", "src/a", "src/b", "bin"],
        &["src/a", "no-such-folder/"],
        &["-t", "bin", "-T", "src/a"],
        &["-t", "bin"],
        &["-t", "bin", "--files-from", "empty"],
        &["-t", "bin", "--files-from", "/dev/null", "src/a"],
        &["src/a", "src/a", "-t", "bin", "--name", "x"],
        &["--name", "../x", "src/a", "bin/runed"],
        &["--mode", "9", "src/a", "bin/runed"],
        &["--cap", "cap_net_bind_service", "src/a", "bin/runed"],
        &["--cap", "cap_chown=ep", "--no-caps", "src/a", "bin/runed"],
        &["--owner", "nobody-of-this-name", "src/a", "bin/runed"],
        &["--keep", "0", "src/a", "bin/runed"],
        &["--commit", "runed", "src/a"],
        &["src/a", "bin/.hidden"],
        &["--unit", "run*", "src/a", "bin/runed"],
        &["--unit", "runed@", "src/a", "bin/runed"],
    ] {
        let ran = host.swapbin(arguments).is(2).prints("");
        assert_eq!(ran.stderr.lines().count(), 1, "{arguments:?}: {}", ran.stderr);
        write!(told, "{}\n  {}", arguments.join(" "), ran.stderr).unwrap();
    }
    insta::assert_snapshot!(told);
    assert_eq!(host.names("bin"), ["runed"]);
}

#[test]
fn what_is_no_regular_file_is_refused_and_never_waited_for() {
    let host = Host::with_runed();
    host.file("src/runed", "v2");
    host.fifo("fifo");
    fs::create_dir(host.path("folder")).unwrap();
    symlink("nowhere", host.path("dangling")).unwrap();
    for arguments in [
        ["fifo", "bin/runed"],
        ["folder", "bin/runed"],
        ["/dev/zero", "bin/runed"],
        ["src/runed", "fifo"],
        ["src/runed", "/dev/null"],
    ] {
        host.swapbin(arguments).is(1).prints("").says("not a regular file");
    }
    host.swapbin(["-T", "src/runed", "folder"]).is(1).says("not a regular file");
    host.swapbin(["src/none", "bin/runed"]).is(3).says("src/none");
    host.swapbin(["src/runed", "none/runed"]).is(3).says("the folder can't be found");
    host.swapbin(["src/runed", "dangling"]).is(3).says("its symlink leads nowhere");
    assert_eq!((host.names("bin"), host.text("bin/runed")), (vec!["runed".to_owned()], "v1".to_owned()));
}

#[test]
fn a_destination_that_is_the_file_already_is_not_touched() {
    let host = Host::with_runed();
    host.swapped_in("2");
    let before = (host.inode("bin/runed"), fs::metadata(host.path("bin")).unwrap().mtime_nsec(), host.record());
    host.swapbin([host.stored("runed", "2"), host.path("bin/runed")]).is(0).prints("");
    let after = (host.inode("bin/runed"), fs::metadata(host.path("bin")).unwrap().mtime_nsec(), host.record());
    assert_eq!(before, after);
}

#[test]
fn a_dry_run_says_what_would_change_and_writes_nothing() {
    let host = Host::with_runed();
    host.file("src/runed", "v2");
    let before = fs::metadata(host.path("bin")).unwrap().mtime_nsec();
    let ran = host.swapbin(["-n", "src/runed", "bin/runed"]).is(0);
    insta::assert_snapshot!(format!("{}{}", ran.stderr, ran.stdout));
    let json = host.swapbin(["-n", "--json", "-q", "src/runed", "bin/runed"]).is(0).json();
    assert_eq!((&json["changed"][0], &json["generation"]), (&"DIR/bin/runed".into(), &serde_json::Value::Null));
    assert_eq!(fs::metadata(host.path("bin")).unwrap().mtime_nsec(), before);
    assert_eq!((host.names("bin"), host.record_path().exists()), (vec!["runed".to_owned()], false));
}

#[test]
fn the_json_answer_names_the_set_its_generation_and_the_paths() {
    let host = Host::with_runed();
    host.file("src/runed", "v2");
    insta::assert_snapshot!(host.swapbin(["--json", "src/runed", "bin/runed"]).is(0).stdout);
    insta::assert_snapshot!(host.swapbin(["--json", "fifo", "bin/runed"]).is(3).stdout);
}

#[test]
fn names_of_any_bytes_go_through() {
    let host = Host::new();
    let name = OsStr::from_bytes(b"r\xffn \n\\x");
    host.file(Path::new("src").join(name), "v2");
    fs::create_dir(host.path("bin").join(name)).unwrap();
    let dest = host.path("bin").join(name).join(name);
    fs::write(&dest, "v1").unwrap();
    host.swapbin([Path::new("src").join(name).as_os_str(), dest.as_ref()]).is(2).says("--name");
    let arguments = [OsStr::new("--json"), "--name".as_ref(), "odd".as_ref(), "src".as_ref(), dest.as_ref()];
    let mut arguments = arguments.map(OsStr::to_owned);
    arguments[3] = Path::new("src").join(name).into_os_string();
    let json = host.swapbin(&arguments).is(0).json();
    assert_eq!(json["changed"].as_array().unwrap().len(), 1, "{json}");
    assert_eq!(fs::read(&dest).unwrap(), b"v2");
    host.rollback(["--list", "--json"]).is(0).json();
    host.rollback(["odd"]).is(0);
    assert_eq!(fs::read(&dest).unwrap(), b"v1");
    assert_eq!(host.names("bin").len(), 1);
}

#[test]
fn a_symlink_is_followed_and_that_is_said() {
    let host = Host::with_runed();
    host.file("src/runed", "v2");
    symlink("runed", host.path("bin/current")).unwrap();
    host.swapbin(["src/runed", "bin/current"])
        .is(0)
        .prints("DIR/bin/runed\n")
        .says("its target DIR/bin/runed is what gets replaced");
    assert!(fs::symlink_metadata(host.path("bin/current")).unwrap().is_symlink());
    assert_eq!(host.text("bin/runed"), "v2");
}

#[test]
fn a_report_that_can_t_be_written_does_not_undo_the_deed() {
    for json in [false, true] {
        let host = Host::with_runed();
        host.file("src/runed", "v2");
        let mut command = host.tool("swapbin");
        command.args(json.then_some("--json")).args(["src/runed", "bin/runed"]);
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap().into_parts().0;
        host.ran(command.stdout(full)).is(0).says("the work is done, but its report could not be written");
        assert_eq!(host.text("bin/runed"), "v2");

        host.file("src/runed", "v3");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        host.ran(command.stdout(writer)).is(0);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        host.file("src/runed", "v4");
        host.ran(command.stdout(Stdio::null()).stderr(writer)).is(0);
        assert_eq!(host.text("bin/runed"), "v4");
    }
}

#[test]
fn a_user_who_is_not_root_swaps_his_own_files_and_no_others() {
    needs_root();
    let host = Host::with_runed();
    let home = host.path("home");
    fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(65534), Some(65534)).unwrap();
    // The tool may lie where only root can look. By cp(1), because a program that a thread of ours just wrote may still be
    // open in what another thread forks, and can't be run then.
    let tool = host.path("swapbin");
    let copied = std::process::Command::new("cp").arg(assert_cmd::cargo::cargo_bin("swapbin")).arg(&tool).status();
    assert!(copied.unwrap().success());
    chmod(&tool, 0o755);
    let nobody = |arguments: &[&str]| {
        let mut command = std::process::Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&tool).args(arguments);
        command.env_clear().env("HOME", &home).current_dir(&home).stdin(Stdio::null());
        host.ran(&mut command)
    };
    host.file("src/runed", "v2");
    nobody(&["../src/runed", "."]).is(0).prints("DIR/home/runed\n");
    assert_eq!(fs::metadata(home.join("runed")).unwrap().uid(), 65534);
    assert!(home.join(".local/state/upswap/runed/state.json").exists());
    host.file("src/runed", "v3");
    nobody(&["../src/runed", "runed"]).is(0).prints("DIR/home/runed\n");
    nobody(&["--cap", "cap_net_bind_service=ep", "../src/runed", "runed"])
        .is(3)
        .says("security.capability could not be set");
    nobody(&["--owner", "root", "../src/runed", "runed"]).is(3).says("owner could not be set");
    nobody(&["--name", "other", "../src/runed", "../bin/runed"]).is(3).says("Permission denied");
    assert_eq!(host.text("bin/runed"), "v1");
    assert!(!home.join(".runed.upswap-new").exists());
}
