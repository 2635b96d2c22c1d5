//! What swapbin does: from the files and the destinations asked for to one change of one set.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::GenerationError;
use super::record::{Dest, FileState, Id};
use super::refuse::{self, Allow};
use super::room::Room;
use super::set::{self, Brings, OnTrial, Opened, Set};
use super::stage::{self, Ready, Staged, Wanted};
use crate::sys::Host;
use crate::sys::lock::{self, Lock};
use crate::sys::say::Say;
use crate::sys::scope;
use crate::sys::systemd::one_unit;
use crate::words::digest::Digest;
use crate::words::name::Name;

/// What is asked of a swap.
#[derive(Debug)]
pub struct Request {
    /// The new files.
    pub files: Vec<PathBuf>,
    /// Where they go.
    pub target: Target,
    /// The set, when it is named.
    pub name: Option<Name>,
    /// Units that belong to the set.
    pub units: Vec<String>,
    /// What the new files have otherwise than those they replace.
    pub wanted: Wanted,
    /// How many generations to keep.
    pub keep: Option<usize>,
    /// Take a version that was found unhealthy once more.
    pub retry_failed: bool,
    /// Leave the change on trial without a guard.
    pub trial: bool,
    /// Take files that are not from the store under a guard.
    pub unverified: bool,
    /// What is refused unless it is named here.
    pub allow: Vec<Allow>,
    /// Say what would change, change nothing.
    pub dry_run: bool,
    /// How long to wait for the lock.
    pub lock_wait: Duration,
}

/// Where files go: to one path, or into a folder under their own names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// One file to this path.
    File(PathBuf),
    /// Every file into this folder.
    Folder(PathBuf),
}

/// What a swap did.
#[derive(Debug)]
pub struct Swapped {
    /// The set.
    pub name: Name,
    /// The destinations that changed, or would.
    pub changed: Vec<PathBuf>,
    /// The generation in place or on trial now; `None` when nothing was ever swapped.
    pub generation: Option<Id>,
    /// Whether it is on trial.
    pub on_trial: bool,
}

impl Target {
    /// The last operand, as install(1) and cp(1) read it: a folder when it is one, unless `-T` says otherwise.
    pub fn operand(last: PathBuf, files: usize, no_target_directory: bool) -> Result<Self, GenerationError> {
        let is_folder = last.is_dir() && !no_target_directory;
        let says_folder = last.as_os_str().as_bytes().ends_with(b"/");
        match (is_folder, files) {
            (true, _) => Ok(Self::Folder(last)),
            (false, 1) if says_folder => {
                Err(GenerationError::Usage(format!("{}: there is no such folder", last.display())))
            }
            (false, 1) => Ok(Self::File(last)),
            (false, _) => Err(GenerationError::Usage(format!(
                "{}: several files need a folder as the last operand",
                last.display()
            ))),
        }
    }

    fn dest(&self, file: &Path) -> Result<PathBuf, GenerationError> {
        match self {
            Self::File(path) => Ok(path.clone()),
            Self::Folder(folder) => Ok(folder.join(stage::basename(file)?)),
        }
    }
}

