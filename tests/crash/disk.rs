//! Loop file systems of a test's own, in a mount namespace of its thread: mounts and loop devices go with the thread,
//! whatever ends it.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fs_err as fs;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::bed::ground;

/// A kind of file system, and how it is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ext4,
    /// Without the kernel's own care for programs that rename without fsync.
    Ext4NoAutoDaAlloc,
    Xfs,
    Btrfs,
}

impl Kind {
    fn program(self) -> &'static str {
        match self {
            Self::Ext4 | Self::Ext4NoAutoDaAlloc => "mkfs.ext4",
            Self::Xfs => "mkfs.xfs",
            Self::Btrfs => "mkfs.btrfs",
        }
    }

    /// Makes an empty file system in a sparse file: the smallest that mkfs makes with the blocks that large ones have.
    pub fn make(self, image: &Path) {
        let (megabytes, arguments): (u64, &[&str]) = match self {
            Self::Ext4 | Self::Ext4NoAutoDaAlloc => (32, &["-q", "-F", "-b", "4096", "-J", "size=4"]),
            // Less than 300 MB is for tests alone, and xfs asks whether that is known.
            Self::Xfs => (24, &["-q", "--unsupported"]),
            Self::Btrfs => (128, &["-q"]),
        };
        fs::File::create(image).unwrap().set_len(megabytes << 20).unwrap();
        run(Command::new(self.program()).args(arguments).arg(image).stderr(Stdio::null()));
    }

    /// Mounts an image; xfs and ext4 replay their journal here.
    pub fn mount(self, image: &Path, point: &Path) -> Mounted {
        self.try_mount(image, point).unwrap_or_else(|why| panic!("{why}"))
    }

    /// Mounts an image, or says why it can't be.
    pub fn try_mount(self, image: &Path, point: &Path) -> Result<Mounted, String> {
        let options = if self == Self::Ext4NoAutoDaAlloc { "loop,noauto_da_alloc" } else { "loop" };
        let mut command = Command::new("mount");
        let output = command.args(["-o", options]).args([image, point]).output().unwrap();
        if output.status.success() {
            Ok(Mounted { point: point.to_owned() })
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
    }
}

/// A mounted file system; unmounted when dropped.
#[derive(Debug)]
pub struct Mounted {
    point: PathBuf,
}

impl Mounted {
    /// Unmounts, and panics where it is still busy: what a test reads afterwards must be all that was written.
    pub fn unmount(self) {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            match umount2(&self.point, MntFlags::empty()) {
                Ok(()) => return std::mem::forget(self),
                // Another thread's child has a copy of our descriptors until it executes its program.
                Err(Errno::EBUSY) if Instant::now() < end => std::thread::yield_now(),
                Err(e) => panic!("umount {}: {e}", self.point.display()),
            }
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = umount2(&self.point, MntFlags::MNT_DETACH);
    }
}

/// A folder in memory for images and mount points, and this thread's own mounts.
pub fn workshop() -> tempfile::TempDir {
    needs();
    unshare(CloneFlags::CLONE_NEWNS).unwrap_or_else(|e| panic!("a mount namespace can't be made: {e}"));
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
    tempfile::tempdir_in(ground()).unwrap()
}

/// Fails with one line when this machine can't cut the power of a loop file system.
fn needs() {
    assert!(nix::unistd::geteuid().is_root(), "the power cuts need root: mount(8), unshare(2)");
    for device in ["/dev/loop-control", "/dev/fuse"] {
        assert!(Path::new(device).exists(), "{device} is missing: the power cuts need it");
    }
    for kind in [Kind::Ext4, Kind::Xfs, Kind::Btrfs] {
        let program = kind.program();
        let there = ["/usr/sbin", "/sbin", "/usr/bin"].iter().any(|dir| Path::new(dir).join(program).exists());
        assert!(there, "{program} is missing: run 'scripts/deps test'");
    }
}

/// Copies an image, holes and all.
pub fn copy(from: &Path, to: &Path) {
    run(Command::new("cp").arg("--sparse=always").args([from, to]));
}

/// Runs a command that must succeed.
#[track_caller]
pub fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{command:?}: {}: {said}", output.status);
}

/// One record of a disk that blklog logged.
#[derive(Debug)]
pub enum Logged {
    Write { offset: u64, data: Vec<u8> },
    Flush,
}

/// Reads what blklog wrote.
pub fn read_log(path: &Path) -> Vec<Logged> {
    let bytes = fs::read(path).unwrap();
    let mut rest = &bytes[..];
    let mut log = Vec::new();
    while let [kind, after @ ..] = rest {
        let number = |at: usize| u64::from_le_bytes(after[at..at + 8].try_into().unwrap());
        let (offset, length) = (number(0), usize::try_from(number(8)).unwrap());
        let data = &after[16..16 + length];
        rest = &after[16 + length..];
        log.push(if *kind == b'W' { Logged::Write { offset, data: data.to_vec() } } else { Logged::Flush });
    }
    log
}

/// Writes one sector of a logged write, or all of it, into an image.
pub fn apply(image: &fs::File, offset: u64, data: &[u8]) {
    image.file().write_all_at(data, offset).unwrap();
}
