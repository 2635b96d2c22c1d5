//! Power cuts before every call that changes something: swapbin, rollback and the recovery itself, on file systems that keep
//! as little as they may.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::Path;
use std::process::{Command, Output};

use fs_err as fs;

use crate::disk::{self, Kind, Mounted};
use crate::managed::{Canary, Deed, Generation, When, World};
use crate::material::{self, full_sweep};

/// What else happens to the file system right before the cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    /// Nothing: what was not made durable is gone. Finds a missing fsync of a folder.
    Nothing,
    /// Somebody fsyncs another file, which commits the journal. Finds names that are durable before their bytes.
    ForeignFsync,
    /// The same, on the file system of the data alone: its state is older than it.
    OfData,
    /// The same, on the file system of the state alone.
    OfState,
}

/// One system call of a victim, as crashpoint lists it.
#[derive(Clone, Debug)]
struct Point {
    number: usize,
    call: String,
    target: String,
}

impl Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.number, self.call, self.target)
    }
}

/// What a sweep found.
#[derive(Debug, Default)]
struct Found {
    points: usize,
    bad: Vec<String>,
}

impl Found {
    fn add(&mut self, other: Self) {
        self.points += other.points;
        self.bad.extend(other.bad);
    }

    #[track_caller]
    fn none_bad(self, what: &str) {
        eprintln!("power: {what}: {} cuts, {} bad", self.points, self.bad.len());
        assert!(self.bad.is_empty(), "{}", self.bad.join("\n"));
    }

    /// A canary: the sweep must find the bug.
    #[track_caller]
    fn finds(self, what: &str, sign: &str) {
        eprintln!("power: canary {what}: {} cuts, {} bad", self.points, self.bad.len());
        let found = self.bad.iter().find(|bad| bad.contains(sign));
        assert!(found.is_some(), "{what}: the sweep did not find {sign:?}: {:?}", self.bad);
    }
}

/// A victim and how it is judged.
struct Case<'w> {
    world: &'w World,
    victim: &'w dyn Fn() -> Command,
    judge: &'w dyn Fn(When) -> Result<(), String>,
}

impl Case<'_> {
    fn cut(&self, before: Before) -> String {
        let tool = material::program("powercut");
        let points = self.world.points();
        let cut = |point: &Path, foreign: bool| {
            format!("'{}' '{}'{}", tool.display(), point.display(), if foreign { " --foreign-fsync" } else { "" })
        };
        let foreign = |index| match before {
            Before::Nothing => false,
            Before::ForeignFsync => true,
            Before::OfData => index == 0,
            Before::OfState => index == 1,
        };
        let cuts: Vec<_> = points.iter().enumerate().map(|(i, point)| cut(point, foreign(i))).collect();
        cuts.join(" && ")
    }

    /// Runs the victim on fresh disks up to its `point`-th call, where the power goes; without a point it runs to its end first.
    fn one(&self, point: Option<&Point>, before: Before) -> Result<(), String> {
        self.world.fresh();
        let mounts = self.world.mount();
        self.world.prepare();
        let when = if let Some(point) = point {
            let (reached, output) = self.crashpoint(&point.number.to_string(), &format!("hook={}", self.cut(before)));
            assert_ne!(output.status.code(), Some(125), "{output:?}");
            assert!(reached, "{point} was not reached: {output:?}");
            When::During
        } else {
            disk::run(&mut (self.victim)());
            disk::run(Command::new("sh").args(["-c", &self.cut(before)]));
            When::Done
        };
        mounts.into_iter().for_each(Mounted::unmount);
        let mounts = self.world.try_mount().map_err(|why| format!("does not mount again: {why}"))?;
        let verdict = (self.judge)(when);
        mounts.into_iter().for_each(Mounted::unmount);
        verdict
    }

    fn crashpoint(&self, number: &str, action: &str) -> (bool, Output) {
        let victim = (self.victim)();
        let (list, reached) = (self.world.beside("points"), self.world.beside("reached"));
        let _ = fs::remove_file(&reached);
        let mut command = Command::new(material::program("crashpoint"));
        if action == "count" {
            command.arg("--list").arg(list);
        }
        command.arg("--reached").arg(&reached).args([number, action, "--"]);
        command.arg(victim.get_program()).args(victim.get_args());
        self.world.on_this_machine(&mut command);
        let output = command.output().unwrap();
        (reached.exists(), output)
    }

    /// Every call of the victim that changes something.
    fn points(&self) -> Vec<Point> {
        self.world.fresh();
        let mounts = self.world.mount();
        self.world.prepare();
        let (_, output) = self.crashpoint("0", "count");
        assert!(output.status.success(), "{output:?}");
        mounts.into_iter().for_each(Mounted::unmount);
        let list = fs::read_to_string(self.world.beside("points")).unwrap();
        let point = |line: &str| {
            let fields: Vec<&str> = line.split('\t').collect();
            let target = fields.get(4).map_or("", |target| target.rsplit('/').next().unwrap());
            Point { number: fields[0].parse().unwrap(), call: fields[3].to_owned(), target: target.to_owned() }
        };
        list.lines().map(point).collect()
    }

    fn sweep(&self, points: &[Point], before: Before) -> Found {
        let mut found = Found::default();
        let cuts = points.iter().map(Some).chain([None]);
        for point in cuts {
            found.points += 1;
            if let Err(why) = self.one(point, before) {
                let at = point.map_or("after exit 0".to_owned(), |point| format!("before {point}"));
                found.bad.push(format!("{:?} {:?} {before:?} {at}: {why}", self.world.kind, self.world.deed));
            }
        }
        found
    }
}

