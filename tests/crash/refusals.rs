//! What is refused before the first change: one line that says why and what to do, and a host on which nothing differs.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use nix::mount::MsFlags;

use crate::host::{Host, Ran, chmod};
use crate::odd::{Fs, WHOLE, alone, bind, mounted, on, remount, run};

/// Everything below `bin` and the state: which file, with what in it, since when.
type Tree = BTreeMap<PathBuf, (u64, u32, u32, i64, i64, u64, Vec<u8>)>;

/// Looks at all that a refused swap must leave alone. The locks are not of it.
fn tree(host: &Host) -> Tree {
    let mut found = Tree::new();
    let mut left = vec![host.path("bin"), host.path("var/lib")];
    while let Some(path) = left.pop() {
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        let bytes = if meta.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        if meta.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        let seen = (meta.ino(), meta.mode(), meta.uid(), meta.ctime(), meta.ctime_nsec(), meta.nlink(), bytes);
        found.insert(path, seen);
    }
    found
}

/// The swap must be refused with this code and these words, dry and for real, and nothing may differ afterwards.
#[track_caller]
fn refused<S: AsRef<OsStr>>(host: &Host, arguments: &[S], code: i32, says: &str) {
    refused_as(host, arguments, code, says, tree);
}

/// The same for what is found out while the new files are made: the folder has been written to, and is as it was.
#[track_caller]
fn refused_late<S: AsRef<OsStr>>(host: &Host, arguments: &[S], code: i32, says: &str) {
    let but_folder_times = |host: &Host| {
        let mut found = tree(host);
        found.retain(|path, _| !path.is_dir());
        found
    };
    refused_as(host, arguments, code, says, but_folder_times);
}

#[track_caller]
fn refused_as<S: AsRef<OsStr>>(host: &Host, arguments: &[S], code: i32, says: &str, seen: impl Fn(&Host) -> Tree) {
    let before = seen(host);
    for dry in [Some("-n"), None] {
        let ran: Ran = host.ran(host.tool("swapbin").arg("-q").args(dry).args(arguments));
        assert_eq!(ran.stderr.lines().count(), 1, "{ran:#?}");
        ran.says(says).is(code).prints("");
        let after = seen(host);
        let differs: Vec<_> = before.keys().chain(after.keys()).filter(|p| before.get(*p) != after.get(*p)).collect();
        assert!(differs.is_empty(), "dry {}: {differs:?}", dry.is_some());
    }
}

/// The canary: a change of any kind must be seen.
#[test]
fn the_judge_sees_every_change() {
    let host = Host::with_runed();
    let mut before = tree(&host);
    for change in [
        "touch bin/.runed.upswap-new",
        "rm bin/.runed.upswap-new",
        "chmod 700 bin/runed",
        "ln bin/runed bin/link",
        "cp bin/runed bin/copy; mv bin/copy bin/runed",
        "printf v2 >bin/runed",
        "mkdir -p var/lib/upswap/runed",
        "touch var/lib/upswap/runed/state.json",
    ] {
        run(Command::new("sh").args(["-ec", change]).current_dir(host.path("")));
        let after = tree(&host);
        assert_ne!(before, after, "{change}");
        before = after;
    }
}

/// Catalogue 74.
#[test]
fn what_chattr_protects_stays() {
    on(&[Fs::Ext4, Fs::Xfs, Fs::Btrfs], |_, host| {
        host.file("src/runed", "v2");
        let swap = ["src/runed", "bin/runed"];
        for (flag, on_what, says) in [
            ("i", "bin/runed", "it is immutable, so somebody means it to stay; if not: chattr -i DIR/bin/runed"),
            ("a", "bin/runed", "it is append-only, so somebody means it to stay; if not: chattr -a DIR/bin/runed"),
            ("i", "bin", "its folder is immutable; make it writable: chattr -i DIR/bin"),
            ("a", "bin", "its folder is append-only; make it writable: chattr -a DIR/bin"),
        ] {
            let chattr = |sign: &str| run(Command::new("chattr").arg(format!("{sign}{flag}")).arg(host.path(on_what)));
            chattr("+");
            refused(host, &swap, 1, says);
            chattr("-");
        }
        host.swapbin(swap).is(0);
    });
}

