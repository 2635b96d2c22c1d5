//! A change that is not settled yet, and what was found of its units.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Arrived, Dest, Id, Judged};
use crate::words::name::Name;

/// A change that is not settled yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// The generation on trial.
    pub generation: Id,
    /// The generation that recovery brings in when the trial's chain is gone.
    pub home: Id,
    /// What opened it: a swap, whose home was in place and running then, or a rollback, which is on its way home.
    pub by: Arrived,
    /// When it was opened, in seconds since 1970-01-01 UTC.
    pub opened: u64,
    /// It was opened by `swapbin --trial`, by hand: no chain is there that would end it, or could be gone.
    #[serde(default)]
    pub by_hand: bool,
    /// How many generations to keep once it is committed, when that was said: a change that is taken back removes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<usize>,
    /// The inode of each folder it changed: below a file system that is not mounted lies another one.
    #[serde(default)]
    pub folders: BTreeMap<Dest, u64>,
    /// Each unit as it was when the trial was opened.
    pub before: BTreeMap<String, UnitBefore>,
    /// What was last found of each unit.
    pub verdicts: BTreeMap<String, Finding>,
}

/// What was found of a unit on trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it says of the generation.
    pub judged: Judged,
    /// The verdict: its name and its evidence.
    pub text: String,
    /// How long the unit did not answer when it was restarted, in milliseconds, when that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_ms: Option<u64>,
}

impl Trial {
    /// What the verdicts say of the generation on trial, all units taken together.
    #[must_use]
    pub fn judged(&self) -> Judged {
        let mut found = self.verdicts.values().map(|finding| &finding.judged);
        let unhealthy = found.clone().find(|judged| matches!(judged, Judged::Unhealthy(_)));
        match unhealthy {
            Some(unhealthy) => unhealthy.clone(),
            None if !self.verdicts.is_empty() && found.all(|judged| *judged == Judged::Proven) => Judged::Proven,
            None => Judged::Unproven,
        }
    }

    /// The longest pause of its units, when one was measured.
    #[must_use]
    pub fn pause_ms(&self) -> Option<u64> {
        self.verdicts.values().filter_map(|finding| finding.pause_ms).max()
    }

    /// What to do before anything else can be done to `name`.
    #[must_use]
    pub fn must_end_first(&self, name: &Name) -> String {
        let id = self.generation;
        if self.by_hand {
            return format!(
                "generation {id} is on trial; keep it with 'swapbin --commit {name}' or take it back with 'rollback {name}' first"
            );
        }
        format!("a chain that is gone left generation {id} on trial; take it back first: rollback {name}")
    }

    /// The first unit that was not found healthy, and how it was found.
    #[must_use]
    pub fn unhealthy(&self) -> Option<String> {
        let (unit, finding) = self.verdicts.iter().find(|(_, finding)| finding.judged != Judged::Proven)?;
        Some(format!("{unit}: {}", finding.text))
    }
}

/// A unit before anything was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitBefore {
    /// Whether it was active. One that was not is never started by the way back.
    pub active: bool,
    /// Its `InvocationID`: a restart since then shows by another one.
    pub invocation: String,
}
