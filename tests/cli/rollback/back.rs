//! `rollback NAME`, `rollback PATH` and `--list`.

use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;

use fs_err as fs;
use serde_json::{Value, json};

use crate::host::{Host, Ran, chmod};

/// A host with `v1`, found there, and the generations `2` and `3` in `bin/runed`.
fn with_history() -> Host {
    let host = Host::with_runed();
    host.swapped_in("2");
    host.swapped_in("3");
    host
}

#[test]
fn help_says_it_all() {
    insta::assert_snapshot!(Host::new().rollback(["--help"]).is(0).stdout);
}

#[test]
fn a_wrong_command_line_is_one_line_and_2() {
    let host = Host::new();
    let mut told = String::new();
    for arguments in [
        &[][..],
        &["-x"],
        &["no name"],
        &["--guard", "runed"],
        &["--guard", "runed", "--list", "--", "true"],
        &["runed", "--list"],
        &["--pending", "runed"],
        &["--to", "1"],
        &["--list", "-n"],
        &["--pending", "--lock-wait", "1"],
        &["runed", "--", "true"],
        &["--current"],
        &["--current", "runed", "-n"],
        &["--prune", "--to", "1"],
        &["runed", "--keep", "1"],
        &["--prune", "--keep", "0"],
        &["--forget"],
        &["--forget", "runed", "--no-restart"],
        &["runed", "--boot"],
        &["bin/runed", "--to", "1"],
    ] {
        let ran = host.rollback(arguments);
        assert_eq!((ran.stderr.lines().count(), ran.stdout.as_str()), (1, ""), "{ran:?}");
        write!(told, "{}\n  {} {}", arguments.join(" "), ran.code, ran.stderr).unwrap();
    }
    insta::assert_snapshot!(told);
}

#[test]
fn back_and_then_only_to_a_generation_that_is_named() {
    let host = with_history();
    let second = host.inode("bin/.runed.upswap-2");
    host.rollback(["-n", "runed"]).is(0).prints("").says("would bring generation 2 (v2) back");
    assert_eq!(host.text("bin/runed"), "3");
    host.rollback(["runed"]).is(0).prints("").says("runed: generation 2 (v2) is back in place");
    assert_eq!(host.inode("bin/runed"), second);
    let told = |ran: Ran| ran.is(1).stderr;
    insta::assert_snapshot!([
        told(host.rollback(["runed"])),
        told(host.rollback(["runed", "--to", "v9"])),
        told(host.rollback(["nobody"])),
    ].concat());
    host.rollback(["runed", "--to", "v3"]).is(0);
    assert_eq!(host.text("bin/runed"), "3");
    host.rollback(["runed", "--to", "1"]).is(0);
    assert_eq!(host.text("bin/runed"), "v1");
    host.rollback(["runed", "--to", "1"]).is(0);
    assert_eq!(host.record()["trial"], Value::Null);
}

#[test]
fn after_a_rollback_the_next_swap_still_has_its_way_back() {
    let host = with_history();
    host.rollback(["runed", "--to", "1"]).is(0);
    for bytes in ["4", "5", "6"] {
        host.swapped_in(bytes);
        host.rollback(["runed"]).is(0);
        assert_eq!(host.text("bin/runed"), "v1", "after {bytes}");
    }
}

#[test]
fn the_list_is_a_table_or_json() {
    let host = with_history();
    host.file("bin/other", "1");
    host.file("src/other", "2");
    host.swapbin(["--trial", "src/other", "bin/other"]).is(0);
    let mut list = host.rollback(["--list"]).is(0).stdout;
    // The age of the trial.
    for seconds in 1..60 {
        list = list.replace(&format!("for {seconds} s"), "for 0 s");
    }
    insta::assert_snapshot!(list);
    insta::assert_snapshot!(host.rollback(["--list", "runed", "--json"]).is(0).stdout);
    host.rollback(["--list", "nobody"]).is(1).says("nothing is recorded under this name");
    assert_eq!(Host::new().rollback(["--list", "--json"]).is(0).json()["names"], json!([]));
    // Its worth is its output.
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap().into_parts().0;
    host.ran(host.tool("rollback").arg("--list").stdout(full)).is(3);
}

