//! A host to upgrade things on: a container whose first program is systemd, gone when its `Env` is dropped.
//!
//! `UPSWAP_KEEP=1` leaves the containers and says how to enter them.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use fs_err as fs;

use crate::material;

/// What a test host may do beyond a common container; the canaries in `harness.rs` show that it needs it. `NET_ADMIN` is for the
/// loopback of a private network; systemd 257 makes none without it.
const CAPABILITIES: &str = "--cap-add=SYS_PTRACE,SYS_ADMIN,NET_ADMIN";
/// Every container of these tests that is not to be kept has this label and, as its value, the process that made it.
const LABEL: &str = "upswap-test";
/// How long one script may run, in seconds.
const DEADLINE: &str = "300";

/// A running test host.
pub struct Env {
    name: String,
    variables: Vec<(String, String)>,
}

impl Env {
    /// Boots a host and waits until systemd has started everything.
    #[track_caller]
    pub fn boot() -> Self {
        Self::boot_with(&[CAPABILITIES])
    }

    /// Boots a host of this Debian release, whatever the others are of.
    #[track_caller]
    #[allow(dead_code)] // The demo has one host.
    pub fn boot_suite(suite: &str) -> Self {
        image();
        Self::boot_image(&material::image_script("build", &[suite]), &[CAPABILITIES], &["/sbin/init"])
    }

