//! `powercut MOUNTPOINT… [--flush-log | --foreign-fsync]`: cuts the power of mounted loop file systems.
//!
//! From the call on nothing more reaches the image: not what is in the page cache, not the journal in memory (`FS_IOC_SHUTDOWN`,
//! as xfs's `godown` has it). Unmounted and mounted again, the file system is what a machine finds after its power came back.
//! With `--flush-log` the journal is written out first, as if the cut came right after its commit; with `--foreign-fsync`
//! another file is fsynced first, which commits the journal with all that others have in it.
//!
//! The same call on `/` would end the machine, so anything but a loop device mounted at that very path is refused (exit 2).

use std::fs;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::sys::stat::{major, minor};

/// The major number of loop devices (Documentation/admin-guide/devices.txt).
const LOOP: u64 = 7;
/// `EXT4_GOING_FLAGS_LOGFLUSH`, `XFS_FSOP_GOING_FLAGS_LOGFLUSH`.
const FLUSH_LOG: u32 = 1;
/// `EXT4_GOING_FLAGS_NOLOGFLUSH`, `XFS_FSOP_GOING_FLAGS_NOLOGFLUSH`.
const NO_LOG_FLUSH: u32 = 2;

#[allow(missing_docs)]
mod ioctl {
    // FS_IOC_SHUTDOWN is _IOR('X', 125, __u32) by its number, although the kernel reads the argument.
    nix::ioctl_write_ptr_bad!(fs_ioc_shutdown, 0x8004_587d, u32);
}

/// What is done before the power goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    FlushLog,
    ForeignFsync,
}

fn main() -> ExitCode {
    let mut before = Before::Nothing;
    let mut mounts = Vec::new();
    for argument in std::env::args_os().skip(1) {
        match argument.to_str() {
            Some("--flush-log") => before = Before::FlushLog,
            Some("--foreign-fsync") => before = Before::ForeignFsync,
            _ => mounts.push(PathBuf::from(argument)),
        }
    }
    if mounts.is_empty() {
        return refused("usage: powercut MOUNTPOINT… [--flush-log | --foreign-fsync]");
    }
    // All are looked at before the first one goes.
    for mount in &mounts {
        if let Err(why) = is_a_loop_mount(mount) {
            return refused(&format!("{}: {why}; only a loop file system's power is cut", mount.display()));
        }
    }
    for mount in &mounts {
        if let Err(e) = cut(mount, before) {
            eprintln!("powercut: {}: {e}", mount.display());
            return ExitCode::from(3);
        }
    }
    ExitCode::SUCCESS
}

fn refused(why: &str) -> ExitCode {
    eprintln!("powercut: {why}");
    ExitCode::from(2)
}

/// Whether a loop device is mounted at exactly `path`, or why that can't be said of it.
fn is_a_loop_mount(path: &Path) -> Result<(), String> {
    let found = fs::symlink_metadata(path).map_err(|e| e.to_string())?;
    let root = fs::metadata("/").map_err(|e| e.to_string())?;
    if found.dev() == root.dev() {
        return Err("it is on the file system of /".into());
    }
    if major(found.dev()) != LOOP {
        return Err(format!("its device {}:{} is no loop device", major(found.dev()), minor(found.dev())));
    }
    let real = fs::canonicalize(path).map_err(|e| e.to_string())?;
    let device = format!("{}:{}", major(found.dev()), minor(found.dev()));
    let mounts = fs::read("/proc/self/mountinfo").map_err(|e| format!("/proc/self/mountinfo: {e}"))?;
    let is_mounted = mounts.split(|b| *b == b'\n').any(|line| {
        // proc_pid_mountinfo(5): the third field is the device, the fourth the root within it, the fifth the mount point.
        let fields: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
        matches!(fields[..], [_, _, dev, b"/", point, ..] if dev == device.as_bytes() && unescaped(point) == real)
    });
    if is_mounted { Ok(()) } else { Err("no loop device is mounted at this very path".into()) }
}

/// A path of mountinfo: blanks and the like stand there as three octal digits.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = field;
    while let [first, after @ ..] = rest {
        let octal = after.get(..3).filter(|_| *first == b'\\').and_then(|d| std::str::from_utf8(d).ok());
        if let Some(byte) = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            bytes.push(byte);
            rest = &after[3..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

fn cut(mount: &Path, before: Before) -> io::Result<()> {
    if before == Before::ForeignFsync {
        let mut foreign = fs::File::create(mount.join("foreign"))?;
        foreign.write_all(mount.as_os_str().as_bytes())?;
        foreign.sync_all()?;
    }
    let folder = fs::File::open(mount)?;
    // Once more, of what the call will really go to.
    if major(folder.metadata()?.dev()) != LOOP {
        return Err(io::Error::other("it is no loop device any more"));
    }
    let flags = if before == Before::FlushLog { FLUSH_LOG } else { NO_LOG_FLUSH };
    // SAFETY: the descriptor is open and the argument outlives the call, which only reads it.
    unsafe { ioctl::fs_ioc_shutdown(folder.as_raw_fd(), &raw const flags) }?;
    Ok(())
}
