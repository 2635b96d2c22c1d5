//! What is on disk of a NAME: its generations, which one is in place, and the trial that is open, if any.
//!
//! `<state>/NAME/state.json` is replaced as a whole, so it is always one of the states below. The questions to the history
//! are pure; [`disk`] reads and writes.

mod dest;
mod disk;
mod failed;
mod trial;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::steps::artifact::origin::Origin;
use crate::words::digest::Digest;
use crate::words::proof::Proof;

pub use dest::Dest;
pub use disk::{folder, names, path, put_back, read, write};
pub use failed::Failed;
pub use trial::{Finding, Trial, UnitBefore};

/// The number of a generation of one NAME. Numbers only grow and are never used twice.
pub type Id = u64;

/// How many generations are kept unless `--keep` says otherwise, the one in place included.
pub const KEEP: usize = 3;

/// All that is remembered of a NAME.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The version of this form; 1.
    pub schema: u32,
    /// The NAME.
    pub name: String,
    /// The units that belong to it.
    pub units: BTreeSet<String>,
    /// What was last asked to prove each unit healthy; the way back proves the same.
    pub proofs: BTreeMap<String, Proof>,
    /// The generation in place when no trial is open.
    pub current: Id,
    /// How it came there.
    pub arrived: Arrived,
    /// How many generations are kept, the one in place included.
    pub keep: usize,
    /// The history, oldest first.
    pub generations: Vec<Generation>,
    /// The versions that were found unhealthy, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Failed>,
    /// The trial that is open: the write-ahead mark. It is on disk before the first rename and goes last.
    pub trial: Option<Trial>,
    /// Backups that nobody needs any more: a run that was killed before it had removed them left that to the next.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub gone: BTreeSet<Dest>,
}

/// How the generation in place came there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arrived {
    /// It was there before upswap, or was put there by other hands.
    Found,
    /// By swapbin.
    Swap,
    /// By rollback.
    Rollback,
}

/// The files of a NAME at one time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Generation {
    /// Its number.
    pub id: Id,
    /// When it was made, in seconds since 1970-01-01 UTC.
    pub time: u64,
    /// The generation it replaced.
    pub replaced: Option<Id>,
    /// Every path of the set and what it holds; `None` is a path that does not exist in this generation.
    pub files: BTreeMap<Dest, Option<FileState>>,
    /// What is known of its health.
    pub verdict: Judged,
    /// How long its service did not answer when this generation was brought in, in milliseconds, when that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_ms: Option<u64>,
}

/// What is known of a generation's health.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Judged {
    /// Nobody proved it.
    Unproven,
    /// A verdict found it healthy.
    Proven,
    /// A verdict found it unhealthy, or the command of its trial failed; and how.
    Unhealthy(String),
}

/// One file of a generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileState {
    /// Its content.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// The owner's user ID.
    pub uid: u32,
    /// The owner's group ID.
    pub gid: u32,
    /// Its capabilities in the text form of `cap_to_text(3)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<String>,
    /// The generation this file came in with; its backup is `.FILE.upswap-BORN`.
    pub born: Id,
    /// Whether it came from the store of verified files.
    pub verified: bool,
    /// Where it came from, as far as the store knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

impl Record {
    /// The form of the record that this program writes.
    pub const SCHEMA: u32 = 1;

    /// A generation by its number.
    #[must_use]
    pub fn generation(&self, id: Id) -> Option<&Generation> {
        self.generations.iter().find(|g| g.id == id)
    }

    /// A generation by its number, to be changed.
    pub fn generation_mut(&mut self, id: Id) -> Option<&mut Generation> {
        self.generations.iter_mut().find(|g| g.id == id)
    }

    /// The number the next generation gets.
    #[must_use]
    pub fn next_id(&self) -> Id {
        self.generations.iter().map(|g| g.id).max().unwrap_or(0).saturating_add(1)
    }

    /// The generation that `--to TEXT` means: a number of the history, or the newest one of that version.
    #[must_use]
    pub fn find(&self, text: &str) -> Option<Id> {
        let bare = |version: &str| version.strip_prefix('v').unwrap_or(version).to_owned();
        let by_number = text.parse().ok().filter(|id| self.generation(*id).is_some());
        let by_version = || {
            let mut newest_first = self.generations.iter().rev();
            newest_first.find(|g| g.version().is_some_and(|v| bare(v) == bare(text))).map(|g| g.id)
        };
        by_number.or_else(by_version)
    }