/// Puts the files in place as one change: on trial under a guard or with `trial`, settled otherwise.
pub fn run(host: &Host, request: &Request, say: &Say) -> Result<Swapped, GenerationError> {
    // What is recorded here is what every way back restarts and proves: a name that systemd refuses would stop them all.
    let one = |unit: &String| {
        one_unit(unit).ok_or_else(|| {
            GenerationError::Usage(format!(
                "'{unit}' is not one unit; name it in full, without *, ? or [ and with the instance of a template"
            ))
        })
    };
    let units: Vec<String> = request.units.iter().map(one).collect::<Result<_, _>>()?;
    let mut pairs = Vec::new();
    for file in &request.files {
        let dest = stage::resolve(&request.target.dest(file)?, say)?;
        if pairs.iter().any(|(_, other)| *other == dest) {
            return Err(GenerationError::Usage(format!("{}: two files would go here", dest.path().display())));
        }
        pairs.push((file, dest));
    }
    let guarded = lock::guard_name().is_some();
    if guarded && let Some(unit) = scope::unit_around(host, units.iter().map(String::as_str)) {
        return Err(GenerationError::Inside(unit.to_owned()));
    }
    let name = name_of(host, request, &pairs)?;
    let lock = Lock::take(host, name.as_str(), request.lock_wait)?;
    let opened = set::open(host, &name, &lock)?;
    let _claimed = claim(host, &name, &pairs)?;
    if let Opened::OnTrial(set) = &opened
        && !guarded
        && !request.trial
    {
        let why = set.trial().must_end_first(&name);
        return Err(GenerationError::Nothing { name: name.to_string(), why });
    }

    let as_it_is = |changed| {
        let (generation, on_trial) = match &opened {
            Opened::Settled(set) => (set.record().current, false),
            Opened::OnTrial(set) => (set.trial().generation, true),
        };
        Swapped { name: name.clone(), changed, generation: Some(generation).filter(|id| *id > 0), on_trial }
    };
    let ready = examine_all(host, request, &pairs, guarded, say)?;
    let changed: Vec<PathBuf> = ready.iter().map(|r| r.dest.path().to_owned()).collect();
    if request.dry_run {
        let (record, base) = match &opened {
            Opened::Settled(set) => (set.record(), set.record().current),
            Opened::OnTrial(set) => (set.record(), set.trial().generation),
        };
        let would = would_change(&ready)?;
        if !request.retry_failed {
            record.refuse_failed(base, &would)?;
        }
        for path in &changed {
            say.note(format_args!("would replace {}", path.display()));
        }
        return Ok(as_it_is(changed));
    }
    let staged = stage_all(ready, say)?;
    // What ends a settled swap is one more write of the record, after the renames: its room is taken before them.
    let room = Room::take(host, name.as_str())?;
    let brings =
        Brings { units, keep: request.keep, retry_failed: request.retry_failed, by_hand: request.trial && !guarded };
    let set: Set<OnTrial> = match opened {
        // The trial's units must be known to its way back, whether or not this call has a file for it.
        Opened::OnTrial(set) if !staged.is_empty() || brings.adds_to(set.record()) => set.join(staged, &brings, say)?,
        Opened::Settled(set) if !staged.is_empty() => set.swap(staged, &brings, say)?,
        Opened::Settled(set) => {
            set.sweep(say);
            let generation = Some(set.record().current).filter(|id| *id > 0);
            return Ok(Swapped { name, changed, generation, on_trial: false });
        }
        Opened::OnTrial(_) => return Ok(as_it_is(changed)),
    };
    let generation = set.trial().generation;
    let on_trial = guarded || request.trial;
    drop(room);
    if !on_trial {
        let units: Vec<_> = set.record().units.iter().cloned().collect();
        commit_whole(set, say)?;
        if !units.is_empty() {
            let units = units.join(" ");
            say.note(format_args!("a service keeps the file it was started from until: systemctl restart {units}"));
        }
    }
    Ok(Swapped { name, changed, generation: Some(generation), on_trial })
}

/// Ends the trial of `name` with its files in place.
pub fn commit(host: &Host, name: &Name, lock_wait: Duration, say: &Say) -> Result<Swapped, GenerationError> {
    let lock = Lock::take(host, name.as_str(), lock_wait)?;
    match set::open(host, name, &lock)? {
        Opened::OnTrial(set) => {
            let generation = Some(set.trial().generation);
            set.whole()?;
            commit_whole(set, say)?;
            Ok(Swapped { name: name.clone(), changed: Vec::new(), generation, on_trial: false })
        }
        Opened::Settled(_) => {
            let why = "no trial is open, so there is nothing to commit; see: rollback --list".to_owned();
            Err(GenerationError::Nothing { name: name.to_string(), why })
        }
    }
}

/// Commits what is known to be in place whole; from here on a failure leaves the host changed.
fn commit_whole(set: Set<'_, OnTrial>, say: &Say) -> Result<(), GenerationError> {
    let (name, generation) = (set.record().name.clone(), set.trial().generation);
    let left_open = |e| match e {
        // It is committed.
        GenerationError::NotDurable { .. } => e,
        e => GenerationError::NotCommitted { name, generation, source: Box::new(e) },
    };
    set.commit(say).map(drop).map_err(left_open)
}

