//! What the new file has of the one it replaces, and in which order it gets it.

use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::Command;

use fs_err as fs;

use crate::host::{Host, chmod, needs_root};

/// `cap_net_bind_service=ep` as capabilities(7) lays it out, revision 2.
const CAPS: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// An ACL that gives user 65534 reading, as `setfacl -m u:65534:r` writes it (version 2; tag, permissions, ID).
fn acl(mask: u8) -> Vec<u8> {
    let entry =
        |tag: u16, perm: u8, id: u32| [tag.to_le_bytes().to_vec(), vec![perm, 0], id.to_le_bytes().to_vec()].concat();
    let none = u32::MAX;
    let entries =
        [entry(1, 7, none), entry(2, 4, 65534), entry(4, 5, none), entry(0x10, mask, none), entry(0x20, 0, none)];
    [2_u32.to_le_bytes().to_vec(), entries.concat()].concat()
}

fn attr(path: impl AsRef<Path>, name: &str) -> Option<Vec<u8>> {
    xattr::get(path, name).unwrap()
}

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path.as_ref()).unwrap().mode() & 0o7777
}

#[test]
fn all_metadata_is_carried_but_what_belongs_to_the_old_bytes() {
    needs_root();
    let host = Host::with_runed();
    let runed = host.path("bin/runed");
    let mut revision_3 = CAPS.to_vec();
    revision_3[3] = 3;
    revision_3.extend(1000_u32.to_le_bytes());
    for (n, capability) in [CAPS.to_vec(), revision_3].into_iter().enumerate() {
        chown(&runed, Some(1234), Some(65534)).unwrap();
        chmod(&runed, 0o6750);
        let carried = [
            ("user.note", b"kept".to_vec()),
            ("trusted.note", b"\0kept".to_vec()),
            ("security.note", b"kept".to_vec()),
            ("system.posix_acl_access", acl(5)),
            ("security.capability", capability),
        ];
        for (name, value) in &carried {
            xattr::set(&runed, name, value).unwrap();
        }
        let stays = ["security.ima", "security.evm", "trusted.overlay.origin"];
        // A kernel with IMA does not let everybody write these; then there is nothing to see.
        let stays: Vec<_> = stays.into_iter().filter(|name| xattr::set(&runed, name, b"\x01old").is_ok()).collect();
        let (old, meta) = (host.inode("bin/runed"), fs::metadata(&runed).unwrap());

        let file = host.file("src/runed", format!("v2 {n}"));
        host.swapbin([&file, &runed]).is(0);
        assert_ne!(host.inode("bin/runed"), old);
        for (name, value) in &carried {
            assert_eq!(attr(&runed, name).as_ref(), Some(value), "{name}");
        }
        for name in stays {
            assert_eq!(attr(&runed, name), None, "{name}");
        }
        let now = fs::metadata(&runed).unwrap();
        assert_eq!((now.uid(), now.gid(), now.mode()), (meta.uid(), meta.gid(), meta.mode()));
        host.rollback(["runed"]).is(0);
        assert_eq!(host.inode("bin/runed"), old);
    }
}

#[test]
fn what_is_asked_for_wins_over_what_was_there() {
    needs_root();
    let host = Host::with_runed();
    let runed = host.path("bin/runed");
    xattr::set(&runed, "system.posix_acl_access", &acl(7)).unwrap();
    let with = |arguments: &[&str]| {
        host.swapbin(arguments.iter().copied().chain(["--", "src/runed", "bin/runed"])).is(0).prints("DIR/bin/runed\n");
    };
    host.file("src/runed", "v2");
    with(&["--mode", "4710", "--owner", "65534", "-g", "root", "--cap", "cap_net_bind_service=ep"]);
    let meta = fs::metadata(&runed).unwrap();
    assert_eq!((mode(&runed), meta.uid(), meta.gid()), (0o4710, 65534, 0), "an ACL's mask does not outdo --mode");
    assert_eq!(attr(&runed, "security.capability").as_deref(), Some(&CAPS[..]));
    // The same bytes with other metadata are a change too.
    with(&["--mode", "755"]);
    assert_eq!((mode(&runed), attr(&runed, "security.capability").is_some()), (0o755, true));
    with(&["--no-caps", "--owner", "root"]);
    assert_eq!((attr(&runed, "security.capability"), fs::metadata(&runed).unwrap().uid()), (None, 0));
    host.swapbin(["--no-caps", "--owner", "root", "src/runed", "bin/runed"]).is(0).prints("");
}

