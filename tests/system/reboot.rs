//! The power goes in the middle of the chain, and comes back: the host boots, nobody does anything, and the service runs with
//! whole files of one generation.
//!
//! Binaries, units and state lie on a file system of their own, on a loop device. crashpoint stops the chain before a system
//! call, powercut cuts that file system off from its disk, and the container is killed; mounted again, it has what the disk had.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use fs_err as fs;

use crate::chain_kill::{Point, points_of, ready, spread, tell};
use crate::env::Env;
use crate::material::{self, full_sweep};

/// The folders of the host that are on the disk.
const FOLDERS: [&str; 3] = ["/usr/local/bin", "/etc/systemd/system", "/var/lib/upswap"];
/// The chain that the power goes in the middle of. From a folder: the release server does not come back with the host.
const CHAIN: &str =
    "upswap upgrade runed --version v2.0.0 --refresh-unit --carry-edits --source /srv/releases/runestack/rune";
/// How the names of the images begin; the number of the test process follows.
const PREFIX: &str = "upswap-disk-";
/// How long the kernel may take to let go of a file system whose host is off.
const PATIENCE: Duration = Duration::from_secs(20);

/// A file system on a loop device.
struct Disk {
    device: PathBuf,
    _image: tempfile::TempPath,
}

impl Disk {
    fn new() -> Self {
        remove_leftovers();
        // Memory where there is some: nothing of this is to last. Unoptimised tools are large, and what is not written takes no room.
        let dir = [Path::new("/dev/shm"), Path::new("/tmp")].into_iter().find(|dir| dir.is_dir()).unwrap();
        let image =
            tempfile::Builder::new().prefix(&format!("{PREFIX}{}-", std::process::id())).tempfile_in(dir).unwrap();
        image.as_file().set_len(1 << 30).unwrap();
        let image = image.into_temp_path();
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-E", "lazy_itable_init=0"]).arg(&image));
        let device = run(Command::new("losetup").args(["--find", "--show"]).arg(&image));
        Self { device: device.trim_end().into(), _image: image }
    }

    /// Waits until the kernel has let go of it: mounted before, it would be the dead file system again (sysfs(5), `/sys/fs/ext4`).
    fn is_free(&self) {
        let started = Instant::now();
        let mounted = Path::new("/sys/fs/ext4").join(self.device.file_name().unwrap());
        while mounted.exists() {
            assert!(started.elapsed() < PATIENCE, "{} is still mounted", self.device.display());
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        detach(&self.device);
    }
}

fn detach(device: &Path) {
    let _ = Command::new("losetup").arg("--detach").arg(device).status();
}

/// Detaches the disks of test runs that were killed (sysfs(5), `/sys/block/loopN/loop/backing_file`).
fn remove_leftovers() {
    for device in fs::read_dir("/sys/block").unwrap().flatten() {
        let file = fs::read_to_string(device.path().join("loop/backing_file")).unwrap_or_default();
        let pid = file.split_once(PREFIX).and_then(|(_, rest)| rest.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            detach(&Path::new("/dev").join(device.file_name()));
            let _ = fs::remove_file(file.trim_end());
        }
    }
}

#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output();
    let output = output.unwrap_or_else(|e| panic!("{command:?}: {e}; scripts/deps test installs what the tests need"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A host and the disk that its binaries, units and state are on.
struct Machine {
    // Dropped first: the disk is in use until the host is gone.
    host: Env,
    disk: Disk,
}

impl Machine {
    fn new() -> Self {
        let disk = Disk::new();
        let host = ready(Env::boot_on_disk(&disk.device, &FOLDERS));
        host.put(&material::program("powercut"), "/opt/powercut");
        host.run(&format!("cat >/opt/cut <<'CUT'\n{CUT}CUT\ncat >/opt/look <<'LOOK'\n{LOOK}LOOK")).success();
        Self { host, disk }
    }

    /// The calls of the chain, as every later run makes them: the first one fills the cache.
    fn points(&self) -> Vec<Point> {
        points_of(&self.host, CHAIN);
        points_of(&self.host, CHAIN)
    }

    /// Cuts the power at `point` of the chain, with `how` of powercut, boots, and tells how the host is then.
    fn cut_at(&self, point: &Point, how: &str) -> (String, String) {
        let cut = self.host.run(&format!("chain='{CHAIN}' sh /opt/cut {} '{how}'", point.number)).success();
        self.host.power_off();
        self.disk.is_free();
        self.host.boot_again();
        let seen = self.host.run("sh /opt/look").success();
        (cut.stdout().to_owned(), seen.stdout().to_owned())
    }
}

/// What is before the chain is on the disk; then the power goes at point `$1`.
const CUT: &str = r#"
    . /opt/words
    put_back
    rm -f /run/reached
    sync --file-system /disk
    /opt/crashpoint --reached /run/reached "$1" "hook=/opt/powercut /disk $2" -- $chain >/dev/null 2>/run/stderr </dev/null || :
    [ -s /run/reached ] && cut -f1,3- /run/reached || { echo 'not reached'; tail -n 1 /run/stderr; }
"#;
const NOT_REACHED: &str = "not reached";
const LOOK: &str = ". /opt/words
    echo \"$(files)$(service) $(trial)\"
";

/// Whether the host is as promised: whole files of one generation, settled, and that generation runs.
fn kept(seen: &str) -> bool {
    ["old old old old none", "new new new new none"].contains(&seen)
}

/// Cuts the power at each of `points`, in turn with nothing else and after a foreign fsync, which commits the journal with all
/// that others have in it. Gives what was not as promised.
fn sweep(machine: &Machine, points: &[Point]) -> Vec<String> {
    tell(&format!("reboot: the power goes at {} points of '{CHAIN}'", points.len()));
    let mut bad = Vec::new();
    for (turn, point) in points.iter().enumerate() {
        let how = if turn % 2 == 0 { "" } else { "--foreign-fsync" };
        let started = Instant::now();
        let (reached, seen) = machine.cut_at(point, how);
        let line = format!("{} {how}: {seen}", reached.replace('\t', " "));
        tell(&format!("reboot: {line} ({:.1} s)", started.elapsed().as_secs_f32()));
        if reached.starts_with(NOT_REACHED) || !kept(&seen) {
            bad.push(line);
        }
    }
    bad
}

#[test]
fn after_a_power_cut_anywhere_in_the_chain_the_service_runs_and_nobody_did_anything() {
    let machine = Machine::new();
    let all = machine.points();
    let mut points = if full_sweep() { spread(&all, 14, 6) } else { spread(&all, 5, 1) };
    if full_sweep() {
        // Each in both ways.
        points = points.iter().flat_map(|point| [point.clone(), point.clone()]).collect();
    }
    let bad = sweep(&machine, &points);
    assert!(bad.is_empty(), "{bad:#?}");
}

/// The same without the unit that settles what is pending at boot: it must find what is left half done.
#[test]
fn without_the_boot_unit_the_sweep_finds_what_is_left() {
    let machine = Machine::new();
    let all = machine.points();
    machine.host.run("systemctl mask --quiet upswap-recover.service").success();
    let points: Vec<Point> = spread(&all, 14, 6).into_iter().filter(|point| point.what.contains(" rename")).collect();
    let bad = sweep(&machine, &points);
    assert!(bad.iter().any(|line| line.ends_with("open")), "{bad:#?}");
}
