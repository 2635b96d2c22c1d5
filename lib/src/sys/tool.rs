//! Running the host's own programs: by absolute path, with a fixed PATH, a deadline, and no loader variables.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use nix::sys::memfd::{MFdFlags, memfd_create};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::{Host, signals};
use crate::words::exit::{Coded, Exit};

/// The folders where a host's own programs are looked for, in this order. `PATH` is never asked.
const FOLDERS: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];

/// Why a program of the host gave no result.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// None of the folders holds it.
    #[error("{program}: not found in /usr/bin, /bin, /usr/sbin or /sbin; install it")]
    Missing {
        /// The program's name.
        program: String,
    },
    /// It could not be started or waited for.
    #[error("{program}: could not be run: {source}")]
    Run {
        /// The program's name.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It did not end within its deadline and was killed.
    #[error("{program}: no answer within {deadline:?}")]
    Deadline {
        /// The program's name and arguments.
        program: String,
        /// How long it was given.
        deadline: Duration,
    },
}

impl Coded for ToolError {
    fn exit(&self) -> Exit {
        // Only svc-wait, whose own deadline it is, makes more of a missing answer.
        Exit::CouldNot
    }
}

impl Host {
    /// The absolute path of one of the host's own programs.
    pub fn program(&self, name: &str) -> Result<PathBuf, ToolError> {
        FOLDERS
            .iter()
            .map(|folder| self.path(folder).join(name))
            .find(|path| path.is_file())
            .ok_or_else(|| ToolError::Missing { program: name.to_owned() })
    }

    /// Runs one of the host's programs to its end, at most for `deadline`, and returns its output whatever its exit status.
    pub fn run_tool<I>(&self, name: &str, arguments: I, deadline: Duration) -> Result<Output, ToolError>
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        self.run_with(name, arguments, None, deadline)
    }

    /// As [`Self::run_tool`], with `stdin` as the program's standard input, from where it stands.
    pub fn run_tool_on<I>(&self, name: &str, arguments: I, stdin: File, deadline: Duration) -> Result<Output, ToolError>
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        self.run_with(name, arguments, Some(stdin), deadline)
    }

    fn run_with<I>(
        &self,
        name: &str,
        arguments: I,
        stdin: Option<File>,
        deadline: Duration,
    ) -> Result<Output, ToolError>
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        let arguments: Vec<OsString> = arguments.into_iter().map(|a| a.as_ref().to_owned()).collect();
        let shown = || {
            let words = arguments.iter().map(|a| a.to_string_lossy());
            std::iter::once(name.into()).chain(words).collect::<Vec<_>>().join(" ")
        };
        let failed = |source| ToolError::Run { program: name.to_owned(), source };
        // Files in memory instead of pipes: nothing must be read while it runs, so no thread is needed that can't be made.
        let (mut stdout, mut stderr) = (in_memory().map_err(failed)?, in_memory().map_err(failed)?);
        // A child has the mask of who started it: what ends us, a key or the stop of our unit, must not end a job half way.
        let held = signals::Held::begin();
        let command = duct::cmd(self.program(name)?, &arguments);
        let command = match stdin {
            Some(file) => command.stdin_file(file),
            None => command.stdin_null(),
        };
        let started = command
            .stdout_file(stdout.try_clone().map_err(failed)?)
            .stderr_file(stderr.try_clone().map_err(failed)?)
            .unchecked()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .env("SYSTEMD_COLORS", "0")
            .env("SYSTEMD_PAGER", "")
            // What systemd's programs say is read; a caller's settings would add to it, or send it elsewhere.
            .env("SYSTEMD_LOG_LEVEL", "info")
            .env("SYSTEMD_LOG_TARGET", "console")
            .env_remove("SYSTEMD_LOG_LOCATION")
            .env_remove("SYSTEMD_LOG_TIME")
            .env_remove("SYSTEMD_LOG_TID")
            .env_remove("SYSTEMD_LOG_COLOR")
            // With it getopt(3) takes what stands behind a systemctl verb for units.
            .env_remove("POSIXLY_CORRECT")
            .env_remove("LD_PRELOAD")
            .env_remove("LD_LIBRARY_PATH")
            .start();
        drop(held);
        let running = started.map_err(failed)?;
        // Its own wait with a deadline is woken by a signal's handler, and sleeps on when that can't tell it.
        let ended = ends_within(&running.pids(), deadline);
        if !matches!(ended, Ok(true)) {
            let _ = running.kill();
        }
        let status = running.wait().map_err(failed)?.status;
        if !ended.map_err(failed)? {
            return Err(ToolError::Deadline { program: shown(), deadline });
        }
        Ok(Output { status, stdout: all(&mut stdout).map_err(failed)?, stderr: all(&mut stderr).map_err(failed)? })
    }
}

