//! The drop-in that carries an operator's changes over a new unit.

use std::ffi::OsStr;
use std::path::Path;

use serde_json::{Value, json};

use super::{Operand, Unit, UnitError, load};
use crate::sys::Host;
use crate::sys::say::Say;
use crate::words::unit::carry::{self, Conflict, Sides};
use crate::words::unit::diff;
use crate::words::unit::file::File;
use crate::words::unit::reading::Reading;

/// The operator's changes over a new unit, or why they can't be carried.
#[derive(Debug)]
pub struct Carried {
    base: Option<Unit>,
    old: Unit,
    new: Unit,
    /// The drop-in's text; empty when there is nothing to carry or when there are conflicts.
    pub text: String,
    /// What the drop-in makes other than NEW says, for `--json`.
    changes: Value,
    /// What can't be carried without a decision.
    pub conflicts: Vec<Conflict>,
}

/// Makes the drop-in [`carry::NAME`] for the unit `new`, from what `old` differs from `base`.
pub fn drop_in(
    host: &Host,
    base: Option<&Operand>,
    old: &Operand,
    new: &Operand,
    say: &Say,
) -> Result<Carried, UnitError> {
    if base.into_iter().chain([old, new]).filter(|operand| operand.is_stdin()).count() > 1 {
        return Err(UnitError::StdinTwice);
    }
    let base = base.map(|base| load(host, base, say)).transpose()?;
    let (old, new) = (load(host, old, say)?, load(host, new, say)?);
    let all = |unit: &'_ Unit| unit.files.iter().map(|(_, file)| file.clone()).collect::<Vec<File>>();
    let (base_files, new_files) = (base.as_ref().map(all), all(&new));
    let sides = sides(base_files.as_deref(), &old, &new_files);
    let (text, conflicts) = match carry::carry(&sides) {
        Ok(text) => (text, Vec::new()),
        Err(conflicts) => (String::new(), conflicts),
    };
    let made = File::parse(text.clone().into_bytes());
    let with = Reading::of(new_files.iter().chain(made.as_ref().ok()));
    let changes = json!(diff::compare(&Reading::of(&new_files), &with));
    Ok(Carried { base, old, new, text, changes, conflicts })
}

/// What of OLD's files counts as OLD, and what stays as it is.
fn sides<'a>(base: Option<&'a [File]>, old: &'a Unit, new: &'a [File]) -> Sides<'a> {
    let mut sides =
        Sides { base: base.map(|files| files.iter().collect()), new: new.iter().collect(), ..Sides::default() };
    for (index, (path, file)) in old.files.iter().enumerate() {
        let name = |path: &'a Path| path.file_name().unwrap_or_default();
        if index == 0 || name(path) == carry::NAME {
            sides.old.push(file);
        } else if name(path) < OsStr::new(carry::NAME) {
            sides.early.push((path.display().to_string(), file));
        } else {
            sides.late.push(file);
        }
    }
    sides
}

impl Carried {
    /// For `--json`.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut object = json!({
            "old": self.old.json(),
            "new": self.new.json(),
            "drop_in": self.conflicts.is_empty().then_some(&self.text),
            "changes": self.changes,
            "conflicts": self.conflicts,
        });
        if let (Some(base), Some(object)) = (&self.base, object.as_object_mut()) {
            object.insert("base".into(), base.json());
        }
        object
    }
}
