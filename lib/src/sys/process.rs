//! Processes: a descriptor that tells when one ends, the executable it runs, those of a control group, and commands of our own.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use fs_err as fs;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::Host;

/// How much is kept of what a command line prints, at either end.
const PRINTED: u64 = 4096;

/// A descriptor of one process: it can't come to mean another one, as a number can (`pidfd_open(2)`).
#[derive(Debug)]
pub struct Pidfd(OwnedFd);

impl Pidfd {
    /// The process that has the number `pid` now. Fails when there is none, and on kernels before 5.3.
    pub fn open(pid: u32) -> io::Result<Self> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self(pidfd_open(pid, PidfdFlags::empty())?))
    }

    /// True when the process ended, waiting for that for at most `time`.
    #[must_use]
    pub fn ended_within(&self, time: Duration) -> bool {
        self.first_of(None, time) == First::Ended
    }

    /// Waits until the process ends or `other` can be read or was closed at its other end, for at most `time`.
    #[must_use]
    pub fn first_of(&self, other: Option<BorrowedFd>, time: Duration) -> First {
        first_of(Some(self), other, time)
    }
}

/// What came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// The process ended.
    Ended,
    /// The other descriptor has something.
    Other,
    /// Neither, in all the time.
    Neither,
}

/// Waits for whichever of the two is there, for at most `time`.
#[must_use]
pub fn first_of(process: Option<&Pidfd>, other: Option<BorrowedFd>, time: Duration) -> First {
    let time =
        Timespec { tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(time.subsec_nanos()) };
    let mut fds: Vec<_> =
        process.iter().map(|pidfd| PollFd::from_borrowed_fd(pidfd.0.as_fd(), PollFlags::IN)).collect();
    fds.extend(other.map(|other| PollFd::from_borrowed_fd(other, PollFlags::IN)));
    // Interrupted or refused means that nothing was seen; the caller looks again anyway.
    if !matches!(poll(&mut fds, Some(&time)), Ok(1..)) {
        return First::Neither;
    }
    let ended = process.is_some() && fds.first().is_some_and(|fd| !fd.revents().is_empty());
    if ended { First::Ended } else { First::Other }
}

/// One file, whatever its names are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    /// The device it is on.
    pub dev: u64,
    /// Its inode.
    pub ino: u64,
}

impl FileId {
    /// The file that `path` names, symbolic links followed.
    pub fn of(path: &Path) -> io::Result<Self> {
        let meta = fs::metadata(path)?;
        Ok(Self { dev: meta.dev(), ino: meta.ino() })
    }

    /// The open `file` itself.
    pub fn of_open(file: &std::fs::File) -> io::Result<Self> {
        let meta = file.metadata()?;
        Ok(Self { dev: meta.dev(), ino: meta.ino() })
    }
}

/// The executable that a process runs (proc(5), `/proc/PID/exe`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// The file itself, also when no path leads to it any more.
    pub file: FileId,
    /// The path by which it was started.
    pub path: PathBuf,
    /// That path was since taken from the file: removed, or renamed over.
    pub deleted: bool,
}

/// The executable of process `pid`.
pub fn executable(host: &Host, pid: u32) -> io::Result<Running> {
    let link = host.path(format!("/proc/{pid}/exe"));
    let text = fs::read_link(&link)?;
    let file = FileId::of(&link)?;
    let names_it = |path: &Path| FileId::of(path).is_ok_and(|named| named == file);
    let (path, deleted) = match text.as_os_str().as_bytes().strip_suffix(b" (deleted)") {
        // A file may really be named so.
        Some(_) if names_it(&text) => (text, false),
        Some(path) => {
            // The kernel says so of a name that was taken away, and goes on saying it when the same file is put back there,
            // as a rollback does by its hard link.
            let path = PathBuf::from(OsStr::from_bytes(path));
            let deleted = !names_it(&path);
            (path, deleted)
        }
        None => (text, false),
    };
    Ok(Running { file, path, deleted })
}

/// The text of `/proc/PID/status` (proc(5)).
pub fn status(host: &Host, pid: u32) -> io::Result<String> {
    fs::read_to_string(host.path(format!("/proc/{pid}/status")))
}

/// Whether process `pid` is stopped by a signal, as by `SIGSTOP`. One that has ended is not.
#[must_use]
pub fn is_stopped(host: &Host, pid: u32) -> bool {
    status(host, pid).is_ok_and(|text| text.lines().any(|line| line.starts_with("State:\tT")))
}

