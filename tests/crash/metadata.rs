//! Owner, mode, ACL, attributes and capabilities: carried exactly, or the swap is refused and says what can't be.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use fs_err as fs;

use crate::host::{Host, Ran, chmod};
use crate::odd::{Fs, WHOLE, alone, on, run};

/// `cap_net_bind_service=ep`, revision 2; revision 3 has the root of a user namespace behind it.
const CAPS: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Attributes of which the new file must have each one, and no other.
const CARRIED: [(&str, &[u8]); 6] = [
    ("user.note", b"kept"),
    ("user.empty", b""),
    ("trusted.note", b"\0\xff"),
    ("security.note", b"kept"),
    ("security.selinux", b"system_u:object_r:bin_t:s0\0"),
    ("security.capability", &CAPS),
];

/// What a file has besides its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    owner: (u32, u32),
    mode: u32,
    attributes: BTreeMap<OsString, Vec<u8>>,
}

impl Seen {
    fn of(path: &Path) -> Self {
        let meta = fs::symlink_metadata(path).unwrap();
        let value = |name: OsString| (name.clone(), xattr::get(path, name).unwrap().unwrap());
        let mut attributes: BTreeMap<_, _> = xattr::list(path).unwrap().map(value).collect();
        // xfs shows the ACL once more under its own name.
        attributes.remove(OsStr::new("trusted.SGI_ACL_FILE"));
        Self { owner: (meta.uid(), meta.gid()), mode: meta.mode(), attributes }
    }

    /// The judge: what `self` had and `new` has not, or the other way round.
    fn lost_in(&self, new: &Self) -> Vec<String> {
        let mut lost = Vec::new();
        if self.owner != new.owner {
            lost.push(format!("owner {:?} is {:?}", self.owner, new.owner));
        }
        if self.mode != new.mode {
            lost.push(format!("mode {:o} is {:o}", self.mode, new.mode));
        }
        let names: std::collections::BTreeSet<_> = self.attributes.keys().chain(new.attributes.keys()).collect();
        let differs = |name: &&&OsString| self.attributes.get(**name) != new.attributes.get(**name);
        lost.extend(names.iter().filter(differs).map(|name| name.to_string_lossy().into_owned()));
        lost
    }
}

/// Gives a file everything there is, and says how many attributes that are besides the ACL, whose mask goes with the mode's group
/// bits. tmpfs, and an overlay of it, takes no `user.*` before Linux 6.6; that is all that a file may go without.
fn dress(path: &Path, owner: (u32, u32), mode: u32, capability: &[u8]) -> usize {
    chown(path, Some(owner.0), Some(owner.1)).unwrap();
    chmod(path, mode);
    run(Command::new("setfacl").args(["-m", "u:65534:r-x,g:4711:r--,m:rx"]).arg(path));
    let mut taken = 0;
    for (name, value) in CARRIED {
        let value = if name == "security.capability" { capability } else { value };
        match xattr::set(path, name, value) {
            Ok(()) => taken += 1,
            Err(e) => assert!(name.starts_with("user.") && !takes_user(path), "{}: {name}: {e}", path.display()),
        }
    }
    taken
}

/// Whether the file system of `path` has `user.*` attributes, or is one that need not.
fn takes_user(path: &Path) -> bool {
    let kind = run(Command::new("stat").args(["--file-system", "--format=%T"]).arg(path));
    !["tmpfs", "overlayfs"].contains(&kind.trim()) || xattr::set(path, "user.probe", b"").is_ok()
}

fn revision_3() -> Vec<u8> {
    let mut bytes = CAPS.to_vec();
    bytes[3] = 3;
    bytes.extend(1000_u32.to_le_bytes());
    bytes
}

/// Runs swapbin under strace, one of its calls failing or lying.
fn faulty(host: &Host, inject: &str, arguments: &[&str]) -> Ran {
    let call = inject.split(':').next().unwrap();
    let swapbin = host.tool("swapbin");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &format!("inject={inject}")]);
    command.arg(swapbin.get_program()).args(arguments).current_dir(host.path("")).env("UPSWAP_ROOT", host.path(""));
    host.ran(&mut command)
}

