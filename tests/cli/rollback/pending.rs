//! `rollback --pending`: trials whose chain is gone, those of an operator, and those that can't be reached.

use fs_err as fs;
use serde_json::{Value, json};

use crate::host::Host;

/// A whole trial of `runed`, opened by `swapbin --trial`.
fn opened_by_hand() -> Host {
    let host = Host::with_runed();
    host.file("src/runed", "v2");
    host.swapbin(["--trial", "src/runed", "bin/runed"]).is(0);
    host
}

/// Makes the record say that a guard opened the trial, as records of before have it that say nothing of it.
fn as_if_guarded(host: &Host, name: &str) {
    let path = host.path("var/lib/upswap").join(name).join("state.json");
    let mut record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    record["trial"].as_object_mut().unwrap().remove("by_hand").unwrap();
    fs::write(path, record.to_string()).unwrap();
}

/// A trial of another name, in a folder of its own.
fn and_another(host: &Host, name: &str) {
    fs::create_dir(host.path(name)).unwrap();
    host.file(format!("src/{name}"), "2");
    host.swapbin(
        ["--trial".into(), format!("src/{name}"), format!("{name}/file")].iter().chain(&["--name".into(), name.into()]),
    )
    .is(0);
    as_if_guarded(host, name);
}

#[test]
fn a_trial_opened_by_hand_is_the_operator_s_while_it_is_whole() {
    let host = opened_by_hand();
    let told = host.rollback(["--pending"]).is(0).says("runed: generation 2 is on trial, opened by hand ");
    told.says(" s ago; keep it: swapbin --commit runed, or take it back: rollback runed");
    assert_eq!(host.rollback(["--quiet", "--pending"]).is(0).stderr, "", "not each minute in a journal");
    assert!(host.rollback(["--list"]).is(0).stdout.contains("opened by hand; keep it: swapbin --commit runed"));
    host.swapbin(["--commit", "runed"]).is(0);
    assert_eq!(host.text("bin/runed"), "v2");

    for at_boot in [true, false] {
        let host = opened_by_hand();
        let flags = if at_boot {
            &["-q", "--pending", "--boot"][..]
        } else {
            // As if it was killed before its rename.
            fs::remove_file(host.path("bin/runed")).unwrap();
            fs::hard_link(host.path("bin/.runed.upswap-1"), host.path("bin/runed")).unwrap();
            &["-q", "--pending"]
        };
        host.rollback(flags).is(0).says("runed: generation 1 is back in place");
        assert_eq!((host.text("bin/runed"), host.record()["trial"].clone()), ("v1".into(), Value::Null));
    }

    let host = opened_by_hand();
    as_if_guarded(&host, "runed");
    host.rollback(["--pending"]).is(0).says("runed: generation 1 is back in place");
}

#[test]
fn at_boot_units_are_read_again_and_none_is_touched() {
    let host = Host::with_runed();
    host.file("etc/systemd/system/runed.service", "unit 1");
    host.file("src/runed.service", "unit 2");
    let swap = ["--trial", "--name", "runed", "--unit", "runed", "src/runed.service", "etc/systemd/system"];
    host.swapbin(swap).is(0);
    fs::remove_file(host.path("systemctl.log")).unwrap();
    host.rollback(["--pending", "--boot"]).is(0);
    assert_eq!(host.text("systemctl.log"), "daemon-reload\n");
    host.rollback(["--boot", "runed"]).is(2);
    host.rollback(["--boot"]).is(2);
}

#[test]
fn what_can_t_be_settled_stays_open_and_does_not_keep_the_others() {
    let host = opened_by_hand();
    as_if_guarded(&host, "runed");
    for name in ["gone", "absent", "unmounted", "newer"] {
        and_another(&host, name);
    }
    let record = |name: &str| host.path("var/lib/upswap").join(name).join("state.json");
    // Nothing was there before the swap: an empty folder looks as if it was taken back already.
    fs::remove_dir_all(host.path("absent")).unwrap();
    fs::rename(host.path("unmounted"), host.path("mounted")).unwrap();
    fs::create_dir(host.path("unmounted")).unwrap();
    fs::write(record("gone"), "{").unwrap();
    let text = host.text(record("newer")).replace("\"schema\":1", "\"schema\":2");
    fs::write(record("newer"), text).unwrap();
    for boot in [&["--pending", "--boot"][..], &["--pending"]] {
        let told = host.rollback(boot).is(3);
        let told = told
            .says("gone: its record: ")
            .says("newer: its record: ")
            .says("made by another version of upswap")
            .says("DIR/absent is not the folder of generation 2, as when its file system is not mounted; the trial stays open until it is there: rollback absent");
        told.says("DIR/unmounted is not the folder of generation 2");
        assert_eq!((host.text("bin/runed"), host.record()["trial"].clone()), ("v1".into(), Value::Null));
    }
    fs::remove_dir(host.path("unmounted")).unwrap();
    fs::rename(host.path("mounted"), host.path("unmounted")).unwrap();
    host.rollback(["--pending"]).is(3).says("unmounted: generation 1 is back in place");
    assert!(!host.path("unmounted/file").exists());
    // An operator who knows better is believed.
    host.rollback(["absent"]).is(0);
}

#[test]
fn without_state_there_is_nothing_to_do() {
    let host = Host::new();
    assert_eq!(host.rollback(["--pending", "--boot"]).is(0).stderr, "");
    let json = host.rollback(["--pending", "--json"]).is(0).json();
    assert_eq!(json["settled"], json!([]));
}

#[test]
fn missing_backups_never_lead_to_the_time_before_the_service_was_installed() {
    let host = Host::new();
    for version in ["1", "2", "3"] {
        host.file("src/runed", version);
        let trial = if version == "3" { "--trial" } else { "--keep=9" };
        host.swapbin([trial, "--unit", "runed", "src/runed", "bin/runed"]).is(0);
    }
    for born in [2, 3] {
        fs::remove_file(host.path(format!("bin/.runed.upswap-{born}"))).unwrap();
    }
    let told = host.rollback(["--pending", "--boot"]).is(4);
    told.says("no earlier generation can be brought back");
    assert_eq!((host.text("bin/runed"), &host.record()["trial"]["home"]), ("3".into(), &json!(3)));
}

#[test]
fn a_guard_s_own_trial_has_its_chain() {
    let host = Host::with_runed();
    let file = host.stored("runed", "2");
    let script = "swapbin -t bin \"$FILE\"; rollback --pending";
    host.ran(host.guard(script).env("FILE", file)).is(0).says("is at work on its trial; it is left alone");
    assert_eq!(host.text("bin/runed"), "2");
}
