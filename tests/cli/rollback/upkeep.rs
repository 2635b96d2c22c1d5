//! `rollback --current`, `--prune` and `--forget`, and the versions that are remembered because they failed.

use std::path::PathBuf;
use std::process::Command;

use fs_err as fs;
use serde_json::json;

use crate::host::Host;

/// A host with `v1` in `bin/runed`, whose service is unhealthy with what the file `bad` lists.
fn with_a_probe(bad: &str) -> Host {
    let host = Host::with_runed();
    let root = host.path("").display().to_string();
    host.program("probe", format!("#!/bin/sh\n! grep -qxf {root}/bad {root}/bin/runed\n"));
    host.file("bad", bad);
    host
}

/// A chain that swaps `bytes` in and has the service judged.
fn chain(host: &Host, bytes: &str, flags: &str) -> Command {
    let mut guard = host.guard(&format!(
        "swapbin {flags} --unit runed -t bin \"$FILE\"
        svc-wait runed --timeout 1s --stable 0 --exe any --exec \"$PROBE\" -- usr/bin/systemctl restart -- runed.service"
    ));
    guard.env("FILE", host.stored("runed", bytes)).env("PROBE", host.path("probe"));
    guard
}

#[test]
fn a_version_that_was_unhealthy_is_taken_again_only_when_that_is_said() {
    let host = with_a_probe("3\n");
    host.ran(&mut chain(&host, "2", "")).is(0);
    host.ran(&mut chain(&host, "3", "")).is(5);
    let before = (host.inode("bin/runed"), host.names("bin"), host.record());
    let ran = host.ran(&mut chain(&host, "3", "")).is(1).says("runed: v3 was found unhealthy at");
    ran.says("to try it again all the same, say --retry-failed");
    host.ran(&mut chain(&host, "3", "-n")).is(1).says("--retry-failed");
    host.swapbin([host.stored("runed", "3"), host.path("bin/runed")]).is(1).says("--retry-failed");
    assert_eq!((host.inode("bin/runed"), host.names("bin"), host.record()), before, "nothing was changed");
    let list = host.rollback(["--list"]).is(0).stdout;
    assert!(list.contains("runed: v3 is taken again only with --retry-failed: probe-failed"), "{list}");

    // It is the bytes that failed, not the tag.
    host.ran(&mut chain(&host, "4", "")).is(0);
    host.ran(&mut chain(&host, "3", "--retry-failed")).is(5);
    host.file("bad", "x\n");
    host.ran(&mut chain(&host, "3", "--retry-failed")).is(0).says("proven healthy");
    host.ran(&mut chain(&host, "5", "")).is(0);
    host.ran(&mut chain(&host, "3", "")).is(0);
    assert_eq!(host.record().get("failed"), None, "what is proven is remembered no more");
}

#[test]
fn it_is_remembered_when_its_chain_was_killed_and_its_generation_is_gone() {
    let host = with_a_probe("2\n");
    let mut guard = chain(&host, "2", "");
    let mut script = guard.get_args().last().unwrap().to_owned();
    script.push(" || kill -KILL $PPID $$");
    let arguments: Vec<_> = guard.get_args().map(ToOwned::to_owned).collect();
    let mut killed = host.tool("rollback");
    killed.args(&arguments[..arguments.len() - 1]).arg(script);
    killed.envs(guard.get_envs().filter_map(|(name, value)| Some((name, value?))));
    assert_eq!(host.ran(&mut killed).code, -1, "it was killed");
    host.rollback(["--pending", "--no-restart"]).is(0);
    for bytes in ["3", "4", "5", "6"] {
        host.ran(&mut chain(&host, bytes, "")).is(0);
    }
    let kept = host.record()["generations"].as_array().unwrap().iter().map(|g| g["id"].clone()).collect::<Vec<_>>();
    assert_eq!(kept, [json!(4), json!(5), json!(6)]);
    host.ran(&mut guard).is(1).says("v2 was found unhealthy");
}

#[test]
fn a_verdict_speaks_of_the_files_it_judged_and_of_no_later_ones() {
    let host = Host::with_runed();
    let mut guard = host.guard(
        "swapbin --unit runed -t bin \"$FILE\"
        svc-wait runed --timeout 10s --stable 0 --exe any -- usr/bin/systemctl restart -- runed.service
        swapbin -t bin \"$NEXT\"",
    );
    guard.env("FILE", host.stored("runed", "2")).env("NEXT", host.stored("rune", "2"));
    host.ran(&mut guard).is(0).says("unproven: no svc-wait judged it");
    assert_eq!(host.record()["generations"][1]["verdict"], "unproven");
}

#[test]
fn the_last_proven_generation_outlives_any_number_of_others() {
    let host = with_a_probe("bad\n");
    host.ran(&mut chain(&host, "2", "")).is(0);
    let proven = host.inode("bin/runed");
    for worse in ["a", "b", "c", "d"] {
        host.ran(&mut chain(&host, &format!("{worse}\nbad\n"), "")).is(5);
        host.ran(&mut chain(&host, "2", "")).is(0);
        assert_eq!(host.inode("bin/runed"), proven);
    }
    for unproven in ["3", "4", "5", "6"] {
        host.swapped_in(unproven);
    }
    host.rollback(["--prune", "runed", "--keep", "1"]).is(0);
    assert_eq!(host.inode("bin/.runed.bak"), proven);
    host.rollback(["runed", "--to", "v2", "--no-restart"]).is(0);
    assert_eq!(host.inode("bin/runed"), proven);
}

