//! What another unit would take from a program with file capabilities, before anybody loads it.

use std::path::PathBuf;

use super::explain::{ExplainError, find, ids, searched, sets_of};
use crate::sys::Host;
use crate::words::filecaps::FileCaps;
use crate::words::privileges::execve::execve;
use crate::words::privileges::loss::{Facts, losses};
use crate::words::privileges::setting::Setting;
use crate::words::privileges::{CapSet, Sets};

/// What a program's file capabilities give no more.
#[derive(Debug)]
pub struct Taken {
    /// The program.
    pub program: PathBuf,
    /// What its file has.
    pub caps: FileCaps,
    /// Each reason, with the way out.
    pub reasons: Vec<String>,
}

/// What the file capabilities of `old`'s program give under `old` and its program would not have under `new`; `None` when
/// nothing is taken, or the file has no capabilities.
pub fn taken(host: &Host, unit: &str, old: &Setting, new: &Setting) -> Result<Option<Taken>, ExplainError> {
    if old.other_root.is_some() || new.other_root.is_some() {
        return Ok(None);
    }
    let program = searched(host, &old.program);
    let found = find(host, &program, old)?;
    let Some(caps) = found.image.counting() else { return Ok(None) };
    let manager = sets_of(host, 1)?;
    let before = |setting: &Setting| {
        let (uid, gid) = ids(setting);
        setting.before_execve(&manager, uid, gid)
    };
    // What does not start today loses nothing.
    let Ok(now) = execve(&before(old), &found.image) else { return Ok(None) };
    let of_file = |set: CapSet| set.within(CapSet::of(caps.permitted | caps.inheritable));
    let now =
        Sets { permitted: of_file(now.permitted), effective: of_file(now.effective), ambient: CapSet::NONE, ..now };
    let next_found = find(host, &searched(host, &new.program), new)?;
    let (caller, shown) = (before(new), next_found.path.display().to_string());
    let reasons = match execve(&caller, &next_found.image) {
        Err(dumb) => {
            let names = dumb.0.to_string().to_uppercase().replace(',', " ");
            vec![format!("{dumb}; CapabilityBoundingSet={names} beside the others lets it start")]
        }
        Ok(next) => {
            let facts = Facts {
                unit,
                program: &shown,
                setting: new,
                manager: &manager,
                caller: &caller,
                image: &next_found.image,
                nosuid_by: new.remounts_nosuid(&next_found.path),
                running: None,
            };
            let lost = losses(&now, &next, &facts);
            lost.iter()
                .map(|loss| format!("{} ({}): {}; {}", loss.capabilities, loss.of.name(), loss.reason, loss.way_out))
                .collect()
        }
    };
    Ok(Some(Taken { program: found.path, caps, reasons }).filter(|taken| !taken.reasons.is_empty()))
}
