//! Block replay: what was written to the disk during a change is put together again as a disk may have it that lost its power:
//! all up to a flush, and after it any part, in sectors.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use fs_err as fs;

use crate::disk::{self, Kind, Logged, Mounted};
use crate::managed::{Canary, Deed, Draw, When, World};
use crate::material::{self, full_sweep};

/// What a disk writes as a whole.
const SECTOR: usize = 512;

/// A logged run: the disk before it, what was written, and the record at which its victim said that it was done.
struct Run {
    log: Vec<Logged>,
    start: usize,
    done: usize,
}

/// A disk in user space; unmounted and ended when dropped.
struct Disk {
    point: PathBuf,
    log: PathBuf,
    child: Child,
}

impl Disk {
    fn of(world: &World) -> Self {
        let (point, log) = (world.beside("logged"), world.beside("log"));
        fs::create_dir_all(&point).unwrap();
        let _ = fs::remove_file(&log);
        let mut child = Command::new(material::program("blklog"));
        let child = child.args([&point, &world.image(), &log]).spawn().unwrap();
        let mut disk = Self { point, log, child };
        let end = Instant::now() + Duration::from_secs(10);
        while !disk.file().exists() {
            assert!(disk.child.try_wait().unwrap().is_none() && Instant::now() < end, "blklog does not come up");
            std::thread::yield_now();
        }
        disk
    }

    fn file(&self) -> PathBuf {
        self.point.join("disk")
    }

    /// How many records there are by now. A record is there when its write or flush is done.
    fn records(&self) -> usize {
        disk::read_log(&self.log).len()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(&self.point, nix::mount::MntFlags::MNT_DETACH);
        let _ = self.child.wait();
    }
}

/// Runs the victim on a logged disk, then commits the journal once more, as somebody else's fsync does.
fn logged(world: &World, victim: &mut Command) -> Run {
    world.fresh();
    let disk = Disk::of(world);
    let mounted = world.kind.mount(&disk.file(), &world.data());
    world.prepare();
    let start = disk.records();
    disk::run(victim);
    let done = disk.records();
    let mut foreign = fs::File::create(world.data().join("foreign")).unwrap();
    std::io::Write::write_all(&mut foreign, b"foreign").unwrap();
    foreign.sync_all().unwrap();
    let end = disk.records();
    drop(foreign);
    mounted.unmount();
    let mut log = disk::read_log(&disk.log);
    log.truncate(end);
    Run { log, start, done }
}

/// What a sweep found.
struct Found {
    kind: Kind,
    states: usize,
    of: usize,
    bad: Vec<String>,
}

impl Found {
    fn say(&self, what: &str) {
        let Self { kind, states, of, bad } = self;
        eprintln!(
            "replay: {what} on {kind:?}: {states} states of {of} writes and flushes, {} bad, seed {}",
            bad.len(),
            seed()
        );
    }

    #[track_caller]
    fn none_bad(&self, what: &str) {
        self.say(what);
        assert!(self.bad.is_empty(), "{}", self.bad.join("\n"));
    }

    /// A canary: the sweep must find the bug.
    #[track_caller]
    fn finds(&self, what: &str, sign: &str) {
        self.say(&format!("canary {what}"));
        let found = self.bad.iter().any(|bad| bad.contains(sign));
        assert!(found, "{what}: the sweep did not find {sign:?} in {} states: {:?}", self.states, self.bad);
    }
}