/// Looks at every file and every destination: what is refused is refused before the first byte is written.
fn examine_all(
    host: &Host,
    request: &Request,
    pairs: &[(&PathBuf, Dest)],
    guarded: bool,
    say: &Say,
) -> Result<Vec<Ready>, GenerationError> {
    let mut all = Vec::new();
    for (file, dest) in pairs {
        let Some(ready) = stage::examine(host, file, dest, &request.wanted, &request.allow, say)? else { continue };
        unverified(file, dest, ready.verified(), guarded && !request.unverified, say)?;
        all.push(ready);
    }
    refuse::packaged(host, all.iter().map(|ready| &ready.dest), &request.allow, say)?;
    Ok(all)
}

/// Checks of a dry run all that can be checked without a copy, and returns what would be where.
fn would_change(all: &[Ready]) -> Result<Vec<(Dest, FileState)>, GenerationError> {
    let sizes: Vec<_> = all.iter().map(|r| Ok((&r.dest, r.size()?))).collect::<Result<_, GenerationError>>()?;
    refuse::space(sizes)?;
    all.iter().map(|ready| Ok((ready.dest.clone(), ready.read()?))).collect()
}

/// Says that a file is not verified, or refuses it.
fn unverified(file: &Path, dest: &Dest, verified: bool, refuse: bool, say: &Say) -> Result<(), GenerationError> {
    // Units are rendered and edited on the host itself; they have no release to be verified against.
    if verified || dest.is_unit() {
        return Ok(());
    }
    if refuse {
        let why = "under a guard only files that verify put into the store are taken; verify it, or say --unverified";
        return Err(GenerationError::refused(file, why));
    }
    say.note(format_args!("{} is not from the store of verified files; it is recorded as unverified", file.display()));
    Ok(())
}

/// Makes every new file beside its destination. The space of all is taken before the first is written.
fn stage_all(ready: Vec<Ready>, say: &Say) -> Result<Vec<Staged>, GenerationError> {
    let reserved: Vec<_> = ready.into_iter().map(Ready::reserve).collect::<Result<_, _>>()?;
    let mut all = Vec::new();
    for reserved in reserved {
        let staged = reserved.stage()?;
        say.detail(format_args!("the new file is staged beside {}", staged.dest.path().display()));
        all.push(staged);
    }
    Ok(all)
}

/// The guard's name, the name asked for, the set that has the first destination, or that destination's basename. No
/// destination may belong to another set.
fn name_of(host: &Host, request: &Request, pairs: &[(&PathBuf, Dest)]) -> Result<Name, GenerationError> {
    let mut owners = Vec::new();
    for (_, dest) in pairs {
        owners.push(set::owner(host, dest)?);
    }
    let asked = request.name.as_ref().map(ToString::to_string).or_else(lock::guard_name);
    let basename =
        || pairs.first().map(|(_, d)| d.path().file_name().unwrap_or_default().to_string_lossy().into_owned());
    let name = asked.or_else(|| owners.iter().flatten().next().cloned()).or_else(basename).unwrap_or_default();
    for ((_, dest), owner) in pairs.iter().zip(&owners) {
        of_no_other(dest, owner.as_deref(), &name)?;
    }
    name.parse().map_err(|e| GenerationError::Usage(format!("{e}; choose one with --name")))
}

fn of_no_other(dest: &Dest, owner: Option<&str>, name: &str) -> Result<(), GenerationError> {
    match owner.filter(|owner| *owner != name) {
        None => Ok(()),
        Some(owner) => {
            let why = format!("it belongs to the set {owner}, not to {name}; a path belongs to one set");
            Err(GenerationError::refused(dest.path(), why))
        }
    }
}

/// Holds every path that no set has yet until this run has ended: two NAMEs must not both find it free, for both would
/// stage their files under its one name. Sorted, so that two runs that want the same ones don't wait for each other.
fn claim(host: &Host, name: &Name, pairs: &[(&PathBuf, Dest)]) -> Result<Vec<Lock>, GenerationError> {
    let mut free = Vec::new();
    for (_, dest) in pairs {
        match set::owner(host, dest)? {
            None => free.push(dest),
            // Whoever got it since `name_of` looked.
            owner => of_no_other(dest, owner.as_deref(), name.as_str())?,
        }
    }
    free.sort();
    let mut held = Vec::new();
    for dest in &free {
        let digest = Digest::of(dest.path().as_os_str().as_bytes()).to_string();
        held.push(Lock::take_new(host, &format!(".path-{}", digest.get(..16).unwrap_or_default()), set::TURN)?);
    }
    for dest in free {
        of_no_other(dest, set::owner(host, dest)?.as_deref(), name.as_str())?;
    }
    Ok(held)
}
