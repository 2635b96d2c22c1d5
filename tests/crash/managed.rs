//! A managed set on file systems whose power is cut: what is done to it, and the judge of what is found afterwards.

use std::fmt::Write;
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fs_err as fs;
use serde_json::Value;
use tempfile::TempDir;
use upswap::words::digest::Digest;

use crate::disk::{self, Kind, Mounted};
use crate::material;

/// `cap_net_bind_service=ep`, as the kernel keeps it (capabilities(7), version 2).
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// What plays systemctl: one unit that is not there. It writes nothing, so no point of a sweep is its.
const SYSTEMCTL: &str = "#!/bin/sh
[ \"$1\" != show ] || printf 'LoadState=not-found\\nActiveState=inactive\\nNeedDaemonReload=no\\n'
";

/// What is done when the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A swap of two binaries and a unit.
    Swap,
    /// A swap on trial over files that somebody has written just before and not made durable.
    SwapOverFresh,
    /// The way back from a settled swap.
    Rollback,
    /// The end at boot of a trial that was open, of binaries in one folder and a unit in another.
    Pending,
    /// The same trial, kept.
    Commit,
}

/// Which files are in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    Old,
    New,
}

/// When the power went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Before the deed was said to be done.
    During,
    /// After its exit 0.
    Done,
}

/// Broken ways to put the new `rune` in place: what the sweeps must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canary {
    /// Writes under the final name, and makes nothing durable.
    Install,
    /// Renames what is in the page cache alone.
    RenameWithoutFsync,
    /// Renames what is on disk, and leaves the rename in memory.
    RenameWithoutFolderFsync,
    /// swapbin, every fsync of which does nothing and says it did.
    SwapbinWithoutFsync,
}

/// One file of the set.
struct Managed {
    path: PathBuf,
    contents: [Vec<u8>; 2],
    mode: u32,
    owner: u32,
    capability: bool,
}

/// A machine with a set, its state on the same file system or on one of its own.
pub struct World {
    dir: TempDir,
    pub kind: Kind,
    apart: bool,
    pub deed: Deed,
}

impl World {
    /// The set in its old generation, as the deed finds it, on images that are ready to be used again and again.
    pub fn new(kind: Kind, apart: bool, deed: Deed) -> Self {
        let world = Self { dir: disk::workshop(), kind, apart, deed };
        for folder in ["data", "state", "new", "root/usr/bin"] {
            fs::create_dir_all(world.dir.path().join(folder)).unwrap();
        }
        crate::host::program(world.dir.path().join("root/usr/bin/systemctl"), SYSTEMCTL);
        for (_, base, _) in world.disks() {
            kind.make(&base);
        }
        for managed in world.files() {
            fs::write(world.source(&managed.path), &managed.contents[1]).unwrap();
        }
        world.fresh();
        let mounts = world.mount();
        world.lay_out();
        // The set-up is not what is tested: all of it is on disk.
        mounts.into_iter().for_each(Mounted::unmount);
        for (_, base, image) in world.disks() {
            disk::copy(&image, &base);
        }
        world
    }

