//! Deliberately broken swaps: the same sweeps must find what is wrong with them.

use std::process::Command;

use crate::cases::{Case, one};
use crate::host::{Host, needs_root};
use crate::{errno, kill};

fn broken(script: &'static str) -> impl Fn(&Host) -> Command {
    move |host| {
        // Under the name of one of ours, so that the sweep takes it for one.
        let mut command = host.tool("swapbin");
        let mut shell = Command::new(host.path("src/swapbin"));
        shell.args(["-c", script]).current_dir(host.path(""));
        for (key, value) in command.get_envs() {
            if let Some(value) = value {
                shell.env(key, value);
            }
        }
        std::mem::swap(&mut command, &mut shell);
        command
    }
}

fn ready(host: &Host) {
    one(host);
    host.program("src/swapbin", fs_err::read("/bin/sh").unwrap());
}

const fn case(name: &'static str, command: fn(&Host) -> Command) -> Case {
    Case { name, prepare: ready, command, other: None, paths: &["bin/runed"], code: 0, again: &[0], back: None }
}

/// What the kill sweep must say of a broken swap.
#[track_caller]
fn found_by_kill(case: &Case, what: &str) {
    needs_root();
    let bad = kill::swept(case);
    assert!(bad.iter().any(|one| one.contains(what)), "{}: {what:?} was not found: {bad:#?}", case.name);
}

#[test]
fn install_is_caught_with_the_path_missing_or_short() {
    found_by_kill(
        &case("canary: install -m 0755", |h| broken("install -m 0755 src/runed bin/runed")(h)),
        "neither old nor new: None",
    );
}

#[test]
fn a_copy_in_place_is_caught_with_the_file_short() {
    found_by_kill(&case("canary: cp in place", |h| broken("cp src/runed bin/runed")(h)), "neither old nor new: Some");
}

#[test]
fn a_capability_that_comes_after_the_rename_is_caught() {
    found_by_kill(
        &case("canary: mv, then setcap", |h| {
            broken(
                "cp src/runed bin/.runed.upswap-new && mv bin/.runed.upswap-new bin/runed && setcap cap_net_bind_service=ep bin/runed",
            )(h)
        }),
        "neither old nor new: Some",
    );
}

#[test]
fn a_staged_file_that_nobody_sweeps_is_caught() {
    found_by_kill(
        &case("canary: a new name every time", |h| {
            broken("t=bin/.runed.upswap-$$; cp src/runed $t && mv $t bin/runed")(h)
        }),
        "litter",
    );
}

#[test]
fn an_error_that_is_ignored_is_caught() {
    needs_root();
    // A shell's own redirection is a write of the process that has the name of ours.
    let case = case("canary: a write whose error is ignored", |h| {
        broken("printf '%s' new >bin/.runed.upswap-new; mv bin/.runed.upswap-new bin/runed; exit 0")(h)
    });
    let bad = errno::swept(&case, &mut std::collections::BTreeMap::new());
    assert!(bad.iter().any(|one| one.contains("silent success")), "{bad:#?}");
}

/// dd(1) under the name of one of ours: it fails, and who called it goes on.
#[test]
fn a_sync_that_fails_and_is_ignored_is_caught() {
    fn ready(host: &Host) {
        one(host);
        host.program("src/swapbin", fs_err::read("/bin/dd").unwrap());
    }
    fn sloppy(host: &Host) -> Command {
        let mut command = Command::new("sh");
        let script = "src/swapbin if=src/runed of=bin/.runed.upswap-new bs=1M conv=fsync status=none; mv bin/.runed.upswap-new bin/runed";
        command.args(["-c", script]).current_dir(host.path(""));
        command
    }
    needs_root();
    let case = Case { prepare: ready, ..case("canary: a sync whose error is ignored", sloppy) };
    let bad = errno::swept(&case, &mut std::collections::BTreeMap::new());
    assert!(bad.iter().any(|one| one.contains("durability is promised")), "{bad:#?}");
}

#[test]
fn a_write_that_lies_is_caught() {
    needs_root();
    let case = case("canary: a write that is not read back", |h| {
        broken("set -e; printf '%s' new >bin/.runed.upswap-new; mv bin/.runed.upswap-new bin/runed")(h)
    });
    let bad = errno::swept(&case, &mut std::collections::BTreeMap::new());
    assert!(bad.iter().any(|one| one.contains("short=1") && one.contains("silent success")), "{bad:#?}");
}