#[test]
fn current_is_one_line_for_scripts() {
    let host = Host::with_runed();
    host.rollback(["--current", "runed"]).is(1).says("nothing is recorded under this name");
    host.swapped_in("2");
    host.rollback(["--current", "runed"]).is(0).prints("2 v2 unproven\n");
    let file = host.stored("runed", "3");
    host.swapbin(["--trial".as_ref(), file.as_os_str(), "bin/runed".as_ref()]).is(0);
    host.rollback(["--current", "runed"]).is(0).prints("3 v3 on-trial\n");
    host.rollback(["runed", "--no-restart"]).is(0);
    host.rollback(["runed", "--to", "1", "--no-restart"]).is(0);
    host.rollback(["--current", "runed"]).is(0).prints("1 - unproven\n");
    let current = host.rollback(["--current", "runed", "--json"]).is(0).json()["current"].clone();
    assert_eq!(current, json!({ "name": "runed", "generation": 1, "version": null, "verdict": "unproven" }));
}

#[test]
fn prune_removes_what_no_generation_needs_and_what_killed_runs_left() {
    let host = Host::with_runed();
    for bytes in ["2", "3"] {
        host.swapped_in(bytes);
    }
    // What a run that was killed, or a record that was lost, leaves; and what is not upswap's.
    for litter in [".runed.upswap-new", "..runed.bak.link", ".runed.upswap-9"] {
        host.file(format!("bin/{litter}"), "");
    }
    for other in [".runed.upswap-kept-1", ".rune.upswap-1", "runed.old"] {
        host.file(format!("bin/{other}"), "");
    }
    let before = host.names("bin");
    let would = host.rollback(["--prune", "runed", "--keep", "2", "-n"]).is(0);
    assert_eq!(host.names("bin"), before);
    let paths =
        "DIR/bin/..runed.bak.link\nDIR/bin/.runed.upswap-1\nDIR/bin/.runed.upswap-9\nDIR/bin/.runed.upswap-new\n";
    assert_eq!(would.stdout, paths);
    host.rollback(["--prune", "runed", "--keep", "2"]).is(0).prints(paths);
    let left = [".rune.upswap-1", ".runed.bak", ".runed.upswap-2", ".runed.upswap-kept-1", "runed", "runed.old"];
    assert_eq!(host.names("bin"), left);
    host.rollback(["--prune"]).is(0).prints("");
    assert_eq!(host.record()["keep"], 2, "from now on");
    host.rollback(["runed", "--no-restart"]).is(0);
    assert_eq!(host.text("bin/runed"), "2");
    host.rollback(["--prune", "nobody"]).is(1).says("nothing is recorded under this name");
}

#[test]
fn what_is_on_trial_is_neither_pruned_nor_forgotten() {
    let host = Host::with_runed();
    host.swapbin(["--trial".as_ref(), host.stored("runed", "2").as_os_str(), "bin/runed".as_ref()]).is(0);
    let before = (host.names("bin"), host.record());
    host.rollback(["--prune", "runed"]).is(1).says("generation 2 is on trial");
    host.rollback(["--forget", "runed"]).is(1).says("take it back with 'rollback runed' first");
    host.rollback(["--prune"]).is(0).says("generation 2 is on trial");
    assert_eq!((host.names("bin"), host.record()), before);
}

#[test]
fn forget_leaves_the_files_in_place_and_nothing_else() {
    let host = Host::with_runed();
    host.file("bin/rune", "1");
    let files = [host.stored("runed", "2"), host.stored("rune", "2")];
    host.swapbin([
        "--name".as_ref(),
        "runed".as_ref(),
        "-t".as_ref(),
        "bin".as_ref(),
        files[0].as_os_str(),
        files[1].as_os_str(),
    ])
    .is(0);
    let now = (host.inode("bin/runed"), host.inode("bin/rune"));
    let would = host.rollback(["--forget", "runed", "-n"]).is(0).stdout;
    assert_eq!(host.names("bin").len(), 6);
    host.rollback(["--forget", "runed"]).is(0).prints(&would);
    assert_eq!(host.names("bin"), ["rune", "runed"]);
    assert_eq!((host.inode("bin/runed"), host.inode("bin/rune")), now);
    assert!(!host.path("var/lib/upswap/runed").exists());
    host.rollback(["--forget", "runed"]).is(1);
    host.rollback(["--list"]).is(0).prints("");
    // A .bak of other hands is not upswap's to remove.
    let host = Host::with_runed();
    host.swapped_in("2");
    fs::remove_file(host.path("bin/.runed.bak")).unwrap();
    host.file("bin/.runed.bak", "mine");
    host.rollback(["--forget", "runed"]).is(0);
    assert_eq!(host.text("bin/.runed.bak"), "mine");
}