/// Catalogue 80, 85, 86, 91.
#[test]
fn everything_is_carried_on_every_file_system() {
    on(&WHOLE, |kind, host| {
        let runed = host.path("bin/runed");
        let cases =
            [((0, 0), 0o755, CAPS.to_vec()), ((1234, 65534), 0o6750, revision_3()), ((0, 50), 0o1051, CAPS.to_vec())];
        for (n, (owner, mode, capability)) in cases.into_iter().enumerate() {
            let taken = dress(&runed, owner, mode, &capability);
            let (old, before) = (Seen::of(&runed), host.inode("bin/runed"));
            assert_eq!(old.attributes.len(), taken + 1, "{kind:?}: {old:?}");
            let file = host.file("src/runed", format!("v2 {n}"));
            let made = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 5);
            fs::File::options().write(true).open(&file).unwrap().set_modified(made).unwrap();
            // What others may do to a new file by default must not matter.
            let mut command = Command::new("sh");
            let swapbin = host.tool("swapbin");
            command.args(["-c", "umask 0777; exec \"$@\"", "sh"]).arg(swapbin.get_program()).args([&file, &runed]);
            host.ran(command.env("UPSWAP_ROOT", host.path(""))).is(0);
            let new = Seen::of(&runed);
            assert_eq!(old.lost_in(&new), Vec::<String>::new(), "{kind:?}");
            let meta = fs::metadata(&runed).unwrap();
            assert_eq!(meta.modified().unwrap(), made, "{kind:?}: the time is that of the new bytes");
            host.rollback(["runed"]).is(0);
            assert_eq!((Seen::of(&runed), host.inode("bin/runed")), (old, before), "{kind:?}");
        }
    });
}

/// The canary: what people use instead loses something every time, and the judge sees it.
#[test]
fn the_judge_sees_what_install_and_cp_lose() {
    on(&[Fs::Ext4, Fs::Tmpfs], |kind, host| {
        let runed = host.path("bin/runed");
        let file = host.file("src/runed", "v2");
        for (swap, loses) in [
            (
                "install -m 6750 -o 1234 -g 65534 \"$1\" \"$2\"",
                &["security.capability", "user.note", "system.posix_acl_access"][..],
            ),
            (
                "cp -p \"$2\" \"$2.new\"; cat \"$1\" >\"$2.new\"; mv \"$2.new\" \"$2\"",
                &["security.capability", "user.note"],
            ),
            (
                "cp --preserve=all \"$2\" \"$2.new\"; cat \"$1\" >\"$2.new\"; mv \"$2.new\" \"$2\"",
                &["security.capability"],
            ),
            ("cp --preserve=all \"$2\" \"$2.new\"; chown 0 \"$2.new\"; mv \"$2.new\" \"$2\"", &["owner", "mode"]),
        ] {
            fs::remove_file(&runed).unwrap();
            host.file("bin/runed", "v1");
            dress(&runed, (1234, 65534), 0o6750, &CAPS);
            let old = Seen::of(&runed);
            run(Command::new("sh").args(["-ec", swap, "sh"]).args([&file, &runed]));
            let lost = old.lost_in(&Seen::of(&runed)).join(", ");
            for what in
                loses.iter().filter(|what| !what.starts_with("user.") || old.attributes.contains_key(OsStr::new(what)))
            {
                assert!(lost.contains(what), "{kind:?}: {swap}: {what} is lost and not seen: {lost}");
            }
        }
    });
}

/// Catalogue 87.
#[test]
fn what_is_bound_to_the_old_bytes_stays_behind_and_that_is_said_once() {
    on(&[Fs::Ext4, Fs::Tmpfs], |kind, host| {
        let runed = host.path("bin/runed");
        let stays = ["security.evm", "security.ima", "trusted.overlay.origin", "user.overlay.origin"];
        let set: Vec<_> = stays.into_iter().filter(|name| xattr::set(&runed, name, b"\x04old").is_ok()).collect();
        assert!(set.len() >= 2, "{kind:?}: {set:?}");
        xattr::set(&runed, "trusted.overlayed", b"kept").unwrap();
        host.file("src/runed", "v2");
        let ran = host.swapbin(["src/runed", "bin/runed"]).is(0).says(&set.join(", "));
        assert_eq!(ran.stderr.matches("not carried").count(), 1, "{}", ran.stderr);
        let left: Vec<_> = xattr::list(&runed).unwrap().collect();
        assert_eq!(left, ["trusted.overlayed"], "{kind:?}");
        host.file("src/runed", "v3");
        let ran = host.swapbin(["src/runed", "bin/runed"]).is(0);
        assert!(!ran.stderr.contains("not carried"), "{}", ran.stderr);
    });
}

