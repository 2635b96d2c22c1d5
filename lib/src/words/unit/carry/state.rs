//! A unit as the carry sees it: for each key, or family of keys that one empty value clears, the elements in force, each
//! as it is written, so that it can be written again and systemd reads the same bytes.

use std::collections::{BTreeMap, BTreeSet};

use crate::words::unit::absent::{self, Deed};
use crate::words::unit::exec;
use crate::words::unit::file::{Assignment, File};
use crate::words::unit::keys::{self, Kind};

/// A key, or a family of keys (`Condition*`) that share one list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The section, without brackets.
    pub section: String,
    /// The key, or the family's name.
    pub key: String,
    /// It is a family.
    pub family: bool,
}

/// One element of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// The key of its line; within a family not its place's.
    pub key: String,
    /// As it is written.
    pub raw: String,
    /// What it means: equal text for equal meaning.
    pub id: String,
    /// It needs a line of its own.
    pub alone: bool,
}

/// What is in force at a [`Place`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// How it is read.
    pub kind: Kind,
    /// Its elements in their order; none only after [`Deed::Empties`].
    pub elements: Vec<Element>,
}

/// All that is in force.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// By place.
    pub slots: BTreeMap<Place, Slot>,
    /// The meanings that stand in each set, so that none is looked for in a long list.
    known: BTreeMap<Place, BTreeMap<String, usize>>,
}

impl State {
    /// What `files` say together, in their order.
    pub fn of<'a>(files: impl IntoIterator<Item = &'a File>) -> Self {
        Self::default().then(files)
    }

    /// The same with `files` on top.
    pub fn then<'a>(mut self, files: impl IntoIterator<Item = &'a File>) -> Self {
        for assignment in files.into_iter().flat_map(File::assignments) {
            for (place, kind, key) in places_of(&assignment) {
                self.assign(place, kind, key, assignment.value);
            }
        }
        self
    }

    /// A state with this slot alone.
    pub fn only(place: &Place, slot: Option<&Slot>) -> Self {
        let mut state = Self::default();
        state.put(place, slot.cloned());
        state
    }

    /// Sets what is in force at `place`.
    pub fn put(&mut self, place: &Place, slot: Option<Slot>) {
        self.known.remove(place);
        match slot {
            Some(slot) => {
                if by_name(slot.kind) {
                    let known = slot.elements.iter().enumerate().map(|(at, e)| (name_of(slot.kind, e), at)).collect();
                    self.known.insert(place.clone(), known);
                }
                self.slots.insert(place.clone(), slot);
            }
            None => {
                self.slots.remove(place);
            }
        }
    }

    fn assign(&mut self, place: Place, kind: Kind, key: &str, value: &str) {
        let emptied = self.slots.get(&place).is_some_and(|slot| slot.elements.is_empty());
        match absent::deed(key, kind, value, emptied) {
            Deed::Nothing => return,
            Deed::Resets => return self.put(&place, None),
            Deed::Empties => return self.put(&place, Some(Slot { kind, elements: Vec::new() })),
            Deed::Replaces if absent::is_default(key, value) => return self.put(&place, None),
            Deed::Replaces => self.put(&place, Some(Slot { kind, elements: Vec::new() })),
            Deed::Adds => {}
        }
        let elements = elements(kind, key, value, place.family);
        if elements.is_empty() {
            return;
        }
        let slot = self.slots.entry(place.clone()).or_insert_with(|| Slot { kind, elements: Vec::new() });
        if !by_name(kind) {
            slot.elements.extend(elements);
            return;
        }
        let known = self.known.entry(place).or_default();
        for element in elements {
            let name = name_of(kind, &element);
            if let Some(before) = known.get(&name).and_then(|at| slot.elements.get_mut(*at)) {
                // Said again it stays as it was first written; a variable has its last value.
                if before.id != element.id {
                    *before = element;
                }
            } else {
                known.insert(name, slot.elements.len());
                slot.elements.push(element);
            }
        }
    }
}

impl Slot {
    /// The order of its elements means something.
    pub fn is_ordered(&self) -> bool {
        match self.kind {
            Kind::OrderedWords | Kind::Sequence | Kind::Commands => true,
            Kind::Filter | Kind::Capabilities => self.elements.iter().any(|e| e.id.starts_with('~')),
            _ => false,
        }
    }

    /// As people read it.
    pub fn shown(&self) -> String {
        let shown = |e: &Element| e.raw.clone();
        let joint = if self.kind == Kind::Commands || self.kind == Kind::Sequence { "; " } else { " " };
        if self.elements.is_empty() {
            "\"\"".to_owned()
        } else {
            self.elements.iter().map(shown).collect::<Vec<_>>().join(joint)
        }
    }
}

