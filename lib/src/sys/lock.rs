//! One chain at a time per NAME: flock(2) on `<run>/NAME.lock`, handed down by descriptor from a guard to its children.
//!
//! The lock lives as long as any process has the descriptor, so a chain whose guard was killed keeps it until its last
//! child is gone. Lock files are never removed: their inode is the lock's identity.

use std::env;
use std::ffi::OsString;
use std::fs::{File, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use fs_err as fs;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};

use super::{Host, durable, intake};
use crate::words::exit::{Coded, Exit};

/// The NAME of the guard a process runs under.
pub const GUARD_NAME: &str = "UPSWAP_NAME";
/// The descriptor of the guard's lock.
pub const GUARD_FD: &str = "UPSWAP_LOCK_FD";

/// How often a held lock is asked again while waiting for it.
const ASK_AGAIN: Duration = Duration::from_millis(20);
/// [`held_by`] has the lock for some microseconds: a holder is only believed after this.
const GRACE: Duration = Duration::from_millis(60);

/// Why the lock is not ours.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("{name}: locked by {holder}; wait for it, or say how long to wait with --lock-wait")]
    Held {
        /// The NAME.
        name: String,
        /// `PID 4711 (rollback)`, as the holder wrote it.
        holder: String,
    },
    /// The environment speaks of a guard whose lock did not come down to this process.
    #[error(
        "{name}: {GUARD_NAME} says a guard holds the lock, but {why}; run the whole chain inside one sudo, not sudo inside the chain"
    )]
    Lost {
        /// The NAME.
        name: String,
        /// What is wrong with the descriptor.
        why: &'static str,
    },
    /// The tool was asked for another NAME than its guard's.
    #[error(
        "{asked}: this runs under the guard of {guard}, so its name is {guard}; leave the name out, or use a chain of its own"
    )]
    OtherName {
        /// What was asked for.
        asked: String,
        /// The guard's NAME.
        guard: String,
    },
    /// The lock file can't be used.
    #[error("{path}: the lock could not be taken: {source}")]
    Io {
        /// The lock file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Coded for LockError {
    fn exit(&self) -> Exit {
        match self {
            Self::Held { .. } => Exit::NotNow,
            Self::Lost { .. } | Self::OtherName { .. } => Exit::Usage,
            Self::Io { .. } => Exit::CouldNot,
        }
    }
}

/// The lock of one NAME, held until dropped.
#[derive(Debug)]
pub struct Lock {
    /// Ours to unlock; `None` when a guard holds it for us.
    file: Option<File>,
}

/// The NAME of the guard this process runs under, if any.
#[must_use]
pub fn guard_name() -> Option<String> {
    env::var(GUARD_NAME).ok().filter(|name| !name.is_empty())
}

impl Lock {
    /// Takes the lock of `name`, waiting at most `wait` for another holder; under a guard of `name`, checks that the
    /// guard's lock came down to us.
    pub fn take(host: &Host, name: &str, wait: Duration) -> Result<Self, LockError> {
        match guard_name() {
            None => Self::take_new(host, name, wait),
            Some(guard) if guard == name => Self::inherited(host, name),
            Some(guard) => Err(LockError::OtherName { asked: name.to_owned(), guard }),
        }
    }

