//! What was received of a file by a run that ended before the file was whole, so that the next run goes on from there.
//!
//! Two files in the folder of the file to be, called after the digest of its name: the bytes, locked while a process has
//! them, and a record of what they are a part of: the address (its digest, because it may hold a secret), the server's
//! validator (RFC 9110, section 8.8) and the length of the whole. The record is on disk before the first byte is written,
//! and gone from disk before bytes of anything else are.
//!
//! How many of the bytes count: all of them, as long as the machine has not been booted since, for what a killed process
//! wrote is in the page cache; after a boot no more than the record says were synced, because a file may come out of a power
//! cut longer than its data, with zeros in it. So the record names the boot too (random(4), `boot_id`).

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;
use nix::fcntl::OFlag;
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

use super::{Host, durable, intake, trust};
use crate::words::digest::Digest;

/// How a file that is being received is called.
pub(super) const PREFIX: &str = ".upswap-part-";
/// What names the boot (random(4)).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// How the record beside it ends.
const RECORD: &str = ".json";
/// The most bytes of a record.
const RECORD_MAX: u64 = 64 * 1024;
/// The age from which a part that nobody holds and nobody can go on with is nobody's; until then its owner may be about to lock it.
const STALE: Duration = Duration::from_secs(60);
/// The age from which nobody comes back for a part.
const FORGOTTEN: Duration = Duration::from_secs(7 * 24 * 3600);
/// A part of less is not worth a record: it is fetched again.
const WORTH: u64 = 1 << 20;

/// What bytes are a part of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whole {
    /// What the server calls this state of the file: a strong `ETag` in its quotes, or the date of `Last-Modified`.
    pub validator: String,
    /// The length of the whole file in bytes.
    pub len: u64,
}

#[derive(Serialize, Deserialize)]
struct Record {
    schema: u32,
    name: String,
    address: Digest,
    #[serde(flatten)]
    whole: Whole,
    synced: u64,
    boot: String,
}

/// The record beside a part that this process has locked. Dropped, it is taken off the disk; see [`Ledger::leave`].
pub(super) struct Ledger {
    path: PathBuf,
    name: String,
    address: Digest,
    boot: String,
    on_disk: bool,
}

impl Drop for Ledger {
    fn drop(&mut self) {
        if self.on_disk {
            // A record without its part says nothing; it is swept.
            let _ = self.remove();
        }
    }
}

impl Ledger {
    /// Opens the part of `name` in `dir` for this process alone, with its record. `None` where another process has it, or
    /// where what is there by that name is not this user's own file.
    pub(super) fn claim(host: &Host, dir: &Path, name: &str, address: Digest) -> Option<(File, PathBuf, Self)> {
        let digest = Digest::of(name.as_bytes()).to_string();
        let path = dir.join(format!("{PREFIX}{}", digest.get(..16)?));
        let file = open(&path)?;
        // A disk image has no such file: its part is in the page cache of the machine that this runs on.
        let boot = fs::read_to_string(host.path(BOOT_ID)).or_else(|_| fs::read_to_string(BOOT_ID)).unwrap_or_default();
        let (name, boot) = (name.to_owned(), boot.trim().to_owned());
        Some((file, path.clone(), Self { path: record_of(&path), name, address, boot, on_disk: true }))
    }

    /// What the `len` bytes that are there are a part of, and how many of them count.
    pub(super) fn read(&self, len: u64) -> Option<(Whole, u64)> {
        let record: Record = serde_json::from_slice(&ours(&self.path)?).ok()?;
        if (record.schema, record.name.as_str(), record.address) != (1, &self.name, self.address) {
            return None;
        }
        let same_boot = !self.boot.is_empty() && record.boot == self.boot;
        let counts = if same_boot { len } else { len.min(record.synced) };
        (counts <= record.whole.len && counts > 0).then_some((record.whole, counts))
    }

    /// Puts on disk that the part is one of `whole`, and that its first `synced` bytes are on disk.
    pub(super) fn write(&mut self, whole: &Whole, synced: u64) -> io::Result<()> {
        if whole.len < WORTH {
            return Ok(());
        }
        let (name, boot) = (self.name.clone(), self.boot.clone());
        let record = Record { schema: 1, name, address: self.address, whole: whole.clone(), synced, boot };
        let new = self.path.with_extension("new");
        remove(&new)?;
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(&record)?)?;
        file.sync_all()?;
        self.on_disk = true;
        fs::rename(&new, &self.path)?;
        durable::sync_dir(durable::parent(&self.path))
    }

    /// Leaves the record for the next run; true when there is one.
    pub(super) fn leave(mut self) -> bool {
        std::mem::take(&mut self.on_disk)
    }

    /// Takes the record off the disk.
    pub(super) fn remove(&mut self) -> io::Result<()> {
        self.on_disk = false;
        if remove(&self.path)? { durable::sync_dir(durable::parent(&self.path)) } else { Ok(()) }
    }
}

