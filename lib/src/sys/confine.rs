//! Running a program that nobody trusts yet, in a [`Cell`], for a while, and reading what it prints, up to a limit.
//!
//! By `setsid`, `unshare` and `setpriv` of util-linux and `timeout` of coreutils, so that no code of ours runs between fork and exec.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open};

use super::Host;
use super::tool::ToolError;
use crate::words::exit::{Coded, Exit};

mod cell;

pub use cell::{Cell, Walls};

/// The uid and gid of nobody: the kernel's overflow uid (`user_namespaces(7)`), which no file and no service should own.
pub const NOBODY: u32 = 65534;
/// How much of its standard error is kept, in bytes; the rest is read and dropped.
const STDERR_KEPT: u64 = 64 << 10;
/// How much longer than the deadline the namespace's own watch waits, for the case that we were killed ourselves.
const SPARE: Duration = Duration::from_secs(2);

/// How far a program could be confined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confinement {
    /// The caller's own uid, no new privileges; all that a user who is not root can ask for everywhere.
    NoNewPrivileges,
    /// Namespaces of its own and nothing to write to: a [`Cell`].
    Cell,
    /// Another user, no capability, no new privileges.
    UserAlone,
}

/// What a confined program gave.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output, whole.
    pub stdout: Vec<u8>,
    /// The beginning of its standard error.
    pub stderr: Vec<u8>,
    /// How it was confined.
    pub confinement: Confinement,
}

/// Why a program gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// unshare, setpriv or timeout is missing.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// It is there and can't be executed.
    #[error("{}: cannot be executed on this host: {reason}", .program.display())]
    Exec {
        /// The program.
        program: PathBuf,
        /// Why not.
        reason: String,
    },
    /// This host does not let us confine it.
    #[error("{}: was not run, as it cannot be confined here: {reason}", .program.display())]
    Refused {
        /// The program.
        program: PathBuf,
        /// What unshare or setpriv said.
        reason: String,
    },
    /// It did not end in time and was killed with all it started.
    #[error("{}: did not end within {deadline:?} and was killed", .program.display())]
    Deadline {
        /// The program.
        program: PathBuf,
        /// How long it had.
        deadline: Duration,
    },
    /// It wrote more than it may and was killed.
    #[error("{}: wrote more than {limit} bytes and was killed", .program.display())]
    TooMuch {
        /// The program.
        program: PathBuf,
        /// How much it may write, in bytes.
        limit: usize,
    },
    /// It could not be started or waited for.
    #[error("{}: {source}", .program.display())]
    Io {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Coded for ConfineError {
    fn exit(&self) -> Exit {
        Exit::CouldNot
    }
}

impl ConfineError {
    /// The same of a program that is called otherwise.
    #[must_use]
    pub fn of(mut self, name: PathBuf) -> Self {
        match &mut self {
            Self::Tool(_) => {}
            Self::Exec { program, .. }
            | Self::Refused { program, .. }
            | Self::Deadline { program, .. }
            | Self::TooMuch { program, .. }
            | Self::Io { program, .. } => *program = name,
        }
        self
    }
}

impl Output {
    /// How it ended, in words. A status above 128 is a signal: timeout(1) and sh(1) pass it on so.
    #[must_use]
    pub fn how(&self) -> String {
        let signal = self.status.code().filter(|code| *code > 128).map(|code| code - 128);
        match signal.and_then(|number| Signal::try_from(number).ok()) {
            Some(signal) => format!("killed by {signal}"),
            None => self.status.to_string(),
        }
    }

    /// The path that the program called `name` ran from, when it printed that: nobody finds it there afterwards.
    #[must_use]
    pub fn own_place(&self, name: &OsStr) -> Option<String> {
        let places = [[cell::PLACE.as_bytes(), name.as_bytes()].concat(), cell::IN_MEMORY.as_bytes().to_vec()];
        let found = places.into_iter().find(|place| self.stdout.windows(place.len()).any(|window| window == place))?;
        Some(String::from_utf8_lossy(&found).into_owned())
    }
}

/// Closes what this process was given by its caller besides the three standard streams: a lock, a log. What this process
/// opened itself is never inherited (`O_CLOEXEC`), and stays. To be called before a program is run that nobody trusts.
pub fn close_inherited() -> io::Result<()> {
    let descriptors =
        fs_err::read_dir("/proc/self/fdinfo")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    for descriptor in descriptors.filter(|descriptor: &i32| *descriptor > 2).collect::<Vec<_>>() {
        let info = fs_err::read_to_string(format!("/proc/self/fdinfo/{descriptor}")).unwrap_or_default();
        let flags = info.lines().find_map(|line| i32::from_str_radix(line.strip_prefix("flags:")?.trim(), 8).ok());
        if flags.is_some_and(|flags| flags & nix::fcntl::OFlag::O_CLOEXEC.bits() == 0) {
            let _ = nix::unistd::close(descriptor);
        }
    }
    Ok(())
}

/// The words in front that take the command away from this terminal, and give it a process group of its own: whoever shares a
/// controlling terminal with root can type there (`TIOCSTI` in `ioctl_tty(2)`), as nobody too.
///
/// The command must not lead a process group, or else setsid forks, and what is killed is not the program.
fn own_session(host: &Host) -> Result<Vec<OsString>, ToolError> {
    Ok(vec![host.program("setsid")?.into()])
}

/// Gives a command the fixed environment and the folder `/`.
fn fixed(command: &mut process::Command) -> &mut process::Command {
    command.env_clear().current_dir("/");
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8").env("HOME", "/").env("NO_COLOR", "1");
    command.stdout(Stdio::piped()).stderr(Stdio::piped())
}

/// Runs a command that [`fixed`] made ready to its end, or kills it and all it started.
fn to_its_end(
    command: &mut process::Command,
    program: &Path,
    deadline: Duration,
    limit: usize,
    confinement: Confinement,
) -> Result<Output, ConfineError> {
    let failed = |source| ConfineError::Io { program: program.to_owned(), source };
    let end = Instant::now() + deadline;
    let mut child = command.spawn().map_err(failed)?;
    let result = Watch { program, deadline, limit }.follow(&mut child, end);
    // What it left behind in its group dies with it, however it ended. killing unshare kills its namespace's init
    // (--kill-child) and thereby all within.
    let group = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
    let _ = killpg(group, Signal::SIGKILL);
    // It may not have its group yet.
    let _ = child.kill();
    let status = child.wait().map_err(failed)?;
    let (stdout, stderr) = result?;
    refusal(status, &stderr, program)?;
    Ok(Output { status, stdout, stderr, confinement })
}

/// How long and how much of a program that runs.
struct Watch<'a> {
    program: &'a Path,
    deadline: Duration,
    limit: usize,
}

