//! Running a program that builds: one of the user's own, found as the user finds it, with the user's environment. Its stderr is
//! watched line by line, and it has a deadline.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{ChildStderr, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::child::{Endings, Grip};
use super::intake;
use super::say::{Say, printable};

/// How many of its last lines are kept.
const LINES: usize = 60;
/// The most bytes of a line; the rest of it is dropped.
const LINE: usize = 1000;
/// The most bytes of its stdout.
const STDOUT: u64 = 1 << 20;
/// How often a signal and the deadline are looked for while it is silent.
const TICK: Duration = Duration::from_millis(200);

/// What a builder did.
#[derive(Debug)]
pub struct Built {
    /// How it ended.
    pub status: ExitStatus,
    /// Its stdout, at most a mebibyte of it.
    pub stdout: Vec<u8>,
    /// The last lines of its stderr.
    pub lines: Vec<String>,
}

/// Why a builder came to no end of its own.
#[derive(Debug)]
pub enum Unbuilt {
    /// It is not there, or could not be started or watched.
    Io(io::Error),
    /// Its time was up, and it was killed.
    Deadline,
    /// This process was asked to end, and passed that on.
    Ended,
}

impl From<io::Error> for Unbuilt {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The program that the environment variable names, else the first `name` in `PATH` that is an absolute path's.
#[must_use]
pub fn find(variable: Option<OsString>, name: &str) -> Option<PathBuf> {
    if let Some(named) = variable.filter(|named| !named.is_empty()) {
        return Some(named.into());
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders).filter(|folder| folder.is_absolute()).map(|folder| folder.join(name));
    found.into_iter().find(|path| path.is_file())
}

/// Runs `program` to its end, in a process group of its own, until `until`. Its lines are said with `-v`; on a terminal the last
/// one stands there as progress.
pub fn run<I>(
    program: &OsStr,
    arguments: I,
    environment: &[(&str, Option<OsString>)],
    until: Instant,
    say: &Say,
) -> Result<Built, Unbuilt>
where
    I: IntoIterator,
    I::Item: AsRef<OsStr>,
{
    let mut endings = Endings::catch(Grip::Kills)?;
    let stdout = tempfile::tempfile()?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(stdout.try_clone()?).stderr(Stdio::piped());
    // Nothing of the folder we happen to be in counts.
    command.current_dir("/").process_group(0);
    for (name, value) in environment {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let mut child = command.spawn()?;
    let group = Pid::from_raw(child.id().cast_signed());
    let mut lines = Lines::new(say);
    let watched = match child.stderr.take() {
        Some(stderr) => watch(stderr, until, &mut endings, &mut lines),
        None => Ok(()),
    };
    if let Err(why) = watched {
        let _ = killpg(group, Signal::SIGKILL);
        let _ = child.wait();
        return Err(why);
    }
    let status = child.wait()?;
    let mut stdout = stdout;
    io::Seek::rewind(&mut stdout)?;
    Ok(Built { status, stdout: intake::read_at_most(stdout, STDOUT)?, lines: std::mem::take(&mut lines.kept).into() })
}

/// Reads its stderr to the end, which comes when it and all that it started have ended.
fn watch(mut stderr: ChildStderr, until: Instant, endings: &mut Endings, lines: &mut Lines<'_>) -> Result<(), Unbuilt> {
    let mut buffer = [0; 4096];
    loop {
        if endings.take() {
            return Err(Unbuilt::Ended);
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Unbuilt::Deadline);
        }
        let tick = Timespec::try_from(left.min(TICK)).ok();
        match poll(&mut [PollFd::from_borrowed_fd(stderr.as_fd(), PollFlags::IN)], tick.as_ref()) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            other => other.map_err(io::Error::from)?,
        };
        match stderr.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => lines.take(buffer.get(..n).unwrap_or_default()),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// What it says.
struct Lines<'s> {
    say: &'s Say,
    bar: Option<ProgressBar>,
    line: Vec<u8>,
    kept: VecDeque<String>,
}

impl<'s> Lines<'s> {
    fn new(say: &'s Say) -> Self {
        Self { say, bar: say.draws_progress().then(ProgressBar::new_spinner), line: Vec::new(), kept: VecDeque::new() }
    }

    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' => self.end(),
                _ if self.line.len() < LINE => self.line.push(*byte),
                _ => {}
            }
        }
    }

    fn end(&mut self) {
        let line = String::from_utf8_lossy(&self.line).trim_end().to_owned();
        self.line.clear();
        match &self.bar {
            Some(bar) => {
                bar.set_message(printable(&line));
                bar.tick();
                bar.suspend(|| self.say.detail(&line));
            }
            None => self.say.detail(&line),
        }
        if self.kept.len() >= LINES {
            self.kept.pop_front();
        }
        self.kept.push_back(line);
    }
}

impl Drop for Lines<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, time: Duration) -> Result<Built, Unbuilt> {
        let environment = [("GIVEN", Some("42".into())), ("HOME", None)];
        run("/bin/sh".as_ref(), ["-c", script], &environment, Instant::now() + time, &Say::quiet("t"))
    }

    #[test]
    fn what_it_says_and_how_it_ends_is_told() {
        let built = sh("echo out $GIVEN $HOME; echo one >&2; printf 'two\\nrest' >&2; exit 3", Duration::from_secs(60));
        let built = built.unwrap();
        assert_eq!((built.status.code(), built.stdout.as_slice()), (Some(3), &b"out 42\n"[..]));
        assert_eq!(built.lines, ["one", "two"]);
    }

    #[test]
    fn it_and_what_it_started_ends_at_the_deadline() {
        let began = Instant::now();
        assert!(matches!(sh("sleep 600 & sleep 600", Duration::from_millis(300)), Err(Unbuilt::Deadline)));
        assert!(began.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn the_last_of_many_lines_are_kept() {
        let built = sh("for n in $(seq 500); do echo line $n >&2; done", Duration::from_secs(60)).unwrap();
        assert_eq!(built.lines.len(), LINES);
        assert_eq!(built.lines.last().map(String::as_str), Some("line 500"));
    }

    #[test]
    fn a_variable_names_the_program_and_else_the_path_has_it() {
        assert_eq!(find(Some("/x/cargo".into()), "sh"), Some("/x/cargo".into()));
        assert!(find(None, "sh").is_some_and(|path| path.is_absolute()));
        assert_eq!(find(Some(OsString::new()), "no such program"), None);
    }
}