    /// Where plain `rollback` goes from the generation in place: the one it replaced and those before, the ones found
    /// unhealthy left out; nearest first.
    #[must_use]
    pub fn way_back(&self) -> Vec<Id> {
        let healthy = |id: &Id| self.generation(*id).is_some_and(|g| !matches!(g.verdict, Judged::Unhealthy(_)));
        self.chain().into_iter().skip(1).filter(healthy).collect()
    }

    /// The generation in place, the one it replaced, the one that replaced, and so on.
    fn chain(&self) -> Vec<Id> {
        // Where the one that was replaced is pruned, the newest that is older is the next nearest.
        let next = |id: Id| self.generations.iter().filter(|g| g.id <= id).max_by_key(|g| g.id);
        let mut ids = Vec::new();
        let mut at = self.generation(self.current);
        while let Some(generation) = at.filter(|g| !ids.contains(&g.id)) {
            ids.push(generation.id);
            at = generation.replaced.and_then(next);
        }
        ids
    }

    /// The newest generation that was proven healthy, `except` left out.
    #[must_use]
    pub fn last_proven(&self, except: Option<Id>) -> Option<&Generation> {
        let mut newest_first = self.generations.iter().rev();
        newest_first.find(|g| g.verdict == Judged::Proven && Some(g.id) != except)
    }

    /// Enters a path that joins the set, as it was found, into every generation before: it was there all the time.
    pub fn backfill(&mut self, dest: &Dest, found: Option<&FileState>) {
        for generation in &mut self.generations {
            generation.files.entry(dest.clone()).or_insert_with(|| found.cloned());
        }
    }

    /// Whether `digest` is that of any recorded file at `dest`.
    #[must_use]
    pub fn knows(&self, dest: &Dest, digest: &Digest) -> bool {
        let mut states = self.generations.iter().filter_map(|g| g.files.get(dest)?.as_ref());
        states.any(|state| state.digest == *digest)
    }

    /// Takes what no kept generation needs out of the history, and returns the backups that nobody needs any more.
    ///
    /// Kept are `keep` generations: the one in place, the ones it replaced, then the newest, the unhealthy ones left out;
    /// besides them the last proven one and the one of `also`.
    pub fn prune(&mut self, also: Option<Id>) -> Vec<PathBuf> {
        let newest = self.generations.iter().rev().map(|g| g.id);
        let mut kept = BTreeSet::new();
        // One that was found unhealthy is nothing to go back to, so it takes no other one's place.
        let worth = |id: &Id| {
            let verdict = self.generation(*id).map(|g| &g.verdict);
            *id == self.current || !matches!(verdict, Some(Judged::Unhealthy(_)))
        };
        for id in self.chain().into_iter().chain(newest).filter(worth) {
            if kept.len() < self.keep.max(1) {
                kept.insert(id);
            }
        }
        kept.extend(self.last_proven(None).map(|g| g.id));
        kept.extend(also);
        let all = self.backups();
        self.generations.retain(|g| kept.contains(&g.id));
        let gone: Vec<_> = all.difference(&self.backups()).cloned().collect();
        self.gone.extend(gone.iter().cloned().map(Dest::new));
        gone
    }

    /// The backups that the recorded generations need.
    #[must_use]
    pub fn backups(&self) -> BTreeSet<PathBuf> {
        let files = self.generations.iter().flat_map(|g| &g.files);
        files.filter_map(|(dest, state)| Some(dest.backup(state.as_ref()?.born))).collect()
    }
}

