//! Capabilities kept across whatever a COMMAND does to files: recorded on disk before it, put back after it.

mod explain;
mod left;
mod put_back;
mod taken;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use xattr::FileExt;

use self::left::InUse;
use self::put_back::{Before, Found};
use crate::sys::attrs::CAPABILITY;
use crate::sys::child::{self, Ended, Endings, Grip};
use crate::sys::say::Say;
use crate::sys::{Host, intake};
use crate::words::exit::{Coded, Exit};
use crate::words::filecaps::FileCaps;
use crate::words::filecaps::save::{self, NotASave, Saved};

pub use explain::{ExplainError, Explained, explain};
pub use taken::{Taken, taken};

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
    /// Something of a save can't be put back, so nothing of it was.
    #[error("{path}: {why}; so nothing of {save} was put back; take its lines out of it to put back the others: setcap-keep --restore {save}", path = path.display(), save = save.display())]
    Refused {
        /// The path.
        path: PathBuf,
        /// Why.
        why: String,
        /// The save.
        save: PathBuf,
    },
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
            Self::NotAFile(_) | Self::NoSave | Self::Refused { .. } => Exit::No,
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
    paths.iter().map(|path| Ok(observe_one(path, say)?.0)).collect()
}

/// Records the capabilities of `paths` on disk, runs `command`, and puts back what it took away.
pub fn run(host: &Host, paths: &[PathBuf], command: &[OsString], say: &Say) -> Result<Outcome, KeepError> {
    let owed = owed_by_killed(host, paths)?;
    let before: Vec<_> = paths.iter().map(|path| observe_or_owed(path, &owed, say)).collect::<Result<_, _>>()?;
    let saved: Vec<_> = before.iter().map(|(saved, _)| saved.clone()).collect();
    let mut endings = Endings::catch(Grip::Asks).map_err(KeepError::Command)?;
    let in_use = InUse::write(host, &saved).map_err(|(path, source)| KeepError::Io {
        path,
        what: "the save can't be written",
        source,
    })?;
    let ended = match child::run(command, &[], Grip::Asks, &mut endings) {
        Ok(ended) => ended,
        Err(e) => {
            in_use.remove();
            return Err(KeepError::Command(e));
        }
    };
    let kept = put_back_all(&before, in_use.path(), say)?;
    in_use.remove();
    // What a killed run still owed is done, where all of it was asked for here.
    for (left, owed) in owed {
        if owed.iter().all(|owed| saved.iter().any(|done| done.path == owed.path)) {
            left.remove();
        }
    }
    Ok(Outcome { ended, kept })
}

/// The saves that killed runs left of any of `paths`, and what is in them.
fn owed_by_killed(host: &Host, paths: &[PathBuf]) -> Result<Vec<(InUse, Vec<Saved>)>, KeepError> {
    let ours: Vec<_> = paths.iter().filter_map(|path| std::path::absolute(path).ok()).collect();
    let with_saved = left_on(host)?.into_iter().filter_map(|left| left.read().map(|saved| (left, saved)));
    Ok(with_saved.filter(|(_, saved)| saved.iter().any(|saved| ours.contains(&saved.path))).collect())
}

fn left_on(host: &Host) -> Result<Vec<InUse>, KeepError> {
    left::left(host).map_err(|(path, source)| KeepError::Io {
        path,
        what: "saves can't be written or read here",
        source,
    })
}

/// The same command again after a kill: COMMAND has taken the capability, or the whole file, away by then, and what is
/// meant is what the killed run saw.
fn observe_or_owed(path: &Path, owed: &[(InUse, Vec<Saved>)], say: &Say) -> Result<(Saved, Before), KeepError> {
    let seen = observe_one(path, say).map(|(saved, before)| (Saved { owner: Some(before.uid()), ..saved }, before));
    if matches!(&seen, Ok((saved, _)) if saved.capability.is_some()) {
        return seen;
    }
    let Ok(absolute) = std::path::absolute(path) else { return seen };
    let mut of_path = owed.iter().flat_map(|(_, saved)| saved).filter(|saved| saved.path == absolute);
    let Some((owed, capability)) =
        of_path.rfind(|saved| saved.capability.is_some()).and_then(|owed| Some((owed, owed.capability.as_ref()?)))
    else {
        return seen;
    };
    say.note(format_args!(
        "{} had {} when an earlier run was killed; that is what is kept",
        path.display(),
        FileCaps::describe(capability)
    ));
    Ok((owed.clone(), Before::owned_by(owed.owner.unwrap_or(0))))
}