/// Kills the victim at each point, lets `next` end what it began, and cuts the power after `next`'s exit 0: what the killed
/// run renamed and did not make durable, the next one must. An exit of `next` other than 0 promises nothing.
fn killed_and_ended_by_the_next(deed: Deed, next: impl Fn(&World) -> Command, wanted: Generation) -> Found {
    let world = World::new(Kind::Ext4NoAutoDaAlloc, true, deed);
    let case = Case { world: &world, victim: &|| world.command(), judge: &|_| Ok(()) };
    let mut found = Found::default();
    for point in chosen(deed, &case.points(), 1, 0) {
        world.fresh();
        let mounts = world.mount();
        world.prepare();
        let _ = case.crashpoint(&point.number.to_string(), "kill");
        let ended = next(&world).status().unwrap().success() && world.is_settled();
        disk::run(Command::new("sh").args(["-c", &case.cut(Before::Nothing)]));
        mounts.into_iter().for_each(Mounted::unmount);
        if ended {
            found.points += 1;
            let mounts = world.mount();
            let there = world.found().map(|all| all.iter().all(|one| *one == wanted));
            if there != Ok(true) {
                found.bad.push(format!("{deed:?} killed before {point}, and ended by the next run: {there:?}"));
            }
            mounts.into_iter().for_each(Mounted::unmount);
        }
    }
    found
}

/// The points of the short form: every `stride`-th while the mark is on disk, from `offset` on, and with offset 0 the first of
/// every call's name.
fn chosen(deed: Deed, all: &[Point], stride: usize, offset: usize) -> Vec<Point> {
    if full_sweep() {
        return all.to_vec();
    }
    let mut records = all.iter().filter(|p| p.target.contains("state.json")).map(|p| p.number);
    let mark = match deed {
        Deed::Swap | Deed::SwapOverFresh | Deed::Rollback => records.next().unwrap(),
        Deed::Pending | Deed::Commit => 0,
    };
    let end = if deed == Deed::SwapOverFresh { usize::MAX } else { records.next_back().unwrap() + 1 };
    let mut names = BTreeSet::new();
    let mut is_chosen = |p: &&Point| {
        let is_first = names.insert(p.call.clone());
        is_first && offset == 0 || (mark..=end).contains(&p.number) && p.number % stride == offset
    };
    all.iter().filter(&mut is_chosen).cloned().collect()
}

