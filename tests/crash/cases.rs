//! The changes that are swept, each on the host that it is made on.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use fs_err as fs;

use crate::bed::Bed;
use crate::host::{Host, chmod};

/// A change.
pub struct Case {
    /// For the figures.
    pub name: &'static str,
    /// Makes the host as it is before.
    pub prepare: fn(&Host),
    /// What is run.
    pub command: fn(&Host) -> Command,
    /// What makes the other state of the paths, where the command ends with the state that it began with.
    pub other: Option<fn(&Host) -> Command>,
    /// The managed paths.
    pub paths: &'static [&'static str],
    /// The command's exit code when nothing is in its way.
    pub code: i32,
    /// The exit codes that are right for the same command when its deed is done already.
    pub again: &'static [i32],
    /// What brings the old files back afterwards, to see that the backups are good.
    pub back: Option<&'static str>,
}

/// The state of the paths before, after, and in between.
pub struct States {
    /// Before.
    pub old: Whole,
    /// After.
    pub wanted: Whole,
    /// What a path may hold meanwhile.
    pub either: [Whole; 3],
    /// What was wrong with how the change ended from a disk, by its fingerprint: the same disk ends the same way.
    pub ended: Mutex<BTreeMap<String, Vec<String>>>,
}

type Whole = Vec<Option<crate::bed::Entry>>;

impl Case {
    /// Runs the change with nothing in its way, and looks.
    pub fn states(&self, bed: &Bed) -> States {
        bed.reset();
        let old = bed.holds(self.paths);
        let other = self.other.map_or_else(
            || old.clone(),
            |other| {
                bed.run(&mut other(&bed.host));
                let other = bed.holds(self.paths);
                bed.reset();
                other
            },
        );
        let ran = bed.run(&mut (self.command)(&bed.host));
        assert_eq!(ran.code, self.code, "{}: {ran:?}", self.name);
        let wanted = bed.holds(self.paths);
        // But for what ends as it began, and says how it could have ended.
        assert!(wanted != old || self.other.is_some(), "{}: it changes nothing", self.name);
        States { either: [old.clone(), wanted.clone(), other], old, wanted, ended: Mutex::default() }
    }
}

/// All of them. setcap-keep is judged otherwise: its COMMAND is not ours.
pub const CASES: [Case; 10] = [
    Case {
        name: "swapbin, 1 file, the first time",
        prepare: |host| one(host),
        command: |host| tool(host, "swapbin", &["src/runed", "bin/runed"]),
        other: None,
        paths: &["bin/runed"],
        code: 0,
        again: &[0],
        back: Some("rollback runed"),
    },
    Case {
        name: "swapbin, 1 file, with a history",
        prepare: |host| {
            one(host);
            with_history(host);
        },
        command: |host| tool(host, "swapbin", &["--keep", "2", "src/runed", "bin/runed"]),
        other: None,
        paths: &["bin/runed"],
        code: 0,
        again: &[0],
        back: Some("rollback runed"),
    },
    Case {
        name: "swapbin, 2 files",
        prepare: |host| several(host, &["runed", "rune"], "bin"),
        command: |host| tool(host, "swapbin", &["--name", "runed", "-t", "bin", "src/runed", "src/rune"]),
        other: None,
        paths: &["bin/runed", "bin/rune"],
        code: 0,
        again: &[0],
        back: Some("rollback runed"),
    },
    Case {
        name: "swapbin, 5 files, one of them a unit, one of them new",
        prepare: |host| {
            several(host, &["a", "b", "c", "d", "x.service"], "lib/systemd");
            fs::remove_file(host.path("lib/systemd/d")).unwrap();
        },
        command: |host| {
            let files = ["src/a", "src/b", "src/c", "src/d", "src/x.service"];
            tool(host, "swapbin", &[&["--name", "runed", "-t", "lib/systemd"], &files[..]].concat())
        },
        other: None,
        paths: &["lib/systemd/a", "lib/systemd/b", "lib/systemd/c", "lib/systemd/d", "lib/systemd/x.service"],
        code: 0,
        again: &[0],
        back: Some("rollback runed"),
    },
    Case {
        name: "rollback --guard, COMMAND succeeds",
        prepare: |host| several(host, &["runed", "x.service"], "lib/systemd"),
        command: |host| guard(host, "true"),
        other: None,
        paths: &["lib/systemd/runed", "lib/systemd/x.service"],
        code: 0,
        again: &[0],
        back: Some("rollback runed"),
    },
    Case {
        name: "rollback --guard, COMMAND fails",
        prepare: |host| several(host, &["runed", "x.service"], "lib/systemd"),
        command: |host| guard(host, "false"),
        other: Some(|host| guard(host, "true")),
        paths: &["lib/systemd/runed", "lib/systemd/x.service"],
        code: 5,
        again: &[5],
        back: None,
    },
    Case {
        name: "rollback NAME",
        prepare: |host| {
            several(host, &["runed", "x.service"], "lib/systemd");
            ok(host, &["--name", "runed", "-t", "lib/systemd", "src/runed", "src/x.service"]);
        },
        command: |host| tool(host, "rollback", &["runed"]),
        other: None,
        paths: &["lib/systemd/runed", "lib/systemd/x.service"],
        code: 0,
        again: &[1],
        back: None,
    },
    Case {
        name: "rollback --pending, a trial of 2 files",
        prepare: |host| {
            several(host, &["runed", "x.service"], "lib/systemd");
            ok(host, &["--trial", "--name", "runed", "-t", "lib/systemd", "src/runed", "src/x.service"]);
            of_a_guard(host);
        },
        command: |host| tool(host, "rollback", &["--pending"]),
        other: None,
        paths: &["lib/systemd/runed", "lib/systemd/x.service"],
        code: 0,
        again: &[0],
        back: None,
    },
    Case {
        name: "swapbin --commit",
        prepare: |host| {
            several(host, &["runed", "x.service"], "lib/systemd");
            ok(host, &["--name", "runed", "-t", "lib/systemd", "src/runed", "src/x.service"]);
            for name in ["runed", "x.service"] {
                program(host, &format!("src/{name}"), "newest");
            }
            ok(host, &["--trial", "--name", "runed", "-t", "lib/systemd", "src/runed", "src/x.service"]);
        },
        command: |host| tool(host, "swapbin", &["--commit", "runed"]),
        other: Some(|host| tool(host, "rollback", &["--pending"])),
        paths: &["lib/systemd/runed", "lib/systemd/x.service"],
        code: 0,
        again: &[1],
        back: None,
    },
    Case {
        name: "rollback PATH",
        prepare: |host| {
            one(host);
            ok(host, &["src/runed", "bin/runed"]);
        },
        command: |host| tool(host, "rollback", &["bin/runed"]),
        other: None,
        paths: &["bin/runed"],
        code: 0,
        again: &[0],
        back: None,
    },
];