/// True when systemd makes the same of both.
pub fn same(one: Option<&Slot>, other: Option<&Slot>) -> bool {
    let (Some(one), Some(other)) = (one, other) else { return one.is_none() && other.is_none() };
    let ids = |slot: &Slot| slot.elements.iter().map(|e| (e.key.clone(), e.id.clone())).collect::<Vec<_>>();
    let (one_ids, other_ids) = (ids(one), ids(other));
    if one.is_ordered() || other.is_ordered() {
        return one_ids == other_ids;
    }
    one_ids.into_iter().collect::<BTreeSet<_>>() == other_ids.into_iter().collect::<BTreeSet<_>>()
}

/// The last assignment counts, and it is one value.
pub fn is_single(kind: Kind) -> bool {
    matches!(kind, Kind::Text | Kind::Switch | Kind::Span)
}

/// An element is told by what [`name_of`] says, and stands once.
fn by_name(kind: Kind) -> bool {
    matches!(kind, Kind::Words | Kind::Dependencies | Kind::Entries | Kind::Variables)
}

/// What two elements that speak of one thing have in common.
pub fn name_of(kind: Kind, element: &Element) -> String {
    match element.id.split_once('=') {
        Some((name, _)) if kind == Kind::Variables => name.to_owned(),
        _ => format!("{}={}", element.key, element.id),
    }
}

/// Where an assignment goes, how it is read there, and as which key.
pub fn places_of<'a>(assignment: &Assignment<'a>) -> impl Iterator<Item = (Place, Kind, &'a str)> + use<'a> {
    keys::settings(assignment.section, assignment.key).map(|(section, key)| {
        let place = |key: &str, family| Place { section: section.to_owned(), key: key.to_owned(), family };
        match keys::family(section, key) {
            // The descriptors are passed, and the text is put together, in the order of the lines.
            Some(family @ ("Listen*" | "StandardInput*")) => (place(family, true), Kind::Sequence, key),
            Some(family) => (place(family, true), Kind::Entries, key),
            None => (place(key, false), keys::kind(key), key),
        }
    })
}

/// The one text for what a value that is not split means.
fn meaning(key: &str, value: &str) -> String {
    keys::meaning(key, value).into_owned()
}

fn elements(kind: Kind, key: &str, value: &str, family: bool) -> Vec<Element> {
    let whole = || Element { key: key.to_owned(), raw: value.to_owned(), id: meaning(key, value), alone: true };
    let negated = matches!(kind, Kind::Filter | Kind::Capabilities) && value.starts_with('~');
    if family || negated || is_single(kind) || matches!(kind, Kind::Entries | Kind::Sequence) {
        return vec![whole()];
    }
    // What can't be split is kept as it is.
    let Some(words) = raw_words(value) else { return vec![whole()] };
    if kind == Kind::Commands {
        let raws = words.split(|word| *word == ";").filter(|words| !words.is_empty()).map(|words| words.join(" "));
        let command = |raw: String| {
            let read = exec::commands(&raw).ok().filter(|all| all.len() == 1);
            let id = read.filter(|_| !is_lossy(&raw)).map_or_else(|| raw.clone(), |all| format!("{all:?}"));
            Element { key: key.to_owned(), raw, id, alone: true }
        };
        return raws.map(command).collect();
    }
    let word = |raw: &str| {
        let plain = exec::words(raw).ok().and_then(|words| words.into_iter().next()).filter(|_| !is_lossy(raw));
        // Of the lists, only variables are read with their escapes resolved; a unit's name keeps its \x2d.
        let id = plain.filter(|_| kind == Kind::Variables || !raw.contains('\\')).unwrap_or_else(|| raw.to_owned());
        let id = if keys::is_path(key) { keys::simple_path(&id).into_owned() } else { id };
        Element { key: key.to_owned(), raw: raw.to_owned(), id, alone: ends_in_backslash(raw) }
    };
    let all = words.into_iter().map(word);
    // systemd ignores a word without '='.
    all.filter(|e| kind != Kind::Variables || e.id.contains('=')).collect()
}

/// Its escapes may stand for bytes that are no UTF-8.
fn is_lossy(raw: &str) -> bool {
    !raw.contains('\u{fffd}') && exec::words(raw).is_ok_and(|words| words.iter().any(|w| w.contains('\u{fffd}')))
}

/// A backslash at the end would join what follows.
pub fn ends_in_backslash(raw: &str) -> bool {
    raw.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1
}

/// The words of `value` as they are written, quotes and escapes included; `None` when a quote is not closed.
pub fn raw_words(value: &str) -> Option<Vec<&str>> {
    let blank = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r');
    let (mut words, mut start, mut quote) = (Vec::new(), None, None);
    let mut rest = value.char_indices();
    while let Some((at, c)) = rest.next() {
        if quote.is_none() && blank(c) {
            words.extend(start.take().and_then(|start: usize| value.get(start..at)));
            continue;
        }
        start.get_or_insert(at);
        match (c, quote) {
            ('\\', _) => {
                rest.next();
            }
            (c, Some(open)) if c == open => quote = None,
            ('\'' | '"', None) => quote = Some(c),
            _ => {}
        }
    }
    words.extend(start.and_then(|start| value.get(start..)));
    quote.is_none().then_some(words)
}