/// Catalogue 75.
#[test]
fn what_is_mounted_on_is_never_written_in_place() {
    on(&[Fs::Tmpfs, Fs::Overlay], |_, host| {
        host.file("src/runed", "v2");
        host.file("src/image", "v1 of the image");
        bind(&host.path("src/image"), &host.path("bin/runed"));
        refused(host, &["src/runed", "bin/runed"], 1, "something is mounted at this very path");
        assert_eq!(host.text("src/image"), "v1 of the image");
        // A folder that is mounted is where volumes are: nothing odd about that.
        host.swapbin(["src/runed", "bin/other"]).is(0);
    });
}

/// Catalogue 73, 79.
#[test]
fn a_mount_that_would_take_something_away_is_refused() {
    on(&[Fs::Tmpfs, Fs::Ext4], |kind, host| {
        host.file("src/runed", "#!/bin/sh\n");
        host.file("src/data", "no program");
        let bin = host.path("bin");
        let swap = ["src/runed", "bin/runed"];
        chmod(host.path("bin/runed"), 0o755);
        remount(&bin, MsFlags::MS_NOEXEC);
        refused(host, &swap, 1, "its file system is mounted noexec, so it could not be run");
        refused(host, &["src/runed", "bin/new"], 1, "noexec");
        host.swapbin(["src/data", "bin/data"]).is(0);
        remount(&bin, MsFlags::MS_NOSUID);
        refused(
            host,
            &["--cap", "cap_chown=ep", "src/runed", "bin/runed"],
            1,
            "mounted nosuid: the kernel would ignore it",
        );
        refused(
            host,
            &["--mode", "4755", "src/runed", "bin/runed"],
            1,
            "a set-ID bit, and its file system is mounted nosuid",
        );
        refused(host, &["--mode", "2755", "src/runed", "bin/runed"], 1, "a set-ID bit");
        host.swapbin(swap).is(0);
        remount(&bin, MsFlags::MS_RDONLY);
        host.file("src/runed", "v3");
        refused(host, &swap, 3, "Read-only file system");
        remount(&bin, MsFlags::empty());
        // A swap is no reason to lose what is in place on a mount that takes it away: the way back asks for nothing.
        remount(&bin, MsFlags::MS_NOEXEC | MsFlags::MS_NOSUID);
        host.rollback(["runed"]).is(0);
        assert_eq!(host.text("bin/runed"), "v1", "{kind:?}");
    });
}

/// Catalogue 96: who else could replace it.
#[test]
fn a_folder_that_others_can_write_to_is_refused_and_can_be_allowed() {
    let host = Host::with_runed();
    crate::host::needs_root();
    host.file("src/runed", "v2");
    fs::create_dir_all(host.path("bin/a/b")).unwrap();
    host.file("bin/a/b/runed", "v1");
    let swap = ["--name", "deep", "src/runed", "bin/a/b/runed"];
    for (dir, mode, owner, says) in [
        ("bin/a/b", 0o777, 0, "everybody can write to the folder DIR/bin/a/b"),
        ("bin/a/b", 0o1777, 0, "everybody can write to the folder DIR/bin/a/b"),
        ("bin/a", 0o777, 0, "mend that: chmod o-w DIR/bin/a,"),
        ("bin", 0o755, 65534, "DIR/bin belongs to nobody"),
    ] {
        chmod(host.path(dir), mode);
        chown(host.path(dir), Some(owner), None).unwrap();
        refused(&host, &swap, 1, says);
        refused(&host, &swap, 1, "or accept it: --allow writable-folder");
        chmod(host.path(dir), 0o755);
        chown(host.path(dir), Some(0), None).unwrap();
    }
    // Debian's /usr/local/bin is root:staff 2775, and nobody is in staff.
    let group = 471_147;
    chown(host.path("bin"), None, Some(group)).unwrap();
    chmod(host.path("bin"), 0o2775);
    host.swapbin(swap).is(0);
    host.file("src/runed", "v3");
    host.file("etc/group", format!("staff:x:{group}:mallory\n"));
    refused(&host, &swap, 1, "mallory can write to the folder DIR/bin, as a member of 471147");
    // Only the owner of what is in a sticky folder can rename it, and that one is looked at.
    chmod(host.path("bin"), 0o3775);
    host.swapbin(swap).is(0);
    chmod(host.path("bin"), 0o755);
    run(Command::new("setfacl").args(["-m", "u:65534:rwx"]).arg(host.path("bin")));
    host.file("src/runed", "v4");
    refused(&host, &swap, 1, "nobody can write to the folder DIR/bin by its ACL and could");
}