#[test]
fn units_are_read_again_restarted_and_proved() {
    let host = Host::with_runed();
    host.file("etc/systemd/system/runed.service", "unit 1");
    host.file("src/runed.service", "unit 2");
    host.swapbin(["--name", "runed", "--unit", "runed", "src/runed.service", "etc/systemd/system"]).is(0);
    host.swapped_in("2");
    let proof = json!({ "unit": "runed.service", "timeout": { "secs": 1, "nanos": 0 }, "stable": { "secs": 0, "nanos": 0 }, "probes": [], "exe": "any" });
    let mut record = host.record();
    record["proofs"]["runed.service"] = proof;
    let write = |record: &Value| fs::write(host.record_path(), record.to_string()).unwrap();
    write(&record);

    host.rollback(["-n", "runed"])
        .is(0)
        .says("would restart runed.service, if it is not stopped, and prove it healthy");
    let json =
        host.rollback(["--json", "runed", "--to", "1"]).is(0).says("runed.service runs it and is healthy").json();
    assert_eq!(json["back"]["proven"][0]["unit"], "runed.service", "{json:#}");
    assert_eq!(host.jobs(), ["daemon-reload", "reset-failed -- runed.service", "restart -- runed.service"]);
    assert_eq!(host.text("etc/systemd/system/runed.service"), "unit 1");

    fs::remove_file(host.path("systemctl.log")).unwrap();
    host.rollback(["runed", "--to", "3", "--no-restart"]).is(0);
    assert_eq!(host.jobs(), ["daemon-reload"]);
    // One that is not running stays so, and one that fails is told with the files back.
    host.has_unit("inactive");
    host.rollback(["runed", "--to", "2"]).is(0).says("runed.service was not running and is left so");
    host.has_unit("active");
    host.file("refuses-restart", "");
    host.rollback(["runed", "--to", "3"])
        .is(4)
        .says("generation 3 (v2) is back in place, but")
        .says("systemctl restart runed.service");
    assert_eq!(host.text("bin/runed"), "2");
}

/// The renames may be done by a run that then could not, or did not live to, make systemd read the units.
#[test]
fn units_are_read_again_on_the_second_try_too() {
    let host = Host::with_runed();
    host.file("etc/systemd/system/runed.service", "unit 1");
    host.file("src/runed.service", "unit 2");
    host.swapbin(["--trial", "--name", "runed", "src/runed.service", "etc/systemd/system"]).is(0);
    host.file("refuses-reload", "");
    host.rollback(["runed"])
        .is(4)
        .says("the files are back, but systemctl daemon-reload: refused; try again: rollback runed");
    assert_eq!(host.text("etc/systemd/system/runed.service"), "unit 1");
    fs::remove_file(host.path("refuses-reload")).unwrap();
    fs::remove_file(host.path("systemctl.log")).unwrap();
    host.rollback(["--pending", "--no-restart"]).is(0);
    assert_eq!((host.jobs(), host.record()["trial"].clone()), (vec!["daemon-reload".to_owned()], Value::Null));
}

#[test]
fn a_backup_that_is_not_what_was_recorded_is_passed_over() {
    let host = with_history();
    fs::write(host.path("bin/.runed.upswap-2"), "evil").unwrap();
    host.rollback(["runed", "--to", "2"]).is(1).says(".runed.upswap-2: generation 2 can't be brought back");
    host.rollback(["runed"]).is(0).says("it is passed over").says("generation 1 is back in place");
    assert_eq!(host.text("bin/runed"), "v1");

    let host = with_history();
    for backup in ["bin/.runed.upswap-1", "bin/.runed.upswap-2"] {
        fs::remove_file(host.path(backup)).unwrap();
    }
    host.rollback(["runed"]).is(1).says("there is no earlier good generation to go back to");
    assert_eq!((host.text("bin/runed"), host.record()["trial"].clone()), ("3".into(), Value::Null));
}

#[test]
fn a_trial_whose_home_is_gone_goes_to_the_next_good_one_or_says_so() {
    let host = with_history();
    let file = host.stored("runed", "4");
    let swap =
        |host: &Host| host.swapbin(["--trial".as_ref(), file.as_os_str(), host.path("bin/runed").as_ref()]).is(0);
    swap(&host);
    fs::write(host.path("bin/.runed.upswap-3"), "evil").unwrap();
    host.rollback(["runed"]).is(0).says("generation 2 (v2) is taken instead");
    assert_eq!(host.text("bin/runed"), "2");

    // Home's own bytes are in place by another inode, and its backup is bad: what is in place stays.
    let host = Host::with_runed();
    host.file("src/runed", "v2");
    host.swapbin(["--trial", "src/runed", "bin/runed"]).is(0);
    fs::write(host.path("bin/.runed.upswap-1"), "evil").unwrap();
    fs::remove_file(host.path("bin/runed")).unwrap();
    host.file("bin/runed", "v1");
    host.rollback(["runed"]).is(0);
    assert_eq!(host.text("bin/runed"), "v1");

    host.swapbin(["--trial", "src/runed", "bin/runed"]).is(0);
    fs::remove_file(host.path("bin/.runed.upswap-1")).unwrap();
    host.rollback(["runed"])
        .is(4)
        .says("no earlier generation can be brought back")
        .says("put a good version there: rollback --forget runed");
}

