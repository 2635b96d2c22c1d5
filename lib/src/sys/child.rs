//! Running somebody's COMMAND to its end, whatever ends meanwhile: the terminal, the session, or the tool's patience.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, pidfd_open};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use super::terminal::Lent;

/// How long COMMAND has after it was asked to end.
const GRACE: Duration = Duration::from_secs(10);

/// How COMMAND ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its exit status; 128 + N when signal N ended it, as a shell has it.
    pub code: u8,
    /// The signal that this process was sent meanwhile, and passed on.
    pub asked_to_end: Option<i32>,
}

impl Ended {
    fn by(status: ExitStatus) -> Self {
        let by_signal = || status.signal().map(|signal| 128 + signal);
        let code = status.code().or_else(by_signal).and_then(|code| u8::try_from(code).ok());
        Self { code: code.unwrap_or(u8::MAX), asked_to_end: None }
    }

    /// Whether it succeeded and nobody asked for the end.
    #[must_use]
    pub fn well(&self) -> bool {
        self.code == 0 && self.asked_to_end.is_none()
    }
}

/// The signals that ask for an end, caught instead of obeyed, for the rest of this process.
///
/// Handlers, not a mask: children would inherit a mask.
#[derive(Debug)]
pub struct Endings {
    arrived: UnixStream,
    /// A child has stopped or ended.
    stirred: UnixStream,
}

impl Endings {
    /// Catches SIGTERM, SIGINT, SIGHUP and SIGQUIT from now on. One that was ignored before stays so, as nohup(1) has it for a
    /// hang-up and a shell for the keys of what it runs in the background. But who can take everything back does so for the
    /// keys too: a script that runs a guard in the background, to wait for it, means it to be ended with itself.
    pub fn catch(grip: Grip) -> io::Result<Self> {
        let (arrived, wake) = UnixStream::pair()?;
        arrived.set_nonblocking(true)?;
        let ignored = ignored(&std::fs::read_to_string("/proc/self/status").unwrap_or_default());
        for signal in [SIGTERM, SIGINT, SIGHUP, SIGQUIT] {
            let minds = signal == SIGTERM || grip == Grip::Kills && signal != SIGHUP;
            if !minds && ignored & 1 << (signal - 1) != 0 {
                continue;
            }
            signal_hook::low_level::pipe::register(signal, wake.try_clone()?)?;
            // The pipe only wakes; which signal it was does not matter to COMMAND, which gets SIGTERM.
        }
        let (stirred, wake) = UnixStream::pair()?;
        stirred.set_nonblocking(true)?;
        signal_hook::low_level::pipe::register(SIGCHLD, wake)?;
        Ok(Self { arrived, stirred })
    }

    /// Whether one has arrived that was not taken yet.
    pub fn take(&mut self) -> bool {
        let mut bytes = [0; 64];
        matches!(self.arrived.read(&mut bytes), Ok(n) if n > 0)
    }

    fn take_stirred(&mut self) -> bool {
        let mut bytes = [0; 64];
        matches!(self.stirred.read(&mut bytes), Ok(n) if n > 0)
    }
}

/// The signals that a process ignores, one bit each from signal 1 on: `SigIgn` in the text of /proc/PID/status (proc(5)).
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0)
}

/// How far this process goes to see COMMAND ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grip {
    /// It is asked to end, no more: it may be a package manager in the middle of its work.
    Asks,
    /// It is killed ten seconds after it was asked, and when it fails, what it left running is killed too: nothing of it
    /// may still be at work while its doings are taken back.
    Kills,
}