impl Watch<'_> {
    /// Reads what it writes until it ends, at most until `end`.
    fn follow(&self, child: &mut Child, end: Instant) -> Result<(Vec<u8>, Vec<u8>), ConfineError> {
        let failed = |source: io::Error| ConfineError::Io { program: self.program.to_owned(), source };
        let late = || ConfineError::Deadline { program: self.program.to_owned(), deadline: self.deadline };
        let pid = rustix::process::Pid::from_child(child);
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|e| failed(e.into()))?;
        let (sender, receiver) = mpsc::channel();
        if let Some(pipe) = child.stdout.take() {
            let (sender, limit) = (sender.clone(), self.limit as u64);
            // Nobody waits for these threads: a descendant may keep the pipe open for ever.
            thread::spawn(move || sender.send((Stream::Out, start_of(pipe, limit + 1, Rest::Left))));
        }
        if let Some(pipe) = child.stderr.take() {
            thread::spawn(move || sender.send((Stream::Err, start_of(pipe, STDERR_KEPT, Rest::Dropped))));
        }
        let (mut stdout, mut stderr) = (None, None);
        while stdout.is_none() || stderr.is_none() {
            let left = end.saturating_duration_since(Instant::now());
            let (stream, bytes) = receiver.recv_timeout(left).map_err(|_| late())?;
            let bytes = bytes.map_err(failed)?;
            match stream {
                Stream::Out if bytes.len() > self.limit => {
                    return Err(ConfineError::TooMuch { program: self.program.to_owned(), limit: self.limit });
                }
                Stream::Out => stdout = Some(bytes),
                Stream::Err => stderr = Some(bytes),
            }
        }
        if !ended(pidfd.as_fd(), end).map_err(failed)? {
            return Err(late());
        }
        Ok((stdout.unwrap_or_default(), stderr.unwrap_or_default()))
    }
}

#[derive(Clone, Copy)]
enum Stream {
    Out,
    Err,
}

/// What becomes of the bytes after the kept ones.
#[derive(Clone, Copy)]
enum Rest {
    /// Left in the pipe; whoever writes on gets SIGPIPE.
    Left,
    /// Read and dropped, so that the writer can go on.
    Dropped,
}

fn start_of(mut pipe: impl Read, kept: u64, rest: Rest) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    pipe.by_ref().take(kept).read_to_end(&mut bytes)?;
    if matches!(rest, Rest::Dropped) {
        io::copy(&mut pipe, &mut io::sink())?;
    }
    Ok(bytes)
}

/// True when the process ended before `end`.
fn ended(pidfd: BorrowedFd, end: Instant) -> io::Result<bool> {
    loop {
        let left = end.saturating_duration_since(Instant::now());
        // Rounded up, so that the last part of a millisecond does not spin.
        let wait = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(pidfd, PollFlags::POLLIN)], wait) {
            Ok(0) if left.is_zero() => return Ok(false),
            Ok(0) | Err(nix::errno::Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(e) => return Err(e.into()),
        }
    }
}