/// When process `pid` began, in clock ticks since the boot (proc(5), `starttime`); `None` when it has ended.
#[must_use]
pub fn began(host: &Host, pid: u32) -> Option<u64> {
    let stat = fs::read(host.path(format!("/proc/{pid}/stat"))).ok()?;
    // Its own name stands in parentheses and may hold anything.
    let (_, fields) = std::str::from_utf8(stat.rsplit(|byte| *byte == b')').next()?).ok()?.split_once(' ')?;
    fields.split(' ').nth(19)?.parse().ok()
}

/// Whether `path` is a file that somebody may execute.
#[must_use]
pub fn may_execute(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.mode() & 0o111 != 0)
}

/// Whether executing `file` gives no privileges: it is on a mount with `nosuid` (mount(8)).
pub fn is_nosuid(file: &impl AsFd) -> io::Result<bool> {
    Ok(rustix::fs::fstatvfs(file)?.f_flag.contains(rustix::fs::StatVfsMountFlags::NOSUID))
}

/// `path` as process `pid` sees it: through its own root and mounts.
#[must_use]
pub fn seen_by(host: &Host, pid: u32, path: &Path) -> PathBuf {
    host.path(format!("/proc/{pid}/root")).join(path.strip_prefix("/").unwrap_or(path))
}

/// The processes of the control group that systemd calls `group`, and of the groups below it. `None` when there is no such
/// group in any of the places where a kernel may have it: the unified hierarchy, the hybrid one, systemd's own one of v1.
pub fn of_cgroup(host: &Host, group: &str) -> io::Result<Option<Vec<u32>>> {
    for hierarchy in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"] {
        let dir = host.path(hierarchy).join(group.trim_start_matches('/'));
        if dir.join("cgroup.procs").exists() {
            let mut pids = Vec::new();
            collect(&dir, &mut pids)?;
            return Ok(Some(pids));
        }
    }
    Ok(None)
}

fn collect(dir: &Path, pids: &mut Vec<u32>) -> io::Result<()> {
    let gone = |e: &io::Error| e.kind() == io::ErrorKind::NotFound || e.raw_os_error() == Some(19);
    match fs::read_to_string(dir.join("cgroup.procs")) {
        Ok(text) => pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()).filter(|pid| *pid != 0)),
        // ENODEV (19): the group went away while it was read. EOPNOTSUPP: a threaded group, whose processes its parent lists.
        Err(e) if gone(&e) || e.kind() == io::ErrorKind::Unsupported => {}
        Err(e) => return Err(e),
    }
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if gone(&e) => return Ok(()),
        Err(e) => return Err(e),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), pids)?;
        }
    }
    Ok(())
}

/// Runs COMMAND of a wrapper in the foreground: it has our stdin, our environment and our working folder, and both its
/// stdout and its stderr go to our stderr, because our stdout is data.
pub fn foreground(command: &[OsString]) -> io::Result<ExitStatus> {
    let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let stderr = io::stderr().as_fd().try_clone_to_owned()?;
    Command::new(program).args(arguments).stdout(Stdio::from(stderr)).status()
}

/// How a command line ended.
#[derive(Debug)]
pub enum Ended {
    /// By itself, with this status, after it had printed this.
    Itself(ExitStatus, Printed),
    /// It was killed, with all its children that stayed in its process group: at its deadline, or because it was to stop.
    Killed,
}

/// What a command line wrote, both streams in one.
#[derive(Debug, Default)]
pub struct Printed {
    /// The beginning, at most 4 KiB.
    pub first: String,
    /// The last line.
    pub last: String,
}

