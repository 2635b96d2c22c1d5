//! What this host adds to the difference of two units: which file systemd has loaded, its drop-ins, the program's
//! capabilities. The units are compared without it; what can't be found out is not said.

use std::path::{Path, PathBuf};

use super::{Operand, Unit, asked, stale};
use crate::steps::keep_caps;
use crate::sys::Host;
use crate::sys::say::Say;
use crate::sys::systemd::{Systemd, one_unit};
use crate::words::privileges::setting::Setting;
use crate::words::unit::diff::Change;
use crate::words::unit::file::File;
use crate::words::unit::notes::{self, About, Note};
use crate::words::unit::reading::Reading;
use crate::words::unit::shown;

/// Where systemd looks for units, the first wins (systemd.unit(5), "UNIT FILE LOAD PATH"); true for what is not the
/// administrator's: a package's, or a generator's.
const FOLDERS: [(&str, bool); 9] = [
    ("/etc/systemd/system.control", false),
    ("/run/systemd/transient", true),
    ("/run/systemd/generator.early", true),
    ("/etc/systemd/system", false),
    ("/run/systemd/system", false),
    ("/run/systemd/generator", true),
    ("/usr/local/lib/systemd/system", false),
    ("/usr/lib/systemd/system", true),
    ("/lib/systemd/system", true),
];

/// Everything to know besides `changes`, of units that were read.
pub(super) fn notes(
    host: &Host,
    (old, before): (&Unit, &Reading),
    (new, after): (&Unit, &Reading),
    changes: &[Change],
    say: &Say,
) -> Vec<Note> {
    let mut notes: Vec<Note> =
        [old, new].iter().filter_map(|unit| Some(Note::new(About::NeedDaemonReload, stale(unit)?))).collect();
    // What systemd has loaded in OLD's place, when OLD is a file of that place.
    let loaded = if old.loaded.is_none() { loaded_as(host, old, say) } else { None };
    notes.extend(loaded.as_ref().and_then(|unit| Some(Note::new(About::NeedDaemonReload, stale(unit)?))));
    let known = loaded.as_ref().or(Some(old).filter(|unit| unit.loaded.is_some()));
    if let Some(known) = known {
        notes.extend(fragment(host, known, old, new));
        if new.loaded.is_none() {
            let drop_ins: Vec<(String, &File)> =
                known.files.iter().skip(1).map(|(path, file)| (path.display().to_string(), file)).collect();
            let drop_ins: Vec<_> = drop_ins.iter().map(|(name, file)| (name.as_str(), *file)).collect();
            let new_files: Vec<_> = new.files.iter().map(|(_, file)| file).collect();
            let own = old.files.iter().map(|(_, file)| file);
            let in_force = match &loaded {
                Some(_) => Reading::of(own.chain(drop_ins.iter().map(|(_, file)| *file))),
                None => Reading::of(own),
            };
            notes.extend(notes::staying(&drop_ins, &in_force, &new_files, changes));
        }
    }
    notes.extend(notes::notes(before, after));
    notes.extend(file_capabilities(host, known.map_or("UNIT", |unit| &unit.name), before, after, say));
    notes
}

/// The unit that systemd has loaded under the name of `file`, when that lies where systemd looks for units.
fn loaded_as(host: &Host, file: &Unit, say: &Say) -> Option<Unit> {
    let path = path_of(file)?;
    rank(host, path)?;
    let name = path.file_name()?.to_str()?;
    one_unit(name).filter(|unit| unit == name)?;
    asked(host, &Operand::from(path.file_name()?.to_owned()).0)
        .inspect_err(|e| say.detail(format_args!("what systemd has loaded is not known: {e}")))
        .ok()
}

/// The file that a unit was read from; `None` for standard input and for what systemd has loaded.
fn path_of(unit: &Unit) -> Option<&Path> {
    let path = unit.files.first().map(|(path, _)| path.as_path())?;
    (unit.loaded.is_none() && path != Path::new("-")).then_some(path)
}

/// Which of [`FOLDERS`] a file lies in.
fn rank(host: &Host, path: &Path) -> Option<usize> {
    let folder = std::path::absolute(path).ok()?;
    let folder = folder.parent()?;
    FOLDERS.iter().position(|(known, _)| host.path(known) == folder)
}

fn same_file(one: &Path, other: &Path) -> bool {
    one == other || matches!((fs_err::canonicalize(one), fs_err::canonicalize(other)), (Ok(a), Ok(b)) if a == b)
}

/// `known` is what systemd has loaded; OLD or NEW may be another file than its fragment.
fn fragment(host: &Host, known: &Unit, old: &Unit, new: &Unit) -> Vec<Note> {
    let Some((fragment, _)) = known.files.first() else { return Vec::new() };
    let (on_host, name) = (host.path(fragment), &known.name);
    let Some(loaded_rank) = rank(host, &on_host) else { return Vec::new() };
    let mut notes = Vec::new();
    let shown = fragment.display();
    let other = |path: &&Path| path.file_name() == fragment.file_name() && !same_file(path, &on_host);
    let placed = |unit| path_of(unit).filter(other).and_then(|path| Some((path.to_owned(), rank(host, path)?)));
    let mut beside: Vec<(PathBuf, usize)> = [old, new].into_iter().filter_map(placed).collect();
    beside.dedup();
    for (path, rank) in beside {
        let path = path.display();
        let what = if rank < loaded_rank {
            format!("after a daemon-reload {path} shadows it")
        } else {
            format!("it shadows {path}, so what stands there changes nothing")
        };
        notes.push(Note::new(About::Fragment, format!("systemd has loaded {name} from {shown}: {what}")));
    }
    let replaced_itself = path_of(new).is_some_and(|path| same_file(path, &on_host));
    if FOLDERS.get(loaded_rank).is_some_and(|(_, foreign)| *foreign) && notes.is_empty() && !replaced_itself {
        let whose = if shown.to_string().starts_with("/run/") { "was generated" } else { "belongs to a package" };
        let text = format!(
            "{name} is loaded from {shown}, which {whose}: NEW in /etc/systemd/system would shadow it and all its later \
             versions; what is yours alone belongs into a drop-in: systemctl edit {name}"
        );
        notes.push(Note::new(About::Fragment, text));
    }
    notes
}

/// What NEW would take from a program that has file capabilities.
fn file_capabilities(host: &Host, unit: &str, old: &Reading, new: &Reading, say: &Say) -> Option<Note> {
    let (old, new) = (shown::properties(old)?, shown::properties(new)?);
    // Few programs have capabilities; only for these systemd is asked.
    let version = || Systemd::on(host).show("", &["Version"]).unwrap_or_default().remove("Version").unwrap_or_default();
    let asked = |version: &str| {
        let read = |shown| Setting::read(shown, version).ok();
        keep_caps::taken(host, unit, &read(&old)?, &read(&new)?)
            .inspect_err(|e| say.detail(format_args!("the program's capabilities are not known: {e}")))
            .ok()?
    };
    // A recent systemd takes the least.
    asked("9999").or_else(|| asked("0"))?;
    let taken = asked(&version())?;
    let (program, caps) = (taken.program.display(), taken.caps);
    let text = format!("NEW takes what {program} has by its file capabilities ({caps}): {}", taken.reasons.join("; "));
    Some(Note::new(About::FileCapabilities, text))
}