    /// Where the managed files are.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A path beside the file systems.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn state(&self) -> PathBuf {
        // Not there at first, with a parent that is not there either.
        if self.apart { self.dir.path().join("state/lib/upswap") } else { self.data().join("var/lib/upswap") }
    }

    /// Every mount point, the image it starts from, and the image it is mounted from.
    fn disks(&self) -> Vec<(PathBuf, PathBuf, PathBuf)> {
        let names: &[&str] = if self.apart { &["data", "state"] } else { &["data"] };
        let disk = |name: &&str| {
            let path = |suffix: &str| self.dir.path().join(format!("{name}{suffix}"));
            (path(""), path(".base"), path(".image"))
        };
        names.iter().map(disk).collect()
    }

    /// The mount points.
    pub fn points(&self) -> Vec<PathBuf> {
        self.disks().into_iter().map(|(point, _, _)| point).collect()
    }

    /// The image the data disk is mounted from.
    pub fn image(&self) -> PathBuf {
        self.dir.path().join("data.image")
    }

    /// Puts the disks back as the deed finds them.
    pub fn fresh(&self) {
        // A reboot empties it.
        let _ = fs::remove_dir_all(self.dir.path().join("root/run"));
        for (_, base, image) in self.disks() {
            disk::copy(&base, &image);
        }
    }

    /// Mounts all disks.
    pub fn mount(&self) -> Vec<Mounted> {
        self.try_mount().unwrap_or_else(|why| panic!("{why}"))
    }

    /// Mounts all disks, or says why that can't be.
    pub fn try_mount(&self) -> Result<Vec<Mounted>, String> {
        self.disks().into_iter().map(|(point, _, image)| self.kind.try_mount(&image, &point)).collect()
    }

    fn files(&self) -> Vec<Managed> {
        let unit_in = if matches!(self.deed, Deed::Swap | Deed::SwapOverFresh) { "bin" } else { "units" };
        // Sizes that take several blocks, and no whole number of them.
        let bytes = |seed: u8, length: usize| [seed, !seed].map(|s| [b"#!", &noise(s, length)[..]].concat());
        let file = |folder: &str, name: &str, contents, mode, owner, capability| Managed {
            path: self.data().join(folder).join(name),
            contents,
            mode,
            owner,
            capability,
        };
        let unit = ["old", "new"].map(|which| format!("[Service]\nExecStart=/bin/{which}\n").into_bytes());
        vec![
            file("bin", "runed", bytes(1, 300_123), 0o750, 1234, true),
            file("bin", "rune", bytes(2, 41_007), 0o755, 0, false),
            file(unit_in, "runed.service", unit, 0o644, 0, false),
        ]
    }

    fn source(&self, path: &Path) -> PathBuf {
        self.dir.path().join("new").join(path.file_name().unwrap())
    }

    fn lay_out(&self) {
        for managed in self.files() {
            fs::create_dir_all(managed.path.parent().unwrap()).unwrap();
            managed.put(&managed.contents[0]);
        }
        let settled = ["--quiet", "--name", "runed"];
        let trial = ["--quiet", "--name", "runed", "--trial"];
        match self.deed {
            Deed::Swap | Deed::SwapOverFresh => {}
            Deed::Rollback => {
                disk::run(&mut self.swap_in("bin", &settled));
                disk::run(&mut self.swap_in("units", &settled));
                // One change is one generation, and there were two.
                disk::run(self.tool("rollback").args(["--quiet", "--no-restart", "--to", "1", "runed"]));
                disk::run(self.tool("rollback").args(["--quiet", "--no-restart", "--to", "3", "runed"]));
            }
            Deed::Pending | Deed::Commit => {
                disk::run(&mut self.swap_in("bin", &trial));
                disk::run(&mut self.swap_in("units", &trial));
            }
        }
    }

    /// What goes before the deed on the very mount whose power is cut.
    pub fn prepare(&self) {
        if self.deed == Deed::SwapOverFresh {
            self.files().iter().for_each(|managed| managed.put(&managed.contents[0]));
        }
    }

    /// The command that does the deed.
    pub fn command(&self) -> Command {
        let mut command = match self.deed {
            Deed::Swap => return self.swap_in("bin", &["--quiet", "--name", "runed", "--unit", "runed.service"]),
            Deed::SwapOverFresh => return self.swap_in("bin", &["--quiet", "--name", "runed", "--trial"]),
            Deed::Commit => self.tool("swapbin"),
            Deed::Rollback | Deed::Pending => self.tool("rollback"),
        };
        command.args(match self.deed {
            Deed::Commit => &["--quiet", "--commit", "runed"][..],
            Deed::Pending => &["--quiet", "--pending", "--boot"],
            _ => &["--quiet", "--no-restart", "--to", "1", "runed"],
        });
        command
    }

    /// The command of a canary.
    pub fn canary(&self, canary: Canary) -> Command {
        let dest = self.data().join("bin/rune");
        let (new, beside) = (self.source(&dest), dest.with_file_name("rune.new"));
        let script = match canary {
            Canary::Install => "install -m 0755 \"$1\" \"$3\"",
            Canary::RenameWithoutFsync => "cp \"$1\" \"$2\"; chmod 755 \"$2\"; mv -f \"$2\" \"$3\"",
            Canary::RenameWithoutFolderFsync => "cp \"$1\" \"$2\"; chmod 755 \"$2\"; sync \"$2\"; mv -f \"$2\" \"$3\"",
            Canary::SwapbinWithoutFsync => {
                let mut command = Command::new("strace");
                command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync"]);
                command.args(["-e", "inject=fsync,fdatasync:retval=0"]);
                let swapbin = self.tool("swapbin");
                command.arg(swapbin.get_program()).args(["--quiet", "--name", "rune"]).args([&new, &dest]);
                self.on_this_machine(&mut command);
                return command;
            }
        };
        let mut command = Command::new("sh");
        command.args(["-ec", script, "sh"]).args([new, beside, dest]);
        self.on_this_machine(&mut command);
        command
    }

    /// Judges a canary: `rune` is whole, and the new one when that was said to be done.
    pub fn judge_canary(&self, when: When) -> Result<(), String> {
        let found = self.files()[1].found()?;
        match (when, found) {
            (When::Done, Generation::Old) => Err("exit 0 was not durable".into()),
            _ => Ok(()),
        }
    }

    fn swap_in(&self, folder: &str, options: &[&str]) -> Command {
        let folder = self.data().join(folder);
        let mut command = self.tool("swapbin");
        command.args(options).arg("-t").arg(&folder);
        for managed in self.files().iter().filter(|m| m.path.parent() == Some(&folder)) {
            command.arg(self.source(&managed.path));
        }
        command
    }

    /// One of our tools on this machine.
    pub fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(material::tools().join(name));
        self.on_this_machine(&mut command);
        command
    }

    /// Makes a command work on this machine and not on the one the test runs on.
    pub fn on_this_machine(&self, command: &mut Command) {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.env("UPSWAP_ROOT", self.dir.path().join("root")).env("UPSWAP_STATE_DIR", self.state());
        for name in ["UPSWAP_NAME", "UPSWAP_LOCK_FD", "STATE_DIRECTORY", "LD_LIBRARY_PATH"] {
            command.env_remove(name);
        }
    }

    /// What is found after the power came back; the file systems are mounted again. Says what is wrong.
    ///
    /// Each path is whole before anything is mended, recovery as at boot succeeds, then all files are of one generation, which
    /// is the one that the deed left when it said that it was done, and every generation of the record can be brought back.
    pub fn judge(&self, when: When) -> Result<(), String> {
        // Before the record is there, files that others wrote a moment ago are theirs to lose.
        if self.deed == Deed::SwapOverFresh && !self.record_path().exists() {
            return if when == When::Done { Err("exit 0, and there is no record".into()) } else { Ok(()) };
        }
        let found = self.found()?;
        // What SwapOverFresh leaves is a trial: its new files are durable, and recovery takes them back.
        if self.deed == Deed::SwapOverFresh && when == When::Done && found.contains(&Generation::Old) {
            return Err(format!("exit 0, and afterwards: {found:?}"));
        }
        let mut recovery = self.tool("rollback");
        let recovery = recovery.args(["--quiet", "--pending", "--boot"]).output().unwrap();
        if !recovery.status.success() {
            return Err(format!("recovery: {}: {}", recovery.status, String::from_utf8_lossy(&recovery.stderr).trim()));
        }
        let found = self.found()?;
        let allowed: &[Generation] = match (self.deed, when) {
            (Deed::Pending | Deed::SwapOverFresh, _) | (Deed::Rollback, When::Done) => &[Generation::Old],
            (Deed::Swap | Deed::Commit, When::Done) => &[Generation::New],
            (Deed::Swap | Deed::Commit | Deed::Rollback, When::During) => &[Generation::Old, Generation::New],
        };
        if !allowed.iter().any(|one| found.iter().all(|f| f == one)) {
            return Err(format!("after recovery {found:?} is in place, and allowed are all {allowed:?}"));
        }
        self.backups(found[0])
    }

    /// Which generation each path is of, or the first path that is not whole.
    pub fn found(&self) -> Result<Vec<Generation>, String> {
        self.files().iter().map(Managed::found).collect()
    }

    /// Whether there is a record, and no trial is open.
    pub fn is_settled(&self) -> bool {
        let record = fs::read(self.record_path()).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
        record.is_some_and(|record| record["trial"].is_null())
    }

    fn record_path(&self) -> PathBuf {
        self.state().join("runed/state.json")
    }

    /// Whether every recorded generation's files are there: in place, or as backups.
    fn backups(&self, found: Generation) -> Result<(), String> {
        let text = match fs::read(self.record_path()) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            text => text.map_err(|e| e.to_string())?,
        };
        let record: Value = serde_json::from_slice(&text).map_err(|e| format!("the record: {e}"))?;
        for generation in record["generations"].as_array().unwrap() {
            // A swap that was cut short and taken back: its files were never all in place.
            let never_was = generation["id"].as_u64() > record["current"].as_u64();
            if never_was && found == Generation::Old && matches!(self.deed, Deed::Swap | Deed::SwapOverFresh) {
                continue;
            }
            for (path, state) in generation["files"].as_object().unwrap() {
                let Some(digest) = state["digest"].as_str() else { continue };
                let path = Path::new(path);
                let name = path.file_name().unwrap().to_str().unwrap();
                let backup = path.with_file_name(format!(".{name}.upswap-{}", state["born"]));
                let is = |path: &Path| fs::read(path).is_ok_and(|bytes| Digest::of(&bytes).to_string() == digest);
                if !is(path) && !is(&backup) {
                    let listed = listing(path.parent().unwrap());
                    return Err(format!(
                        "the way back to {} is lost: {}; {listed}",
                        generation["id"],
                        backup.display()
                    ));
                }
            }
        }
        Ok(())
    }
}