/// Puts back the capabilities of a save, all of them or none; without one, of every save that an interrupted run left.
pub fn restore(host: &Host, save: Option<&Path>, say: &Say) -> Result<Vec<Kept>, KeepError> {
    if let Some(path) = save {
        return restore_one(path, say);
    }
    let left = left_on(host)?;
    if left.is_empty() {
        return Err(KeepError::NoSave);
    }
    let mut kept: Vec<Kept> = Vec::new();
    let mut failure = None;
    for save in left {
        match restore_one(save.path(), say) {
            Ok(done) => {
                kept.extend(done);
                save.remove();
            }
            Err(e) if failure.is_none() => failure = Some(e),
            Err(e) => say.error(e),
        }
    }
    match failure {
        // What another save put back is a change all the same.
        Some(KeepError::Refused { path, why, save }) if kept.iter().any(|kept| kept.restored) => {
            Err(KeepError::NotBack { path, why, save })
        }
        Some(failure) => Err(failure),
        None => Ok(kept),
    }
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
    // All are looked at before the first is changed.
    let mut found = Vec::new();
    for Saved { path: file, capability, owner } in &saved {
        let before = owner.map(Before::owned_by);
        let refused = |why| KeepError::Refused { path: file.clone(), why, save: path.to_owned() };
        found.push(match capability {
            Some(capability) => Some((Found::at(file, before.as_ref()).map_err(refused)?, capability)),
            None => None,
        });
    }
    let mut kept = Vec::new();
    for (Saved { path: file, .. }, found) in saved.iter().zip(found) {
        kept.push(match found {
            Some((found, capability)) => put_back(file, &found, capability, path, say)?,
            None => Kept { path: file.clone(), capabilities: None, restored: false },
        });
    }
    Ok(kept)
}

fn observe_one(path: &Path, say: &Say) -> Result<(Saved, Before), KeepError> {
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
    let file = intake::open_regular(&absolute).map_err(|e| match e.kind() {
        io::ErrorKind::InvalidInput => KeepError::NotAFile(path.to_owned()),
        _ => failed("it can't be opened")(e),
    })?;
    let capability = file.get_xattr(CAPABILITY).map_err(failed("its capabilities can't be read"))?;
    let before = Before::of(&absolute, &file).map_err(failed("it can't be looked at"))?;
    let shown = capability.as_deref().map_or_else(|| "no capabilities".to_owned(), FileCaps::describe);
    say.detail(format_args!("{} has {shown}", path.display()));
    Ok((Saved { path: absolute, capability, owner: None }, before))
}

/// Sets every capability that its path had and does not have now. All paths are tried before the first failure is told.
fn put_back_all(all: &[(Saved, Before)], save: &Path, say: &Say) -> Result<Vec<Kept>, KeepError> {
    let mut kept = Vec::new();
    let mut failure = None;
    for (Saved { path, capability, .. }, before) in all {
        let Some(capability) = capability else {
            kept.push(Kept { path: path.clone(), capabilities: None, restored: false });
            continue;
        };
        let not_back = |why| KeepError::NotBack { path: path.clone(), why, save: save.to_owned() };
        let done = Found::at(path, Some(before)).map_err(not_back);
        let done = done.and_then(|found| {
            if let Some(target) = found.leads_elsewhere(before) {
                say.note(format_args!("{} leads to {} now; that file is meant", path.display(), target.display()));
            }
            put_back(path, &found, capability, save, say)
        });
        match done {
            Ok(done) => kept.push(done),
            Err(e) if failure.is_none() => failure = Some(e),
            Err(e) => say.error(e),
        }
    }
    failure.map_or(Ok(kept), Err)
}

fn put_back(path: &Path, found: &Found, capability: &[u8], save: &Path, say: &Say) -> Result<Kept, KeepError> {
    let shown = FileCaps::describe(capability);
    let had = found.put_back(capability).map_err(|e| {
        let why = format!("its capability could not be put back: {e}");
        KeepError::NotBack { path: path.to_owned(), why, save: save.to_owned() }
    })?;
    match &had {
        put_back::Had::It => {}
        put_back::Had::None => say.note(format_args!("{} has {shown} again", path.display())),
        put_back::Had::Other(other) => {
            let other = FileCaps::describe(other);
            say.note(format_args!("{} has {shown} again, in place of {other}", path.display()));
        }
    }
    Ok(Kept { path: path.to_owned(), capabilities: Some(shown), restored: had != put_back::Had::It })
}