/// setsid, setpriv and unshare end with 1 when they fail, timeout with 125, setpriv with 126 or 127 when it can't execute (their manual pages).
fn refusal(status: ExitStatus, stderr: &[u8], program: &Path) -> Result<(), ConfineError> {
    let stderr = String::from_utf8_lossy(stderr);
    let line = stderr.lines().next().unwrap_or_default();
    let program = program.to_owned();
    match (
        status.code(),
        ["setsid: ", "setpriv: ", "unshare: ", "timeout: "].iter().find_map(|tool| line.strip_prefix(tool)),
    ) {
        (Some(126 | 127), Some(said)) => {
            let reason = said.rsplit(": ").next().unwrap_or(said).to_owned();
            Err(ConfineError::Exec { program, reason })
        }
        (Some(1 | 125), Some(_)) => Err(ConfineError::Refused { program, reason: line.to_owned() }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fs_err as fs;
    use std::fs::File;
    use std::io::Write;

    fn bytes(text: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        file
    }

    fn walled(program: &[u8], walls: Walls, deadline: Duration) -> Result<Output, ConfineError> {
        let arguments = ["one".into(), "two words".into()];
        let (name, mut bytes) = (OsStr::new("bin"), bytes(program));
        let (bytes, size) = (&mut bytes, program.len() as u64);
        Cell { name, bytes, size, arguments: &arguments, user: None, walls, deadline, limit: 1000 }
            .run(&Host::below(Path::new("/")))
    }

    fn run(text: &str, deadline: Duration) -> Result<Output, ConfineError> {
        walled(format!("#!/bin/sh\n{text}\n").as_bytes(), Walls::Namespaces, deadline)
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn it_sees_its_arguments_an_empty_input_and_a_small_environment() {
        let output =
            run(r#"printf '%s|' "$@"; cat; env | cut -d= -f1 | sort | tr '\n' ' '; pwd; echo no >&2; exit 3"#, LONG)
                .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "one|two words|HOME LC_ALL NO_COLOR PATH PWD /\n");
        assert_eq!((output.stderr.as_slice(), output.status.code()), (&b"no\n"[..], Some(3)));
    }

    #[test]
    fn root_runs_it_as_nobody_without_network_and_privileges() {
        assert!(
            nix::unistd::geteuid().is_root(),
            "only root can run this test, and without it nothing shows the confinement"
        );
        let output = run(
            "id -u; id -g; id -G; grep -E '^(Cap[IPEA]|NoNewPrivs)' /proc/self/status; grep -c : /proc/self/net/dev; test $$ -lt 300 && ls /proc | grep -c '^[0-9]'",
            LONG,
        )
        .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).replace('\t', " ");
        let none = "0000000000000000";
        assert_eq!(
            said.lines().collect::<Vec<_>>(),
            [
                "65534",
                "65534",
                "65534",
                &format!("CapInh: {none}"),
                &format!("CapPrm: {none}"),
                &format!("CapEff: {none}"),
                &format!("CapAmb: {none}"),
                "NoNewPrivs: 1",
                "1",
                // timeout, the shell, ls and grep.
                "4"
            ],
            "{said}"
        );
    }

    #[test]
    fn its_own_session_is_also_the_group_that_is_killed() {
        let mut words = own_session(&Host::below(Path::new("/"))).unwrap();
        let mut command = process::Command::new(words.remove(0));
        let stat = "read -r line </proc/self/stat; set -- ${line##*) }; echo $$ $3 $4";
        fixed(command.args(["sh", "-c", stat])).stdin(Stdio::null());
        let output = to_its_end(&mut command, Path::new("sh"), LONG, 1000, Confinement::NoNewPrivileges).unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let words: Vec<_> = said.split_whitespace().collect();
        assert!(words.len() == 3 && words.iter().all(|word| *word == words[0]), "process, group, session: {said}");
    }

    #[test]
    fn what_hangs_is_killed_with_all_it_started() {
        let mark = format!("{}.{}", 100_000 + std::process::id(), line!());
        let slow = run(&format!("setsid sleep {mark} & exec sleep {mark}"), Duration::from_millis(300));
        assert!(matches!(slow, Err(ConfineError::Deadline { .. })), "{slow:?}");
        if nix::unistd::geteuid().is_root() {
            let alive = || {
                let lines =
                    fs::read_dir("/proc").unwrap().filter_map(|e| fs::read(e.ok()?.path().join("cmdline")).ok());
                lines.filter(|line| String::from_utf8_lossy(line).contains(&mark)).count()
            };
            let patience = Instant::now() + LONG;
            while alive() > 0 {
                assert!(Instant::now() < patience, "a descendant outlived its namespace");
                thread::yield_now();
            }
        }
    }

    #[test]
    fn what_writes_without_end_is_killed() {
        for text in ["exec yes", "trap '' PIPE; while :; do echo y 2>/dev/null; done", "yes >&2 & yes"] {
            let flood = run(text, LONG);
            assert!(matches!(flood, Err(ConfineError::TooMuch { .. })), "{flood:?}");
        }
        let flood = run("yes >&2", Duration::from_millis(300));
        assert!(matches!(flood, Err(ConfineError::Deadline { .. })), "{flood:?}");
    }

    #[test]
    fn what_cannot_be_executed_is_said() {
        for walls in [Walls::Namespaces, Walls::None] {
            let said = walled(b"#!/nowhere/sh\n", walls, LONG).unwrap_err().to_string();
            assert_eq!(said, "bin: cannot be executed on this host: No such file or directory");
        }
    }
}