/// The same again with the printed seed in `UPSWAP_SEED`.
fn seed() -> u64 {
    std::env::var("UPSWAP_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

/// Builds `states` disks of the run and has each judged.
fn replay(world: &World, run: &Run, states: usize, judge: impl Fn(When) -> Result<(), String>) -> Found {
    let mut found = Found { kind: world.kind, states: 0, of: run.log.len() - run.start, bad: Vec::new() };
    let mut draw = Draw(seed());
    for state in 0..states {
        // Spread over the whole run; every other one is torn.
        let length = run.start + (run.log.len() - run.start) * (state + 1) / states;
        let torn = state % 2 == 1;
        world.fresh();
        build(&world.image(), &run.log[..length], torn.then_some(&mut draw));
        found.states += 1;
        let when = if length >= run.done { When::Done } else { When::During };
        let verdict = world.try_mount().map_err(|why| format!("does not mount: {why}")).and_then(|mounts| {
            let verdict = judge(when);
            mounts.into_iter().for_each(Mounted::unmount);
            verdict
        });
        if let Err(why) = verdict {
            let how = if torn { ", the last epoch torn" } else { "" };
            found.bad.push(format!(
                "{:?} {:?} {length} of {}{how}, {when:?}: {why}",
                world.kind,
                world.deed,
                run.log.len()
            ));
        }
    }
    found
}

/// Writes the records into the image; with `draw`, of those after the last flush only some sectors.
fn build(image: &Path, log: &[Logged], mut draw: Option<&mut Draw>) {
    let image = fs::OpenOptions::new().write(true).open(image).unwrap();
    let flushed = log.iter().rposition(|record| matches!(record, Logged::Flush)).unwrap_or(0);
    for (index, record) in log.iter().enumerate() {
        let Logged::Write { offset, data } = record else { continue };
        match &mut draw {
            Some(draw) if index > flushed => {
                // A write that arrived whole, not at all, or in part.
                let fate = draw.below(3);
                for (n, sector) in data.chunks(SECTOR).enumerate() {
                    if fate == 0 || fate == 1 && draw.below(2) == 0 {
                        disk::apply(&image, offset + (n * SECTOR) as u64, sector);
                    }
                }
            }
            _ => disk::apply(&image, *offset, data),
        }
    }
}

/// Replays the deeds, sharing `states` among them.
fn replay_all(kind: Kind, states: usize) {
    let deeds = [Deed::Swap, Deed::SwapOverFresh, Deed::Rollback, Deed::Pending];
    for deed in deeds {
        let world = World::new(kind, false, deed);
        let run = logged(&world, &mut world.command());
        let found = replay(&world, &run, states / deeds.len(), |when| world.judge(when));
        found.none_bad(&format!("{deed:?}"));
    }
}

#[test]
fn every_disk_that_ext4_may_leave_is_good() {
    replay_all(Kind::Ext4, if full_sweep() { 400 } else { 48 });
}

#[test]
fn every_disk_that_xfs_may_leave_is_good() {
    replay_all(Kind::Xfs, if full_sweep() { 300 } else { 28 });
}

#[test]
fn every_disk_that_btrfs_may_leave_is_good() {
    replay_all(Kind::Btrfs, if full_sweep() { 300 } else { 28 });
}

/// The same replay finds what is broken.
fn finds(kind: Kind, canary: Canary, sign: &str) {
    let world = World::new(kind, false, Deed::Swap);
    let run = logged(&world, &mut world.canary(canary));
    let found = replay(&world, &run, 40, |when| world.judge_canary(when));
    found.finds(&format!("{canary:?}"), sign);
}

#[test]
fn canary_a_swap_without_fsync_is_found() {
    finds(Kind::Ext4NoAutoDaAlloc, Canary::SwapbinWithoutFsync, "not whole");
}

#[test]
fn canary_install_is_found() {
    finds(Kind::Ext4, Canary::Install, "not whole");
    finds(Kind::Btrfs, Canary::Install, "exit 0 was not durable");
}

#[test]
fn canary_a_rename_without_fsync_is_found() {
    finds(Kind::Xfs, Canary::RenameWithoutFsync, "not whole");
}

#[test]
fn canary_a_rename_without_fsync_of_its_folder_is_found() {
    finds(Kind::Ext4, Canary::RenameWithoutFolderFsync, "exit 0 was not durable");
}