/// The file at `path` for this process alone.
fn open(path: &Path) -> Option<File> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
    let file = options.open(path).ok()?;
    file.try_lock().ok()?;
    let meta = file.metadata().ok()?;
    // Whoever had the lock before may have given the file its name since.
    (is_ours(&meta) && is_still(path, &meta)).then_some(file)
}

/// True for a regular file of this user that has one name and that nobody else can write to.
fn is_ours(meta: &std::fs::Metadata) -> bool {
    trust::is_our_file(meta) && meta.uid() == geteuid().as_raw() && meta.nlink() == 1
}

fn is_still(path: &Path, meta: &std::fs::Metadata) -> bool {
    fs::symlink_metadata(path).is_ok_and(|there| (there.dev(), there.ino()) == (meta.dev(), meta.ino()))
}

/// The bytes of a record of this user.
fn ours(path: &Path) -> Option<Vec<u8>> {
    let file = intake::open_regular(path).ok()?;
    let meta = file.metadata().ok()?;
    let mut bytes = Vec::new();
    let whole = is_ours(&meta) && meta.len() <= RECORD_MAX && file.take(RECORD_MAX).read_to_end(&mut bytes).is_ok();
    whole.then_some(bytes)
}

fn record_of(part: &Path) -> PathBuf {
    let mut name = part.as_os_str().to_owned();
    name.push(RECORD);
    name.into()
}

/// Removes `path`; false when there was nothing.
fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// Removes what killed processes left in `dir`: parts that nobody holds, after a minute, and after a week where one could go
/// on with them; records without a part; files of [`durable::replace_shared`].
pub fn sweep(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(kind) = Left::called(&name) else { continue };
        // What another process took away meanwhile is swept.
        let Ok(meta) = entry.metadata() else { continue };
        if !meta.is_file() {
            continue;
        }
        let path = entry.path();
        let age = match kind {
            Left::Part if fs::symlink_metadata(record_of(&path)).is_ok() => FORGOTTEN,
            Left::Record if fs::symlink_metadata(path.with_extension("")).is_ok() => FORGOTTEN,
            _ => STALE,
        };
        let old = meta.modified()?.elapsed().is_ok_and(|there| there > age);
        if old && let Ok(file) = File::open(&path) {
            match file.try_lock() {
                Ok(()) if is_still(&path, &meta) => fs::remove_file(&path)?,
                Ok(()) | Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
            }
        }
    }
    Ok(())
}

/// What a killed process leaves.
#[derive(Clone, Copy)]
enum Left {
    Part,
    Record,
    Passing,
}