/// Sweeps every deed, each on machines of its own side by side: most of the time goes with waiting for mount and umount.
fn sweep_all(kind: Kind, apart: bool, befores: &[Before]) -> Found {
    let mut found = Found::default();
    let one = &|deed: Deed| {
        let world = World::new(kind, apart, deed);
        let case = Case { world: &world, victim: &|| world.command(), judge: &|when| world.judge(when) };
        let all = case.points();
        let mut found = Found::default();
        // The two that forgive more than ext4 noauto_da_alloc and xfs do get every other point.
        let stride = befores.len() * if kind == Kind::Ext4 || apart { 2 } else { 1 };
        for (offset, before) in befores.iter().enumerate() {
            found.add(case.sweep(&chosen(deed, &all, stride, offset), *before));
        }
        eprintln!("power: {kind:?} {deed:?}: {} calls, {} cuts, {} bad", all.len(), found.points, found.bad.len());
        found
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = DEEDS.map(|deed| scope.spawn(move || one(deed))).into_iter().collect();
        for thread in threads {
            found.add(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
    });
    found
}

const DEEDS: [Deed; 5] = [Deed::Swap, Deed::SwapOverFresh, Deed::Rollback, Deed::Pending, Deed::Commit];

#[test]
fn ext4_keeps_every_change_whole_through_a_power_cut() {
    sweep_all(Kind::Ext4, false, &[Before::Nothing, Before::ForeignFsync]).none_bad("ext4");
}

#[test]
fn ext4_without_its_own_care_keeps_every_change_whole_through_a_power_cut() {
    let found = sweep_all(Kind::Ext4NoAutoDaAlloc, false, &[Before::Nothing, Before::ForeignFsync]);
    found.none_bad("ext4 noauto_da_alloc");
}

#[test]
fn xfs_keeps_every_change_whole_through_a_power_cut() {
    sweep_all(Kind::Xfs, false, &[Before::Nothing, Before::ForeignFsync]).none_bad("xfs");
}

#[test]
fn a_state_on_a_file_system_of_its_own_agrees_after_a_power_cut() {
    let befores = [Before::Nothing, Before::OfData, Before::OfState];
    sweep_all(Kind::Ext4NoAutoDaAlloc, true, &befores).none_bad("state apart");
}

#[test]
fn a_way_back_that_was_killed_is_durable_when_the_next_run_says_so() {
    let found = killed_and_ended_by_the_next(Deed::Pending, World::command, Generation::Old);
    found.none_bad("killed, then rollback --pending");
}

#[test]
fn a_swap_that_was_killed_is_durable_when_its_commit_says_so() {
    let commit = |world: &World| {
        let mut command = world.tool("swapbin");
        command.args(["--quiet", "--commit", "runed"]);
        command
    };
    killed_and_ended_by_the_next(Deed::SwapOverFresh, commit, Generation::New)
        .none_bad("killed, then swapbin --commit");
}

/// The same sweep finds what is broken.
fn finds(kind: Kind, canary: Canary, before: Before, sign: &str) {
    let world = World::new(kind, false, Deed::Swap);
    let case = Case { world: &world, victim: &|| world.canary(canary), judge: &|when| world.judge_canary(when) };
    // strace and crashpoint can't trace the same process, so that one is cut at its end alone.
    let points = if canary == Canary::SwapbinWithoutFsync { Vec::new() } else { case.points() };
    case.sweep(&points, before).finds(&format!("{canary:?} on {kind:?}"), sign);
}

#[test]
fn canary_a_swap_without_fsync_is_found() {
    finds(Kind::Ext4NoAutoDaAlloc, Canary::SwapbinWithoutFsync, Before::ForeignFsync, "not whole");
    finds(Kind::Xfs, Canary::SwapbinWithoutFsync, Before::Nothing, "exit 0 was not durable");
}

#[test]
fn canary_install_is_found() {
    finds(Kind::Ext4, Canary::Install, Before::ForeignFsync, "not whole");
}

#[test]
fn canary_a_rename_without_fsync_is_found() {
    finds(Kind::Ext4NoAutoDaAlloc, Canary::RenameWithoutFsync, Before::ForeignFsync, "not whole");
    finds(Kind::Xfs, Canary::RenameWithoutFsync, Before::ForeignFsync, "not whole");
}

#[test]
fn canary_a_rename_without_fsync_of_its_folder_is_found() {
    finds(Kind::Ext4, Canary::RenameWithoutFolderFsync, Before::Nothing, "exit 0 was not durable");
}

/// On anything else the call would end this machine.
#[test]
fn powercut_refuses_all_but_a_mounted_loop_device() {
    let dir = disk::workshop();
    let (image, point) = (dir.path().join("image"), dir.path().join("point"));
    fs::create_dir(&point).unwrap();
    Kind::Ext4.make(&image);
    let refuses = |path: &Path, why: &str| {
        let output = Command::new(material::program("powercut")).arg(&point).arg(path).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{}: {said}", path.display());
        assert!(said.contains(why), "{}: {said}", path.display());
    };
    let mounted = Kind::Ext4.mount(&image, &point);
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&point, &link).unwrap();
    refuses(Path::new("/"), "the file system of /");
    refuses(Path::new(env!("CARGO_MANIFEST_DIR")), "only a loop file system's power is cut");
    refuses(dir.path(), "only a loop file system's power is cut");
    refuses(Path::new("/proc"), "no loop device");
    refuses(&point.join("lost+found"), "at this very path");
    refuses(&link, "only a loop file system's power is cut");
    refuses(&dir.path().join("nothing"), "No such file");
    fs::write(point.join("still"), "writable").unwrap();
    // A folder of the same file system, bound to another place, is no mount of the device either.
    let bound = dir.path().join("bound");
    fs::create_dir(&bound).unwrap();
    disk::run(Command::new("mount").arg("--bind").args([&point.join("lost+found"), &bound]));
    refuses(&bound, "at this very path");
    disk::run(Command::new("umount").arg(&bound));
    // What it is for: after it nothing can be written.
    disk::run(Command::new(material::program("powercut")).arg(&point));
    assert!(fs::write(point.join("more"), "not writable").is_err());
    mounted.unmount();
}
