//! The managed set of one NAME, under its lock: Settled → `OnTrial` → Settled.
//!
//! A state is a type and a transition consumes it. What a process can't hand to the next one is parsed from disk again,
//! under the lock ([`open`]).

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use fs_err as fs;

use super::change::{self, Way};
use super::error::GenerationError;
use super::record::{self, Arrived, Dest, FileState, Finding, Generation, Id, Judged, Record, Trial, UnitBefore};
use super::refuse;
use super::stage::{Staged, in_place};
use crate::steps::artifact::floor;
use crate::sys::lock::Lock;
use crate::sys::say::Say;
use crate::sys::{Host, clock};
use crate::words::name::Name;
use crate::words::proof::Proof;
use found::{unit_now, with_it};
use place::{folder_of, keep_aside, make_old_durable, not_durable};
use undo::Baks;

mod found;
mod home;
mod place;
mod undo;
mod upkeep;

/// How long a tool waits for another tool of the same chain to end its own change.
pub(super) const TURN: Duration = Duration::from_secs(30);

/// No trial is open.
#[derive(Debug)]
pub struct Settled;
/// A trial is open: commit it or take it back.
#[derive(Debug)]
pub struct OnTrial(Trial);

/// The set of one NAME.
#[derive(Debug)]
pub struct Set<'h, S> {
    host: &'h Host,
    /// Its trial is in the state while it is in memory.
    record: Record,
    state: S,
    /// The record as it is on disk; `None` is none.
    found: Option<Record>,
    /// Tools of one chain may run side by side; each change is one tool's alone.
    turn: Lock,
}

/// A set as it was found on disk.
#[derive(Debug)]
pub enum Opened<'h> {
    /// No trial is open.
    Settled(Set<'h, Settled>),
    /// A trial is open.
    OnTrial(Set<'h, OnTrial>),
}

/// What a swap brings besides its files.
#[derive(Clone, Debug, Default)]
pub struct Brings {
    /// Units that belong to the NAME from now on.
    pub units: Vec<String>,
    /// How many generations to keep from now on.
    pub keep: Option<usize>,
    /// Take a version that was found unhealthy once more.
    pub retry_failed: bool,
    /// The trial it opens is for an operator to end, not for a guard.
    pub by_hand: bool,
}

impl Brings {
    /// Whether it brings a unit that `record` does not have.
    #[must_use]
    pub fn adds_to(&self, record: &Record) -> bool {
        self.units.iter().any(|unit| !record.units.contains(unit))
    }
}

/// What the way back did to the files.
#[derive(Debug, Default)]
pub struct Went {
    /// The paths that changed.
    pub changed: Vec<Dest>,
    /// Whether a unit file was among them, so that systemd must read them again.
    pub units_changed: bool,
}

/// Reads the set of `name`. Takes the lock it runs under only to show that there is one.
pub fn open<'h>(host: &'h Host, name: &Name, _lock: &Lock) -> Result<Opened<'h>, GenerationError> {
    let turn = Lock::take_new(host, &format!(".{name}.turn"), TURN)?;
    let name = name.as_str();
    let found = record::read(host, name).map_err(GenerationError::record(name))?;
    let needed = found.as_ref().map(Record::backups).unwrap_or_default();
    let mut record = found.clone().unwrap_or_else(|| Record {
        schema: Record::SCHEMA,
        name: name.to_owned(),
        units: BTreeSet::new(),
        proofs: BTreeMap::new(),
        current: 0,
        arrived: Arrived::Found,
        keep: record::KEEP,
        generations: Vec::new(),
        failed: Vec::new(),
        trial: None,
        gone: BTreeSet::new(),
    });
    record.gone.retain(|backup| !needed.contains(backup.path()) && fs::symlink_metadata(backup.path()).is_ok());
    Ok(match record.trial.take() {
        Some(trial) => Opened::OnTrial(Set { host, record, state: OnTrial(trial), found, turn }),
        None => Opened::Settled(Set { host, record, state: Settled, found, turn }),
    })
}

