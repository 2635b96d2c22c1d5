//! The versions that a verdict found unhealthy. They outlive their generations, so that no timer takes them again and again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Dest, FileState, Generation, Id, Judged, Record};
use crate::words::digest::Digest;

/// How many are remembered; the oldest are forgotten.
const REMEMBERED: usize = 16;

/// A version that was found unhealthy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// Every program of its generation: what is remembered are bytes, not a name that a release can be given again.
    pub programs: BTreeMap<Dest, Program>,
    /// Its version, when one was known.
    pub version: Option<String>,
    /// What was found.
    pub why: String,
    /// When, in seconds since 1970-01-01 UTC.
    pub time: u64,
}

/// What a program was that failed. With other capabilities it may well run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    digest: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    capabilities: Option<String>,
}

impl From<&FileState> for Program {
    fn from(state: &FileState) -> Self {
        Self { digest: state.digest, capabilities: state.capabilities.clone() }
    }
}

impl Record {
    /// What was found when generation `base` with the `new` files in it was tried before, if that was unhealthy and nothing
    /// proved it since.
    #[must_use]
    pub fn failed_before(&self, base: Id, new: &[(Dest, FileState)]) -> Option<&Failed> {
        let mut programs = self.generation(base).map(programs).unwrap_or_default();
        let new = new.iter().filter(|(dest, _)| !dest.is_unit());
        programs.extend(new.map(|(dest, state)| (dest.clone(), state.into())));
        self.failed.iter().rev().find(|failed| failed.programs == programs)
    }

    /// Remembers, or forgets, that the programs of generation `id` failed, by its verdict; an unproven one teaches nothing.
    pub(in crate::steps::generation) fn learn(&mut self, id: Id, time: u64) {
        let Some(generation) = self.generation(id) else { return };
        let (programs, version) = (programs(generation), generation.version().map(str::to_owned));
        let verdict = generation.verdict.clone();
        if verdict == Judged::Unproven || programs.is_empty() {
            return;
        }
        self.failed.retain(|failed| failed.programs != programs);
        if let Judged::Unhealthy(why) = verdict {
            self.failed.push(Failed { programs, version, why, time });
            let surplus = self.failed.len().saturating_sub(REMEMBERED);
            self.failed.drain(..surplus);
        }
    }
}

/// What a generation runs. Units are not of it: an operator's edit of a unit makes no new version.
fn programs(generation: &Generation) -> BTreeMap<Dest, Program> {
    let programs = generation.files.iter().filter(|(dest, _)| !dest.is_unit());
    programs.filter_map(|(dest, state)| Some((dest.clone(), state.as_ref()?.into()))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{bad, file, history};
    use super::*;

    #[test]
    fn what_failed_is_known_by_its_bytes_until_it_is_proven() {
        let mut record = history(&[Judged::Proven, bad()]);
        record.learn(2, 7);
        let dest = Dest::new("/usr/local/bin/runed".into());
        let v2 = [(dest.clone(), file(2, "v2"))];
        let failed = record.failed_before(1, &v2).unwrap();
        assert_eq!((failed.version.as_deref(), failed.why.as_str(), failed.time), (Some("v2"), "crashed", 7));
        assert_eq!(record.failed_before(1, &[(dest.clone(), file(2, "v3"))]), None);
        let capable = FileState { capabilities: Some("cap_net_bind_service=ep".into()), ..file(2, "v2") };
        assert_eq!(record.failed_before(1, &[(dest, capable)]), None);
        let unit = (Dest::new("/etc/systemd/system/runed.service".into()), file(2, "unit"));
        assert!(record.failed_before(2, &[unit]).is_some(), "another unit makes it no other version");

        record.learn(1, 8);
        assert!(record.failed_before(1, &v2).is_some(), "another version's health says nothing of it");
        record.generation_mut(2).unwrap().verdict = Judged::Proven;
        record.learn(2, 9);
        assert_eq!(record.failed_before(1, &v2), None);
    }

    #[test]
    fn as_many_as_are_of_use_are_remembered_and_none_twice() {
        let mut record = history(&vec![bad(); REMEMBERED + 2]);
        for id in (1..=REMEMBERED as u64 + 2).chain([5, 6]) {
            record.learn(id, id);
        }
        assert_eq!(record.failed.len(), REMEMBERED);
        assert_eq!(record.failed.iter().map(|f| f.time).rev().take(3).collect::<Vec<_>>(), [6, 5, 18]);
        assert_eq!(record.failed_before(2, &[]), None);
    }
}