    /// Takes the lock of `name` whatever guard there is above.
    pub fn take_new(host: &Host, name: &str, wait: Duration) -> Result<Self, LockError> {
        let path = path_of(host, name);
        let failed = |source| LockError::Io { path: path.clone(), source };
        let until = Instant::now() + wait.max(GRACE);
        let mut file = open(&path).map_err(failed)?;
        loop {
            match file.try_lock() {
                Ok(()) if same_file(&file, &path) => break,
                // Somebody removed the file under us: what we hold is nobody's lock any more.
                Ok(()) => file = open(&path).map_err(failed)?,
                Err(TryLockError::WouldBlock) if Instant::now() < until => thread::sleep(ASK_AGAIN),
                Err(TryLockError::WouldBlock) => {
                    return Err(LockError::Held { name: name.to_owned(), holder: holder(&path) });
                }
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
        sign(&mut file).map_err(failed)?;
        Ok(Self { file: Some(file) })
    }

    fn inherited(host: &Host, name: &str) -> Result<Self, LockError> {
        let lost = |why| LockError::Lost { name: name.to_owned(), why };
        let path = path_of(host, name);
        let descriptor = env::var(GUARD_FD).ok().and_then(|text| text.parse::<u32>().ok());
        let descriptor = descriptor.ok_or_else(|| lost("UPSWAP_LOCK_FD names no descriptor"))?;
        // What can't be looked at is not gone.
        let gone = |why| {
            let path = path.clone();
            move |source: io::Error| match source.kind() {
                io::ErrorKind::NotFound => lost(why),
                _ => LockError::Io { path, source },
            }
        };
        let ours = std::fs::metadata(format!("/proc/self/fd/{descriptor}"))
            .map_err(gone("its descriptor was closed on the way here"))?;
        let lock = fs::metadata(&path).map_err(gone("the lock file is gone"))?;
        if (ours.dev(), ours.ino()) != (lock.dev(), lock.ino()) {
            return Err(lost("its descriptor is another file here"));
        }
        // proc(5) lists the locks of this very description: that another chain has the lock by now is not enough.
        let locks =
            fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}")).map_err(gone("that guard has ended"))?;
        if locks.lines().any(|line| line.starts_with("lock:") && line.contains("FLOCK")) {
            Ok(Self { file: None })
        } else {
            Err(lost("that guard has ended"))
        }
    }

    /// Lets the descriptor through exec, and returns the environment that tells the children of it.
    pub fn hand_down(&self, name: &str) -> io::Result<Vec<(&'static str, OsString)>> {
        let Some(file) = &self.file else { return Ok(Vec::new()) };
        fcntl(file, FcntlArg::F_SETFD(FdFlag::empty()))?;
        Ok(vec![(GUARD_NAME, name.into()), (GUARD_FD, file.as_raw_fd().to_string().into())])
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Explicit, because children that outlive a guard still have the descriptor.
        if let Some(file) = &self.file {
            let _ = file.unlock();
        }
    }
}

/// Whether some process holds the lock of `name`, and who.
#[must_use]
pub fn held_by(host: &Host, name: &str) -> Option<String> {
    let path = path_of(host, name);
    // A FIFO by that name would be waited for.
    let file = intake::open_regular(&path).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Some(holder(&path)),
        _ => None,
    }
}

fn path_of(host: &Host, name: &str) -> PathBuf {
    host.run().join(format!("{name}.lock"))
}

/// Nobody else may even open it: flock(2) asks for no right to write, so who can read a lock can hold it against us.
fn open(path: &Path) -> io::Result<File> {
    durable::make_dirs(durable::parent(path), 0o755)?;
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(path)?;
    // One that an earlier version made.
    if file.metadata()?.mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

fn same_file(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// Writes who holds the lock into it, for the message of whoever comes next.
fn sign(file: &mut File) -> io::Result<()> {
    let tool = env::args_os().next().unwrap_or_default();
    let tool = Path::new(&tool).file_name().unwrap_or_default().to_string_lossy().into_owned();
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "PID {} ({tool})", std::process::id())
}

fn holder(path: &Path) -> String {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(200).read_to_string(&mut text));
    match (read, text.trim()) {
        (Ok(_), line) if !line.is_empty() => {
            match pid_of(line).filter(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
                Some(_) => format!("what {line} started, itself gone"),
                None => line.to_owned(),
            }
        }
        _ => "another process".to_owned(),
    }
}

/// The number in `PID 4711 (rollback)`.
fn pid_of(signature: &str) -> Option<u32> {
    signature.strip_prefix("PID ")?.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time_and_it_is_named() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::below(root.path());
        let lock = Lock::take_new(&host, "runed", Duration::ZERO).unwrap();
        let error = Lock::take_new(&host, "runed", Duration::ZERO).unwrap_err();
        assert_eq!(error.exit(), Exit::NotNow);
        assert!(error.to_string().contains(&format!("PID {}", std::process::id())), "{error}");
        assert!(held_by(&host, "runed").is_some());
        Lock::take_new(&host, "other", Duration::ZERO).unwrap();
        drop(lock);
        assert!(held_by(&host, "runed").is_none());
        Lock::take_new(&host, "runed", Duration::ZERO).unwrap();
    }

    #[test]
    fn nobody_else_can_hold_it() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::below(root.path());
        let mode = || fs::metadata(path_of(&host, "runed")).unwrap().permissions().mode() & 0o777;
        Lock::take_new(&host, "runed", Duration::ZERO).unwrap();
        assert_eq!(mode(), 0o600);
        fs::set_permissions(path_of(&host, "runed"), Permissions::from_mode(0o644)).unwrap();
        Lock::take_new(&host, "runed", Duration::ZERO).unwrap();
        assert_eq!(mode(), 0o600, "of an earlier version");
    }
}
