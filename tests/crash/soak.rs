//! A program is swapped again and again while it is run and read without a pause.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use fs_err as fs;
use upswap::words::digest::Digest;

use crate::bed::ground;
use crate::disk::{self, Kind};
use crate::host::program;
use crate::material;

/// What the loops saw while the program was swapped.
#[derive(Debug, Default)]
struct Seen {
    swaps: usize,
    failed_swaps: usize,
    runs: usize,
    reads: usize,
    /// By kind: a run or a read that failed, or that was of neither version.
    bad: BTreeMap<String, usize>,
}

/// A program in two versions, and the path where one of them always is.
struct Program {
    dir: tempfile::TempDir,
    versions: [PathBuf; 2],
    digests: [Digest; 2],
    shortest: usize,
    path: PathBuf,
}

impl Program {
    /// `true` and `false` of this machine: which of them ran shows by the exit code. Made long, so that a copy takes its time.
    fn new() -> Self {
        let dir = tempfile::tempdir_in(ground()).unwrap();
        fs::create_dir(dir.path().join("bin")).unwrap();
        let versions = ["true", "false"].map(|name| {
            let mut bytes = fs::read(Path::new("/bin").join(name)).unwrap();
            bytes.extend(std::iter::repeat_n(name.as_bytes(), 100_000).flatten());
            let path = dir.path().join(name);
            program(&path, bytes);
            path
        });
        let path = dir.path().join("bin/program");
        let contents = versions.each_ref().map(|version| fs::read(version).unwrap());
        program(&path, &contents[0]);
        let digests = contents.each_ref().map(|bytes| Digest::of(bytes));
        let shortest = contents.iter().map(Vec::len).min().unwrap();
        Self { dir, versions, digests, shortest, path }
    }

    fn swapbin(&self, version: &Path) -> Command {
        let mut command = Command::new(material::tools().join("swapbin"));
        command.args(["--quiet", "--name", "program"]).args([version, &self.path]);
        command.env("UPSWAP_ROOT", self.dir.path());
        for name in ["UPSWAP_NAME", "UPSWAP_LOCK_FD", "UPSWAP_STATE_DIR", "STATE_DIRECTORY"] {
            command.env_remove(name);
        }
        command
    }

    /// Replaces the program `swaps` times, in turns, while two loops run it and hash it.
    fn soak(&self, swaps: usize, replace: impl Fn(&Path) -> Command) -> Seen {
        let over = AtomicBool::new(false);
        let mut seen = Seen::default();
        thread::scope(|scope| {
            let runs = scope.spawn(|| loop_until(&over, || self.run()));
            let reads = scope.spawn(|| loop_until(&over, || self.read()));
            for swap in 0..swaps {
                let mut command = replace(&self.versions[(swap + 1) % 2]);
                let output = command.stdin(Stdio::null()).output().unwrap();
                seen.swaps += 1;
                seen.failed_swaps += usize::from(!output.status.success());
            }
            over.store(true, Ordering::Relaxed);
            let (runs, reads) = (runs.join().unwrap(), reads.join().unwrap());
            (seen.runs, seen.reads) = (runs.0, reads.0);
            for bad in runs.1.into_iter().chain(reads.1) {
                *seen.bad.entry(bad).or_default() += 1;
            }
        });
        seen
    }

    fn run(&self) -> Result<(), String> {
        let status = Command::new(&self.path).stdin(Stdio::null()).stderr(Stdio::null()).status();
        match status.map(|status| status.code()) {
            Ok(Some(0 | 1)) => Ok(()),
            Ok(other) => Err(format!("run: ended with {other:?}")),
            Err(e) => Err(format!("run: {}", name(&e))),
        }
    }

    fn read(&self) -> Result<(), String> {
        let bytes = std::fs::read(&self.path).map_err(|e| format!("read: {}", name(&e)))?;
        if self.digests.contains(&Digest::of(&bytes)) {
            Ok(())
        } else if bytes.len() < self.shortest {
            Err("read: short".into())
        } else {
            Err("read: mixed".into())
        }
    }
}

/// The errors that a busy, missing or forbidden file gives, by their names in errno(3).
fn name(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::ExecutableFileBusy => "ETXTBSY".into(),
        ErrorKind::NotFound => "ENOENT".into(),
        ErrorKind::PermissionDenied => "EACCES".into(),
        _ => error.to_string(),
    }
}

fn loop_until(over: &AtomicBool, one: impl Fn() -> Result<(), String>) -> (usize, Vec<String>) {
    let mut bad = Vec::new();
    let mut rounds = 0;
    while !over.load(Ordering::Relaxed) {
        rounds += 1;
        bad.extend(one().err());
    }
    (rounds, bad)
}

#[test]
fn soak_nobody_ever_sees_a_path_that_is_empty_busy_or_half() {
    let swaps = std::env::var("UPSWAP_SOAK").ok().and_then(|n| n.parse().ok()).unwrap_or(1000);
    let program = Program::new();
    let start = Instant::now();
    let seen = program.soak(swaps, |version| program.swapbin(version));
    let each = start.elapsed().as_secs_f64() * 1000.0 / f64::from(u32::try_from(swaps).unwrap());
    eprintln!("soak: swapbin: {each:.1} ms a swap, {seen:?}");
    assert!(seen.bad.is_empty() && seen.failed_swaps == 0, "{seen:?}");
    // The loops must have had their chance.
    assert!(seen.runs > swaps / 10 && seen.reads > swaps / 10, "{seen:?}");
}

#[test]
fn canary_soak_finds_what_install_and_cp_do_to_a_running_program() {
    let copies: [(&str, &[&str]); 2] = [("install", &["-m", "0755"]), ("cp", &[])];
    for (tool, options) in copies {
        let program = Program::new();
        let replace = |version: &Path| {
            let mut command = Command::new(tool);
            command.args(options).args([version, &program.path]);
            command
        };
        let seen = program.soak(300, replace);
        eprintln!("soak: canary {tool}: {seen:?}");
        assert!(seen.bad.values().sum::<usize>() > 0, "{tool} went unnoticed: {seen:?}");
    }
}

/// The old file stays where it is under one more name: a disk that has room for the old and the new file, and for no third,
/// is large enough.
#[test]
fn a_swap_copies_nothing_of_the_old_file() {
    let work = disk::workshop();
    let (image, point) = (work.path().join("image"), work.path().join("disk"));
    fs::create_dir(&point).unwrap();
    Kind::Ext4.make(&image);
    let mounted = Kind::Ext4.mount(&image, &point);
    let statvfs = || nix::sys::statvfs::statvfs(&point).unwrap();
    let room = statvfs().blocks_available() * statvfs().fragment_size();
    let size = usize::try_from(room).unwrap() / 5 * 2;
    let (new, dest) = (work.path().join("new"), point.join("program"));
    fs::write(&dest, vec![1; size]).unwrap();
    fs::write(&new, vec![2; size]).unwrap();
    let old = fs::metadata(&dest).unwrap();
    let mut swapbin = Command::new(material::tools().join("swapbin"));
    swapbin.args(["--quiet", "--name", "program"]).args([&new, &dest]).env("UPSWAP_ROOT", work.path());
    disk::run(&mut swapbin);
    let kept = fs::metadata(point.join(".program.upswap-1")).unwrap();
    assert_eq!((kept.ino(), kept.blocks()), (old.ino(), old.blocks()));
    let left = statvfs().blocks_available() * statvfs().fragment_size();
    // The new file and some blocks of its folder; nothing of the old one's size.
    assert!(room - left < 2 * size as u64 + (1 << 20), "{} bytes of {size} more are in use", room - left);
    mounted.unmount();
}
