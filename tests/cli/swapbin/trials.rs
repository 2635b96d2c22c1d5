//! Names, trials, history and backups.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;

use fs_err as fs;
use serde_json::{Value, json};

use crate::host::{Host, chmod};

#[test]
fn a_file_of_the_store_must_be_what_its_path_says() {
    let host = Host::with_runed();
    let file = host.stored("runed", "2");
    fs::write(&file, "evil").unwrap();
    host.swapbin([file.clone(), host.path("bin/runed")]).is(1).says("not what the store's path promises");
    host.swapbin(["-n".into(), file, host.path("bin/runed")]).is(1).says("not what the store's path promises");
    assert_eq!((host.names("bin"), host.text("bin/runed")), (vec!["runed".to_owned()], "v1".to_owned()));
    host.file("src/runed", "v2");
    host.swapbin(["src/runed", "bin/runed"]).is(0).says("recorded as unverified");
    // Where others can write, a path promises nothing.
    let file = host.stored("runed", "3");
    chmod(file.parent().unwrap(), 0o777);
    host.swapbin([file, host.path("bin/runed")]).is(0).says("recorded as unverified");
    let file = |record: &Value, field: &str| {
        record["generations"][1]["files"][host.path("bin/runed").to_str().unwrap()][field].clone()
    };
    assert_eq!(file(&host.record(), "verified"), json!(false));
}

#[test]
fn provenance_goes_into_the_history() {
    let host = Host::with_runed();
    host.swapped_in("2");
    let file = &host.record()["generations"][1]["files"][host.path("bin/runed").to_str().unwrap()];
    assert_eq!((&file["verified"], &file["origin"]["version"]), (&json!(true), &json!("v2")));
}

#[test]
fn the_name_is_the_one_asked_for_the_owner_s_or_the_basename() {
    let host = Host::with_runed();
    for name in ["one", "two"] {
        host.file(format!("src/{name}"), name);
    }
    let name = |arguments: &[&str]| host.swapbin(arguments.iter().chain(&["--json"])).is(0).json()["name"].clone();
    assert_eq!(name(&["src/one", "bin/runed"]), "runed");
    assert_eq!(name(&["--name", "tools", "src/one", "bin/one"]), "tools");
    assert_eq!(name(&["src/two", "bin/one"]), "tools", "the set that has the path");
    assert_eq!(name(&["src/two", "src/one", "bin", "--name", "tools"]), "tools");
    host.swapbin(["--name", "other", "src/two", "bin/runed"]).is(1).says("belongs to the set runed, not to other");
    host.file("src/runed", "new");
    host.swapbin(["src/one", "src/runed", "-t", "bin"]).is(1).says("a path belongs to one set");
    assert_eq!(host.text("bin/runed"), "one");
}

#[test]
fn a_trial_is_kept_or_taken_back_and_nothing_is_swapped_meanwhile() {
    let host = Host::with_runed();
    let old = host.inode("bin/runed");
    host.file("src/runed", "v2");
    let json = host.swapbin(["--trial", "--json", "src/runed", "bin/runed"]).is(0).json();
    assert_eq!(json["on_trial"], true);
    host.file("src/other", "v3");
    host.swapbin(["src/other", "bin/runed"])
        .is(1)
        .says("generation 2 is on trial; keep it with 'swapbin --commit runed'");
    host.swapbin(["--commit", "runed"]).is(0).prints("");
    host.swapbin(["--commit", "runed"]).is(1).says("no trial is open");
    host.swapbin(["--commit", "nobody"]).is(1).says("no trial is open");
    host.swapbin(["--trial", "src/other", "bin/runed"]).is(0);
    host.rollback(["runed"]).is(0);
    assert_eq!(host.text("bin/runed"), "v2");
    host.rollback(["runed", "--to", "1"]).is(0);
    assert_eq!(host.inode("bin/runed"), old);
}

#[test]
fn a_torn_trial_is_never_committed() {
    let host = Host::with_runed();
    host.file("src/runed", "v2");
    host.swapbin(["--trial", "src/runed", "bin/runed"]).is(0);
    // As if the swap was killed before its rename.
    fs::remove_file(host.path("bin/runed")).unwrap();
    fs::hard_link(host.path("bin/.runed.upswap-1"), host.path("bin/runed")).unwrap();
    host.swapbin(["--commit", "runed"]).is(1).says("take it back: rollback runed");
    let torn = "swapbin --trial --unverified src/runed bin/runed; ln -f bin/.runed.upswap-1 bin/runed";
    host.rollback(["runed"]).is(0);
    host.guarded(torn).is(5).says("its swap was cut short, or it was changed since");
    assert_eq!((host.text("bin/runed"), host.record()["trial"].clone()), ("v1".to_owned(), Value::Null));
}

