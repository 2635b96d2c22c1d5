//! A host that is put back into the same state before every run, what is on its disk, and the crash point on it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread;

use fs_err as fs;
use serde_json::Value;
use upswap::words::digest::Digest;

use crate::host::{Host, program};
use crate::material;

/// How many points are run side by side.
const WORKERS: usize = 2;

/// Whether a case is to be swept: all are, unless `UPSWAP_SWEEP_ONLY` is a part of one's name.
pub fn asked_for(name: &str) -> bool {
    std::env::var("UPSWAP_SWEEP_ONLY").map_or(true, |part| name.contains(&part))
}

/// All of a file that must be right, or a folder's.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    mode: u32,
    owner: (u32, u32),
    bytes: Vec<u8>,
    xattrs: BTreeMap<OsString, Vec<u8>>,
}

/// What is on a disk, by the path below the host's folder.
pub type Disk = BTreeMap<PathBuf, Entry>;

impl Entry {
    pub fn is_file(&self) -> bool {
        self.mode & 0o170_000 == 0o100_000
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let start = String::from_utf8_lossy(&self.bytes[..self.bytes.len().min(24)]).replace('\n', " ");
        let names: Vec<_> = self.xattrs.keys().collect();
        write!(f, "{:o} {:?} {} bytes '{start}' {names:?}", self.mode, self.owner, self.bytes.len())
    }
}

/// The host and what it looked like when it was ready.
pub struct Bed {
    pub host: Host,
    saved: tempfile::TempDir,
    /// What crashpoint writes down.
    notes: tempfile::TempDir,
}

/// What a run under the crash point came to.
#[derive(Debug)]
pub struct Struck {
    pub code: i32,
    #[allow(dead_code, reason = "told by Debug")]
    pub stdout: String,
    pub stderr: String,
    /// The line of the call, as the list has it; `None` when the command made fewer calls.
    pub at: Option<String>,
}

/// One call of a list.
#[derive(Clone, Debug)]
pub struct Listed {
    pub number: u64,
    pub program: String,
    pub name: String,
    pub target: String,
}

impl Listed {
    fn read(line: &str) -> Self {
        let mut parts = line.splitn(5, '\t').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        let (number, _pid) = (next().parse().unwrap(), next());
        Self { number, program: next(), name: next(), target: next() }
    }
}

impl Struck {
    /// The call it was struck at.
    pub fn call(&self) -> Option<Listed> {
        self.at.as_deref().map(Listed::read)
    }
}

impl Bed {
    /// A host that `prepare` made ready.
    pub fn new(prepare: fn(&Host)) -> Self {
        let host = Host::in_folder(&ground());
        prepare(&host);
        let saved = tempfile::tempdir_in(ground()).unwrap();
        copy_tree(&host.path(""), saved.path());
        Self { host, saved, notes: tempfile::tempdir().unwrap() }
    }