impl<S> Set<'_, S> {
    /// The host it is on.
    #[must_use]
    pub fn host(&self) -> &Host {
        self.host
    }

    /// What is remembered of the set.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    fn files_of(&self, id: Id) -> BTreeMap<Dest, Option<FileState>> {
        self.record.generation(id).map(|g| g.files.clone()).unwrap_or_default()
    }

    /// Whether `.FILE.bak` is a file that this set had at `dest`, not one of other hands.
    fn is_bak_ours(&self, dest: &Dest) -> bool {
        let bak = dest.bak();
        let backups =
            self.record.generations.iter().filter_map(|g| Some(dest.backup(g.files.get(dest)?.as_ref()?.born)));
        if backups.into_iter().any(|backup| change::same_inode(&backup, &bak)) {
            return true;
        }
        let there = in_place(&Dest::new(bak));
        there.is_ok_and(|there| there.is_some_and(|there| self.record.knows(dest, &there.digest)))
    }
}

impl<'h> Set<'h, Settled> {
    /// Puts the staged files in place as one change and leaves it on trial.
    ///
    /// The mark with every digest is on disk before the first rename. When a rename fails, the ones before it are taken back.
    #[must_use = "commit it or take it back"]
    pub fn swap(
        mut self,
        staged: Vec<Staged>,
        brings: &Brings,
        say: &Say,
    ) -> Result<Set<'h, OnTrial>, GenerationError> {
        make_old_durable(&staged)?;
        self.note_what_is_there(&staged, say)?;
        let home = self.record.current;
        let generation = Generation {
            id: self.record.next_id(),
            time: clock::now(),
            replaced: Some(home),
            files: self.files_of(home),
            verdict: Judged::Unproven,
            pause_ms: None,
        };
        let mut set = self.on_trial(generation, home, Arrived::Swap, &brings.units)?;
        set.state.0.by_hand = brings.by_hand;
        set.take_in(&staged, brings)?;
        let baks = Baks::of(&set, staged.iter().map(|s| &s.dest));
        match set.write().and_then(|()| set.put_in_place(staged, &BTreeSet::new(), say)) {
            Ok(()) => Ok(set),
            Err(error) => {
                let back = match error {
                    // Other hands were there first: nothing is in place yet, and theirs is not to be taken back.
                    GenerationError::Refused { .. } => Ok(()),
                    _ => set.usable(home).and_then(|()| set.bring_home(say)).map(drop),
                };
                // A generation that never was leaves no trace: no name beside the files, nothing in the history.
                match back.and_then(|()| set.forget_trial(&baks)) {
                    Ok(()) => Err(error),
                    Err(_) => Err(set.torn(error)),
                }
            }
        }
    }

    /// Removes the backups that no kept generation needs. What was settled stands; one that can't be removed is named, and
    /// is the next run's to remove.
    pub fn sweep(&self, say: &Say) {
        for dest in self.dests() {
            self.move_bak_off(&dest);
        }
        for backup in &self.record.gone {
            match fs::remove_file(backup.path()) {
                Err(e) if e.kind() != ErrorKind::NotFound => {
                    say.note(format_args!("an old backup could not be removed, the next run tries again: {e}"));
                }
                _ => {}
            }
        }
        // A run that was killed while it gave `.FILE.bak` to another file.
        for dest in self.files_of(self.record.current).keys() {
            change::sweep_link(&dest.bak());
        }
    }

    /// Opens a trial whose way home is generation `to`: for a rollback that is asked for. Nothing is moved yet.
    #[must_use = "bring it home"]
    pub fn leave_for(self, to: Id) -> Result<Set<'h, OnTrial>, GenerationError> {
        let now = self.record.generation(self.record.current).cloned();
        let Some(now) = now else {
            let why = "nothing is recorded under this name, so there is no way back".to_owned();
            return Err(GenerationError::Nothing { name: self.record.name, why });
        };
        // What no rename can move would leave a trial that nobody can end.
        for dest in self.files_of(to).keys() {
            refuse::movable(dest.path())?;
        }
        let set = self.on_trial(now, to, Arrived::Rollback, &[])?;
        set.write_or_leave()?;
        Ok(set)
    }

    fn on_trial(
        mut self,
        generation: Generation,
        home: Id,
        by: Arrived,
        units: &[String],
    ) -> Result<Set<'h, OnTrial>, GenerationError> {
        self.record.units.extend(units.iter().cloned());
        let mut before = BTreeMap::new();
        for unit in &self.record.units {
            before.insert(unit.clone(), unit_now(self.host, unit, by)?);
        }
        for unit in &self.record.units {
            for (other, now) in with_it(self.host, unit)? {
                before.entry(other).or_insert(now);
            }
        }
        let trial = Trial {
            generation: generation.id,
            home,
            by,
            opened: clock::now(),
            by_hand: false,
            keep: None,
            folders: generation.files.keys().filter_map(folder_of).collect(),
            before,
            verdicts: BTreeMap::new(),
        };
        if self.record.generation(generation.id).is_none() {
            self.record.generations.push(generation);
        }
        Ok(Set { host: self.host, record: self.record, state: OnTrial(trial), found: self.found, turn: self.turn })
    }
}