#[test]
fn what_is_allowed_is_done_and_said_and_the_way_back_asks_for_nothing() {
    let host = Host::with_runed();
    host.file("src/runed", "v2");
    chmod(host.path("bin"), 0o777);
    fs::create_dir_all(host.path("var/lib/dpkg/info")).unwrap();
    host.file("var/lib/dpkg/info/rune.list", "/.\n/bin\n/bin/runed\n");
    let both = ["--allow", "writable-folder", "--allow", "package-owned", "src/runed", "bin/runed"];
    refused(&host, &both[2..], 1, "everybody can write");
    refused(&host, &[&both[..2], &both[4..]].concat(), 1, "it belongs to the package rune, whose next update");
    refused(&host, &[&both[..2], &both[4..]].concat(), 1, "dpkg-divert --local --no-rename --add DIR/bin/runed");
    host.swapbin(both).is(0).says("that is accepted").says("belongs to the package rune; that is accepted");
    // Nothing that would be refused on the way forward stands in the way back.
    host.rollback(["runed"]).is(0);
    assert_eq!(host.text("bin/runed"), "v1");
    host.rollback(["bin/runed"]).is(0);
    assert_eq!(host.text("bin/runed"), "v2");
    // The path as the package manager knows it may be another one.
    fs::rename(host.path("bin"), host.path("usr/bin/bin")).unwrap();
    host.file("var/lib/dpkg/info/rune.list", "/usr/bin/bin/runed\n");
    symlink("usr/bin/bin", host.path("bin")).unwrap();
    chmod(host.path("usr/bin/bin"), 0o755);
    host.file("src/runed", "v5");
    host.swapbin(["src/runed", "bin/runed"]).is(1).says("it belongs to the package rune");
}

/// Catalogue 72: the space of all files is taken before the first is written.
#[test]
fn no_room_is_found_out_before_the_first_byte() {
    alone(|| {
        for (options, says) in [("size=160k,mode=0755", "No space left"), ("nr_inodes=6,mode=0755", "No space left")] {
            let host = Host::new();
            mounted("tmpfs", &host.path("bin"), options);
            for name in ["a", "b", "c"] {
                host.file(format!("bin/{name}"), "v1");
                host.file(format!("src/{name}"), vec![7; 60 << 10]);
            }
            let all = ["--name", "abc", "src/a", "src/b", "src/c", "bin"];
            refused_late(&host, &all, 3, says);
            for name in ["b", "c"] {
                fs::remove_file(host.path(format!("bin/{name}"))).unwrap();
            }
            // The backups are names, and here each name takes an inode.
            host.swapbin(["--name", "abc", "src/a", "bin"]).is(0);
        }
        let host = Host::with_runed();
        host.file("src/runed", "v2");
        fs::create_dir_all(host.path("var/lib/upswap")).unwrap();
        mounted("tmpfs", &host.path("var/lib/upswap"), "size=8k,mode=0755");
        let before = host.inode("bin/runed");
        host.swapbin(["src/runed", "bin/runed"]).is(3).says("there is no room for the record");
        assert_eq!((host.inode("bin/runed"), host.names("bin")), (before, vec!["runed".to_owned()]));
    });
    on(&[Fs::Ext4, Fs::Xfs, Fs::Btrfs], |kind, host| {
        host.file("src/small", "v2");
        let huge = host.path("src/huge");
        fs::File::create(&huge).unwrap().set_len(400 << 20).unwrap();
        let before = tree(host);
        let ran = host.swapbin(["--name", "x", "src/small", "src/huge", "bin"]);
        ran.is(3).says("there is no room for the new file");
        assert_eq!(tree(host).keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>(), "{kind:?}");
        host.swapbin(["-n", "--name", "x", "src/small", "src/huge", "bin"]).is(3).says("No space left");
    });
}