    /// Puts the host back to where it was when it was ready.
    pub fn reset(&self) {
        for entry in fs::read_dir(self.host.path("")).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            if meta.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
        }
        copy_tree(self.saved.path(), &self.host.path(""));
    }

    /// Runs `command` with `action` at call `point`.
    pub fn struck(&self, options: &[&str], point: u64, action: &str, command: &Command) -> Struck {
        let reached = self.notes.path().join("reached");
        let _ = fs::remove_file(&reached);
        let mut crashpoint = Command::new(material::program("crashpoint"));
        crashpoint.args(options).args(["--timeout", "30", "--reached"]).arg(&reached);
        crashpoint.args([&point.to_string(), action, "--"]);
        let output = self.with(crashpoint.arg(command.get_program()).args(command.get_args()), command);
        Struck { at: fs::read_to_string(&reached).ok().map(|line| line.trim_end_matches('\n').to_owned()), ..output }
    }

    /// The calls that `command` makes when nothing is in its way.
    pub fn calls(&self, options: &[&str], command: &Command) -> Vec<Listed> {
        self.reset();
        let list = self.notes.path().join("list");
        let options: Vec<_> = options.iter().copied().chain(["--list", list.to_str().unwrap()]).collect();
        let struck = self.struck(&options, 0, "count", command);
        assert!(struck.code < 125, "{struck:?}");
        fs::read_to_string(&list).unwrap().lines().map(Listed::read).collect()
    }

    /// Runs a command of this host to its end, nothing in its way.
    #[allow(clippy::unused_self)] // It reads as what it is: this host does it.
    pub fn run(&self, command: &mut Command) -> Struck {
        let output = command.output().unwrap();
        Struck {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            at: None,
        }
    }

    /// Runs a shell script as this host's user would, with the tools in PATH.
    pub fn shell(&self, script: &str) -> Struck {
        let like = self.host.tool("swapbin");
        self.with(Command::new("sh").args(["-c", script]), &like)
    }

    fn with(&self, command: &mut Command, like: &Command) -> Struck {
        for (key, value) in like.get_envs() {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        self.run(command.current_dir(self.host.path("")).stdin(std::process::Stdio::null()))
    }

    /// What is on the disk now, the sources and what systemctl heard left out. The locks too: their files are never removed, because
    /// their inode is the lock's identity.
    pub fn disk(&self) -> Disk {
        let mut disk = Disk::new();
        walk(&self.host.path(""), Path::new(""), &mut disk);
        disk.retain(|path, _| !["run", "src", "usr", "systemctl.log"].iter().any(|skip| path.starts_with(skip)));
        disk
    }

    /// What is on the disk now, in short: two that are equal have the same files with the same metadata, the same of them are links
    /// of one another, and the same is recorded, but for the time and for the numbers that a file system gives.
    pub fn fingerprint(&self) -> String {
        let mut first = BTreeMap::new();
        let mut text = String::new();
        for (path, Entry { mode, owner, bytes, xattrs }) in self.disk() {
            let inode = fs::symlink_metadata(self.host.path(&path)).unwrap().ino();
            let first = first.entry(inode).or_insert_with(|| path.clone());
            let bytes = if path.ends_with("state.json") { timeless(bytes) } else { bytes };
            let (path, first) = (path.display(), first.display());
            writeln!(text, "{path} {first} {mode:o} {owner:?} {} {xattrs:?}", Digest::of(&bytes)).unwrap();
        }
        Digest::of(text.as_bytes()).to_string()
    }

    /// What these paths hold now.
    pub fn holds(&self, paths: &[&str]) -> Vec<Option<Entry>> {
        paths.iter().map(|path| entry(&self.host.path(path))).collect()
    }
}

/// Does `work` for every item on its own bed, two at a time; what it finds wrong, with how many runs there were.
pub fn sweep<T: Sync>(prepare: fn(&Host), items: &[T], work: impl Fn(&Bed, &T) -> Vec<String> + Sync) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let bad = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                let bed = Bed::new(prepare);
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    bed.reset();
                    let found = work(&bed, item);
                    bad.lock().unwrap().extend(found);
                }
            });
        }
    });
    bad.into_inner().unwrap()
}

/// Says what a sweep found, as soon as it has.
pub fn tell(bad: &[String]) {
    for one in bad.iter().take(100) {
        eprintln!("bad: {one}");
    }
}

/// Fails with the first of what a sweep found.
#[track_caller]
pub fn none(bad: &[String]) {
    assert!(bad.is_empty(), "{} bad, the first: {}", bad.len(), bad[0]);
}