#[test]
fn backups_are_the_old_inodes_and_bak_is_the_last_proven() {
    let host = Host::with_runed();
    let first = host.inode("bin/runed");
    host.swapped_in("2");
    assert_eq!(host.names("bin"), [".runed.bak", ".runed.upswap-1", "runed"]);
    assert_eq!((host.inode("bin/.runed.bak"), host.inode("bin/.runed.upswap-1") == first), (first, true));
    let proves = "swapbin -t bin \"$FILE\"; svc-wait runed --stable 0 --exe any";
    let second = host.inode("bin/runed");
    let guard = |bytes: &str, script| {
        let file = host.stored("runed", bytes);
        host.ran(host.guard(script).env("FILE", file)).is(0)
    };
    guard("3", proves).says("proven healthy");
    let third = host.inode("bin/runed");
    assert_eq!((host.inode("bin/.runed.bak") == second, host.inode("bin/.runed.upswap-2") == second), (true, true));
    guard("4", "swapbin -t bin \"$FILE\"").says("unproven: no svc-wait judged it");
    assert_eq!(host.inode("bin/.runed.bak"), third);
    guard("5", "swapbin -t bin \"$FILE\"");
    assert_eq!(host.inode("bin/.runed.bak"), third, "what nobody proved does not take its place");
}