/// The room of a change is really taken: the canary of the test above. Without it, the first file would be written whole.
#[test]
fn all_room_is_taken_before_the_first_copy() {
    let host = Host::new();
    for name in ["a", "b"] {
        host.file(format!("src/{name}"), vec![7; 1 << 16]);
    }
    let trace = host.path("trace");
    let swapbin = host.tool("swapbin");
    let mut command = Command::new("strace");
    command.args(["-y", "-e", "trace=fallocate,copy_file_range,write", "-o"]).arg(&trace).arg(swapbin.get_program());
    command
        .args(["--name", "ab", "src/a", "src/b", "bin"])
        .current_dir(host.path(""))
        .env("UPSWAP_ROOT", host.path(""));
    host.ran(&mut command).is(0);
    let trace = fs::read_to_string(trace).unwrap();
    let staged: Vec<_> = trace.lines().filter(|line| line.contains(".upswap-new")).collect();
    let reserved = |line: &&&str| line.starts_with("fallocate");
    assert_eq!(staged.iter().filter(reserved).count(), 2, "{trace}");
    assert_eq!(staged.iter().take_while(reserved).count(), 2, "{trace}");
    // And the room of the record, before it is first written.
    let record = trace.lines().position(|line| line.starts_with("fallocate") && line.contains("upswap/ab/"));
    let written = trace.lines().position(|line| line.starts_with("write") && line.contains("upswap/ab/"));
    assert!(record.unwrap() < written.unwrap(), "{trace}");
}

/// Catalogue 25, 83, 98: none of these is waited for, followed into a loop, or replaced.
#[test]
fn what_is_no_regular_file_is_refused_on_either_side() {
    let host = Host::with_runed();
    host.file("src/runed", "v2");
    host.fifo("bin/fifo");
    fs::create_dir(host.path("bin/folder")).unwrap();
    symlink("nowhere", host.path("bin/dangling")).unwrap();
    symlink("loop", host.path("bin/loop")).unwrap();
    run(Command::new("mknod").arg(host.path("bin/device")).args(["c", "1", "3"]));
    for (dest, code, says) in [
        ("bin/fifo", 1, "it is not a regular file"),
        ("bin/device", 1, "it is not a regular file"),
        ("bin/folder", 1, "it is not a regular file"),
        ("bin/dangling", 3, "its symlink leads nowhere"),
        ("bin/loop", 3, "Too many levels of symbolic links"),
        ("bin/runed/x", 3, "not a directory"),
    ] {
        refused(&host, &["-T", "src/runed", dest], code, says);
    }
    for (source, code, says) in [
        ("bin/fifo", 1, "it is not a regular file"),
        ("/dev/zero", 1, "it is not a regular file"),
        ("bin/device", 1, "it is not a regular file"),
        ("bin/folder", 1, "it is not a regular file"),
        ("bin/loop", 3, "Too many levels"),
    ] {
        refused(&host, &[source, "bin/runed"], code, says);
    }
    // A file of /proc has no length, so what it gives is more than was promised.
    let before = (host.inode("bin/runed"), host.names("bin"));
    host.swapbin(["/proc/self/status", "bin/runed"]).is(3).says("did somebody write to the source?");
    assert_eq!((host.inode("bin/runed"), host.names("bin")), before);
}

/// Catalogue 84: a backup is never a destination, and the first swap needs none.
#[test]
fn a_backup_is_never_a_destination() {
    let host = Host::with_runed();
    host.file("src/runed", "v2");
    for dest in ["bin/.runed.bak", "bin/.runed.upswap-1", "bin/.rune.upswap-new"] {
        refused(&host, &["--name", "x", "src/runed", dest], 1, "this is the name of a backup");
    }
    host.swapbin(["--name", "x", "src/runed", "bin/.other.bak"]).is(0);
    host.swapbin(["src/runed", "bin/runed"]).is(0);
    host.rollback(["runed"]).is(0);
    assert_eq!(host.text("bin/runed"), "v1");
}