impl<'h> Set<'h, OnTrial> {
    /// The open trial.
    #[must_use]
    pub fn trial(&self) -> &Trial {
        &self.state.0
    }

    /// Puts the record with its trial on disk.
    fn write(&self) -> Result<(), GenerationError> {
        let record = Record { trial: Some(self.trial().clone()), ..self.record.clone() };
        record::write(self.host, &record).map_err(GenerationError::record(&record.name))
    }

    /// The same, and when it fails the record on disk is the one that was there: a mark must not outlive the change that it is of.
    fn write_or_leave(&self) -> Result<(), GenerationError> {
        self.write().map_err(|error| match record::put_back(self.host, &self.record.name, self.found.as_ref()) {
            Ok(()) => error,
            Err(_) => self.torn(error),
        })
    }

    /// Puts the record without its trial on disk: the mark goes last.
    fn settled(self) -> Result<Set<'h, Settled>, GenerationError> {
        if let Err(source) = record::write(self.host, &self.record) {
            let name = &self.record.name;
            // What is there counts, though a power cut could still bring the trial back.
            let written = record::read(self.host, name).is_ok_and(|there| there.as_ref() == Some(&self.record));
            return Err(if written {
                GenerationError::NotDurable { path: record::path(self.host, name), source }
            } else {
                GenerationError::record(name)(source)
            });
        }
        let found = Some(self.record.clone());
        Ok(Set { host: self.host, record: self.record, state: Settled, found, turn: self.turn })
    }

    /// Adds more files to the generation on trial: several swaps under one guard are one change.
    #[must_use = "commit it or take it back"]
    pub fn join(mut self, staged: Vec<Staged>, brings: &Brings, say: &Say) -> Result<Self, GenerationError> {
        make_old_durable(&staged)?;
        let (generation, home) = (self.trial().generation, self.trial().home);
        let mut again = BTreeSet::new();
        let now = self.files_of(generation);
        for s in &staged {
            match now.get(&s.dest) {
                None => {
                    let found = s.old.as_ref().map(|old| old.state(home));
                    self.record.backfill(&s.dest, found.as_ref());
                }
                Some(Some(state)) if state.born == generation => {
                    again.insert(s.dest.clone());
                }
                Some(_) => {}
            }
        }
        for unit in &brings.units {
            if !self.trial().before.contains_key(unit) {
                let now = unit_now(self.host, unit, Arrived::Swap)?;
                self.state.0.before.insert(unit.clone(), now);
                for (other, now) in with_it(self.host, unit)? {
                    self.state.0.before.entry(other).or_insert(now);
                }
            }
        }
        self.record.units.extend(brings.units.iter().cloned());
        self.take_in(&staged, brings)?;
        if !staged.is_empty() {
            // They speak of the files as they were until now.
            self.state.0.verdicts.clear();
        }
        // What a dead chain left is in the hands of who adds to it.
        self.state.0.by_hand |= brings.by_hand;
        self.write_or_leave()?;
        match self.put_in_place(staged, &again, say) {
            Ok(()) => Ok(self),
            Err(error) => Err(self.torn(error)),
        }
    }

    /// The paths of the files that came with the generation on trial.
    #[must_use]
    pub fn brought(&self) -> Vec<PathBuf> {
        let generation = self.trial().generation;
        let came = |state: &Option<FileState>| state.as_ref().is_some_and(|state| state.born == generation);
        let files = self.files_of(generation);
        files.iter().filter(|(_, state)| came(state)).map(|(dest, _)| dest.path().to_owned()).collect()
    }

    /// Remembers what was asked to prove a unit, before it is touched. Every later rollback proves the same.
    pub fn note_proof(&mut self, proof: &Proof) -> Result<(), GenerationError> {
        let unit = &proof.unit;
        if !self.trial().before.contains_key(unit) {
            let now = unit_now(self.host, unit, Arrived::Swap)?;
            self.state.0.before.insert(unit.clone(), now);
        }
        self.record.units.insert(unit.clone());
        self.record.proofs.insert(unit.clone(), proof.clone());
        self.write()
    }

    /// Remembers what was found of a unit.
    pub fn note_verdict(&mut self, unit: &str, found: Finding) -> Result<(), GenerationError> {
        self.state.0.verdicts.insert(unit.to_owned(), found);
        self.write()
    }

    /// Ends the trial with its generation in place: proven when every verdict of the trial was healthy, and there was one.
    #[must_use = "the set is settled"]
    pub fn commit(mut self, say: &Say) -> Result<Set<'h, Settled>, GenerationError> {
        let id = self.trial().generation;
        let judged = self.trial().judged();
        if let Some(generation) = self.record.generation_mut(id)
            && judged != Judged::Unproven
        {
            generation.verdict = judged;
        }
        let pause_ms = self.trial().pause_ms();
        if let Some(generation) = self.record.generation_mut(id).filter(|_| pause_ms.is_some()) {
            generation.pause_ms = pause_ms;
        }
        self.record.current = id;
        self.record.arrived = Arrived::Swap;
        let ours: Vec<_> = self.files_of(id).into_keys().filter(|dest| self.is_bak_ours(dest)).collect();
        self.record.learn(id, clock::now());
        self.record.keep = self.trial().keep.unwrap_or(self.record.keep);
        self.record.prune(None);
        self.raise_floor(id)?;
        let set = self.settled()?;
        set.sweep(say);
        if set.record.generations.len() == 1 {
            for dest in ours {
                let _ = fs::remove_file(dest.bak());
            }
        }
        Ok(set)
    }

    /// Makes the version of a generation that is proven the lowest one that verify takes from now on. Before the mark goes: a
    /// run that is killed in between goes back by files that are kept, which no floor binds.
    fn raise_floor(&self, id: Id) -> Result<(), GenerationError> {
        let generation = self.record.generation(id).filter(|generation| generation.verdict == Judged::Proven);
        let Some(version) = generation.and_then(Generation::version) else { return Ok(()) };
        floor::raise(self.host, &self.record.name, version)
            .map_err(GenerationError::io(&floor::path(self.host, &self.record.name), "raise the floor"))
    }

    /// Enters the staged files into the generation on trial, unless that makes it one that failed before.
    fn take_in(&mut self, staged: &[Staged], brings: &Brings) -> Result<(), GenerationError> {
        let id = self.trial().generation;
        let new: Vec<_> = staged.iter().map(|s| (s.dest.clone(), s.state.clone())).collect();
        if !brings.retry_failed {
            self.record.refuse_failed(id, &new)?;
        }
        self.state.0.folders.extend(staged.iter().filter_map(|s| folder_of(&s.dest)));
        if let Some(generation) = self.record.generation_mut(id) {
            for s in staged {
                generation.files.insert(s.dest.clone(), Some(FileState { born: id, ..s.state.clone() }));
            }
        }
        self.state.0.keep = brings.keep.or(self.state.0.keep);
        Ok(())
    }

    /// The error of a change that stopped in the middle and could not be taken back here.
    fn torn(&self, error: GenerationError) -> GenerationError {
        match error {
            GenerationError::Io { path, what, source } => {
                GenerationError::Torn { name: self.record.name.clone(), path, what, source }
            }
            other => GenerationError::HalfDone { name: self.record.name.clone(), source: Box::new(other) },
        }
    }
}

/// The NAME that manages `dest` on this host, if any. A record that can't be read only matters when no other has the path.
pub fn owner(host: &Host, dest: &Dest) -> Result<Option<String>, GenerationError> {
    let mut unread = None;
    for name in record::names(host).map_err(GenerationError::record("upswap"))? {
        let record = match record::read(host, &name) {
            Ok(record) => record,
            Err(e) => {
                unread = unread.or(Some(GenerationError::record(&name)(e)));
                continue;
            }
        };
        let manages = |record: &Record| {
            let ids = [Some(record.current), record.trial.as_ref().map(|t| t.generation)];
            ids.into_iter().flatten().filter_map(|id| record.generation(id)).any(|g| g.files.contains_key(dest))
        };
        if record.is_some_and(|record| manages(&record)) {
            return Ok(Some(name));
        }
    }
    unread.map_or(Ok(None), Err)
}
