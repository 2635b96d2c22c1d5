//! A cell for a program whose bytes are proven and whose behaviour is not: nothing of the host to write to, to talk to or to signal.
//!
//! Its own network (without even a loopback), processes, IPC and mounts. All file systems are read-only; /tmp, /var/tmp, /run and
//! /dev are its own and empty; sockets that lie elsewhere are covered. It runs from memory, so a noexec cache does not matter.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use fs_err as fs;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{getegid, geteuid};

use super::{ConfineError, Confinement, NOBODY, Output, SPARE, fixed, own_session, to_its_end};
use crate::sys::Host;
use crate::sys::mounts::{self, MountLine};
use crate::sys::users::Identity;

/// The script that mounts.
const SCRIPT: &str = include_str!("cell.sh");
/// What the cell has of its own, so that nothing of the host's is to be seen below.
const OWN: [&str; 5] = ["/run", "/tmp", "/var/tmp", "/dev", "/proc"];
/// Where a program lies in the cell.
pub(super) const PLACE: &str = "/run/upswap/";
/// What a program without a cell sees as its path.
pub(super) const IN_MEMORY: &str = "/memfd:upswap";
/// Runs a program from the descriptor on standard input, and gives it an empty input: without namespaces.
const FROM_MEMORY: &str = "umask 022; exec 9<&0 </dev/null; exec \"$@\"";

/// A program to run in a cell.
#[derive(Debug)]
pub struct Cell<'a> {
    /// The program's name, which it sees as its own.
    pub name: &'a OsStr,
    /// Its bytes.
    pub bytes: &'a mut File,
    /// How many they are.
    pub size: u64,
    /// Its arguments.
    pub arguments: &'a [OsString],
    /// Who runs it, when that is not nobody; a user who is not root runs it as themselves, whoever stands here.
    pub user: Option<&'a Identity>,
    /// Whether it may run without namespaces.
    pub walls: Walls,
    /// When it and all it started is killed.
    pub deadline: Duration,
    /// How many bytes it may write to standard output.
    pub limit: usize,
}

/// What is around a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walls {
    /// Namespaces; where the host gives none, nothing is run.
    Namespaces,
    /// None: it sees the network, the other processes, and writes whatever its user may write.
    None,
}