/// A folder's default ACL is for what is made in it by hand: the new file is as the old one was.
#[test]
fn a_default_acl_of_the_folder_does_not_come_in() {
    on(&[Fs::Ext4, Fs::Xfs], |kind, host| {
        let runed = host.path("bin/runed");
        chmod(&runed, 0o640);
        run(Command::new("setfacl").args(["-d", "-m", "u:65534:rwx"]).arg(host.path("bin")));
        let old = Seen::of(&runed);
        host.file("src/runed", "v2");
        host.swapbin(["src/runed", "bin/runed"]).is(0);
        assert_eq!(old.lost_in(&Seen::of(&runed)), Vec::<String>::new(), "{kind:?}");
    });
}

/// Revision 1 can only come from the disk of an old kernel; what this one makes of it is carried, or named and refused.
#[test]
fn a_capability_that_the_kernel_will_not_read_is_named() {
    alone(|| {
        let host = Host::new();
        Fs::Ext4.mount(&host, "bin");
        host.file("bin/runed", "v1");
        run(Command::new("umount").arg(host.path("bin")));
        host.file("caps", [1, 0, 0, 1, 0, 4, 0, 0, 0, 0, 0, 0]);
        let set = format!("ea_set -f {} runed security.capability", host.path("caps").display());
        run(Command::new("debugfs").args(["-w", "-R", &set]).arg(host.path("image/disk")));
        run(Command::new("mount").args(["-o", "loop"]).arg(host.path("image/disk")).arg(host.path("bin")));
        host.file("src/runed", "v2");
        let before = host.inode("bin/runed");
        match xattr::get(host.path("bin/runed"), "security.capability") {
            Ok(Some(bytes)) => {
                host.swapbin(["src/runed", "bin/runed"]).is(0);
                assert_eq!(xattr::get(host.path("bin/runed"), "security.capability").unwrap(), Some(bytes));
            }
            unread => {
                host.swapbin(["src/runed", "bin/runed"]).is(3).says("security.capability could not be read");
                assert_eq!(host.inode("bin/runed"), before, "{unread:?}");
                assert!(!host.names("bin").contains(&".runed.upswap-new".to_owned()));
            }
        }
    });
}

/// Catalogue 88, 89: named, refused, nothing changed, nothing left.
#[test]
fn an_attribute_that_can_t_be_set_is_named_and_nothing_changes() {
    on(&[Fs::Ext4], |_, host| {
        let runed = host.path("bin/runed");
        dress(&runed, (0, 0), 0o4755, &CAPS);
        host.file("src/runed", "v2");
        let before = (Seen::of(&runed), host.inode("bin/runed"), host.names("bin"));
        for (inject, says) in [
            ("fsetxattr:error=EPERM", "could not be set: Operation not permitted"),
            ("fsetxattr:error=E2BIG", "could not be set: Argument list too long"),
            ("fsetxattr:error=ENOSPC:when=2", "could not be set: No space left"),
            ("fsetxattr:error=EOPNOTSUPP:when=6", "could not be set: Operation not supported"),
            ("fchown:error=EPERM", "owner could not be set"),
            ("fchmod:error=EPERM", "mode could not be set"),
            ("fgetxattr:error=EIO", "could not be read"),
            // Said to be done, and not done.
            ("fsetxattr:retval=0:when=7", "security.capability could not be set: it reads back as something else"),
            ("fsetxattr:retval=0:when=3", "it reads back as something else"),
            ("fchmod:retval=0", "it reads back as something else"),
        ] {
            let ran = faulty(host, inject, &["src/runed", "bin/runed"]).says(says).is(3);
            assert_eq!(ran.stdout, "", "{inject}");
            let after = (Seen::of(&runed), host.inode("bin/runed"), host.names("bin"));
            assert_eq!(before, after, "{inject}");
        }
        host.swapbin(["src/runed", "bin/runed"]).is(0);
    });
    on(&[Fs::Ramfs], |_, host| {
        host.file("src/runed", "v2");
        for dry in [&["-n"][..], &[]] {
            let arguments = [dry, &["--cap", "cap_net_bind_service=ep", "src/runed", "bin/runed"]].concat();
            host.swapbin(arguments).is(1).says("security.capability can't be set");
        }
        assert_eq!((host.names("bin"), host.text("bin/runed")), (vec!["runed".to_owned()], "v1".to_owned()));
        host.swapbin(["src/runed", "bin/runed"]).is(0);
        assert_eq!(host.text("bin/runed"), "v2");
    });
}
