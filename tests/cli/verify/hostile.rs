//! verify and hostile archives: the fault catalogue's group C, rows 44 to 58, a case or more for each row.
//!
//! Whatever an archive is, one of two things is right: it is refused, or what is taken from it is what GNU tar takes. In
//! both cases nothing lies outside of the store, no mode and no attribute comes from the archive, the process needs less
//! than 32 MiB beside the decoder's window, and it ends in time. The canary holds GNU tar itself and a plain zip reader to
//! the same rules, and must find what is known of them.

mod compressed;
mod tars;
mod zips;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command as Program, Stdio};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use fs_err as fs;
use nix::sys::resource::{UsageWho, getrusage};
use upswap::words::digest::Digest;

/// What is taken out of an archive that may be read.
const GOOD: &[u8] = b"#!/bin/sh\necho good\n";
/// What nobody may take.
const EVIL: &[u8] = b"#!/bin/sh\necho evil\n";

/// The most memory that verify may need beside a decoder's window, in KiB.
const MEMORY: i64 = 32 << 10;
/// A case that lasts longer hangs: generous, because the machine may be busy.
const DEADLINE: Duration = Duration::from_secs(120);

/// An archive, and what is right to do with it.
struct Case {
    /// The catalogue's row.
    row: u8,
    name: String,
    bytes: Vec<u8>,
    /// What `--extract` wants.
    wanted: Vec<u8>,
    right: Right,
    /// The window that its decoder needs, in MiB.
    window: i64,
}

#[derive(Debug, PartialEq)]
enum Right {
    /// It is refused, in these words among others.
    Refused(&'static str),
    /// These bytes are taken.
    Gives(Vec<u8>),
}

impl Case {
    fn refused(row: u8, name: &str, bytes: Vec<u8>, why: &'static str) -> Self {
        Self { row, name: name.into(), bytes, wanted: b"rune".to_vec(), right: Right::Refused(why), window: 0 }
    }

    /// An archive that is odd and may be read: [`GOOD`] is in it.
    fn gives(row: u8, name: &str, bytes: Vec<u8>) -> Self {
        Self { right: Right::Gives(GOOD.to_vec()), ..Self::refused(row, name, bytes, "") }
    }

    fn wants(self, wanted: &[u8]) -> Self {
        Self { wanted: wanted.to_vec(), ..self }
    }