#[test]
fn an_edit_since_the_swap_is_kept_aside() {
    let host = with_history();
    for n in 0..3 {
        fs::remove_file(host.path("bin/runed")).unwrap();
        host.file("bin/runed", format!("edit {n}"));
        host.rollback(["runed", "--to", "2"])
            .is(0)
            .says("was edited since the swap; what it held is kept as DIR/bin/.runed.upswap-kept-");
    }
    let kept = host
        .names("bin")
        .into_iter()
        .filter(|name| name.contains("kept"))
        .map(|name| host.text(Path::new("bin").join(name)));
    assert_eq!(kept.collect::<std::collections::BTreeSet<_>>().len(), 3, "none took another's place");
}

#[test]
fn a_path_and_its_bak_change_places_without_any_record() {
    let host = with_history();
    let (now, bak) = (host.inode("bin/runed"), host.inode("bin/.runed.bak"));
    host.rollback(["-n", "bin/runed"]).is(0).says("would change places");
    for text in [None, Some("{")] {
        match text {
            None => fs::remove_dir_all(host.path("var/lib/upswap")).unwrap(),
            Some(text) => {
                fs::create_dir_all(host.record_path().parent().unwrap()).unwrap();
                fs::write(host.record_path(), text).unwrap();
            }
        }
        assert_eq!((host.inode("bin/runed") == now, host.inode("bin/.runed.bak") == bak), (true, true));
        host.rollback(["bin/runed"]).is(0).says("DIR/bin/runed and DIR/bin/.runed.bak changed places");
        assert_eq!((host.inode("bin/runed") == bak, host.inode("bin/.runed.bak") == now), (true, true));
        host.rollback(["./bin/runed"]).is(0);
    }
    fs::remove_file(host.path("bin/runed")).unwrap();
    symlink("runed", host.path("bin/link")).unwrap();
    host.rollback(["bin/runed"]).is(0);
    host.rollback(["bin/link"]).is(1).says("is the same file; there is nothing to go back to");
    assert_eq!(host.inode("bin/runed"), bak);
    fs::remove_file(host.path("bin/.runed.bak")).unwrap();
    host.rollback(["bin/runed"]).is(1).says("there is no DIR/bin/.runed.bak to go back to");
    host.rollback(["none/runed"]).is(3).says("the folder can't be found");
    host.fifo("bin/.runed.bak");
    host.rollback(["bin/runed"]).is(1).says("not a regular file");
}

#[test]
fn a_generation_that_a_path_left_by_hand_is_not_lost() {
    let host = with_history();
    host.rollback(["bin/runed"]).is(0);
    assert_eq!(host.text("bin/runed"), "2");
    host.swapped_in("4");
    host.rollback(["runed", "--to", "v3"]).is(0);
    assert_eq!(host.text("bin/runed"), "3");
}

#[test]
fn what_is_no_file_any_more_is_not_in_the_way() {
    for to in ["v2", "1"] {
        for what in ["ln -s ../src bin/runed", "ln -s nowhere bin/runed", "mkfifo bin/runed", "mkdir bin/runed"] {
            let host = with_history();
            let script = format!("rm bin/runed; {what}");
            let other = std::process::Command::new("sh").args(["-c", &script]).current_dir(host.path("")).status();
            assert!(other.unwrap().success());
            host.rollback(["runed", "--to", to]).is(0).says("is not a regular file any more; what is there is kept as");
            assert_eq!(host.text("bin/runed"), if to == "1" { "v1" } else { "2" });
            let kept = host.names("bin").into_iter().filter(|name| name.contains(".upswap-kept-"));
            assert_eq!(kept.count(), 1, "{what}");
        }
    }
}

#[test]
fn what_other_hands_did_to_a_backup_is_told() {
    let host = Host::with_runed();
    chmod(host.path("bin/runed"), 0o755);
    host.swapped_in("2");
    host.rollback(["runed"]).is(0);
    // The file in place and its backup are one now.
    chmod(host.path("bin/runed"), 0o600);
    host.swapped_in("3");
    host.rollback(["-q", "runed", "--to", "1"])
        .is(0)
        .says("it has the mode 0600; put that right: chmod 0755 DIR/bin/runed");
}
