//! A host in a folder: sources to swap, a store, a systemd that is a script, and our tools on it.

use std::ffi::OsStr;
use std::fs::Permissions;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use assert_cmd::cargo::cargo_bin;
use fs_err as fs;
use serde_json::Value;
use upswap::words::digest::Digest;

/// What plays `systemctl`: it says what is in `unit`, and a restart gives that another `InvocationID`.
const SYSTEMCTL: &str = r#"#!/bin/sh
echo "$@" >>"ROOT/systemctl.log"
case $1 in
show) cat "ROOT/unit" ;;
restart | stop) [ ! -e "ROOT/refuses-$1" ] || { echo "refused" >&2; exit 1; } ;;
daemon-reload) [ ! -e "ROOT/refuses-reload" ] || { echo "refused" >&2; exit 1; } ;;
esac
case $1 in
restart) sed -i "s/^InvocationID=.*/InvocationID=$$/; s/^ActiveState=.*/ActiveState=active/" "ROOT/unit" ;;
stop) sed -i "s/^ActiveState=.*/ActiveState=inactive/" "ROOT/unit" ;;
esac
"#;

/// The host.
pub struct Host {
    dir: tempfile::TempDir,
}

/// What a tool answered, this host's folder and all numbers that differ from run to run taken out.
#[derive(Debug, PartialEq, Eq)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// What must be the very same file afterwards, as far as a path shows it.
#[derive(Debug, PartialEq, Eq)]
pub struct Inode {
    number: u64,
    bytes: Vec<u8>,
    owner: (u32, u32),
    mode: u32,
}

impl Host {
    /// A host with an empty `bin`, where files are managed, and a running unit.
    pub fn new() -> Self {
        Self::in_folder(&std::env::temp_dir())
    }

    /// The same in a folder below `folder`.
    pub fn in_folder(folder: &Path) -> Self {
        let host = Self { dir: tempfile::tempdir_in(folder).unwrap() };
        // Others of this machine may look: some tests run the tools as another user.
        chmod(host.dir.path(), 0o755);
        for folder in ["bin", "src", "etc/systemd/system", "usr/bin"] {
            fs::create_dir_all(host.path(folder)).unwrap();
        }
        let script = SYSTEMCTL.replace("ROOT", host.dir.path().to_str().unwrap());
        host.program("usr/bin/systemctl", script);
        host.has_unit("active");
        host
    }

    /// A host on which `bin/runed` is `v1`, put there by other hands.
    pub fn with_runed() -> Self {
        let host = Self::new();
        host.file("bin/runed", "v1");
        host
    }

