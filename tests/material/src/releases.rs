//! Makes releases: archives, their checksum list in the form of sha256sum(1), and its signature by the real `minisign`.
//!
//! A shelf is a folder `DIR/OWNER/REPO/TAG/ASSET`, with what the API says of a release in `TAG/.release.json`, and the
//! signing key in `DIR/minisign.pub` and `DIR/minisign.key`.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::marker::{Fault, Marker};
use crate::{elf, units};

/// The repository of the daemon's releases.
pub const REPO: &str = "runestack/rune";
/// The checksum list of every release; its signature is beside it, with `.minisig` at the end.
pub const SUMS: &str = "checksums.txt";

/// The releases of one repository, below a folder, signed with one key.
#[derive(Clone, Debug)]
pub struct Shelf {
    dir: PathBuf,
    repo: String,
}

/// What the API says of a release besides its tag and its assets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Notes {
    /// A pre-release.
    pub prerelease: bool,
    /// A draft: nobody but its author sees it.
    pub draft: bool,
}

/// The two programs that a release of `rune` holds, as compiled.
#[derive(Clone, Debug)]
pub struct Programs {
    runed: Vec<u8>,
    rune: Vec<u8>,
}

impl Programs {
    /// The programs in `dir`, where cargo left them.
    pub fn compiled_in(dir: &Path) -> io::Result<Self> {
        Ok(Self { runed: read(&dir.join("runed"))?, rune: read(&dir.join("rune"))? })
    }

    /// The programs as version `tag` with `fault` has them: `rune` is always good, unless the whole release is not.
    pub fn released(&self, tag: &str, fault: Fault) -> Result<Self, String> {
        let reported = if fault == Fault::WrongVersion { "v9.9.9" } else { tag };
        let mut released = self.clone();
        for program in [&mut released.runed, &mut released.rune] {
            Marker { version: reported.to_owned(), fault }.patch(program)?;
            match fault {
                Fault::NeedsNewerGlibc => elf::needing_newer_glibc(program)?,
                Fault::OtherMachine => elf::for_other_machine(program)?,
                _ => {}
            }
        }
        Ok(released)
    }
}

impl Shelf {
    /// The shelf of `repo` (`OWNER/REPO`) below `dir`; makes the signing key when there is none yet.
    pub fn open(dir: &Path, repo: &str) -> io::Result<Self> {
        fs::create_dir_all(dir.join(repo))?;
        let shelf = Self { dir: dir.to_owned(), repo: repo.to_owned() };
        if !shelf.public_key().exists() {
            // -W: a key without a password, as an unattended build has it.
            minisign(&["-G".as_ref(), "-W".as_ref(), "-p".as_ref(), &shelf.public_key(), "-s".as_ref(), &shelf.key()])?;
        }
        Ok(shelf)
    }

    /// The public key: two lines, the second one is what `--minisign` takes inline.
    #[must_use]
    pub fn public_key(&self) -> PathBuf {
        self.dir.join("minisign.pub")
    }

    /// The folder of one release.
    #[must_use]
    pub fn release(&self, tag: &str) -> PathBuf {
        self.dir.join(&self.repo).join(tag)
    }

    /// Adds a release of the daemon, programs and units: one archive for this machine, `rune_linux_amd64.tar.gz` say, and one for another.
    pub fn add_rune(&self, programs: &Programs, tag: &str, fault: Fault, notes: Notes) -> io::Result<()> {
        let (here, elsewhere) = if goarch() == "amd64" { ("amd64", "arm64") } else { (goarch(), "amd64") };
        let mut assets = Vec::new();
        for (arch, fault) in [(here, fault), (elsewhere, Fault::OtherMachine)] {
            let programs = programs.released(tag, fault).map_err(io::Error::other)?;
            let major = Marker { version: tag.to_owned(), fault }.major();
            let units = units::files(major);
            let units = units.iter().map(|(name, text)| (*name, text.as_bytes()));
            let programs = [("rune", programs.rune.as_slice()), ("runed", programs.runed.as_slice())];
            let members: Vec<_> = programs.into_iter().chain(units).collect();
            assets.push((format!("rune_linux_{arch}.tar.gz"), archive(&members)?));
        }
        self.add(tag, &assets, notes)
    }

    /// Adds a release of any assets, with their checksum list and its signature. A release of that tag is replaced.
    pub fn add(&self, tag: &str, assets: &[(String, Vec<u8>)], notes: Notes) -> io::Result<()> {
        let dir = self.release(tag);
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        let before = fs::read_dir(self.dir.join(&self.repo))?.count();
        fs::create_dir_all(&dir)?;
        let mut sums = Vec::new();
        for (name, content) in assets {
            fs::write(dir.join(name), content)?;
            writeln!(sums, "{}  {name}", sha256(content))?;
        }
        fs::write(dir.join(SUMS), sums)?;
        let comment = format!("{} {tag}", self.repo);
        let list = dir.join(SUMS);
        minisign(&["-S".as_ref(), "-s".as_ref(), &self.key(), "-m".as_ref(), &list, "-t".as_ref(), comment.as_ref()])?;
        let about = json!({
            "prerelease": notes.prerelease,
            "draft": notes.draft,
            // A day later than the one before: only the order counts.
            "published_at": format!("2026-{:02}-{:02}T12:00:00Z", before / 28 % 12 + 1, before % 28 + 1),
        });
        fs::write(dir.join(".release.json"), about.to_string())
    }

    fn key(&self) -> PathBuf {
        self.dir.join("minisign.key")
    }
}

/// A tar.gz of files, all of them executable, the same bytes every time.
pub fn archive(members: &[(&str, &[u8])]) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        header.set_mtime(1_767_225_600);
        tar.append_data(&mut header, name, *content)?;
    }
    let mut gzip = tar.into_inner()?;
    gzip.flush()?;
    gzip.finish()
}

/// This machine as Go's releases call it.
#[must_use]
pub fn goarch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The SHA-256 of `content`, 64 hexadecimal digits.
#[must_use]
pub fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}"); // A String takes everything.
        hex
    })
}

fn minisign(arguments: &[&Path]) -> io::Result<()> {
    let output = Command::new("minisign").args(arguments).output().map_err(|e| {
        io::Error::new(e.kind(), format!("minisign: {e}; it signs the test releases: install the package 'minisign'"))
    })?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("minisign: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path).map_err(|e| {
        io::Error::new(e.kind(), format!("{}: {e}; build it with 'cargo build -p upswap-material'", path.display()))
    })
}
