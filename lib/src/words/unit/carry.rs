//! The three-way carry: a drop-in that makes NEW behave as the operator's OLD where NEW did not mean to change.
//!
//! What OLD differs from BASE is the operator's, what NEW differs from BASE is the release's. The answer is proven before
//! it is given: NEW with the drop-in is read again and must be what was meant, else there is a conflict and no answer.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::absent;
use super::file::File;
use super::keys::{self, Kind};
use merge::{Clash, Why};
use state::{Place, Slot, State, same};

mod command;
mod merge;
mod state;
mod write;

/// The name of the drop-in: it comes first, so that every drop-in of the operator's own goes on applying on top.
pub const NAME: &str = "00-upswap.conf";

const HEADER: &str = "\
# The changes that were made to this unit by hand, carried over the unit file of its release.
# Written by unit-diff --drop-in, and written again at each refresh: put changes of yours into a drop-in of another name.
";

/// The units that a carry is made from.
#[derive(Clone, Debug, Default)]
pub struct Sides<'a> {
    /// What the old release brought; without it every difference of OLD from NEW is the operator's.
    pub base: Option<Vec<&'a File>>,
    /// The unit as the operator has it, an older [`NAME`] included, without its other drop-ins.
    pub old: Vec<&'a File>,
    /// What the new release brings.
    pub new: Vec<&'a File>,
    /// The other drop-ins that apply before [`NAME`], with what to call them.
    pub early: Vec<(String, &'a File)>,
    /// The other drop-ins that apply after it.
    pub late: Vec<&'a File>,
}

/// A change that can't be carried without a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Conflict {
    /// The section, without brackets.
    pub section: String,
    /// The key, or a family of keys such as `Condition*`.
    pub key: String,
    /// What of the value: a variable, a flag, `program`, `prefix`, `order`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// What BASE says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// What OLD says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// What NEW says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
    /// Why it can't be carried, and what to do.
    pub text: String,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { section, key, part, base, old, new, text } = self;
        write!(f, "[{section}] {key}=")?;
        if let Some(part) = part {
            let gap = if keys::kind(key) == Kind::Variables { "" } else { " " };
            write!(f, "{gap}{part}")?;
        }
        let said =
            |side: &Option<String>| side.clone().map_or_else(|| "nothing".to_owned(), |text| format!("'{text}'"));
        write!(f, ": BASE says {}, OLD {}, NEW {}: {text}", said(base), said(old), said(new))
    }
}

/// The drop-in, empty when there is nothing to carry; or what can't be carried.
pub fn carry(sides: &Sides) -> Result<String, Vec<Conflict>> {
    let of = |files: &[&File]| State::of(files.iter().copied());
    let (old, new) = (of(&sides.old), of(&sides.new));
    let base = sides.base.as_ref().map_or_else(|| new.clone(), |files| of(files));
    let places: BTreeSet<&Place> = [&base, &old, &new].into_iter().flat_map(|state| state.slots.keys()).collect();
    let mut target = new.clone();
    let mut sections: BTreeMap<(u8, &str), Vec<String>> = BTreeMap::new();
    let mut conflicts = Vec::new();
    for place in places {
        let [b, o, n] = [&base, &old, &new].map(|state| state.slots.get(place));
        let carried = merge::merge(b, o, n).and_then(|meant| {
            let lines = write::lines(place, n, meant.as_ref())?;
            Ok((meant, lines))
        });
        match carried {
            Ok((_, lines)) if lines.is_empty() => {}
            Ok((meant, lines)) => {
                target.put(place, meant);
                sections.entry(rank(&place.section)).or_default().extend(lines);
            }
            // A drop-in that says it anew decides; nobody has to choose.
            Err(_) if sides.settled(place, o, n) => {}
            Err(clashes) => conflicts.extend(clashes.into_iter().map(|clash| conflict(place, clash, [b, o]))),
        }
    }
    if !conflicts.is_empty() {
        return Err(conflicts);
    }
    let text = text(&sections);
    prove(sides, &new, target, &text).map(|()| text)
}