impl Generation {
    /// Whether none of its paths existed: the time before a first installation.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.values().all(Option::is_none)
    }

    /// The version its newest program came from, when one is known. Units have none, and a file that joined the set later
    /// says nothing about this generation.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        let programs = self.files.iter().filter(|(dest, _)| !dest.is_unit()).filter_map(|(_, file)| file.as_ref());
        let newest = programs.filter(|f| f.born <= self.id).max_by_key(|f| (f.born, f.origin.is_some()));
        newest.and_then(|f| f.origin.as_ref()).and_then(|o| o.version.as_deref())
    }

    /// `2 (v0.0.2)` or `2`, for messages.
    #[must_use]
    pub fn title(&self) -> String {
        match self.version() {
            Some(version) => format!("{} ({version})", self.id),
            None => self.id.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn file(born: Id, version: &str) -> FileState {
        let origin = Origin {
            schema: 1,
            source: "gh:o/r".into(),
            version: Some(version.into()),
            prerelease: false,
            published: None,
            asset: "a".into(),
            digest: Digest::of(b"a"),
            time: 0,
            proven: vec![],
        };
        FileState {
            digest: Digest::of(version.as_bytes()),
            size: 1,
            mode: 0o755,
            uid: 0,
            gid: 0,
            capabilities: None,
            born,
            verified: true,
            origin: Some(origin),
        }
    }

    /// Generations 1, 2, … of one file, each replacing the one before.
    pub(super) fn history(verdicts: &[Judged]) -> Record {
        let mut record = Record {
            schema: 1,
            name: "runed".into(),
            units: BTreeSet::new(),
            proofs: BTreeMap::new(),
            current: verdicts.len() as u64,
            arrived: Arrived::Swap,
            keep: 3,
            generations: vec![],
            failed: vec![],
            trial: None,
            gone: BTreeSet::new(),
        };
        for (id, verdict) in (1..).zip(verdicts) {
            let dest = Dest::new("/usr/local/bin/runed".into());
            record.generations.push(Generation {
                id,
                time: 0,
                replaced: (id > 1).then(|| id - 1),
                files: [(dest, Some(file(id, &format!("v{id}"))))].into(),
                verdict: verdict.clone(),
                pause_ms: None,
            });
        }
        record
    }

    pub(super) fn bad() -> Judged {
        Judged::Unhealthy("crashed".into())
    }

    #[test]
    fn the_way_back_passes_over_the_unhealthy() {
        let record = history(&[Judged::Proven, Judged::Proven, bad(), Judged::Unproven]);
        assert_eq!(record.way_back(), [2, 1]);
    }

    #[test]
    fn the_way_back_leads_over_what_was_pruned() {
        let mut record = history(&[Judged::Proven, Judged::Unproven, Judged::Unproven, bad(), Judged::Unproven]);
        record.keep = 2;
        record.prune(None);
        assert_eq!(record.generations.iter().map(|g| g.id).collect::<Vec<_>>(), [1, 3, 5]);
        assert_eq!(record.way_back(), [3, 1]);
    }

    #[test]
    fn to_takes_a_number_or_a_version() {
        let record = history(&[Judged::Proven, Judged::Proven]);
        assert_eq!(record.find("1"), Some(1));
        assert_eq!(record.find("v2"), Some(2));
        assert_eq!(record.find("2"), Some(2));
        assert_eq!(record.find("v9"), None);
    }

    #[test]
    fn pruning_keeps_the_newest_and_never_the_last_proven() {
        let mut record = history(&[Judged::Proven, bad(), bad(), bad(), bad()]);
        record.keep = 2;
        let gone = record.prune(None);
        assert_eq!(record.generations.iter().map(|g| g.id).collect::<Vec<_>>(), [1, 5], "the unhealthy take no place");
        assert_eq!(gone, [2, 3, 4].map(|id| PathBuf::from(format!("/usr/local/bin/.runed.upswap-{id}"))));
    }

    #[test]
    fn pruning_keeps_the_generation_that_was_replaced_however_old_it_is() {
        let mut record =
            history(&[Judged::Unproven, Judged::Unproven, Judged::Unproven, Judged::Unproven, Judged::Unproven]);
        // After a rollback to 1, 5 was swapped in.
        record.generations[4].replaced = Some(1);
        record.prune(None);
        assert_eq!(record.way_back(), [1]);
        assert_eq!(record.generations.iter().map(|g| g.id).collect::<Vec<_>>(), [1, 4, 5]);
    }

    #[test]
    fn a_backup_that_a_kept_generation_needs_stays() {
        let mut record = history(&[Judged::Proven, Judged::Proven, Judged::Proven, Judged::Proven]);
        // Generation 4 still has the file of generation 1.
        let old = record.generations[0].files.clone();
        record.generations[3].files = old;
        record.keep = 1;
        let gone = record.prune(None);
        assert!(!gone.contains(&PathBuf::from("/usr/local/bin/.runed.upswap-1")), "{gone:?}");
        assert_eq!(gone.len(), 2);
    }
}