/// Runs `line` by `/bin/sh -c` in a process group of its own, without input, for at most `deadline`, and no longer than until
/// the other end of `stop` is closed.
pub fn shell(
    line: &str,
    environment: &[(&str, String)],
    deadline: Duration,
    stop: Option<BorrowedFd>,
) -> io::Result<Ended> {
    let mut output = tempfile::tempfile()?;
    let mut child = Command::new("/bin/sh")
        .args(["-c", line])
        .envs(environment.iter().map(|(name, value)| (name, value)))
        // It is run again by whoever settles, wherever he stands: a relative path must not mean what lies there.
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::from(output.try_clone()?))
        .stderr(Stdio::from(output.try_clone()?))
        .process_group(0)
        .spawn()?;
    let ended = Pidfd::open(child.id()).map(|pidfd| pidfd.first_of(stop, deadline) == First::Ended);
    if !matches!(ended, Ok(true)) {
        // Not yet waited for, so its number, and that of its group, still belong to it.
        if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        child.wait()?;
        return ended.map(|_| Ended::Killed);
    }
    let status = child.wait()?;
    let end = output.seek(SeekFrom::End(0))?;
    let mut part = |from| -> io::Result<String> {
        output.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        Read::by_ref(&mut output).take(PRINTED).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let (first, tail) = (part(0)?, part(end.saturating_sub(PRINTED))?);
    let last = tail.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default().to_owned();
    Ok(Ended::Itself(status, Printed { first, last }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_process_is_told_at_once_and_not_before() {
        let mut child = Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let pidfd = Pidfd::open(child.id()).unwrap();
        assert!(!pidfd.ended_within(Duration::from_millis(1)));
        child.kill().unwrap();
        assert!(pidfd.ended_within(Duration::from_secs(60)));
        child.wait().unwrap();
        assert!(Pidfd::open(0).is_err());
    }

    #[test]
    fn a_stopped_process_is_told_from_one_that_runs_and_the_older_from_the_younger() {
        let host = Host::below(Path::new("/"));
        let mut child = Command::new("/bin/sleep").arg("600").spawn().unwrap();
        let pid = child.id();
        assert!(!is_stopped(&host, pid));
        let raw = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        rustix::process::kill_process(raw, Signal::STOP).unwrap();
        rustix::process::waitpid(Some(raw), rustix::process::WaitOptions::UNTRACED).unwrap();
        assert!(is_stopped(&host, pid));
        assert!(began(&host, pid).unwrap() >= began(&host, std::process::id()).unwrap());
        assert!(began(&host, std::process::id()).unwrap() > began(&host, 1).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!((is_stopped(&host, pid), began(&host, pid)), (false, None));
    }

    #[test]
    fn a_replaced_executable_is_seen_as_deleted_until_it_is_put_back() {
        let host = Host::below(Path::new("/"));
        let dir = tempfile::tempdir().unwrap();
        let path = fs::canonicalize(dir.path()).unwrap().join("daemon");
        fs::copy("/bin/sleep", &path).unwrap();
        let mut child = Command::new(&path).arg("60").spawn().unwrap();
        let before = executable(&host, child.id()).unwrap();
        assert_eq!(before, Running { file: FileId::of(&path).unwrap(), path: path.clone(), deleted: false });
        fs::hard_link(&path, dir.path().join("kept")).unwrap();
        fs::copy("/bin/sleep", dir.path().join("new")).unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
        let after = executable(&host, child.id()).unwrap();
        assert_eq!(after, Running { deleted: true, ..before.clone() });
        assert_ne!(after.file, FileId::of(&path).unwrap());
        fs::rename(dir.path().join("kept"), &path).unwrap();
        assert_eq!(executable(&host, child.id()).unwrap(), before);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn the_processes_of_a_group_and_of_those_below_are_found_in_each_hierarchy() {
        for hierarchy in ["", "unified", "systemd"] {
            let root = tempfile::tempdir().unwrap();
            let host = Host::below(root.path());
            let group = host.path("/sys/fs/cgroup").join(hierarchy).join("system.slice/x.service");
            fs::create_dir_all(group.join("sub")).unwrap();
            fs::write(group.join("cgroup.procs"), "12\n13\n").unwrap();
            fs::write(group.join("sub/cgroup.procs"), "14\n0\n").unwrap();
            assert_eq!(of_cgroup(&host, "/system.slice/x.service").unwrap(), Some(vec![12, 13, 14]));
            assert_eq!(of_cgroup(&host, "/system.slice/y.service").unwrap(), None);
        }
    }

    #[test]
    fn a_command_line_that_hangs_is_killed_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let line = format!("sleep 600 & echo $! > '{}'; wait", file.display());
        assert!(matches!(shell(&line, &[], Duration::from_millis(500), None).unwrap(), Ended::Killed));
        let pid = fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        assert!(Pidfd::open(pid).map_or(true, |child| child.ended_within(Duration::from_secs(60))));
        match shell("echo $X; echo 'the reason' >&2; exit 3", &[("X", "a".into())], Duration::from_secs(60), None)
            .unwrap()
        {
            Ended::Itself(status, printed) => {
                assert_eq!((status.code(), printed.last.as_str()), (Some(3), "the reason"));
                assert_eq!(printed.first, "a\nthe reason\n");
            }
            Ended::Killed => panic!("it ended by itself"),
        }
        let (stop, still) = io::pipe().unwrap();
        drop(still);
        assert!(matches!(
            shell("sleep 600", &[], Duration::from_secs(600), Some(stop.as_fd())).unwrap(),
            Ended::Killed
        ));
    }
}
