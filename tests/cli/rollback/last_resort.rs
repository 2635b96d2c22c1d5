//! `rollback PATH` where little is left: no state, no lock, a strange backup, a file system that can do less.

use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use fs_err as fs;

use crate::host::{Host, Ran, chmod, needs_root};

const NET_BIND: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A host with two files and nothing else: `bin/runed` and what it was before.
fn bare() -> Host {
    let host = Host::with_runed();
    host.file("bin/.runed.bak", "v0");
    host
}

fn both(host: &Host) -> [String; 2] {
    ["bin/runed", "bin/.runed.bak"].map(|name| host.text(name))
}

fn refused(host: &Host, why: &str) -> Ran {
    let before = host.names("bin");
    let ran = host.rollback(["bin/runed"]).is(1).says(why);
    assert_eq!((ran.stderr.lines().count(), host.names("bin")), (1, before), "{ran:?}");
    ran
}

#[test]
fn two_files_are_enough_and_nothing_is_written_beside_them() {
    let host = bare();
    for path in ["bin/runed", "./bin/runed", "bin/../bin/runed", host.path("bin/runed").to_str().unwrap()] {
        let before = both(&host);
        host.rollback([path]).is(0).says("changed places");
        assert_eq!(both(&host), [before[1].clone(), before[0].clone()]);
    }
    assert_eq!(host.names("bin"), [".runed.bak", "runed"]);
    assert!(!host.path("var").exists() && !host.path("run").exists(), "it made no state");
    let ran = host.ran(host.tool("rollback").arg("./runed").current_dir(host.path("bin"))).is(0);
    assert_eq!(ran.stderr.lines().count(), 2, "{ran:?}");
}

#[test]
fn a_path_without_a_slash_is_a_name_and_the_hint_says_so() {
    let host = bare();
    host.ran(host.tool("rollback").arg("runed").current_dir(host.path("bin")))
        .is(1)
        .says("for the file runed in this folder: rollback ./runed");
    host.rollback(["runed"]).is(1).says("runed");
    assert_eq!(both(&host), ["v1", "v0"]);
}

#[test]
fn neither_a_broken_state_nor_a_missing_lock_folder_stops_it() {
    let host = Host::with_runed();
    host.swapped_in("2");
    fs::remove_dir_all(host.path("run")).unwrap();
    host.file("run", "a file where the folder of the locks should be");
    host.rollback(["bin/runed"]).is(0).says("the lock could not be taken").says("changed places");
    assert_eq!(host.text("bin/runed"), "v1");
    fs::write(host.record_path(), "{").unwrap();
    host.rollback(["bin/runed"]).is(0);
    fs::remove_dir_all(host.path("var/lib/upswap")).unwrap();
    host.file("var/lib/upswap", "a file where the state should be");
    host.rollback(["bin/runed"]).is(0);
    host.ran(host.tool("rollback").args(["--state-dir", "/proc/1/nowhere", "bin/runed"])).is(0);
}

#[test]
fn a_missing_path_comes_back_and_the_backup_stays() {
    let host = bare();
    fs::remove_file(host.path("bin/runed")).unwrap();
    host.rollback(["-n", "bin/runed"]).is(0).says("DIR/bin/runed is missing; it would be the file of");
    host.rollback(["bin/runed"]).is(0).says("DIR/bin/runed was missing; it is the file of DIR/bin/.runed.bak now");
    assert_eq!(both(&host), ["v0", "v0"]);
    fs::remove_file(host.path("bin/.runed.bak")).unwrap();
    refused(&host, "there is no DIR/bin/.runed.bak to go back to");
}

#[test]
fn a_symlink_means_the_file_it_leads_to() {
    let host = bare();
    fs::create_dir(host.path("sbin")).unwrap();
    symlink("../bin/runed", host.path("sbin/runed")).unwrap();
    host.rollback(["sbin/runed"]).is(0).says("is a symlink; its target DIR/bin/runed");
    assert_eq!(both(&host), ["v0", "v1"]);
    symlink("nowhere", host.path("bin/dangling")).unwrap();
    host.rollback(["bin/dangling"]).is(3).says("its symlink leads nowhere");
}

#[test]
fn a_backup_that_is_no_good_never_takes_the_place() {
    let host = bare();
    host.file("bin/.runed.bak", "");
    refused(&host, "DIR/bin/.runed.bak: it is empty");
    let program = fs::read("/bin/true").unwrap();
    for cut in [4, 40, 100, program.len() / 2] {
        host.file("bin/.runed.bak", &program[..cut]);
        refused(&host, "DIR/bin/.runed.bak: it is no good: a broken or cut-off ELF file");
    }
    fs::remove_file(host.path("bin/.runed.bak")).unwrap();
    for odd in ["fifo", "dir", "link"] {
        let path = host.path("bin/.runed.bak");
        match odd {
            "fifo" => drop(host.fifo("bin/.runed.bak")),
            "dir" => fs::create_dir(&path).unwrap(),
            _ => symlink("runed", &path).unwrap(),
        }
        refused(&host, "it is not a regular file");
        fs::remove_file(&path).or_else(|_| fs::remove_dir(&path)).unwrap();
    }
    // The canary: a whole program is taken.
    host.file("bin/.runed.bak", &program);
    host.rollback(["bin/runed"]).is(0);
    assert_eq!(fs::read(host.path("bin/runed")).unwrap(), program);
}

