//! What is there before anything is changed: the files of other hands, the units as they run.

use std::collections::BTreeSet;

use fs_err as fs;

use super::{
    Arrived, Dest, FileState, Generation, GenerationError, Id, Judged, Set, Settled, Staged, UnitBefore, in_place,
};
use crate::sys::Host;
use crate::sys::clock;
use crate::sys::say::Say;
use crate::sys::systemd::Systemd;

impl Set<'_, Settled> {
    /// Makes the generation in place say what is really there, so that the way back leads to it: the first time, and
    /// when other hands have changed a file since.
    pub(super) fn note_what_is_there(&mut self, staged: &[Staged], say: &Say) -> Result<(), GenerationError> {
        let mut files = self.files_of(self.record.current);
        let known: BTreeSet<Dest> = files.keys().cloned().collect();
        let all: BTreeSet<Dest> = known.iter().cloned().chain(staged.iter().map(|s| s.dest.clone())).collect();
        let id = self.record.next_id().max(unused_backup_number(&all));
        let mut edited = false;
        let mut joining = Vec::new();
        for dest in all {
            let found = match staged.iter().find(|s| s.dest == dest) {
                Some(staged) => staged.old.as_ref().map(|old| old.state(id)),
                None => in_place(&dest)?.map(|found| found.state(id)),
            };
            if !known.contains(&dest) {
                joining.push((dest, found));
                continue;
            }
            let same = match (&found, files.get(&dest).and_then(Option::as_ref)) {
                (Some(now), Some(recorded)) => {
                    (now.digest, now.mode, now.uid, now.gid, &now.capabilities)
                        == (recorded.digest, recorded.mode, recorded.uid, recorded.gid, &recorded.capabilities)
                }
                (None, None) => true,
                _ => false,
            };
            if !same {
                say.note(format_args!(
                    "{} was changed by other hands since the last swap; it is kept as a generation of its own",
                    dest.path().display()
                ));
                edited = true;
                files.insert(dest, found);
            }
        }
        if edited || self.record.generations.is_empty() {
            let replaced = self.record.generation(self.record.current).map(|g| g.id);
            let verdict = Judged::Unproven;
            self.record.generations.push(Generation {
                id,
                time: clock::now(),
                replaced,
                files,
                verdict,
                pause_ms: None,
            });
            self.record.current = id;
            self.record.arrived = Arrived::Found;
        }
        let born = self.record.current;
        for (dest, found) in joining {
            self.record.backfill(&dest, found.map(|found| FileState { born, ..found }).as_ref());
        }
        Ok(())
    }
}

/// The unit as it is before anything is touched. A rollback that is asked for means a failed service too: it is to run again.
pub(super) fn unit_now(host: &Host, unit: &str, by: Arrived) -> Result<UnitBefore, GenerationError> {
    let properties = Systemd::on(host).show(unit, &["ActiveState", "InvocationID"])?;
    let value = |key: &str| properties.get(key).cloned().unwrap_or_default();
    let active = match value("ActiveState").as_str() {
        "active" | "reloading" | "activating" | "refreshing" => true,
        "failed" | "deactivating" => by == Arrived::Rollback,
        _ => false,
    };
    Ok(UnitBefore { active, invocation: value("InvocationID") })
}

/// The units that go down and up together with `unit`: the running services of a socket, which systemd opens only while they
/// are stopped. They need not be the set's.
pub(super) fn with_it(host: &Host, unit: &str) -> Result<Vec<(String, UnitBefore)>, GenerationError> {
    let mut found = Vec::new();
    if unit.ends_with(".socket") {
        let shown = Systemd::on(host).show(unit, &["Triggers"])?;
        for service in shown.get("Triggers").map(String::as_str).unwrap_or_default().split_whitespace() {
            let now = unit_now(host, service, Arrived::Swap)?;
            found.extend(now.active.then(|| (service.to_owned(), now)));
        }
    }
    Ok(found)
}

/// The first number of which no backup lies beside any of `dests`: a lost record must not make us write over one.
pub(super) fn unused_backup_number(dests: &BTreeSet<Dest>) -> Id {
    let mut first = 1;
    for dest in dests {
        let prefix = dest.sibling("upswap-");
        let (Some(folder), Some(prefix)) = (prefix.parent(), prefix.file_name().and_then(|n| n.to_str())) else {
            continue;
        };
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        for name in entries.filter_map(|e| e.file_name().into_string().ok()) {
            // One beyond all counting is no backup of ours, and there would be no number after it.
            let number = name.strip_prefix(prefix).and_then(|rest| rest.parse::<u32>().ok());
            first = number.map_or(first, |number| first.max(Id::from(number) + 1));
        }
    }
    first
}
