//! Capabilities kept across whatever a COMMAND does to files: recorded on disk before it, put back after it.

mod explain;

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use xattr::FileExt;

use crate::sys::attrs::CAPABILITY;
use crate::sys::child::{self, Ended, Endings, Grip};
use crate::sys::say::Say;
use crate::sys::{Host, clock, durable, intake};
use crate::words::exit::{Coded, Exit};
use crate::words::filecaps::FileCaps;
use crate::words::filecaps::save::{self, NotASave, Saved};

pub use explain::{ExplainError, Explained, explain};

/// Why capabilities were not kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// A path can't be read; nothing was changed.
    #[error("{path}: {what}: {source}", path = path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// A path is not a regular file; nothing was changed.
    #[error("{path}: not a regular file; only files have capabilities", path = .0.display())]
    NotAFile(PathBuf),
    /// A save can't be understood; nothing was changed.
    #[error("{path}: {source}", path = path.display())]
    Save {
        /// The save.
        path: PathBuf,
        /// The line.
        source: NotASave,
    },
    /// There is no save to restore.
    #[error("no save is left from an interrupted setcap-keep; name the FILE that setcap-keep --save wrote")]
    NoSave,
    /// COMMAND could not be started.
    #[error("COMMAND could not be run: {0}")]
    Command(io::Error),
    /// The capability could not be put back on a changed file.
    #[error("{path}: {why}; put it back with: setcap-keep --restore {save}", path = path.display(), save = save.display())]
    NotBack {
        /// The path.
        path: PathBuf,
        /// Why.
        why: String,
        /// Where the capability is saved.
        save: PathBuf,
    },
}

impl Coded for KeepError {
    fn exit(&self) -> Exit {
        match self {
            Self::Io { .. } | Self::Save { .. } | Self::Command(_) => Exit::CouldNot,
            Self::NotAFile(_) | Self::NoSave => Exit::No,
            Self::NotBack { .. } => Exit::Changed,
        }
    }
}

/// What became of one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The path as it was given, made absolute.
    pub path: PathBuf,
    /// Its capabilities, for people; `None` when it had none.
    pub capabilities: Option<String>,
    /// Whether they had to be put back.
    pub restored: bool,
}

/// What COMMAND and its paths came to.
#[derive(Debug)]
pub struct Outcome {
    /// How COMMAND ended.
    pub ended: Ended,
    /// What became of each path.
    pub kept: Vec<Kept>,
}

/// Reads the capabilities of `paths`. Symlinks are followed, and that is said.
pub fn observe(paths: &[PathBuf], say: &Say) -> Result<Vec<Saved>, KeepError> {
    paths.iter().map(|path| observe_one(path, say)).collect()
}

/// Records the capabilities of `paths` on disk, runs `command`, and puts back what it took away.
pub fn run(host: &Host, paths: &[PathBuf], command: &[OsString], say: &Say) -> Result<Outcome, KeepError> {
    let left = left_by_killed(host);
    let saved = paths.iter().map(|path| observe_or_left(path, &left, say)).collect::<Result<Vec<_>, _>>()?;
    let mut endings = Endings::catch(Grip::Asks).map_err(KeepError::Command)?;
    // The time as well: a number comes again, and what a killed run left must not be written over.
    let save = folder(host).join(format!("{}-{}.save", std::process::id(), clock::now()));
    let written =
        durable::make_dirs(&folder(host), 0o755).and_then(|()| durable::replace(&save, &save::write(&saved), 0o600));
    written.map_err(|source| KeepError::Io { path: save.clone(), what: "the save can't be written", source })?;
    let ended = match child::run(command, &[], Grip::Asks, &mut endings) {
        Ok(ended) => ended,
        Err(e) => {
            let _ = fs::remove_file(&save);
            return Err(KeepError::Command(e));
        }
    };
    let kept = put_back(&saved, &save, say)?;
    let _ = fs::remove_file(&save);
    // What a killed run still owed is done, where all of it was asked for here.
    for (left, owed) in left {
        if owed.iter().all(|(path, _)| saved.iter().any(|(done, _)| done == path)) {
            let _ = fs::remove_file(left);
        }
    }
    Ok(Outcome { ended, kept })
}

/// The saves that killed runs left, and what is in them.
fn left_by_killed(host: &Host) -> Vec<(PathBuf, Vec<Saved>)> {
    let read = |path: PathBuf| Some((path.clone(), save::read(&intake::read_small(&path).ok()?).ok()?));
    left(host).into_iter().filter_map(read).collect()
}

/// The same command again after a kill: COMMAND has taken the capability, or the whole file, away by then, and what is
/// meant is what the killed run saw.
fn observe_or_left(path: &Path, left: &[(PathBuf, Vec<Saved>)], say: &Say) -> Result<Saved, KeepError> {
    let seen = observe_one(path, say);
    if matches!(seen, Ok((_, Some(_)))) {
        return seen;
    }
    let Ok(absolute) = std::path::absolute(path) else { return seen };
    let owed = left.iter().flat_map(|(_, saved)| saved).rfind(|(saved, caps)| *saved == absolute && caps.is_some());
    let Some((_, Some(capability))) = owed else { return seen };
    say.note(format_args!(
        "{} had {} when an earlier run was killed; that is what is kept",
        path.display(),
        FileCaps::describe(capability)
    ));
    Ok((absolute, Some(capability.clone())))
}