/// One of our tools on its host.
pub fn tool(host: &Host, name: &str, arguments: &[&str]) -> Command {
    let mut command = host.tool(name);
    command.args(arguments);
    command
}

/// A program, long enough to be cut short.
pub fn program(host: &Host, path: &str, version: &str) {
    host.file(path, format!("#!/bin/sh\necho {version} {path}\nexit 0\n{}\n", "# more of it\n".repeat(3000)));
    chmod(host.path(path), 0o755);
}

/// The file in place has what a file can have.
pub fn furnish(path: &Path) {
    std::os::unix::fs::chown(path, Some(1234), Some(4321)).unwrap();
    chmod(path, 0o2751);
    xattr::set(path, "user.note", b"kept").unwrap();
    xattr::set(path, "trusted.note", b"kept too").unwrap();
    // acl(5): user::rwx user:1000:r-- group::r-x mask::r-x other::--x, as the kernel keeps it.
    let entries: [(u16, u16, u32); 5] =
        [(1, 7, u32::MAX), (2, 4, 1000), (4, 5, u32::MAX), (0x10, 5, u32::MAX), (0x20, 1, u32::MAX)];
    let mut acl = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        acl.extend([&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat());
    }
    xattr::set(path, "system.posix_acl_access", &acl).unwrap();
    // cap_net_bind_service=ep, version 2 (capabilities(7)).
    let mut capability = 0x0200_0001_u32.to_le_bytes().to_vec();
    capability.extend((1_u32 << 10).to_le_bytes());
    capability.resize(20, 0);
    xattr::set(path, "security.capability", &capability).unwrap();
}

/// One furnished file, and a new one for it.
pub fn one(host: &Host) {
    several(host, &["runed"], "bin");
}

fn several(host: &Host, names: &[&str], folder: &str) {
    fs::create_dir_all(host.path(folder)).unwrap();
    for name in names {
        let dest = format!("{folder}/{name}");
        program(host, &dest, "old");
        if name.ends_with(".service") {
            chmod(host.path(&dest), 0o644);
        } else {
            furnish(&host.path(&dest));
        }
        program(host, &format!("src/{name}"), "new");
    }
}

/// Three generations before, so that the next commit prunes.
fn with_history(host: &Host) {
    for version in ["older", "old"] {
        program(host, "src/was", version);
        ok(host, &["src/was", "bin/runed"]);
    }
}

/// Makes the open trial one of a guard that is gone: what was opened by hand and is whole is left to its operator. Its folders are
/// others every time the host is put back.
fn of_a_guard(host: &Host) {
    let mut record = host.record();
    assert_eq!(record["trial"]["by_hand"].take(), true);
    record["trial"]["by_hand"] = false.into();
    record["trial"]["folders"] = serde_json::json!({});
    fs::write(host.record_path(), record.to_string()).unwrap();
}

fn guard(host: &Host, last: &str) -> Command {
    // Two swaps of one guard are one change.
    let script = format!(
        "swapbin --unverified -t lib/systemd src/runed >/dev/null; swapbin -t lib/systemd src/x.service >/dev/null; {last}"
    );
    host.guard(&script)
}

fn ok(host: &Host, arguments: &[&str]) {
    host.swapbin(arguments).is(0);
}