/// The second file's refusal leaves nothing of the first.
#[test]
fn one_refusal_refuses_all() {
    let host = Host::with_runed();
    host.file("src/runed", "v2");
    host.file("src/rune", "v2");
    host.file("src/other", "v2");
    fs::create_dir(host.path("bin/rune")).unwrap();
    refused(&host, &["--name", "runed", "src/runed", "src/rune", "bin"], 1, "it is not a regular file");
    fs::remove_dir(host.path("bin/rune")).unwrap();
    refused(&host, &["--name", "runed", "src/runed", "src/none", "bin"], 3, "src/none");
    host.swapbin(["--name", "other", "src/rune", "bin/rune"]).is(0);
    host.file("src/rune", "v3");
    refused(&host, &["--name", "runed", "src/runed", "src/rune", "bin"], 1, "it belongs to the set other");
    let stored = host.stored("rune", "v9");
    fs::write(&stored, "altered").unwrap();
    let altered = ["--name", "other", stored.to_str().unwrap(), "src/other", "bin"];
    refused_late(&host, &altered, 1, "not what the store's path promises");
}

/// Catalogue 94, 95, 101: what lies where a file, a lock or the state is to be is never followed.
#[test]
fn what_was_planted_is_never_followed() {
    let host = Host::with_runed();
    host.file("src/runed", "v2");
    let victim = host.file("src/shadow", "secret");
    let staged = host.path("bin/.runed.upswap-new");
    let untouched = host.inode("src/shadow");
    symlink(&victim, &staged).unwrap();
    host.swapbin(["src/runed", "bin/runed"]).is(0);
    assert_eq!((host.inode("src/shadow"), host.text("bin/runed")), (untouched, "v2".into()));
    host.fifo("bin/.runed.upswap-new");
    host.file("src/runed", "v3");
    host.swapbin(["src/runed", "bin/runed"]).is(0);
    assert_eq!(host.text("bin/runed"), "v3");
    host.file("src/runed", "v4");
    fs::create_dir(&staged).unwrap();
    host.swapbin(["src/runed", "bin/runed"]).is(3).says("an earlier run left this and it can't be removed");
    fs::remove_dir(&staged).unwrap();

    let lock = host.path("run/upswap/runed.lock");
    for plant in ["symlink", "fifo", "folder"] {
        let _ = fs::remove_file(&lock);
        match plant {
            "symlink" => symlink(&victim, &lock).unwrap(),
            "fifo" => drop(host.fifo("run/upswap/runed.lock")),
            _ => fs::create_dir(&lock).unwrap(),
        }
        host.swapbin(["src/runed", "bin/runed"]).is(3).says("the lock could not be taken");
        host.rollback(["--list"]).is(0);
    }
    fs::remove_dir(&lock).unwrap();
    // The record is replaced, not written through.
    let state = host.record_path();
    fs::rename(&state, host.path("src/state")).unwrap();
    symlink(host.path("src/state"), &state).unwrap();
    let before = host.text("src/state");
    host.swapbin(["src/runed", "bin/runed"]).is(0);
    assert_eq!(host.text("src/state"), before);
    assert!(!fs::symlink_metadata(&state).unwrap().is_symlink());
    assert_eq!(host.text("src/shadow"), "secret");
}

/// Whoever can write the state decides what is restarted and run: it is believed only where nobody else can.
#[test]
fn a_state_that_others_can_write_is_not_believed() {
    crate::host::needs_root();
    let host = Host::with_runed();
    host.swapped_in("v2");
    host.file("src/runed", "v3");
    let names = ["var/lib/upswap/runed", "var/lib/upswap"];
    for (dir, mode, owner) in
        [(names[0], 0o777, 0), (names[1], 0o777, 0), (names[0], 0o755, 65534), (names[1], 0o755, 65534)]
    {
        chmod(host.path(dir), mode);
        chown(host.path(dir), Some(owner), None).unwrap();
        refused(&host, &["src/runed", "bin/runed"], 3, "so nothing in it can be believed; mend that: ch");
        host.rollback(["runed"]).is(3).says("a file can still go back without it: rollback PATH");
        assert_eq!(host.text("bin/runed"), "v2");
        chmod(host.path(dir), 0o755);
        chown(host.path(dir), Some(0), None).unwrap();
    }
    host.rollback(["runed"]).is(0);
    chmod(host.path(names[1]), 0o777);
    // The last resort asks no record.
    host.rollback(["bin/runed"]).is(0);
    assert_eq!(host.text("bin/runed"), "v2");
}