    /// A path of the host.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file of the host with these bytes.
    pub fn file(&self, name: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// A program of the host, to be run.
    pub fn program(&self, name: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        program(&path, bytes);
        path
    }

    /// A verified file, as verify puts it into the store.
    pub fn stored(&self, name: &str, bytes: &str) -> PathBuf {
        self.stored_as(name, bytes, &format!("v{bytes}"))
    }

    /// A verified file of this version.
    pub fn stored_as(&self, name: &str, bytes: &str, version: &str) -> PathBuf {
        let digest = Digest::of(bytes.as_bytes());
        let folder = format!("var/cache/upswap/store/{digest}");
        fs::create_dir_all(self.path(&folder)).unwrap();
        let origin = serde_json::json!({
            "schema": 1, "source": "gh:o/r", "version": version, "asset": name, "digest": digest.to_string(), "time": 1,
        });
        self.file(Path::new(&folder).join(".origin.json"), origin.to_string());
        self.file(Path::new(&folder).join(name), bytes)
    }

    /// The only unit is in this `ActiveState`.
    pub fn has_unit(&self, active: &str) {
        let sub = if active == "active" { "running" } else { "dead" };
        let unit = format!(
            "LoadState=loaded\nActiveState={active}\nSubState={sub}\nResult=success\nType=simple\nMainPID=1\nInvocationID=1\nNRestarts=0\nConditionResult=yes\nAssertResult=yes\n"
        );
        self.file("unit", unit);
    }

    /// What systemctl was asked to do, the questions left out.
    pub fn jobs(&self) -> Vec<String> {
        let log = fs::read_to_string(self.path("systemctl.log")).unwrap_or_default();
        log.lines().filter(|line| !line.starts_with("show")).map(str::to_owned).collect()
    }

    /// One of our tools on this host, its own folder the working folder, with nothing on stdin.
    pub fn tool(&self, tool: &str) -> Command {
        self.command(cargo_bin(tool))
    }

    /// A shell script with our tools in its PATH.
    pub fn shell(&self, script: &str) -> Command {
        let mut command = self.command("sh");
        command.args(["-c", script]);
        command
    }

    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.dir.path()).stdin(Stdio::null()).env("UPSWAP_ROOT", self.dir.path());
        // cargo's folders of libraries are none of a user's: the loader would look through all of them, in every sweep.
        for name in ["UPSWAP_NAME", "UPSWAP_LOCK_FD", "UPSWAP_STATE_DIR", "STATE_DIRECTORY", "LD_LIBRARY_PATH"] {
            command.env_remove(name);
        }
        let tools = cargo_bin("fetch").parent().unwrap().to_owned();
        command.env("PATH", format!("{}:{}", tools.display(), std::env::var("PATH").unwrap()));
        command
    }

    /// Runs `swapbin ARGUMENTS`.
    pub fn swapbin<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ran {
        self.ran(self.tool("swapbin").args(arguments))
    }

    /// Runs `rollback ARGUMENTS`.
    pub fn rollback<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ran {
        self.ran(self.tool("rollback").args(arguments))
    }

    /// Runs `setcap-keep ARGUMENTS`.
    pub fn setcap_keep<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ran {
        self.ran(self.tool("setcap-keep").args(arguments))
    }

    /// A guard of `runed` over a shell script, ready to be run.
    pub fn guard(&self, script: &str) -> Command {
        let mut command = self.tool("rollback");
        command.args(["--guard", "runed", "--", "sh", "-ec", script]);
        command
    }

    /// Runs a shell script under the guard of `runed`.
    pub fn guarded(&self, script: &str) -> Ran {
        self.ran(&mut self.guard(script))
    }

    /// Puts `bytes` in place of `bin/runed` as a settled generation of their own.
    pub fn swapped_in(&self, bytes: &str) {
        let file = self.stored("runed", bytes);
        self.swapbin([file, self.path("bin/runed")]).is(0);
    }

    /// Runs a command to its end.
    pub fn ran(&self, command: &mut Command) -> Ran {
        self.told(&command.output().unwrap())
    }

    /// What a command answered.
    pub fn told(&self, output: &Output) -> Ran {
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: self.clean(&output.stdout),
            stderr: self.clean(&output.stderr),
        }
    }

    fn clean(&self, bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes).replace(self.dir.path().to_str().unwrap(), "DIR");
        let words = text.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != ':').map(|word| {
            let bare = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
            let time = bare.len() == 20 && bare.contains('T') && bare.ends_with('Z');
            let digest = bare.len() == 64 && bare.bytes().all(|b| b.is_ascii_hexdigit());
            match (time, digest) {
                (true, _) => word.replace(bare, "1970-01-01T00:00:00Z"),
                (_, true) => word.replace(bare, "DIGEST"),
                _ => word.to_owned(),
            }
        });
        words.collect::<String>().split("PID ").enumerate().fold(String::new(), |text, (n, part)| match n {
            0 => part.to_owned(),
            _ => text + "PID N" + part.trim_start_matches(|c: char| c.is_ascii_digit()),
        })
    }

    /// The record of `runed`.
    pub fn record(&self) -> Value {
        serde_json::from_slice(&fs::read(self.record_path()).unwrap()).unwrap()
    }

    /// Where the record of `runed` is.
    pub fn record_path(&self) -> PathBuf {
        self.path("var/lib/upswap/runed/state.json")
    }

    /// What a file of the host holds.
    pub fn text(&self, name: impl AsRef<Path>) -> String {
        String::from_utf8(fs::read(self.path(name)).unwrap()).unwrap()
    }

    /// The file at a path, for comparing.
    pub fn inode(&self, name: impl AsRef<Path>) -> Inode {
        let path = self.path(name);
        let meta = fs::metadata(&path).unwrap();
        Inode { number: meta.ino(), bytes: fs::read(path).unwrap(), owner: (meta.uid(), meta.gid()), mode: meta.mode() }
    }

    /// The names in a folder, sorted.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// A pipe with a name.
    pub fn fifo(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        path
    }

    /// A pipe with a name for a script to wait at: until this end is written to, or dropped by a test that fails.
    pub fn gate(&self, name: &str) -> fs::File {
        fs::OpenOptions::new().read(true).write(true).open(self.fifo(name)).unwrap()
    }
}

impl Ran {
    /// The code must be this one.
    #[track_caller]
    pub fn is(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    /// One line of stderr must say this.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "{text:?} is not said: {self:#?}");
        self
    }

    /// Stdout must be this.
    #[track_caller]
    pub fn prints(self, text: &str) -> Self {
        assert_eq!(self.stdout, text, "{self:#?}");
        self
    }

    /// Stdout as the one JSON object that it must be.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:#?}"))
    }
}

/// For a test that sets owners, capabilities or trusted attributes: without root it has to fail, not to pass unseen.
#[track_caller]
pub fn needs_root() {
    assert!(nix::unistd::geteuid().is_root(), "this test sets owners or capabilities and needs root: sudo make test");
}

/// Waits until a script says `told WHAT` on its stdout, and gives WHAT and the rest. A script that ends first fails the test.
pub fn told(child: &mut Child) -> (String, BufReader<ChildStdout>) {
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while out.read_line(&mut line).unwrap() > 0 {
        if let Some(what) = line.strip_prefix("told") {
            return (what.trim().to_owned(), out);
        }
        line.clear();
    }
    panic!("the script ended and told nothing: {:?}", child.wait());
}

/// Makes a program, by the hands of another process: what a thread of ours has just written may still be open in what another
/// thread forks, until that executes its own program, and can't be run so long (ETXTBSY, execve(2)).
pub fn program(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
    let mut install = Command::new("install");
    let install = install.args(["-m", "755", "/dev/stdin"]).arg(path.as_ref()).stdin(Stdio::piped());
    let mut install = install.spawn().unwrap();
    // Closed when it is dropped, here.
    install.stdin.take().unwrap().write_all(bytes.as_ref()).unwrap();
    assert!(install.wait().unwrap().success(), "{}", path.as_ref().display());
}

/// Gives a file these permission bits.
pub fn chmod(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path.as_ref(), Permissions::from_mode(mode)).unwrap();
}