impl Cell<'_> {
    /// Runs the program to its end and returns its output, whatever its exit status.
    pub fn run(&mut self, host: &Host) -> Result<Output, ConfineError> {
        let program = PathBuf::from(self.name);
        let failed = |source| ConfineError::Io { program: program.clone(), source };
        let root = geteuid().is_root();
        self.bytes.rewind().map_err(failed)?;
        let words = match self.walls {
            Walls::Namespaces => self.walled(host, root)?,
            Walls::None => self.bare(host, root)?,
        };
        let stdin = match self.walls {
            Walls::Namespaces => self.bytes.try_clone(),
            Walls::None => sealed(self.bytes),
        };
        let mut command = process::Command::new(words.first().map(OsString::as_os_str).unwrap_or_default());
        command.args(words.get(1..).unwrap_or_default()).args(self.arguments);
        fixed(&mut command).stdin(stdin.map_err(failed)?);
        if let Some((name, home)) = self.user.and_then(|user| user.known.as_ref()) {
            command.env("USER", name).env("LOGNAME", name).env("HOME", home);
        }
        let confinement = match (self.walls, root) {
            (Walls::Namespaces, _) => Confinement::Cell,
            (Walls::None, true) => Confinement::UserAlone,
            (Walls::None, false) => Confinement::NoNewPrivileges,
        };
        let output = to_its_end(&mut command, &program, self.deadline, self.limit, confinement)?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        if output.status.code() == Some(125) && stderr.lines().last() == Some("upswap: no cell") {
            let reason = stderr.lines().next().unwrap_or_default().to_owned();
            return Err(ConfineError::Refused { program, reason });
        }
        Ok(output)
    }

    fn walled(&self, host: &Host, root: bool) -> Result<Vec<OsString>, ConfineError> {
        let program = PathBuf::from(self.name);
        let failed = |source| ConfineError::Io { program: program.clone(), source };
        let mut words = own_session(host)?;
        words.push(host.program("unshare")?.into());
        if !root {
            words.extend(["--user", "--map-root-user"].map(Into::into));
        }
        words.extend(["--mount", "--net", "--ipc", "--pid", "--fork", "--kill-child", "--"].map(Into::into));
        words.extend(["/bin/sh".into(), "-c".into(), SCRIPT.into(), "sh".into()]);
        words.push((self.size + (1 << 20)).to_string().into());
        words.push(self.name.to_owned());
        // Root without capabilities could still write to /proc/sys. Who is mapped needs it writable once more, and can't.
        words.push(if root { "ro" } else { "rw" }.into());
        let mounts = mounts::table().map_err(failed)?;
        if !mounts.iter().any(|mount| mount.point == Path::new("/")) {
            let reason = "its root folder is no mount point, so it can't be made read-only".to_owned();
            return Err(ConfineError::Refused { program, reason });
        }
        for mount in mounts.iter().filter(|mount| !own(&mount.point) && !mount.is_harmless() && mount.is_visible()) {
            words.extend([read_only(mount).into(), mount.point.clone().into()]);
        }
        for socket in sockets().map_err(failed)? {
            words.extend(["socket".into(), socket.into()]);
        }
        words.push("--".into());
        // The namespace's init. It never changes its credentials, which would clear the signal that unshare's death sends it
        // (prctl(2), PR_SET_PDEATHSIG), and it ends the namespace even when we are gone.
        words.push(seen(host, "timeout")?.into());
        words.extend(["--signal=KILL".into(), format!("{}", (self.deadline + SPARE).as_secs_f64()).into()]);
        if root {
            words.extend(self.as_user(host)?);
        } else {
            // Out of the role of root again, as which the mounts were made.
            words.push(seen(host, "unshare")?.into());
            words.extend([
                format!("--map-user={}", geteuid()).into(),
                format!("--map-group={}", getegid()).into(),
                "--".into(),
            ]);
            words.extend([seen(host, "setpriv")?.into(), "--no-new-privs".into(), "--".into()]);
        }
        let path = Path::new(PLACE).join(self.name);
        words.push(path.into());
        Ok(words)
    }

    fn bare(&self, host: &Host, root: bool) -> Result<Vec<OsString>, ConfineError> {
        let mut words = own_session(host)?;
        words.extend(["/bin/sh", "-c", FROM_MEMORY, "sh"].map(Into::into));
        if root {
            words.extend(self.as_user(host)?);
        } else {
            words.extend([host.program("setpriv")?.into(), "--no-new-privs".into(), "--".into()]);
        }
        words.push("/proc/self/fd/9".into());
        Ok(words)
    }

    /// The change of user, without any capability: also for a root that it may be.
    fn as_user(&self, host: &Host) -> Result<Vec<OsString>, ConfineError> {
        let mut words: Vec<OsString> = vec![seen(host, "setpriv")?.into()];
        let (uid, gid) = self.user.map_or((NOBODY, NOBODY), |user| (user.uid, user.gid));
        words.extend([format!("--reuid={uid}").into(), format!("--regid={gid}").into()]);
        words.push(match self.user {
            Some(user) if !user.groups.is_empty() => {
                let groups: Vec<_> = user.groups.iter().map(ToString::to_string).collect();
                format!("--groups={}", groups.join(",")).into()
            }
            _ => "--clear-groups".into(),
        });
        words.extend(
            ["--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all", "--no-new-privs", "--"].map(Into::into),
        );
        Ok(words)
    }
}