    /// Boots a host that has `folders` on a disk of their own, a block device with a file system, which is mounted at `/disk` too.
    /// Mounted by the host itself, so that the kernel lets go of it when the host is off.
    #[track_caller]
    pub fn boot_on_disk(device: &Path, folders: &[&str]) -> Self {
        let init = format!(
            "mkdir -p /disk; mount {device} /disk
            for folder in {folders}; do
                on_disk=/disk/${{folder##*/}}; mkdir -p $folder
                [ -d $on_disk ] || cp -a $folder $on_disk
                mount --bind $on_disk $folder
            done
            exec /sbin/init",
            device = device.display(),
            folders = folders.join(" "),
        );
        Self::boot_by(&[CAPABILITIES, &format!("--device={}", device.display())], &["sh", "-ec", &init])
    }

    /// Boots a host as a common container has it: only to show why `boot` asks for more.
    #[track_caller]
    pub fn boot_without_capabilities() -> Self {
        Self::boot_with(&[])
    }

    #[track_caller]
    fn boot_with(options: &[&str]) -> Self {
        Self::boot_by(options, &["/sbin/init"])
    }

    #[track_caller]
    fn boot_by(options: &[&str], init: &[&str]) -> Self {
        Self::boot_image(image(), options, init)
    }

    #[track_caller]
    fn boot_image(image: &str, options: &[&str], init: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let pid = std::process::id();
        let name = format!("upswap-test-{pid}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let env = Self { name, variables: Vec::new() };
        let mut podman = podman();
        podman.args(["run", "--detach", "--quiet", "--name", &env.name, "--hostname", "host", "--network", "none"]);
        if !kept() {
            podman.arg(format!("--label={LABEL}={pid}"));
        }
        podman.arg("--systemd=always").args(options);
        let limit = open_files_limit().min(20_000);
        // runc refuses limits above this host's own, systemd those above the container's.
        podman.arg(format!("--ulimit=nofile={}:{limit}", limit.min(1024))).arg(format!("--ulimit=nproc=1024:{limit}"));
        podman.arg(image).args(init);
        finish(&mut podman);
        env.wait_until_booted();
        env
    }

    /// Takes the power from the host, as far as its processes feel it, and boots it again.
    #[track_caller]
    pub fn power_off_and_boot(&self) {
        self.power_off();
        self.boot_again();
    }

    /// Takes the power from the host, as far as its processes feel it.
    #[track_caller]
    pub fn power_off(&self) {
        finish(podman().args(["kill", "--signal", "KILL", &self.name]));
        finish(podman().args(["wait", &self.name]));
    }

    /// Boots a host that is off.
    #[track_caller]
    pub fn boot_again(&self) {
        finish(podman().args(["start", &self.name]));
        self.wait_until_booted();
    }

    #[track_caller]
    fn wait_until_booted(&self) {
        self.run(
            "for turn in $(seq 200); do
                case $(systemctl is-system-running --wait 2>/dev/null) in running | degraded) exit 0 ;; esac
                sleep 0.05
            done
            systemctl list-jobs; exit 1",
        )
        .success();
    }

    /// Installs the tools of this test run, the scripts and the units: `make install`, unpacked on the host.
    #[track_caller]
    pub fn with_tools(self) -> Self {
        let staged = tempfile::tempdir().unwrap();
        let mut make = Command::new("make");
        make.current_dir(material::project()).args(["--no-print-directory", "install"]);
        make.arg(format!("DESTDIR={}", staged.path().display())).arg(format!("built={}", material::tools().display()));
        finish(&mut make);
        self.copy(staged.path(), "/");
        self
    }

    /// Starts a release server with the releases of `rune` on its shelf, at `https://localhost:8443`, whose CA this host trusts.
    /// `GITHUB_API_URL` says so to every later script; the shelf is `/srv/releases`, with the public key `minisign.pub` in it.
    #[track_caller]
    pub fn with_releases(self) -> Self {
        self.with_releases_of(&material::releases())
    }

    /// The same with another shelf.
    #[track_caller]
    pub fn with_releases_of(mut self, releases: &Path) -> Self {
        self.copy(releases, "/srv/releases");
        self.put(&material::program("release-server"), "/opt/release-server");
        self.run(
            "systemd-run --quiet --unit=release-server --property=Type=notify --property=DynamicUser=yes \
                --property=RuntimeDirectory=release-server \
                /opt/release-server --dir /srv/releases --listen 127.0.0.1:8443 --tls-dir /run/release-server
            cat /run/release-server/ca.pem >>/etc/ssl/certs/ca-certificates.crt",
        )
        .success();
        self.variables.push(("GITHUB_API_URL".into(), "https://localhost:8443".into()));
        self
    }

    /// Installs a release of `rune` as its installer would: a user, two binaries, a file capability, its own unit, started.
    /// Needs [`Env::with_releases`] before.
    #[track_caller]
    pub fn with_rune(self, tag: &str) -> Self {
        let archive = format!("/srv/releases/runestack/rune/{tag}/rune_linux_{}.tar.gz", material::goarch());
        self.run(&format!(
            "useradd --system --no-create-home --shell /usr/sbin/nologin rune
            tar -x --no-same-owner -f {archive} -C /usr/local/bin
            setcap cap_net_bind_service=+ep /usr/local/bin/runed
            runed print-systemd >/etc/systemd/system/runed.service
            systemctl enable --quiet --now runed.service"
        ))
        .success();
        self
    }

    /// Writes a profile that says all that `upswap upgrade runed` needs; healthy is who stays so for `stable`.
    /// A release that is never ready is given up soon.
    #[track_caller]
    #[allow(dead_code)] // The demo writes one before people's eyes.
    pub fn with_profile(self, stable: &str) -> Self {
        self.run(&format!(
            "cat >/etc/upswap/runed.conf <<'END'
SOURCE=gh:runestack/rune
SUMS=checksums.txt
KEY=/srv/releases/minisign.pub
EXTRACT=rune,runed
PROBES=\"--http http://127.0.0.1:7861/health\"
STABLE={stable}
END
            mkdir /etc/systemd/system/runed.service.d
            printf '[Service]\\nTimeoutStartSec=3s\\n' >/etc/systemd/system/runed.service.d/test.conf
            systemctl daemon-reload"
        ))
        .success();
        self
    }

    /// Runs a script while `runed` is asked for its health every millisecond: what it did, and the longest time without an answer.
    #[track_caller]
    pub fn pause_of(&self, script: &str) -> (Output, Duration) {
        self.pause_during(|| self.run(script))
    }

    /// The same for anything that is done to the host.
    #[track_caller]
    pub fn pause_during<T>(&self, deed: impl FnOnce() -> T) -> (T, Duration) {
        self.put(&material::program("prober"), "/opt/prober");
        self.run(
            "rm -f /run/prober.stop
            systemd-run --quiet --unit=prober --property=Type=notify --property=StandardOutput=truncate:/run/prober.json \
                /opt/prober --json --until /run/prober.stop",
        )
        .success();
        let done = deed();
        let seen = self.run(
            "touch /run/prober.stop
            while systemctl is-active --quiet prober; do sleep 0.02; done
            cat /run/prober.json",
        );
        let seen: serde_json::Value = serde_json::from_str(seen.success().stdout()).unwrap();
        (done, Duration::from_secs_f64(seen["longest_gap_ms"].as_f64().unwrap() / 1000.0))
    }

    /// The container's name, for podman.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Copies what is in the folder `from` into the folder `to` of the host, owned by root.
    #[track_caller]
    pub fn copy(&self, from: &Path, to: &str) {
        let mut tar = Command::new("tar");
        tar.args(["--create", "--directory"]).arg(from).arg(".").stdout(Stdio::piped());
        let mut tar = tar.spawn().unwrap();
        let mut inside = self.exec(true);
        // --no-overwrite-dir: the modes of / and /usr are the host's.
        inside.args(["sh", "-ec", "mkdir -p \"$1\" && tar -x --no-same-owner --no-overwrite-dir -C \"$1\"", "sh", to]);
        inside.stdin(tar.stdout.take().unwrap());
        finish(&mut inside);
        assert!(tar.wait().unwrap().success());
    }

    /// Copies one executable to the path `to` of the host.
    #[track_caller]
    pub fn put(&self, from: &Path, to: &str) {
        let mut inside = self.exec(true);
        inside.args(["sh", "-ec", "mkdir -p \"${1%/*}\" && cat >\"$1\" && chmod 0755 \"$1\"", "sh", to]);
        inside.stdin(fs::File::open(from).unwrap().into_parts().0);
        finish(&mut inside);
    }

    /// Runs a shell script on the host as root; it stops at the first command that fails.
    #[track_caller]
    #[must_use = "say what is expected of it: .success() or .code(5)"]
    pub fn run(&self, script: &str) -> Output {
        let mut inside = self.exec(false);
        inside.args(["sh", "-ec", script]);
        let output = inside.output().unwrap();
        Output {
            script: script.to_owned(),
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs a script as [`Env::run`] does, and lets people see it: its text, then what it prints, as it comes.
    #[allow(dead_code, clippy::print_stdout)] // Only the demo shows, and it shows it to people.
    pub fn show(&self, script: &str) -> Option<i32> {
        for (number, line) in script.trim_end().lines().enumerate() {
            println!("{} {line}", if number == 0 { "$" } else { ">" });
        }
        let mut inside = self.exec(false);
        inside.args(["sh", "-c", &format!("exec 2>&1\n{script}")]);
        inside.status().unwrap().code()
    }

    fn exec(&self, stdin: bool) -> Command {
        let podman = podman();
        let mut command = Command::new("timeout");
        command.args(["--signal=KILL", DEADLINE]).arg(podman.get_program()).args(podman.get_args()).arg("exec");
        if stdin {
            command.arg("--interactive");
        }
        for (name, value) in &self.variables {
            command.arg(format!("--env={name}={value}"));
        }
        command.arg(&self.name);
        command
    }
}

impl Drop for Env {
    fn drop(&mut self) {
        if thread::panicking() {
            let journal = self.run("journalctl --no-pager --quiet --lines=40 --output=short-monotonic");
            eprintln!("the journal of {}:\n{}", self.name, journal.stdout);
        }
        if kept() {
            let variables: Vec<_> = self.variables.iter().map(|(key, value)| format!(" --env={key}={value}")).collect();
            let variables = variables.concat();
            let name = &self.name;
            eprintln!("kept: podman exec -it{variables} {name} bash; then: podman rm -f -t 0 {name}");
            return;
        }
        remove(&self.name);
    }
}

/// What a script did.
#[derive(Debug)]
pub struct Output {
    script: String,
    code: i32,
    stdout: String,
    stderr: String,
}

impl Output {
    /// Requires exit status 0.
    #[track_caller]
    pub fn success(self) -> Self {
        self.code(0)
    }

    /// Requires this exit status.
    #[track_caller]
    pub fn code(self, expected: i32) -> Self {
        let Self { script, code, stdout, stderr } = &self;
        assert!(
            *code == expected,
            "exit status {code}, not {expected}\n$ {script}\n--- stdout\n{stdout}--- stderr\n{stderr}"
        );
        self
    }

    /// What it printed on standard output, without the last newline.
    pub fn stdout(&self) -> &str {
        self.stdout.trim_end_matches('\n')
    }

    /// What it printed on standard error, without the last newline.
    pub fn stderr(&self) -> &str {
        self.stderr.trim_end_matches('\n')
    }
}

/// The image of the hosts.
#[track_caller]
fn image() -> &'static str {
    static IMAGE: OnceLock<String> = OnceLock::new();
    assert!(
        nix::unistd::geteuid().is_root(),
        "the system tests boot containers and need root: sudo make test (the others: cargo test --test cli)"
    );
    IMAGE.get_or_init(|| {
        remove_leftovers();
        material::image_script("build", &[])
    })
}

/// podman with the runtime that works here: its default needs the unified cgroup hierarchy, runc takes the older ones too.
fn podman() -> Command {
    let mut podman = Command::new("podman");
    if !Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        podman.args(["--runtime", "runc"]);
    }
    podman
}

/// Runs a command that has to work; gives its standard output.
#[track_caller]
fn finish(command: &mut Command) -> String {
    let output = match command.output() {
        Ok(output) => output,
        Err(e) => {
            panic!("{}: {e}; the system tests need it: scripts/deps test installs it", command.get_program().display())
        }
    };
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Whether the hosts are to stay. They have no label then, so that no later run takes them for left over.
fn kept() -> bool {
    std::env::var_os("UPSWAP_KEEP").is_some()
}

/// Removes the containers of test runs that were killed.
fn remove_leftovers() {
    let format = format!("{{{{.Names}}}} {{{{index .Labels \"{LABEL}\"}}}}");
    let filter = format!("label={LABEL}");
    let list = finish(podman().args(["ps", "--all", "--filter", &filter, "--format", &format]));
    for (name, pid) in list.lines().filter_map(|line| line.split_once(' ')) {
        if !Path::new("/proc").join(pid).exists() {
            remove(name);
        }
    }
}

/// Removes a container at once: without -t 0 podman waits for an orderly shutdown first.
fn remove(name: &str) {
    let gone = podman().args(["rm", "--force", "--time", "0", name]).stdout(Stdio::null()).status();
    if !gone.is_ok_and(|status| status.success()) {
        eprintln!("the container {name} could not be removed: podman rm -f -t 0 {name}");
    }
}

/// This process's hard limit of open files (proc(5), "limits").
fn open_files_limit() -> u64 {
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|l| l.starts_with("Max open files")).unwrap_or_default();
    line.split_whitespace().nth(4).and_then(|hard| hard.parse().ok()).unwrap_or(1024)
}