impl Left {
    fn called(name: &OsString) -> Option<Self> {
        let name = name.as_encoded_bytes();
        let passing = |rest: &[u8]| rest.len() == 6 && rest.iter().all(u8::is_ascii_alphanumeric);
        match name.strip_prefix(PREFIX.as_bytes()) {
            Some(rest) if rest.ends_with(RECORD.as_bytes()) => Some(Self::Record),
            Some(rest) if rest.ends_with(b".new") => Some(Self::Passing),
            Some(_) => Some(Self::Part),
            None => name.strip_prefix(b".upswap-").is_some_and(passing).then_some(Self::Passing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;
    use std::time::SystemTime;

    fn address() -> Digest {
        Digest::of(b"https://h/asset")
    }

    fn whole() -> Whole {
        Whole { validator: "\"a\"".into(), len: 5 << 20 }
    }

    fn claimed(root: &Path) -> Option<(File, PathBuf, Ledger)> {
        Ledger::claim(&Host::below(root), root, "asset", address())
    }

    fn boots(root: &Path, id: &str) {
        let dir = root.join("proc/sys/kernel/random");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("boot_id"), id).unwrap();
    }

    #[test]
    fn all_bytes_count_until_the_next_boot_and_then_those_on_disk() {
        let root = tempfile::tempdir().unwrap();
        boots(root.path(), "one\n");
        let (_, _, mut ledger) = claimed(root.path()).unwrap();
        ledger.write(&whole(), 1000).unwrap();
        assert_eq!(ledger.read(4000), Some((whole(), 4000)));
        assert!(ledger.leave());
        boots(root.path(), "two\n");
        let (_, _, ledger) = claimed(root.path()).unwrap();
        assert_eq!(ledger.read(4000), Some((whole(), 1000)));
        assert_eq!(ledger.read(400), Some((whole(), 400)), "the file lost more than the record knows");
        assert!(ledger.leave());
        boots(root.path(), "");
        let (_, _, ledger) = claimed(root.path()).unwrap();
        assert_eq!(ledger.read(4000), Some((whole(), 1000)), "which boot it is nobody knows");
    }

    #[test]
    fn a_record_of_something_else_is_none() {
        let root = tempfile::tempdir().unwrap();
        let (_file, path, mut ledger) = claimed(root.path()).unwrap();
        assert_eq!(ledger.read(10), None, "no record");
        ledger.write(&whole(), 20).unwrap();
        assert!(ledger.read(10).is_some());
        assert_eq!(ledger.read(0), None, "no bytes");
        assert_eq!(ledger.read(whole().len + 1), None, "more bytes than the whole");
        ledger.address = Digest::of(b"https://h/other");
        assert_eq!(ledger.read(10), None, "of another address");
        ledger.address = address();
        for bytes in ["", "{", "{}", "[1]"] {
            fs::write(record_of(&path), bytes).unwrap();
            assert_eq!(ledger.read(10), None, "{bytes}");
        }
        ledger.write(&whole(), 20).unwrap();
        assert!(ledger.read(10).is_some());
        fs::set_permissions(record_of(&path), Permissions::from_mode(0o666)).unwrap();
        assert_eq!(ledger.read(10), None, "anybody could have written it");
        ledger.remove().unwrap();
        ledger.remove().unwrap();
        ledger.write(&Whole { len: WORTH - 1, ..whole() }, 0).unwrap();
        assert!(!record_of(&path).exists(), "a small file is not worth a record");
    }

    #[test]
    fn one_process_has_a_part_and_what_is_not_ours_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let (held, path, _) = claimed(root.path()).unwrap();
        assert!(claimed(root.path()).is_none(), "held");
        fs::rename(&path, root.path().join("asset")).unwrap();
        let (next, ..) = claimed(root.path()).unwrap();
        drop((held, next));
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("asset", &path).unwrap();
        assert!(claimed(root.path()).is_none(), "a link");
        fs::remove_file(&path).unwrap();
        fs::hard_link(root.path().join("asset"), &path).unwrap();
        assert!(claimed(root.path()).is_none(), "a second name of something");
        fs::remove_file(&path).unwrap();
        fs::write(&path, "x").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        assert!(claimed(root.path()).is_none(), "anybody could have written it");
        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(claimed(root.path()).is_none(), "a pipe");
    }

    #[test]
    fn only_old_parts_that_nobody_holds_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        let part = |name: &str, age: Duration| {
            let file = File::create(dir.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
            file
        };
        let held = part(".upswap-part-held", 2 * FORGOTTEN);
        held.lock().unwrap();
        for (name, age) in [
            (".upswap-part-left", 2 * STALE),
            (".upswap-part-fresh", 2 * STALE),
            (".upswap-part-fresh.json", 2 * STALE),
            (".upswap-part-week", 2 * FORGOTTEN),
            (".upswap-part-week.json", 2 * FORGOTTEN),
            (".upswap-part-alone.json", 2 * STALE),
            (".upswap-part-x.new", 2 * STALE),
            (".upswap-part-now.new", Duration::ZERO),
            (".upswap-aB3dE6", 2 * STALE),
            (".upswap-else", 2 * FORGOTTEN),
            (".upswap-part-new", Duration::ZERO),
            ("asset", 2 * FORGOTTEN),
        ] {
            part(name, age);
        }
        sweep(dir.path()).unwrap();
        // The record of a part that was swept just now may be one sweep late.
        sweep(dir.path()).unwrap();
        let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        let stay = [
            ".upswap-else",
            ".upswap-part-fresh",
            ".upswap-part-fresh.json",
            ".upswap-part-held",
            ".upswap-part-new",
            ".upswap-part-now.new",
            "asset",
        ];
        assert_eq!(names, stay);
    }
}