/// The path of a program of the host as the cell sees it too: not through a link in what the cell has of its own.
fn seen(host: &Host, tool: &str) -> Result<PathBuf, ConfineError> {
    let path = host.program(tool)?;
    Ok(fs::canonicalize(&path).unwrap_or(path))
}

fn own(path: &Path) -> bool {
    OWN.iter().any(|folder| path.starts_with(folder))
}

/// The options that make a mount read-only and leave it as it is otherwise: one whose flags are locked can't lose them
/// (`mount_namespaces(7)`).
fn read_only(mount: &MountLine) -> String {
    let mut options = "remount,bind,ro,nosuid,nodev".to_owned();
    let kept = ["noexec", "noatime", "nodiratime", "relatime"];
    let mut kept: Vec<_> = kept.into_iter().filter(|option| mount.has(option)).collect();
    if !mount.has("noatime") && !mount.has("relatime") {
        kept.push("strictatime");
    }
    for option in kept {
        options.push(',');
        options.push_str(option);
    }
    options
}

/// The sockets in the host's folders. A network namespace does not keep anybody away from them, nor does a read-only mount.
fn sockets() -> io::Result<BTreeSet<PathBuf>> {
    let table = match fs::read("/proc/net/unix") {
        // A kernel without them.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        table => table?,
    };
    let paths = table.split(|byte| *byte == b'\n').filter_map(|line| {
        let at = line.windows(2).position(|two| two == b" /")?;
        Some(PathBuf::from(OsStr::from_bytes(line.get(at + 1..)?)))
    });
    let there = |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    Ok(paths.filter(|path| !own(path)).filter(there).collect())
}

/// The same bytes in memory, which nobody can change any more.
fn sealed(bytes: &mut File) -> io::Result<File> {
    let memory = memfd_create(c"upswap", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    let mut memory = File::from(memory);
    io::copy(bytes, &mut memory)?;
    memory.flush()?;
    let seals = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL;
    fcntl(&memory, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_cell_s_own_is_known_by_whole_names() {
        for (path, expected) in
            [("/run/x", true), ("/tmp", true), ("/runner", false), ("/", false), ("/var/tmp/a", true)]
        {
            assert_eq!(own(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn a_socket_in_the_host_s_folders_is_found() {
        let folder =
            tempfile::tempdir_in("/var/lib").expect("root alone can make a folder here, and this test needs one");
        let path = folder.path().join("a socket");
        let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(sockets().unwrap().contains(&path));
    }

    #[test]
    fn a_mount_that_is_gone_hinders_nothing_and_one_that_cannot_be_made_read_only_does() {
        let made = |options: &str, point: &str| {
            let cell = ["--mount", "--pid", "--fork", "/bin/sh", "-c", SCRIPT, "sh", "1048576", "bin", "ro"];
            let mut program = tempfile::tempfile().unwrap();
            program.write_all(b"#!/bin/sh\necho ran\n").unwrap();
            program.rewind().unwrap();
            let mut unshare = process::Command::new("unshare");
            unshare.args(cell).args([options, point, "--", "/run/upswap/bin"]).stdin(program);
            let output = unshare.output().unwrap();
            (String::from_utf8(output.stdout).unwrap(), output.status.code())
        };
        assert_eq!(made("remount,bind,ro", "/nowhere/at/all"), ("ran\n".to_owned(), Some(0)));
        assert_eq!(made("remount,bind,ro", "/etc"), ("ran\n".to_owned(), Some(0)), "is no mount point");
        assert_eq!(made("bind", "/"), (String::new(), Some(125)));
    }

    #[test]
    fn what_is_sealed_is_the_same_and_nobody_can_change_it() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"bytes").unwrap();
        file.rewind().unwrap();
        let mut memory = sealed(&mut file).unwrap();
        assert!(memory.write_all(b"x").is_err() && memory.set_len(0).is_err());
        memory.rewind().unwrap();
        assert_eq!(std::io::read_to_string(memory).unwrap(), "bytes");
    }
}