#[test]
fn what_the_old_file_brings_with_it_is_said() {
    needs_root();
    let host = bare();
    std::os::unix::fs::chown(host.path("bin/runed"), Some(1), Some(1)).unwrap();
    chmod(host.path("bin/runed"), 0o755);
    xattr::set(host.path("bin/runed"), "security.capability", &NET_BIND).unwrap();
    let told = host.rollback(["-n", "bin/runed"]).is(0).stderr;
    insta::assert_snapshot!(told);
    host.rollback(["bin/runed"]).is(0);
    assert_eq!(xattr::get(host.path("bin/.runed.bak"), "security.capability").unwrap(), Some(NET_BIND.to_vec()));
}

#[test]
fn a_backup_that_somebody_else_could_write_is_refused() {
    needs_root();
    let host = bare();
    chmod(host.path("bin/.runed.bak"), 0o666);
    refused(&host, "others than its owner can write to it; if it is good: chmod go-w DIR/bin/.runed.bak");
    chmod(host.path("bin/.runed.bak"), 0o644);
    std::os::unix::fs::chown(host.path("bin/.runed.bak"), Some(65534), None).unwrap();
    refused(&host, "it belongs to user 65534, who could have written anything to it");
    std::os::unix::fs::chown(host.path("bin/runed"), Some(65534), None).unwrap();
    host.rollback(["bin/runed"]).is(0);
}

#[test]
fn an_open_trial_is_named_with_the_way_to_take_all_of_it_back() {
    let host = Host::with_runed();
    let file = host.stored("runed", "2");
    host.swapbin([Path::new("--trial"), &file, &host.path("bin/runed")]).is(0);
    host.rollback(["bin/runed"])
        .is(0)
        .says("generation 2 of runed is on trial")
        .says("all of it goes back with: rollback runed");
    assert_eq!(host.text("bin/runed"), "v1");
    host.swapbin(["--commit", "runed"]).is(1);
    host.rollback(["runed"]).is(0);
    assert_eq!(host.text("bin/runed"), "v1");
    host.file("bin/.runed.bak", "something else");
    host.rollback(["bin/runed"]).is(0).says("DIR/bin/.runed.bak is no file that runed ever had there");
}

#[test]
fn who_may_not_changes_nothing_and_is_told_so() {
    needs_root();
    let host = bare();
    let mut tool = host.tool("rollback");
    // cargo's folder may be closed to others.
    host.program("rollback", fs::read(tool.get_program()).unwrap());
    let mut other = Command::new(host.path("rollback"));
    other.current_dir(host.path("")).env("UPSWAP_ROOT", host.path("")).arg("bin/runed").uid(65534).gid(65534);
    host.ran(&mut other).is(3).says("it can't change places with its backup: Permission denied");
    assert_eq!((both(&host), tool.arg("--version").status().unwrap().success()), (["v1".into(), "v0".into()], true));
}

/// A file system without `RENAME_EXCHANGE` (NFS, an older FUSE): by links, and the path is never empty.
#[test]
fn without_an_exchange_it_goes_by_links() {
    let host = bare();
    let without = |calls: &str, paths: &str| {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o"]).arg(host.path("trace"));
        for call in calls.split(' ') {
            strace.args(["-e", call]);
        }
        strace.arg(host.tool("rollback").get_program()).arg(paths);
        host.ran(strace.current_dir(host.path("")).env("UPSWAP_ROOT", host.path("")))
    };
    without("inject=renameat2:error=EINVAL", "bin/runed").is(0).says("changed places");
    assert_eq!((both(&host), host.names("bin").len()), (["v0".into(), "v1".into()], 2));
    without("inject=renameat2:error=EINVAL inject=link,linkat:error=EPERM", "bin/runed").is(3).says("a hard link");
    assert_eq!((both(&host), host.names("bin").len()), (["v0".into(), "v1".into()], 2));
    without("inject=fsync:error=EIO", "bin/runed").is(4).says("make it so: sync");
    assert_eq!(both(&host), ["v1", "v0"]);
    without("inject=renameat2:error=EXDEV", "bin/runed").is(3);
    assert_eq!(both(&host), ["v1", "v0"]);
    fs::remove_file(host.path("bin/runed")).unwrap();
    without("inject=link,linkat:error=EPERM", "bin/runed").is(0).says("was missing");
    assert_eq!((host.text("bin/runed"), host.names("bin").len()), ("v0".into(), 1));
}
