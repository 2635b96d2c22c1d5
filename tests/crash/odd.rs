//! Odd file systems and odd mounts, each in a mount namespace of its own: gone when its test ends, however it ends.

use std::path::Path;
use std::process::Command;
use std::thread;

use fs_err as fs;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::host::{Host, needs_root};

/// The kinds of file systems a program may lie on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fs {
    Tmpfs,
    Ext4,
    Xfs,
    Btrfs,
    Overlay,
    Ramfs,
}

/// Those that keep extended attributes.
pub const WHOLE: [Fs; 5] = [Fs::Tmpfs, Fs::Ext4, Fs::Xfs, Fs::Btrfs, Fs::Overlay];

/// Runs `test` in a thread that has mounts of its own. A thread, because a namespace belongs to one, and libtest may run
/// tests in its main thread.
#[track_caller]
pub fn alone(test: impl FnOnce() + Send) {
    needs_root();
    let run = || {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        test();
    };
    let ended = thread::scope(|scope| scope.spawn(run).join());
    if let Err(panic) = ended {
        std::panic::resume_unwind(panic);
    }
}

/// Runs `test` on a host whose `bin` is a file system of each of `kinds` in turn, with `bin/runed` being `v1`.
#[track_caller]
pub fn on(kinds: &[Fs], test: impl Fn(Fs, &Host) + Sync) {
    for kind in kinds {
        alone(|| {
            let host = Host::new();
            kind.mount(&host, "bin");
            host.file("bin/runed", "v1");
            test(*kind, &host);
        });
    }
}

impl Fs {
    /// Mounts an empty one at a folder of the host, for root alone to write to.
    pub fn mount(self, host: &Host, at: &str) {
        let at = host.path(at);
        let image = || {
            // In memory, and sparse: xfs makes none below 300 MiB.
            mounted("tmpfs", &fresh(host, "image"), "size=400m");
            let image = host.path("image/disk");
            fs::File::create(&image).unwrap().set_len(320 << 20).unwrap();
            image
        };
        match self {
            Self::Tmpfs => mounted("tmpfs", &at, "mode=0755"),
            Self::Ramfs => mounted("ramfs", &at, "mode=0755"),
            Self::Ext4 => looped(&["mkfs.ext4", "-q", "-O", "^has_journal"], &image(), &at),
            Self::Xfs => looped(&["mkfs.xfs", "-q"], &image(), &at),
            Self::Btrfs => looped(&["mkfs.btrfs", "-q"], &image(), &at),
            Self::Overlay => {
                let layers = fresh(host, "layers");
                mounted("tmpfs", &layers, "mode=0755");
                let [lower, upper, work] =
                    ["lower", "upper", "work"].map(|name| fresh(host, &format!("layers/{name}")));
                // The file that is replaced is one of the lower layer, as in a container.
                fs::write(lower.join("runed"), "v0").unwrap();
                let options =
                    format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
                mounted("overlay", &at, &options);
            }
        }
    }
}

/// Mounts again what is mounted at `at`, with other flags.
pub fn remount(at: &Path, flags: MsFlags) {
    mount(None::<&str>, at, None::<&str>, MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags, None::<&str>).unwrap();
}

/// Mounts `what` over `at`.
pub fn bind(what: &Path, at: &Path) {
    mount(Some(what), at, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
}

/// Mounts a file system that needs no device.
pub fn mounted(kind: &str, at: &Path, options: &str) {
    mount(Some(kind), at, Some(kind), MsFlags::empty(), Some(options)).unwrap();
}

fn looped(make: &[&str], image: &Path, at: &Path) {
    run(Command::new(make[0]).args(&make[1..]).arg(image));
    run(Command::new("mount").args(["-o", "loop"]).arg(image).arg(at));
}

fn fresh(host: &Host, name: &str) -> std::path::PathBuf {
    let path = host.path(name);
    fs::create_dir(&path).unwrap();
    path
}

/// Runs a command that has to succeed.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}; install it: scripts/deps test"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