/// Further hard links are said and not refused; our own backups are not further ones.
#[test]
fn further_hard_links_are_said() {
    on(&WHOLE, |kind, host| {
        fs::hard_link(host.path("bin/runed"), host.path("bin/link")).unwrap();
        host.file("src/runed", "v2");
        host.swapbin(["src/runed", "bin/runed"]).is(0).says("has 1 further hard link; other names keep the old file");
        assert_eq!(host.text("bin/link"), "v1", "{kind:?}");
        for bytes in ["v3", "v4"] {
            host.file("src/runed", bytes);
            let ran = host.swapbin(["src/runed", "bin/runed"]).is(0);
            assert!(!ran.stderr.contains("further"), "{}", ran.stderr);
        }
        // The backups of what is in place again are ours as well.
        host.rollback(["runed"]).is(0);
        host.file("src/runed", "v5");
        let ran = host.swapbin(["src/runed", "bin/runed"]).is(0);
        assert!(!ran.stderr.contains("further"), "{}", ran.stderr);
    });
}

/// Catalogue 76, 77: from another file system, over a program that runs, at once and whole.
#[test]
fn a_running_program_is_replaced_from_another_file_system() {
    on(&WHOLE, |kind, host| {
        run(Command::new("install").args(["-m", "755", "/bin/sleep"]).arg(host.path("bin/runed")));
        let mut running = Command::new(host.path("bin/runed")).arg("60").spawn().unwrap();
        host.file("src/runed", "#!/bin/sh\n");
        host.swapbin(["src/runed", "bin/runed"]).is(0);
        assert_eq!(host.text("bin/runed"), "#!/bin/sh\n", "{kind:?}");
        assert!(running.try_wait().unwrap().is_none());
        running.kill().unwrap();
        running.wait().unwrap();
    });
}

/// Row 40: catalogue 97 too: a source that a service account owns is read once; what is put in place is what was hashed.
#[test]
fn a_source_that_is_written_to_meanwhile_is_noticed() {
    let host = Host::with_runed();
    let stored = host.stored("runed", "v2");
    let before = tree(&host);
    fs::write(&stored, "v3").unwrap();
    host.swapbin([stored.as_path(), &host.path("bin/runed")]).is(1).says("not what the store's path promises");
    assert_eq!(tree(&host).get(&host.path("bin/runed")), before.get(&host.path("bin/runed")));
}

/// Catalogue 107: between the look and the renames other hands write the file. It is theirs, and stays.
#[test]
fn what_other_hands_wrote_meanwhile_is_left_alone() {
    let host = Host::with_runed();
    host.file("src/runed", "v2");
    let hands = format!(
        "#!/bin/sh\nprintf theirs >{}\nprintf 'ActiveState=active\\nInvocationID=1\\n'\n",
        host.path("bin/runed").display()
    );
    // swapbin asks it how the unit is when the new file is staged already.
    host.program("usr/bin/systemctl", hands);
    let swap = ["--unit", "runed", "src/runed", "bin/runed"];
    host.swapbin(swap)
        .is(1)
        .says("other hands changed it while it was being replaced; it is left as it is now, try again");
    assert_eq!((host.text("bin/runed").as_str(), host.names("bin")), ("theirs", vec!["runed".to_owned()]));
    assert!(!host.record_path().exists());
}

/// Catalogue 100: nothing of PATH or of the loader's variables reaches the tools that ours run.
#[test]
fn programs_of_path_are_not_run() {
    let host = Host::with_runed();
    fs::create_dir(host.path("evil")).unwrap();
    for name in ["systemctl", "rpm", "dpkg", "setcap", "getcap", "sh"] {
        host.program(format!("evil/{name}"), format!("#!/bin/sh\ntouch {}\n", host.path("harm").display()));
    }
    host.file("src/runed", "v2");
    let mut command = host.tool("swapbin");
    command.args(["--unit", "runed.service", "src/runed", "bin/runed"]).env("PATH", host.path("evil"));
    command.env("LD_LIBRARY_PATH", host.path("evil"));
    host.ran(&mut command).is(0);
    assert!(!Path::new(&host.path("harm")).exists());
    // Catalogue 102: a name can't drive a terminal.
    let name = OsStr::from_bytes(b"no\x1b[31m\nsuch");
    let ran = host.swapbin([name, "bin/runed".as_ref()]).is(3);
    assert!(!ran.stderr.contains('\x1b') && ran.stderr.lines().count() == 1, "{}", ran.stderr);
}