#[test]
fn bak_never_names_a_file_that_the_history_has_forgotten() {
    let host = Host::with_runed();
    host.file("bin/rune", "1");
    let both = |bytes: &str| {
        let files = [host.stored("runed", bytes), host.stored("rune", bytes)];
        let words = ["--name", "runed", "--keep", "2", "-t", "bin"].map(PathBuf::from);
        host.swapbin(words.into_iter().chain(files)).is(0);
    };
    both("2");
    assert_eq!(host.text("bin/.rune.bak"), "1");
    host.swapped_in("3");
    // Generation 1 is gone, and what is in place of rune is all that the history has of it.
    assert!(!host.names("bin").contains(&".rune.bak".to_owned()), "{:?}", host.names("bin"));
    assert_eq!(host.text("bin/.runed.bak"), "2");
    both("4");
    assert_eq!(host.text("bin/.rune.bak"), "2");
    host.rollback(["--forget", "runed"]).is(0);
    assert_eq!(host.names("bin"), ["rune", "runed"]);
}

#[test]
fn the_host_s_own_fault_is_not_remembered_against_a_version() {
    let host = with_a_probe("2\n3\nv1\n");
    host.ran(&mut chain(&host, "2", "")).is(4).says("when its cause is mended: systemctl restart runed.service");
    host.file("bad", "x\n");
    host.ran(&mut chain(&host, "2", "")).is(0);
    // A rollback by hand to one that does not run says how to come back.
    host.ran(&mut chain(&host, "4", "")).is(0);
    host.file("bad", "2\n");
    host.rollback(["runed"]).is(4).says("go where it came from: rollback runed --to 4");
    host.rollback(["runed", "--to", "4"]).is(0);
}

#[test]
fn backups_are_not_pruned_while_a_file_is_missing() {
    let host = Host::with_runed();
    host.swapped_in("2");
    host.swapped_in("3");
    fs::remove_file(host.path("bin/runed")).unwrap();
    let before = (host.names("bin"), host.record());
    for arguments in [&["--prune", "runed", "--keep", "1"][..], &["--prune", "runed", "--keep", "1", "-n"]] {
        host.rollback(arguments).is(1).says("bring one back first: rollback DIR/bin/runed");
    }
    assert_eq!((host.names("bin"), host.record()), before);
    host.rollback(["bin/runed"]).is(0);
    host.rollback(["--prune", "runed", "--keep", "1"]).is(0);
    assert_eq!(host.text("bin/runed"), "2");
    // A set whose folder is no folder any more can still be forgotten.
    fs::remove_dir_all(host.path("bin")).unwrap();
    host.file("bin", "");
    host.rollback(["--forget", "runed"]).is(0);
}

#[test]
fn a_change_that_is_taken_back_removes_no_generation() {
    let host = Host::with_runed();
    for bytes in ["2", "3", "4"] {
        host.swapped_in(bytes);
    }
    let generations = |host: &Host| host.record()["generations"].as_array().unwrap().len();
    let new = host.stored("runed", "5");
    let swap = format!("swapbin --keep 1 {} bin/runed", new.display());
    host.guarded(&format!("{swap}; exit 1")).is(5);
    assert_eq!((generations(&host), host.record()["keep"].clone()), (4, json!(3)));
    host.guarded(&swap).is(0);
    assert_eq!((generations(&host), host.record()["keep"].clone()), (1, json!(1)));
}

#[test]
fn forget_ends_what_nothing_else_can() {
    // A record that can't be read: it alone goes, and is kept.
    let host = Host::with_runed();
    host.swapped_in("2");
    host.file("var/lib/upswap/runed/state.json", "{");
    host.swapbin(["src/x", "bin/other"]).is(3);
    host.rollback(["runed"]).is(3).says("to begin anew with what is in place: rollback --forget runed");
    host.rollback(["--forget", "runed"]).is(0).prints("DIR/var/lib/upswap/runed/state.json\n");
    assert_eq!(host.text("bin/.runed.upswap-1"), "v1");
    host.swapped_in("3");
    assert_eq!(host.text("bin/runed"), "3");

    // A trial whose way back is gone.
    let host = Host::with_runed();
    host.swapbin(["--trial".as_ref(), host.stored("runed", "2").as_os_str(), "bin/runed".as_ref()]).is(0);
    host.rollback(["--forget", "runed"]).is(1);
    fs::remove_file(host.path("bin/.runed.upswap-1")).unwrap();
    fs::remove_file(host.path("bin/.runed.bak")).unwrap();
    host.rollback(["runed"]).is(4).says("put a good version there: rollback --forget runed");
    let before = (host.names("bin"), host.record());
    host.rollback(["--forget", "runed", "-n"]).is(0);
    assert_eq!((host.names("bin"), host.record()), before, "-n ends no trial");
    host.rollback(["--forget", "runed"]).is(0);
    assert_eq!((host.text("bin/runed"), host.names("bin")), ("2".into(), vec!["runed".to_owned()]));
}