/// Where the hosts are: in memory, because a sweep syncs some ten thousand times; what a disk does with a sync is the power cut's
/// to find out. Not where that does not take the attributes of a trusted disk (tmpfs does since Linux 6.6) or runs no programs
/// (container engines mount it noexec).
pub fn ground() -> PathBuf {
    static GROUND: OnceLock<PathBuf> = OnceLock::new();
    let takes = |memory: &Path| {
        let Ok(dir) = tempfile::tempdir_in(memory) else { return false };
        let probe = dir.path().join("probe");
        program(&probe, "#!/bin/sh\n");
        xattr::set(&probe, "user.note", b"note").is_ok() && Command::new(&probe).status().is_ok_and(|s| s.success())
    };
    let find = || Some(PathBuf::from("/dev/shm")).filter(|dir| takes(dir)).unwrap_or_else(std::env::temp_dir);
    GROUND.get_or_init(find).clone()
}

/// A record without what differs from run to run.
fn timeless(record: Vec<u8>) -> Vec<u8> {
    fn strip(value: &mut Value) {
        if let Some(members) = value.as_object_mut() {
            members.retain(|name, _| !["time", "opened", "folders"].contains(&name.as_str()));
            members.values_mut().for_each(strip);
        }
        value.as_array_mut().into_iter().flatten().for_each(strip);
    }
    let Ok(mut value) = serde_json::from_slice(&record) else { return record };
    strip(&mut value);
    value.to_string().into_bytes()
}

fn entry(path: &Path) -> Option<Entry> {
    let meta = fs::symlink_metadata(path).ok()?;
    let bytes = if meta.is_file() { fs::read(path).unwrap() } else { Vec::new() };
    let names = xattr::list(path).unwrap();
    let xattrs = names.map(|name| (name.clone(), xattr::get(path, &name).unwrap().unwrap_or_default())).collect();
    Some(Entry { mode: meta.mode(), owner: (meta.uid(), meta.gid()), bytes, xattrs })
}

fn walk(root: &Path, below: &Path, disk: &mut Disk) {
    for found in fs::read_dir(root.join(below)).unwrap() {
        let path = below.join(found.unwrap().file_name());
        if let Some(entry) = entry(&root.join(&path)) {
            let is_dir = fs::symlink_metadata(root.join(&path)).unwrap().is_dir();
            disk.insert(path.clone(), entry);
            if is_dir {
                walk(root, &path, disk);
            }
        }
    }
}

/// Copies a folder with owners, modes, attributes and hard links. What no run changes, and some execute, is not copied but linked:
/// a program that a thread of ours has just written can't be run while another one forks (ETXTBSY).
fn copy_tree(from: &Path, to: &Path) {
    let mut links = BTreeMap::new();
    copy_into(from, to, Path::new(""), &mut links);
}

const LINKED: [&str; 2] = ["src", "usr"];

fn copy_into(from: &Path, to: &Path, below: &Path, links: &mut BTreeMap<u64, PathBuf>) {
    for found in fs::read_dir(from.join(below)).unwrap() {
        let below = below.join(found.unwrap().file_name());
        let (source, dest) = (from.join(&below), to.join(&below));
        let meta = fs::symlink_metadata(&source).unwrap();
        if meta.is_symlink() {
            symlink(fs::read_link(&source).unwrap(), &dest).unwrap();
            continue;
        }
        if meta.is_dir() {
            fs::create_dir(&dest).unwrap();
            copy_into(from, to, &below, links);
        } else if LINKED.iter().any(|folder| below.starts_with(folder)) {
            fs::hard_link(&source, &dest).unwrap();
            continue;
        } else if let Some(first) = links.get(&meta.ino()) {
            fs::hard_link(first, &dest).unwrap();
            continue;
        } else {
            fs::copy(&source, &dest).unwrap();
            links.insert(meta.ino(), dest.clone());
        }
        chown(&dest, Some(meta.uid()), Some(meta.gid())).unwrap();
        fs::set_permissions(&dest, std::fs::Permissions::from_mode(meta.mode() & 0o7777)).unwrap();
        for name in xattr::list(&source).unwrap() {
            xattr::set(&dest, &name, &xattr::get(&source, &name).unwrap().unwrap_or_default()).unwrap();
        }
    }
}