    fn window(self, window: i64) -> Self {
        Self { window, ..self }
    }
}

/// What an unpacker did with an archive.
#[derive(Debug)]
enum Did {
    /// It said no.
    Refused(String),
    /// It gave a file: its bytes, its mode, the names of its extended attributes.
    Gave(Vec<u8>, u32, Vec<OsString>),
}

/// What is wrong with that.
fn complaints(case: &Case, did: &Did) -> Vec<String> {
    let mut wrong = Vec::new();
    match (did, &case.right) {
        (Did::Refused(said), Right::Refused(why)) if !said.contains(why) || said.len() > 600 => {
            wrong.push(format!("refused by: {said}"));
        }
        (Did::Refused(_), Right::Refused(_)) => {}
        (Did::Refused(said), Right::Gives(_)) => wrong.push(format!("refused an honest archive: {said}")),
        (Did::Gave(bytes, ..), Right::Refused(_)) => wrong.push(format!("gave {} bytes of a bad one", bytes.len())),
        (Did::Gave(bytes, mode, attributes), Right::Gives(good)) => {
            if bytes != good {
                wrong.push(format!("gave {} other bytes", bytes.len()));
            }
            if mode & 0o7022 != 0 {
                wrong.push(format!("gave the mode {mode:o}"));
            }
            if !attributes.is_empty() {
                wrong.push(format!("gave the attributes {attributes:?}"));
            }
        }
    }
    wrong
}

fn file(path: &Path) -> Did {
    let mode = fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    // Labels are the host's.
    let own = |name: &OsString| name != "security.selinux";
    Did::Gave(fs::read(path).unwrap(), mode, xattr::list(path).unwrap().filter(own).collect())
}

/// verify over one case, with what must hold besides: what it leaves behind, its memory, its time.
fn verify(case: &Case) -> (Did, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::create_dir(path("host")).unwrap();
    fs::create_dir(path("dl")).unwrap();
    let archive = path("dl").join(&case.name);
    fs::write(&archive, &case.bytes).unwrap();
    let digest = Digest::of(&case.bytes).to_string();
    let mut run = assert_cmd::Command::new(std::env::current_exe().unwrap());
    run.args(["--exact", "verify::hostile::measured", "--nocapture"]).timeout(DEADLINE);
    run.env("UPSWAP_MEASURED", path("measured")).env("UPSWAP_ROOT", path("host")).current_dir(path("dl"));
    run.env("UPSWAP_MEASURED_DIGEST", &digest).env("UPSWAP_MEASURED_NAME", &case.name);
    run.env("UPSWAP_MEASURED_WANTED", OsString::from_vec(case.wanted.clone()));
    let output = run.output().unwrap();
    let mut wrong = Vec::new();
    let Ok(measured) = fs::read_to_string(path("measured")) else {
        return (Did::Refused(String::new()), vec![format!("did not end in time, or was killed: {output:?}")]);
    };
    let mut lines = measured.lines();
    let code = lines.next().unwrap_or_default().to_owned();
    let peak: i64 = lines.next().unwrap().parse().unwrap();
    if peak >= MEMORY + case.window * 1024 {
        wrong.push(format!("needed {peak} KiB"));
    }
    let stored = fs::read_to_string(path("measured.stdout")).unwrap();
    let said = fs::read_to_string(path("measured.stderr")).unwrap();
    let did = match code.as_str() {
        "0" => file(Path::new(stored.trim_end())),
        "1" => Did::Refused(said.lines().last().unwrap_or_default().to_owned()),
        other => {
            wrong.push(format!("ended with {other}: {said}"));
            Did::Refused(String::new())
        }
    };
    // The file, the record of its origin, and nothing else anywhere: not even on a refusal.
    let left: Vec<PathBuf> = tree(dir.path()).into_iter().filter(|p| !p.starts_with(path("host/var/cache"))).collect();
    let expected = [archive, path("measured"), path("measured.stderr"), path("measured.stdout")];
    if left != expected {
        wrong.push(format!("left {left:?}"));
    }
    let cache = tree(&path("host/var/cache")).len();
    if cache != if matches!(did, Did::Gave(..)) { 2 } else { 0 } {
        wrong.push(format!("{cache} files are in the cache"));
    }
    (did, wrong)
}

/// No test of its own: [`verify`] runs it in a process of its own, because getrusage(2) speaks of all of a process's children.
#[test]
fn measured() {
    let Some(to) = std::env::var_os("UPSWAP_MEASURED").map(PathBuf::from) else { return };
    let variable = |name: &str| std::env::var_os(format!("UPSWAP_MEASURED_{name}")).unwrap();
    let beside = |suffix: &str| fs::File::create(format!("{}{suffix}", to.display())).unwrap().into_parts().0;
    let mut run = Program::new(assert_cmd::cargo::cargo_bin("verify"));
    run.arg("--sha256").arg(variable("DIGEST")).arg("--extract").arg(variable("WANTED")).arg(variable("NAME"));
    run.stdin(Stdio::null()).stdout(beside(".stdout")).stderr(beside(".stderr"));
    let status = run.status().unwrap();
    let peak = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss();
    fs::write(to, format!("{}\n{peak}\n", status.code().map_or("a signal".to_owned(), |code| code.to_string())))
        .unwrap();
}

/// Every file below `dir`, sorted.
fn tree(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.unwrap();
        let folder = entry.file_type().unwrap().is_dir();
        found.extend(if folder { tree(&entry.path()) } else { vec![entry.path()] });
    }
    found.sort();
    found
}

/// What a script does: GNU tar into a folder, and then the file of that name, whatever it is.
fn gnu_tar(case: &Case) -> Did {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("archive"), &case.bytes).unwrap();
    fs::create_dir(dir.path().join("out")).unwrap();
    let mut tar = Program::new("tar");
    tar.args(["-x", "-p", "-C", "out", "--xattrs", "--xattrs-include=*", "-f", "archive"]).current_dir(dir.path());
    // GNU tar tells the kind by the first bytes, but knows no skippable frame.
    if case.name.contains(".zst") {
        tar.arg("--zstd");
    }
    let output = tar.stdin(Stdio::null()).output().unwrap();
    if !output.status.success() {
        return Did::Refused(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let mut found = Vec::new();
    found_below(&dir.path().join("out"), &mut found);
    match found.first() {
        Some(path) if path.metadata().is_ok_and(|meta| meta.is_file()) => file(path),
        _ => Did::Refused("no such member".into()),
    }
}

fn found_below(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found_below(&entry.path(), found);
        } else if entry.file_name() == "rune" {
            found.push(entry.path());
        }
    }
}