/// Bytes in a file without a name that the programs started meanwhile can open, for those that take a path and no bytes.
pub struct Handed {
    path: PathBuf,
    file: File,
}

impl Handed {
    /// Hands on `bytes`.
    pub fn new(bytes: &[u8]) -> io::Result<Self> {
        // Without CLOEXEC: a child has it under the same number.
        let mut file = File::from(memfd_create(c"upswap", MFdFlags::empty())?);
        file.write_all(bytes)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        Ok(Self { path, file })
    }

    /// The file, which nobody else has.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The path that a child opens.
    #[must_use]
    pub fn path(&self) -> &OsStr {
        self.path.as_os_str()
    }
}

fn in_memory() -> io::Result<File> {
    Ok(memfd_create(c"upswap", MFdFlags::MFD_CLOEXEC)?.into())
}

fn all(file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether all of them end before the deadline.
fn ends_within(pids: &[u32], deadline: Duration) -> io::Result<bool> {
    let until = Instant::now() + deadline;
    for pid in pids {
        let pid = i32::try_from(*pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
        let exit = pidfd_open(pid, PidfdFlags::empty())?;
        loop {
            let left = Timespec::try_from(until.saturating_duration_since(Instant::now())).ok();
            match poll(&mut [PollFd::new(&exit, PollFlags::IN)], left.as_ref()) {
                Err(rustix::io::Errno::INTR) => {}
                Ok(0) => return Ok(false),
                ended => {
                    ended?;
                    break;
                }
            }
        }
    }
    Ok(true)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::path::Path;

    /// Makes a program, by the hands of another process: what a thread of ours has just written may still be open in what
    /// another thread forks, until that executes its own program, and can't be run so long (ETXTBSY, execve(2)).
    pub(in crate::sys) fn program(path: &Path, text: &str) {
        let install = duct::cmd("install", ["-m".as_ref(), "755".as_ref(), "/dev/stdin".as_ref(), path.as_os_str()]);
        install.stdin_bytes(text).run().unwrap();
    }

    #[test]
    fn a_program_that_hangs_is_killed_at_its_deadline() {
        let host = Host::below(Path::new("/"));
        let slow = host.run_tool("sleep", ["60"], Duration::from_millis(50));
        assert!(matches!(slow, Err(ToolError::Deadline { .. })), "{slow:?}");
    }

    #[test]
    fn a_program_is_not_ended_by_what_ends_us() {
        let host = Host::below(Path::new("/"));
        let script = "kill -TERM $$; kill -INT $$; kill -HUP $$; kill -QUIT $$; echo done";
        let output = host.run_tool("bash", ["-c", script], Duration::from_secs(60)).unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "done\n");
    }

    #[test]
    fn a_program_gets_bytes_by_path_and_by_standard_input() {
        let host = Host::below(Path::new("/"));
        let handed = Handed::new(b"by path, ").unwrap();
        let mut stdin = tempfile::tempfile().unwrap();
        stdin.write_all(b"by stdin").unwrap();
        stdin.rewind().unwrap();
        let arguments = [handed.path(), OsStr::new("-")];
        let output = host.run_tool_on("cat", arguments, stdin, Duration::from_secs(60)).unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "by path, by stdin");
    }

    #[test]
    fn a_program_of_another_root_is_not_found_here() {
        let root = tempfile::tempdir().unwrap();
        assert!(matches!(Host::below(root.path()).program("true"), Err(ToolError::Missing { .. })));
    }
}