/// The saves that no running setcap-keep has, oldest first.
fn left(host: &Host) -> Vec<PathBuf> {
    let mut left: Vec<PathBuf> = fs::read_dir(folder(host)).into_iter().flatten().flatten().map(|e| e.path()).collect();
    // Killed before it was a save.
    for half in left.iter().filter(|path| path.extension().is_some_and(|e| e == "upswap-new") && !still_runs(path)) {
        let _ = fs::remove_file(half);
    }
    left.retain(|path| path.extension().is_some_and(|e| e == "save") && !still_runs(path));
    let time = |path: &PathBuf| fs::metadata(path).and_then(|meta| meta.modified()).ok();
    left.sort_by_key(time);
    left
}

/// Puts back the capabilities of a save; without one, of every save that an interrupted run left.
pub fn restore(host: &Host, save: Option<&Path>, say: &Say) -> Result<Vec<Kept>, KeepError> {
    if let Some(path) = save {
        return restore_one(path, say);
    }
    let left = left(host);
    if left.is_empty() {
        return Err(KeepError::NoSave);
    }
    let mut kept = Vec::new();
    let mut failure = None;
    for path in left {
        match restore_one(&path, say) {
            Ok(done) => {
                kept.extend(done);
                let _ = fs::remove_file(&path);
            }
            Err(e) if failure.is_none() => failure = Some(e),
            Err(e) => say.error(e),
        }
    }
    failure.map_or(Ok(kept), Err)
}

fn restore_one(path: &Path, say: &Say) -> Result<Vec<Kept>, KeepError> {
    let text = if path.as_os_str() == "-" {
        intake::read_at_most(io::stdin().lock(), intake::SMALL)
    } else {
        intake::read_small(path)
    };
    let text =
        text.map_err(|source| KeepError::Io { path: path.to_owned(), what: "the save can't be read", source })?;
    let saved = save::read(&text).map_err(|source| KeepError::Save { path: path.to_owned(), source })?;
    put_back(&saved, path, say)
}

fn folder(host: &Host) -> PathBuf {
    host.state().join(".setcap-keep")
}

/// A save bears the PID of the run that made it; while that runs, the save is its own to use.
fn still_runs(save: &Path) -> bool {
    let pid =
        save.file_stem().and_then(|stem| stem.to_str()?.trim_start_matches('.').split('-').next()?.parse::<i32>().ok());
    pid.is_some_and(|pid| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        name.trim_end() == "setcap-keep"
    })
}

fn observe_one(path: &Path, say: &Say) -> Result<Saved, KeepError> {
    let failed = |what| move |source| KeepError::Io { path: path.to_owned(), what, source };
    // COMMAND may change the working directory's files; the path must mean the same afterwards.
    let absolute = std::path::absolute(path).map_err(failed("it can't be made absolute"))?;
    if let Ok(target) = fs::read_link(&absolute) {
        say.note(format_args!(
            "{} is a symlink to {}; the file it leads to is meant",
            path.display(),
            target.display()
        ));
    }
    let file = open(&absolute).map_err(|e| match e.kind() {
        io::ErrorKind::InvalidInput => KeepError::NotAFile(path.to_owned()),
        _ => failed("it can't be opened")(e),
    })?;
    let capability = file.get_xattr(CAPABILITY).map_err(failed("its capabilities can't be read"))?;
    let shown = capability.as_deref().map_or_else(|| "no capabilities".to_owned(), FileCaps::describe);
    say.detail(format_args!("{} has {shown}", path.display()));
    Ok((absolute, capability))
}

fn open(path: &Path) -> io::Result<File> {
    intake::open_regular(path)
}

/// Sets every saved capability that its path does not have now. All paths are tried before the first failure is told.
fn put_back(saved: &[Saved], save: &Path, say: &Say) -> Result<Vec<Kept>, KeepError> {
    let mut kept = Vec::new();
    let mut failure = None;
    for (path, capability) in saved {
        let Some(capability) = capability else {
            kept.push(Kept { path: path.clone(), capabilities: None, restored: false });
            continue;
        };
        match put_back_one(path, capability) {
            Ok(restored) => {
                if restored {
                    say.note(format_args!("{} has {} again", path.display(), FileCaps::describe(capability)));
                }
                kept.push(Kept { path: path.clone(), capabilities: Some(FileCaps::describe(capability)), restored });
            }
            Err(e) => {
                let why = match e.kind() {
                    io::ErrorKind::NotFound => "it is gone, so its capability can't be kept".to_owned(),
                    _ => format!("its capability could not be put back: {e}"),
                };
                failure = failure.or(Some(KeepError::NotBack { path: path.clone(), why, save: save.to_owned() }));
            }
        }
    }
    failure.map_or(Ok(kept), Err)
}

fn put_back_one(path: &Path, capability: &[u8]) -> io::Result<bool> {
    let file = open(path)?;
    if file.get_xattr(CAPABILITY)?.as_deref() == Some(capability) {
        return Ok(false);
    }
    file.set_xattr(CAPABILITY, capability)?;
    file.sync_all()?;
    Ok(true)
}