/// Runs `command` in a process group of its own, with `environment` added, and waits for its end.
///
/// It has the terminal, if this process has, and can't be put aside there. A signal to end is passed on to the whole group.
pub fn run(
    command: &[OsString],
    environment: &[(&str, OsString)],
    grip: Grip,
    endings: &mut Endings,
) -> io::Result<Ended> {
    let no_command = || io::Error::new(io::ErrorKind::InvalidInput, "no COMMAND was given");
    let (program, arguments) = command.split_first().ok_or_else(no_command)?;
    let mut child = Command::new(program)
        .args(arguments)
        .envs(environment.iter().map(|(key, value)| (key, value)))
        .process_group(0)
        .spawn()
        .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", Path::new(program).display())))?;
    let group = Pid::from_raw(child.id().cast_signed());
    // From here on COMMAND is at work: whatever fails in watching it, its end is waited for.
    let asked_to_end = watched(&child, group, grip, endings).unwrap_or_default();
    // COMMAND is a zombie still, so its process group's number can't have become another's.
    let status = waitid(Id::Pid(group), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
    let ended = |code| Ended { code, asked_to_end };
    if status.is_ok_and(|status| !ended(code_of(status)).well()) && grip == Grip::Kills {
        let _ = killpg(group, Signal::SIGKILL);
    }
    match (status, child.wait()) {
        (Ok(status), _) => Ok(ended(code_of(status))),
        (Err(_), Ok(status)) => Ok(Ended { asked_to_end, ..Ended::by(status) }),
        (Err(_), Err(e)) => Err(e),
    }
}

/// Waits for COMMAND's end; the signal that was passed on to it meanwhile.
fn watched(child: &Child, group: Pid, grip: Grip, endings: &mut Endings) -> io::Result<Option<i32>> {
    let exit = pidfd_open(rustix::process::Pid::from_child(child), PidfdFlags::empty())?;
    let lent = Lent::to(group);
    let mut asked_to_end = None;
    let mut kill_at = None;
    loop {
        let timeout = kill_at.map(|at: Instant| at.saturating_duration_since(Instant::now()));
        let timeout = timeout.and_then(|t| Timespec::try_from(t).ok());
        let mut waiting = [exit.as_fd(), endings.arrived.as_fd(), endings.stirred.as_fd()]
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        match poll(&mut waiting, timeout.as_ref()) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other?,
        };
        if waiting[0].revents().contains(PollFlags::IN) {
            return Ok(asked_to_end);
        }
        if endings.take_stirred()
            && let Some(lent) = &lent
            && let Ok(WaitStatus::Stopped(..)) = waitid(Id::Pid(group), WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG)
        {
            lent.go_on();
        }
        if endings.take() && asked_to_end.is_none() {
            asked_to_end = Some(SIGTERM);
            let _ = killpg(group, Signal::SIGTERM);
            // Who is stopped can't obey.
            let _ = killpg(group, Signal::SIGCONT);
            kill_at = (grip == Grip::Kills).then(|| Instant::now() + GRACE);
        }
        if kill_at.is_some_and(|at| at <= Instant::now()) {
            let _ = killpg(group, Signal::SIGKILL);
            kill_at = None;
        }
    }
}

fn code_of(status: WaitStatus) -> u8 {
    match status {
        WaitStatus::Exited(_, code) => u8::try_from(code & 0xff).unwrap_or(u8::MAX),
        WaitStatus::Signaled(_, signal, _) => 128_u8.saturating_add(u8::try_from(signal as i32).unwrap_or(0)),
        _ => u8::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Ended {
        let command = ["/bin/sh", "-c", script].map(OsString::from);
        run(&command, &[("UPSWAP_TEST", "42".into())], Grip::Kills, &mut Endings::catch(Grip::Kills).unwrap()).unwrap()
    }

    #[test]
    fn ignored_signals_are_read_as_proc_writes_them() {
        assert_eq!(ignored("Name:\trollback\nSigBlk:\t0000000000000003\nSigIgn:\t0000000000001001\n"), 0x1001);
        assert_eq!(ignored("Name:\trollback\n"), 0);
    }

    #[test]
    fn the_exit_status_is_told_as_a_shell_tells_it() {
        assert_eq!(sh("exit $UPSWAP_TEST").code, 42);
        assert_eq!(sh("kill -9 $$").code, 137);
        assert!(sh(":").well());
    }

    #[test]
    fn what_a_failed_command_left_running_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("pid");
        assert_eq!(sh(&format!("sleep 60 & echo $! >{}; exit 1", pid.display())).code, 1);
        let left: i32 = fs_err::read_to_string(pid).unwrap().trim().parse().unwrap();
        let gone = |_| {
            let stat = std::fs::read_to_string(format!("/proc/{left}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        };
        assert!((0..200).any(|n| gone(n) || {
            std::thread::sleep(Duration::from_millis(10));
            false
        }));
    }

    #[test]
    fn a_command_that_is_not_there_is_an_error_that_names_it() {
        let error =
            run(&["/nonexistent/x".into()], &[], Grip::Asks, &mut Endings::catch(Grip::Asks).unwrap()).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/x"), "{error}");
    }
}