impl Sides<'_> {
    fn early(&self) -> impl Iterator<Item = &File> {
        self.early.iter().map(|(_, file)| *file)
    }

    fn others(&self) -> impl Iterator<Item = &File> {
        self.early().chain(self.late.iter().copied())
    }

    /// The drop-ins that stay make the same of both.
    fn settled(&self, place: &Place, old: Option<&Slot>, new: Option<&Slot>) -> bool {
        let [old, new] = [old, new].map(|slot| State::only(place, slot).then(self.others()));
        same(old.slots.get(place), new.slots.get(place))
    }
}

/// Reads NEW with the drop-in and the others, and compares it with what was meant.
fn prove(sides: &Sides, new: &State, target: State, text: &str) -> Result<(), Vec<Conflict>> {
    let unreadable = |_| {
        vec![conflict(
            &Place { section: String::new(), key: String::new(), family: false },
            Clash { why: Why::Unsayable, ..Clash::default() },
            [None, None],
        )]
    };
    let drop_in = File::parse(text.as_bytes().to_vec()).map_err(unreadable)?;
    let meant = target.then(sides.others());
    let is = new.clone().then(sides.early()).then([&drop_in]).then(sides.late.iter().copied());
    let places: BTreeSet<&Place> = meant.slots.keys().chain(is.slots.keys()).collect();
    let mut conflicts = Vec::new();
    for place in places {
        let (meant, is) = (meant.slots.get(place), is.slots.get(place));
        if same(meant, is) {
            continue;
        }
        let speaks = |file: &File| {
            State::of([file]).slots.contains_key(place)
                || file.assignments().any(|a| state::places_of(&a).any(|(other, ..)| other == *place))
        };
        let early = sides.early.iter().find(|(_, file)| speaks(file)).map(|(name, _)| name.clone());
        let why = early.map_or(Why::Unsayable, Why::Early);
        let clash = Clash { part: None, base: None, old: meant.map(Slot::shown), new: is.map(Slot::shown), why };
        conflicts.push(conflict(place, clash, [None, None]));
    }
    if conflicts.is_empty() { Ok(()) } else { Err(conflicts) }
}

fn conflict(place: &Place, clash: Clash, [base, old]: [Option<&Slot>; 2]) -> Conflict {
    let Clash { part, base: b, old: o, new: n, why } = clash;
    let text = match &why {
        Why::Both => {
            "both changed it; say which holds in a drop-in of your own (systemctl edit), or let OLD say what NEW says"
                .to_owned()
        }
        Why::Order => {
            "both changed the order; list all in a drop-in of your own (systemctl edit), or let OLD say what NEW says"
                .to_owned()
        }
        Why::Kept => {
            "OLD took it away, and no drop-in can: write the value that should hold into OLD, or put the line back"
                .to_owned()
        }
        Why::Early(path) => {
            format!("{path} comes before {NAME} and would be overruled; give it a name that sorts after")
        }
        Why::Unsayable => "a drop-in can't say it; let OLD say what NEW says, or refresh the unit by hand".to_owned(),
    };
    let kept = why == Why::Kept;
    let said = |slot: Option<&Slot>| slot.map(Slot::shown).filter(|_| kept);
    // What is not said has its default, where that is known.
    let default = absent::of(&place.key).filter(|_| part.is_none() && why == Why::Both).map(ToOwned::to_owned);
    Conflict {
        section: place.section.clone(),
        key: place.key.clone(),
        part,
        base: b.or_else(|| said(base)).or_else(|| default.clone()),
        old: o.or_else(|| said(old)).or_else(|| default.clone()),
        new: n.or(default),
        text,
    }
}

/// `[Unit]` first, `[Install]` and what systemd doesn't know last, as people write units.
fn rank(section: &str) -> (u8, &str) {
    let order = match section {
        "Unit" => 0,
        "Install" => 2,
        other if keys::is_section(other) => 1,
        _ => 3,
    };
    (order, section)
}

fn text(sections: &BTreeMap<(u8, &str), Vec<String>>) -> String {
    let mut text = String::new();
    for ((_, section), lines) in sections {
        if text.is_empty() {
            text.push_str(HEADER);
        }
        text.extend(["\n[", section, "]\n"]);
        for line in lines {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests;