#[test]
fn a_program_that_is_empty_or_cut_off_is_refused_and_any_other_file_is_the_caller_s() {
    let host = Host::with_runed();
    chmod(host.path("bin/runed"), 0o755);
    let program = fs::read("/bin/true").unwrap();
    for (bytes, why) in [(&b""[..], "it is empty"), (&program[..program.len() / 2], "it can't run")] {
        host.file("src/bad", bytes);
        host.swapbin(["src/bad", "bin/runed"]).is(1).says(why);
        host.swapbin(["-n", "src/bad", "bin/runed"]).is(1).says(why);
        assert_eq!((host.text("bin/runed"), host.names("bin")), ("v1".into(), vec!["runed".to_owned()]));
    }
    host.file("bin/notes", "x");
    host.file("src/bad", "");
    host.swapbin(["src/bad", "bin/notes"]).is(0);
}

#[test]
fn a_new_file_gets_the_mode_that_install_would_give_it() {
    let host = Host::new();
    let program = fs::read("/bin/true").unwrap();
    for (bytes, expected) in [(&b"#!/bin/sh\n"[..], 0o755), (&program, 0o755), (b"[Unit]", 0o644), (b"", 0o644)] {
        host.file("src/new", bytes);
        chmod(host.path("src/new"), 0o600);
        host.swapbin(["src/new", "bin/new"]).is(0);
        assert_eq!(mode(host.path("bin/new")), expected, "{bytes:?}");
        host.rollback(["bin/new".to_owned(), "-n".to_owned()]).is(1);
        host.rollback(["new"]).is(0);
        assert_eq!(fs::metadata(host.path("bin/new")).ok().map(|m| m.mode()), None);
        fs::remove_dir_all(host.path("var/lib/upswap")).unwrap();
    }
}

/// At every system call the path is the old file, or the new one with all it must have: the staged file has its owner,
/// mode and capability, is on disk and closed, before the first rename.
#[test]
fn the_new_file_has_everything_before_its_rename() {
    let host = Host::with_runed();
    needs_root();
    xattr::set(host.path("bin/runed"), "security.capability", &CAPS).unwrap();
    host.file("src/runed", "v2");
    let trace = host.path("trace");
    let swapbin = host.tool("swapbin");
    let mut command = Command::new("strace");
    let calls = "trace=fchown,fchmod,fsetxattr,fsync,close,linkat,link,rename,renameat,renameat2,unlink,unlinkat";
    command.args(["-y", "-e", calls, "-o"]).arg(&trace).arg(swapbin.get_program());
    command.args(["src/runed", "bin/runed"]).current_dir(host.path("")).env("UPSWAP_ROOT", host.path(""));
    host.ran(&mut command).is(0);
    let trace = fs::read_to_string(trace).unwrap();
    let staged = "bin/.runed.upswap-new";
    let order: [&[&str]; 11] = [
        &["fchown(", staged],
        &["fchmod(", staged],
        &["fsetxattr(", staged, "security.capability"],
        &["fsync(", staged],
        &["close(", staged],
        // The way back stands on the old file, which others may have written a moment ago.
        &["fsync(", "bin/runed>"],
        &["fsync(", "/bin>"],
        &["rename", "/state.json"],
        &["link", "bin/runed", "bin/.runed.upswap-1"],
        &["fsync(", "/bin>"],
        &["rename", staged, "bin/runed\""],
    ];
    let mut lines = trace.lines();
    for parts in order {
        let found = lines.any(|line| parts.iter().all(|part| line.contains(part)));
        assert!(found, "{parts:?}: no such call, or not after the one before\n{trace}");
    }
    let at_the_path =
        |line: &str| line.contains("bin/runed\"") && !line.starts_with("link") && !line.starts_with("rename");
    assert_eq!(trace.lines().find(|line| at_the_path(line)), None, "the path is only ever renamed over");
}