/// A zip reader that asks for the name and takes what it gets.
fn plain_zip(case: &Case) -> Did {
    let read = || {
        let mut archive = zip::ZipArchive::new(std::io::Cursor::new(&case.bytes)).ok()?;
        let mut bytes = Vec::new();
        let mut member = archive.by_name("rune").ok()?;
        std::io::Read::read_to_end(&mut member, &mut bytes).ok()?;
        Some(Did::Gave(bytes, member.unix_mode().unwrap_or(0o644) & 0o7777, Vec::new()))
    };
    read().unwrap_or_else(|| Did::Refused("no".into()))
}

fn all() -> &'static [Case] {
    static ALL: OnceLock<Vec<Case>> = OnceLock::new();
    ALL.get_or_init(|| [tars::cases(), zips::cases(), compressed::cases()].into_iter().flatten().collect())
}

/// Gives each case to `each`, as many at once as there are processors, and collects what it says.
fn over(cases: impl Iterator<Item = &'static Case> + Send, each: impl Fn(&Case) -> Vec<String> + Sync) -> Vec<String> {
    let (left, said) = (Mutex::new(cases), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().unwrap().get() {
            scope.spawn(|| {
                while let Some(case) = { left.lock().unwrap().next() } {
                    let wrong = each(case);
                    let told = wrong.into_iter().map(|w| format!("row {} {}: {w}", case.row, case.name));
                    said.lock().unwrap().extend(told);
                }
            });
        }
    });
    said.into_inner().unwrap()
}

#[test]
fn every_hostile_archive_is_refused_or_read_as_gnu_tar_reads_it() {
    let wrong = over(all().iter(), |case| {
        let (did, mut wrong) = verify(case);
        wrong.extend(complaints(case, &did));
        // Where bytes are given, GNU tar must have the same to give.
        let is_zip = case.bytes.starts_with(b"PK");
        if let (Did::Gave(ours, ..), false) = (&did, is_zip) {
            match gnu_tar(case) {
                Did::Gave(theirs, ..) if theirs == *ours => {}
                other => wrong.push(format!("GNU tar reads it in another way: {other:?}")),
            }
        }
        wrong
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Rows 44 to 58, none left out.
#[test]
fn every_row_of_the_catalogue_has_a_case() {
    let rows: BTreeSet<u8> = all().iter().map(|case| case.row).collect();
    assert_eq!(rows, (44..=58).collect());
    let cases = all();
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len(), "each case has its own name");
}

/// The same complaints about unpackers that are known to fall for these must be raised, case by case.
#[test]
fn the_rules_find_what_plain_unpackers_fall_for() {
    let known = [
        "symlink.tar",
        "pax-symlink.tar",
        "hardlink.tar",
        "duplicate.tar",
        "dot-duplicate.tar",
        "slash-duplicate.tar",
        "setuid.tar",
        "sparse-gnu.tar",
        "global-path.tar",
        "symlink.zip",
        "prepended.zip",
        "appended.zip",
        "local-name.zip",
        "overlap.zip",
        "hidden.zip",
    ];
    let raised = Mutex::new(BTreeSet::new());
    over(all().iter().filter(|case| known.contains(&case.name.as_str())), |case| {
        let did = if case.bytes.ends_with(&[0; 1024]) { gnu_tar(case) } else { plain_zip(case) };
        if !complaints(case, &did).is_empty() && matches!(did, Did::Gave(..)) {
            raised.lock().unwrap().insert(case.name.clone());
        }
        Vec::new()
    });
    let raised = raised.into_inner().unwrap();
    let missed: Vec<_> = known.iter().filter(|name| !raised.contains(**name)).collect();
    assert!(missed.is_empty(), "the rules let pass: {missed:?}");
}

/// A decoder with a window of 64 MiB, held to the memory of one without, must be found to need too much.
#[test]
fn the_memory_is_measured() {
    let case = all().iter().find(|case| case.name == "window-64m.tar.zst").unwrap();
    let greedy = Case { window: 0, ..Case::gives(56, &case.name, case.bytes.clone()) };
    let (_, wrong) = verify(&greedy);
    assert!(wrong.iter().any(|wrong| wrong.starts_with("needed")), "{wrong:?}");
}
