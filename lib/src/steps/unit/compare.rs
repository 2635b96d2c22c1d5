//! What would change if one unit took another's place.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

use super::{Operand, Unit, UnitError, circumstances, load};
use crate::sys::Host;
use crate::sys::say::{Say, printable};
use crate::words::exit::Exit;
use crate::words::unit::diff::{self, Change, Class};
use crate::words::unit::notes::Note;

/// Two units and their difference in systemd's meaning.
#[derive(Debug)]
pub struct Comparison<'a> {
    /// The unit as it is.
    pub old: &'a Unit,
    /// The unit as it would be.
    pub new: &'a Unit,
    /// The differences; none when systemd would see the same unit.
    pub changes: Vec<Change<'a>>,
    /// What to know besides.
    pub notes: Vec<Note>,
}

/// Loads the units that `old` and `new` name.
pub fn pair(host: &Host, old: &Operand, new: &Operand, say: &Say) -> Result<(Unit, Unit), UnitError> {
    if old.is_stdin() && new.is_stdin() {
        return Err(UnitError::StdinTwice);
    }
    Ok((load(host, old, say)?, load(host, new, say)?))
}

/// Compares `old` and `new`, and says what to know besides.
#[must_use]
pub fn compare<'a>(host: &Host, old: &'a Unit, new: &'a Unit, say: &Say) -> Comparison<'a> {
    let (before, after) = (old.reading(), new.reading());
    let changes = diff::compare(&before, &after);
    let notes = circumstances::notes(host, (old, &before), (new, &after), &changes, say);
    for note in &notes {
        say.note(&note.text);
    }
    Comparison { old, new, changes, notes }
}

impl Comparison<'_> {
    /// True when systemd would see the same unit.
    #[must_use]
    pub fn same(&self) -> bool {
        self.changes.is_empty()
    }

    /// Done when systemd would see the same unit; with `refuse_loss`, when nothing of OLD is lost.
    #[must_use]
    pub fn exit(&self, refuse_loss: bool) -> Exit {
        let counts = |change: &Change| !refuse_loss || change.class == Class::Loses;
        if self.changes.iter().any(counts) { Exit::No } else { Exit::Done }
    }

    /// The difference as people read it, one change a line; empty when there is none.
    #[must_use]
    pub fn text(&self, colour: bool) -> String {
        let mut text = String::new();
        if self.same() {
            return text;
        }
        let paint = |code: &'static str| if colour { (code, "\x1b[0m") } else { ("", "") };
        let (bold, plain) = paint("\x1b[1m");
        for (sign, unit) in [("---", self.old), ("+++", self.new)] {
            let _ = writeln!(text, "{bold}{sign} {}{plain}", printable(&described(unit)));
        }
        for change in &self.changes {
            let (on, off) = paint(match change.word() {
                "LOSES" => "\x1b[1;31m",
                "weakens" => "\x1b[1;35m",
                "hardens" => "\x1b[36m",
                "adds" => "\x1b[32m",
                _ => "\x1b[33m",
            });
            let _ = writeln!(text, "{on}{}{off}", printable(&change.to_string()));
        }
        text
    }

    /// The difference for `--json`.
    #[must_use]
    pub fn json(&self) -> impl Serialize {
        #[derive(Serialize)]
        struct Fields<'f> {
            same: bool,
            old: Value,
            new: Value,
            changes: &'f [Change<'f>],
            notes: &'f [Note],
        }
        let Self { old, new, changes, notes } = self;
        Fields { same: self.same(), old: old.json(), new: new.json(), changes, notes }
    }
}

/// The unit and, when systemd knows it, the files it consists of.
fn described(unit: &Unit) -> String {
    if unit.loaded.is_none() {
        return unit.name.clone();
    }
    let files: Vec<_> = unit.files.iter().map(|(path, _)| path.to_string_lossy()).collect();
    format!("{} ({})", unit.name, files.join(", "))
}