impl Managed {
    /// As other hands put it there.
    fn put(&self, bytes: &[u8]) {
        let _ = fs::remove_file(&self.path);
        fs::write(&self.path, bytes).unwrap();
        chown(&self.path, Some(self.owner), Some(self.owner)).unwrap();
        fs::set_permissions(&self.path, Permissions::from_mode(self.mode)).unwrap();
        if self.capability {
            xattr::set(&self.path, "security.capability", &CAPABILITY).unwrap();
        }
    }

    fn found(&self) -> Result<Generation, String> {
        let bad = |what: String| Err(format!("{}: {what}", self.path.file_name().unwrap().display()));
        let (bytes, meta) = match (fs::read(&self.path), fs::symlink_metadata(&self.path)) {
            (Ok(bytes), Ok(meta)) => (bytes, meta),
            (Err(e), _) | (_, Err(e)) => return bad(format!("missing: {e}")),
        };
        let which = match &bytes {
            bytes if *bytes == self.contents[0] => Generation::Old,
            bytes if *bytes == self.contents[1] => Generation::New,
            bytes => return bad(format!("not whole: {} bytes that are neither the old nor the new ones", bytes.len())),
        };
        let has = (meta.mode() & 0o7777, meta.uid(), meta.gid());
        if has != (self.mode, self.owner, self.owner) {
            return bad(format!("mode and owner are {has:?}, {which:?}"));
        }
        let capability = xattr::get(&self.path, "security.capability").map_err(|e| e.to_string())?;
        if capability.as_deref() != self.capability.then_some(&CAPABILITY[..]) {
            return bad(format!("its capability is {capability:?}, {which:?}"));
        }
        Ok(which)
    }
}

/// Bytes that look like no others, and do not compress.
fn noise(seed: u8, length: usize) -> Vec<u8> {
    let mut draw = Draw(u64::from(seed) + 1);
    std::iter::repeat_with(|| draw.next().to_le_bytes()).flatten().take(length).collect()
}

fn listing(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let length = entry.metadata().map_or(0, |meta| meta.len());
        let _ = write!(text, "{} ({length}) ", entry.file_name().display());
    }
    text
}

/// Numbers by chance that can be drawn again by their seed (splitmix64).
pub struct Draw(pub u64);

impl Draw {
    /// The next one.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap()
    }
}