#[test]
fn pruning_keeps_what_is_asked_for_and_the_last_proven() {
    let host = Host::with_runed();
    for bytes in ["2", "3", "4", "5"] {
        host.swapped_in(bytes);
    }
    let ids = || {
        host.record()["generations"].as_array().unwrap().iter().map(|g| g["id"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(ids(), [3, 4, 5]);
    assert_eq!(host.names("bin"), [".runed.bak", ".runed.upswap-3", ".runed.upswap-4", "runed"]);
    host.file("src/runed", "v6");
    host.swapbin(["--keep", "1", "src/runed", "bin/runed"]).is(0);
    assert_eq!((ids(), host.names("bin")), (vec![6], vec!["runed".to_owned()]));
    host.rollback(["runed"]).is(1).says("no other generation is kept");
}

#[test]
fn a_bak_of_other_hands_is_never_lost() {
    let host = Host::with_runed();
    host.file("bin/.runed.bak", "mine");
    host.file("bin/.rune.bak", "mine too");
    host.swapped_in("2");
    let kept = host.names("bin").into_iter().find(|name| name.starts_with(".runed.upswap-kept-")).unwrap();
    assert_eq!(host.text(format!("bin/{kept}")), "mine");
    assert_eq!(host.text("bin/.runed.bak"), "v1");
    // Nothing was there to be linked, so what has that name is not upswap's to remove.
    host.file("src/rune", "v1");
    host.swapbin(["--keep", "1", "src/rune", "bin/rune"]).is(0);
    assert_eq!(host.text("bin/.rune.bak"), "mine too");
}

#[test]
fn an_edit_by_hand_becomes_a_generation_of_its_own() {
    let host = Host::with_runed();
    host.swapbin([OsStr::new("--keep"), "9".as_ref(), host.stored("runed", "2").as_ref(), "bin".as_ref()]).is(0);
    fs::remove_file(host.path("bin/runed")).unwrap();
    host.file("bin/runed", "edited");
    let edited = host.inode("bin/runed");
    host.stored("runed", "4");
    let ran = host.swapbin([host.stored("runed", "4"), host.path("bin/runed")]).is(0);
    ran.says("changed by other hands since the last swap");
    host.rollback(["runed"]).is(0);
    assert_eq!(host.inode("bin/runed"), edited);
    host.rollback(["runed", "--to", "v4"]).is(0);
    assert_eq!(host.text("bin/runed"), "4");
    host.rollback(["runed", "--to", "1"]).is(0);
    assert_eq!(host.text("bin/runed"), "v1");
}

#[test]
fn a_path_that_joins_later_goes_back_with_every_generation_before() {
    let host = Host::with_runed();
    host.file("etc/systemd/system/runed.service", "unit 1");
    host.swapbin([OsStr::new("--keep"), "9".as_ref(), host.stored("runed", "2").as_ref(), "bin".as_ref()]).is(0);
    host.swapped_in("3");
    host.file("src/runed.service", "unit 4");
    let unit = ["--name", "runed", "src/runed.service", "etc/systemd/system/"];
    host.swapbin(unit).is(0);
    host.file("src/runed.client", "client 5");
    host.swapbin(["--name", "runed", "src/runed.client", "bin"]).is(0);
    host.rollback(["runed", "--to", "v2"]).is(0);
    assert_eq!((host.text("bin/runed"), host.text("etc/systemd/system/runed.service")), ("2".into(), "unit 1".into()));
    assert!(!host.path("bin/runed.client").exists());
    assert_eq!(host.jobs(), ["daemon-reload"]);
}

#[test]
fn a_swap_that_fails_leaves_no_trace_in_the_history() {
    let host = Host::with_runed();
    host.swapped_in("2");
    let (before, inode) = (host.record(), host.inode("bin/runed"));
    // The backup's name is taken by something that no link can take the place of.
    fs::create_dir(host.path("bin/.runed.upswap-2")).unwrap();
    host.swapbin([host.stored("runed", "3"), host.path("bin/runed")]).is(3).says("hard link");
    assert_eq!((host.record(), host.inode("bin/runed")), (before, inode));
    assert!(!host.path("bin/.runed.upswap-new").exists());
    fs::remove_dir(host.path("bin/.runed.upswap-2")).unwrap();
    host.rollback(["runed"]).is(0);
    assert_eq!(host.text("bin/runed"), "v1");
}

#[test]
fn a_record_that_can_t_be_read_stops_its_own_name_alone() {
    let host = Host::with_runed();
    host.file("bin/other", "o1");
    host.file("src/other", "o2");
    host.swapped_in("2");
    host.swapbin(["src/other", "bin/other"]).is(0);
    for (text, says) in [
        ("{", "EOF"),
        ("\u{0}", "expected value"),
        (r#"{"schema": 2}"#, "made by another version of upswap"),
        (r#"{"schema": 1}"#, "missing field"),
    ] {
        fs::write(host.record_path(), text).unwrap();
        let file = host.stored("runed", "3");
        let ran = host.swapbin([file, host.path("bin/runed")]).is(3).says(says).says("state.json");
        assert_eq!(ran.stderr.lines().count(), 1);
        host.rollback(["runed"]).is(3).says(says);
        host.file("src/other", format!("for {says}"));
        host.swapbin(["src/other", "bin/other"]).is(0);
        host.rollback(["other"]).is(0);
    }
    assert_eq!(host.text("bin/runed"), "2");
    assert_eq!(fs::metadata(host.path("bin/runed")).unwrap().nlink(), 1);
}

#[test]
fn a_number_beyond_all_counting_is_no_backup_of_ours() {
    let host = Host::with_runed();
    host.file(format!("bin/.runed.upswap-{}", u64::MAX), "");
    host.file(format!("bin/.runed.upswap-{}", u64::MAX - 1), "");
    host.swapped_in("2");
    assert_eq!(host.record()["current"], json!(2));
    let mut record = host.record();
    record["generations"][1]["id"] = json!(u64::MAX);
    record["current"] = json!(u64::MAX);
    fs::write(host.record_path(), record.to_string()).unwrap();
    let ran = host.swapbin([host.stored("runed", "3"), host.path("bin/runed")]);
    assert!(ran.code < 5, "{ran:?}");
}

#[test]
fn what_a_lost_record_left_is_not_written_over() {
    let host = Host::with_runed();
    host.file("bin/rune", "v1");
    host.swapbin(["--name".into(), "runed".into(), host.stored("runed", "2"), host.path("bin/runed")]).is(0);
    host.file("bin/.rune.upswap-2", "lost");
    std::os::unix::fs::symlink("nowhere", host.path("bin/.rune.bak")).unwrap();
    let ran = host.swapbin(["--name".into(), "runed".into(), host.stored("rune", "2"), host.path("bin/rune")]);
    ran.is(0).says(".rune.upswap-2 is of no generation; it is kept as").says(".rune.bak is not upswap's");
    let kept = |name: &&String| name.starts_with(".rune.upswap-kept-");
    assert_eq!(host.names("bin").iter().filter(kept).count(), 2);
    host.rollback(["runed"]).is(0);
    assert_eq!(host.text("bin/rune"), "v1");
}
