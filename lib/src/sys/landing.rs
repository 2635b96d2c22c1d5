//! A file that is being received: under a name of its own in the folder it will be in, until it is whole and on disk.

use std::fs::{File, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::mem;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use fs_err as fs;
use indicatif::{ProgressBar, ProgressStyle};
use tempfile::{NamedTempFile, TempPath};

use super::Host;
use super::durable::{self, Behind};
use super::part::{Ledger, PREFIX};
use super::say::Say;
use crate::words::digest::{Digest, Hashing};

pub use super::part::{Whole, sweep};

/// How often a part that may be gone on with is synced: what a power cut costs at most, in time to fetch it again.
const SYNC_EVERY: Duration = Duration::from_secs(10);

/// A file that is being received. Dropped, it is removed; see [`Landing::leave`].
pub struct Landing {
    part: NamedTempFile,
    hashing: Hashing<io::Sink>,
    behind: Behind,
    bar: Bar,
    ledger: Option<Ledger>,
    /// What the bytes are a part of, where the server named it well enough to be asked for the rest.
    whole: Option<Whole>,
    /// How many bytes of the file count, from its start.
    got: u64,
    /// False while bytes that an earlier run received have not been hashed.
    hashed: bool,
    /// Whether one may go on with a part; not once the server got it wrong.
    goes_on: bool,
    synced: Instant,
}

/// The progress that is drawn, if any; it leaves no trace on the terminal.
struct Bar(Option<ProgressBar>);

impl Drop for Bar {
    fn drop(&mut self) {
        self.hide();
    }
}

impl Bar {
    fn hide(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// A file that is whole and on disk, still under its own name. Dropped, it is removed; see [`Landed::leave`].
pub struct Landed {
    part: NamedTempFile,
    ledger: Option<Ledger>,
    /// The digest of its bytes: as they were received, those of an earlier run as they were read back.
    pub digest: Digest,
    /// Its size in bytes.
    pub len: u64,
}

impl Landing {
    /// A new file in `dir`. Progress is drawn as that of `name` when `say` may draw.
    pub fn in_dir(dir: &Path, name: &str, say: &Say) -> io::Result<Self> {
        // No name of an asset starts with a dot, and no digest.
        let part = tempfile::Builder::new().prefix(&format!("{PREFIX}.")).tempfile_in(dir)?;
        // Held until it is closed, so that `sweep` knows it is in use, also by another process.
        part.as_file().lock()?;
        Ok(Self::new(part, None, name, say))
    }

    /// What an earlier run received of `name` from the address with this digest, or a new file in `dir`.
    ///
    /// While another process receives a file of that name, this is one of its own that nobody will go on with.
    pub fn of(host: &Host, dir: &Path, name: &str, address: Digest, say: &Say) -> io::Result<Self> {
        let Some((file, path, ledger)) = Ledger::claim(host, dir, name, address) else {
            return Self::in_dir(dir, name, say);
        };
        let there = file.metadata()?.len();
        let part = NamedTempFile::from_parts(file, TempPath::try_from_path(path)?);
        let mut landing = Self::new(part, Some(ledger), name, say);
        if let Some((whole, counts)) = landing.ledger.as_ref().and_then(|ledger| ledger.read(there)) {
            (landing.whole, landing.got, landing.hashed) = (Some(whole), counts, false);
        }
        Ok(landing)
    }

    fn new(part: NamedTempFile, ledger: Option<Ledger>, name: &str, say: &Say) -> Self {
        let bar = say.draws_progress().then(|| ProgressBar::no_length().with_prefix(name.to_owned()));
        let (hashing, synced) = (Hashing::new(io::sink()), Instant::now());
        let (behind, bar) = (Behind::default(), Bar(bar));
        Self { part, hashing, behind, bar, ledger, whole: None, got: 0, hashed: true, goes_on: true, synced }
    }

    /// What is there already, and how many of its bytes: always less than the whole, so that the server is asked in any case.
    #[must_use]
    pub fn kept(&self) -> Option<(&Whole, u64)> {
        let whole = self.whole.as_ref().filter(|_| self.goes_on)?;
        Some((whole, self.got.min(whole.len.saturating_sub(1)))).filter(|(_, from)| *from > 0)
    }

    /// From here on only a file in one piece is taken: what is there is never gone on with.
    pub fn forget(&mut self) {
        self.goes_on = false;
    }

    /// Starts over with an empty file, and reserves `len` bytes when the length is known: a full disk is told at once.
    /// With a `validator` and a length what is received can be gone on with later.
    pub fn begin(&mut self, len: Option<u64>, validator: Option<String>) -> io::Result<()> {
        (self.whole, self.got, self.hashed) = (None, 0, true);
        // Gone from disk before there are bytes that it does not speak of.
        if let Some(ledger) = &mut self.ledger {
            ledger.remove()?;
        }
        let file = self.part.as_file_mut();
        file.set_len(0)?;
        file.rewind()?;
        self.hashing = Hashing::new(io::sink());
        if let Some(len) = len.filter(|len| *len > 0) {
            reserve(file, len)?;
        }
        if let (Some(len), Some(validator)) = (len, validator.filter(|_| self.goes_on)) {
            let whole = Whole { validator, len };
            self.note(&whole, 0);
            self.whole = Some(whole);
        }
        self.draw(len);
        Ok(())
    }

    /// Goes on behind the bytes that [`Landing::kept`] tells of; those of an earlier run are read back first.
    pub fn go_on(&mut self) -> io::Result<()> {
        let Some((whole, from)) = self.kept().map(|(whole, from)| (whole.clone(), from)) else {
            return self.begin(None, None);
        };
        let file = self.part.as_file_mut();
        file.set_len(from)?;
        if !self.hashed || from != self.got {
            file.rewind()?;
            let mut hashing = Hashing::new(io::sink());
            let read = io::copy(&mut file.take(from), &mut hashing)?;
            if read != from {
                return Err(io::Error::other(format!("{read} of {from} bytes could be read back")));
            }
            self.hashing = hashing;
        }
        file.seek(SeekFrom::Start(from))?;
        reserve(file, whole.len)?;
        (self.got, self.hashed) = (from, true);
        self.sync()?;
        self.draw(Some(whole.len));
        if let Some(bar) = &self.bar.0 {
            bar.set_position(from);
        }
        Ok(())
    }

    /// Puts on disk what there is, and then that it is there.
    fn sync(&mut self) -> io::Result<()> {
        if let (Some(whole), Some(_)) = (self.whole.clone(), &self.ledger) {
            self.behind.caught_up()?;
            self.part.as_file().sync_data()?;
            self.note(&whole, self.got);
        }
        self.synced = Instant::now();
        Ok(())
    }

    /// Where no record can be written the file is received all the same; it can't be gone on with after this process.
    fn note(&mut self, whole: &Whole, synced: u64) {
        if self.ledger.as_mut().is_some_and(|ledger| ledger.write(whole, synced).is_err()) {
            self.ledger = None;
        }
    }

    fn draw(&self, len: Option<u64>) {
        if let Some(bar) = &self.bar.0 {
            bar.reset();
            let form = match len {
                Some(len) => {
                    bar.set_length(len);
                    "{prefix} {bar:30} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}"
                }
                None => "{prefix} {spinner} {binary_bytes} {binary_bytes_per_sec}",
            };
            bar.set_style(ProgressStyle::with_template(form).unwrap_or_else(|_| ProgressStyle::default_bar()));
        }
    }

    /// Takes the progress off the terminal, so that something can be said; [`Landing::begin`] brings it back.
    pub fn hide(&self) {
        self.bar.hide();
    }

    /// Appends `bytes`.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.part.as_file_mut().write_all(bytes)?;
        self.hashing.write_all(bytes)?;
        self.got += bytes.len() as u64;
        self.behind.wrote(self.part.as_file(), bytes.len() as u64)?;
        if let Some(bar) = &self.bar.0 {
            bar.inc(bytes.len() as u64);
        }
        if self.synced.elapsed() > SYNC_EVERY {
            self.sync()?;
        }
        Ok(())
    }

    /// Leaves what was received for the next run, where that could go on with it; else it is removed.
    pub fn leave(mut self) {
        self.bar.hide();
        if self.kept().is_some() && self.sync().is_ok() {
            self.part.disable_cleanup(self.ledger.is_some_and(Ledger::leave));
        }
    }

    /// The digest of the bytes of the file and their number, with mode 0644 and on disk.
    pub fn finish(mut self) -> io::Result<Landed> {
        self.bar.hide();
        let (digest, len, _) = mem::replace(&mut self.hashing, Hashing::new(io::sink())).finish();
        let file = self.part.as_file();
        file.set_len(len)?;
        file.set_permissions(Permissions::from_mode(0o644))?;
        self.behind.caught_up()?;
        file.sync_all()?;
        Ok(Landed { part: self.part, ledger: self.ledger, digest, len })
    }
}

impl Landed {
    /// Its bytes, from their start.
    pub fn bytes(&mut self) -> io::Result<&mut File> {
        let file = self.part.as_file_mut();
        file.rewind()?;
        Ok(file)
    }

    /// Gives the file its name. What was there before is replaced; only a regular file is.
    pub fn settle(self, path: &Path) -> io::Result<()> {
        match fs::symlink_metadata(path) {
            Ok(meta) if !meta.is_file() => {
                return Err(io::Error::other(format!("{}: is there and no regular file; remove it", path.display())));
            }
            _ => {}
        }
        self.part.persist(path).map_err(|e| e.error)?;
        durable::sync_dir(durable::parent(path))?;
        self.ledger.map_or(Ok(()), |mut ledger| ledger.remove())
    }

    /// Leaves the file for the next run: where a record tells what it is, that asks for the last byte of it alone.
    pub fn leave(mut self) {
        self.part.disable_cleanup(self.ledger.is_some_and(Ledger::leave));
    }
}

/// Reserves the space of `len` bytes without changing the file's size, where the file system can.
fn reserve(file: &File, len: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;
    match fallocate(file, FallocateFlags::KEEP_SIZE, 0, len) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
        Err(e) => Err(io::Error::new(io::Error::from(e).kind(), format!("no room for {len} bytes: {e}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::say::Say;

    #[test]
    fn a_file_has_its_name_only_when_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("asset");
        let mut landing = Landing::in_dir(dir.path(), "asset", &Say::quiet("t")).unwrap();
        landing.begin(Some(1000), None).unwrap();
        landing.write(b"half of the first try").unwrap();
        landing.begin(None, None).unwrap();
        landing.write(b"whole").unwrap();
        assert!(!path.exists());
        let landed = landing.finish().unwrap();
        assert_eq!((landed.digest, landed.len), (Digest::of(b"whole"), 5));
        assert!(!path.exists());
        landed.settle(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o644);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_regular_file_stays() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("asset");
        std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
        let landing = Landing::in_dir(dir.path(), "asset", &Say::quiet("t")).unwrap();
        assert!(landing.finish().unwrap().settle(&link).is_err());
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    /// A record of the file before would make the next run go on with another file's bytes.
    #[test]
    fn a_new_beginning_takes_the_record_off_the_disk_first() {
        let root = tempfile::tempdir().unwrap();
        let (host, say, address) = (Host::below(root.path()), Say::quiet("t"), Digest::of(b"address"));
        let of = || Landing::of(&host, root.path(), "asset", address, &say).unwrap();
        let mut landing = of();
        landing.begin(Some(3 << 20), Some("\"a\"".into())).unwrap();
        landing.write(&vec![1; 2 << 20]).unwrap();
        landing.leave();
        let mut landing = of();
        assert!(landing.kept().is_some());
        // The server has a state of it by now that it gives no name.
        landing.begin(Some(3 << 20), None).unwrap();
        landing.write(&vec![2; 2 << 20]).unwrap();
        let records = || {
            let entries = fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().path());
            entries.filter(|path| path.extension().is_some_and(|end| end == "json")).count()
        };
        assert_eq!(records(), 0, "killed now, the next run would believe it");
    }

    #[test]
    fn a_later_run_goes_on_and_hashes_what_it_finds() {
        let root = tempfile::tempdir().unwrap();
        let (host, say, address) = (Host::below(root.path()), Say::quiet("t"), Digest::of(b"address"));
        let of = |address| Landing::of(&host, root.path(), "asset", address, &say).unwrap();
        let boot = root.path().join("proc/sys/kernel/random/boot_id");
        fs::create_dir_all(boot.parent().unwrap()).unwrap();
        fs::write(&boot, "one").unwrap();
        let bytes: Vec<u8> = (0..3u32 << 20).map(|n| n.to_le_bytes()[1]).collect();
        let mut landing = of(address);
        assert!(landing.kept().is_none());
        landing.begin(Some(bytes.len() as u64), Some("\"a\"".into())).unwrap();
        landing.write(&bytes[..2 << 20]).unwrap();
        landing.leave();
        assert!(of(Digest::of(b"another address")).kept().is_none());
        // That one was dropped, and so it is gone.
        assert!(of(address).kept().is_none());

        let mut landing = of(address);
        landing.begin(Some(bytes.len() as u64), Some("\"a\"".into())).unwrap();
        landing.write(&bytes[..2 << 20]).unwrap();
        landing.leave();
        let mut landing = of(address);
        assert_eq!(landing.kept().unwrap().1, 2 << 20);
        landing.go_on().unwrap();
        landing.write(&bytes[2 << 20..]).unwrap();
        landing.finish().unwrap().leave();
        // All of it was there: the last byte is asked for.
        let mut landing = of(address);
        assert_eq!(landing.kept().unwrap().1, bytes.len() as u64 - 1);
        landing.go_on().unwrap();
        landing.write(&bytes[bytes.len() - 1..]).unwrap();
        let landed = landing.finish().unwrap();
        assert_eq!((landed.digest, landed.len), (Digest::of(&bytes), bytes.len() as u64));
        landed.settle(&root.path().join("asset")).unwrap();
        let names = fs::read_dir(root.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        assert_eq!(names.filter(|name| name.starts_with(PREFIX)).count(), 0);
    }
}
