//! A unit as the carry sees it: for each key, or family of keys that one empty value clears, the elements in force, each
//! as it is written, so that it can be written again and systemd reads the same bytes.

use std::collections::{BTreeMap, BTreeSet};

use super::absent;
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
    /// Its elements in their order; none only for the empty bounding set.
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
        for Assignment { section, key, value, .. } in files.into_iter().flat_map(File::assignments) {
            for (section, key) in meant(section, key) {
                self.assign(section, key, value);
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

    fn assign(&mut self, section: &str, key: &str, value: &str) {
        let (place, kind) = place_of(section, key);
        if value.is_empty() || kind == Kind::Capabilities && value == "~" {
            let empty_set = kind == Kind::Capabilities && value.is_empty();
            let stays = kind == Kind::Dependencies || is_single(kind) && !absent::empties(key);
            if !stays {
                self.put(&place, empty_set.then(|| Slot { kind, elements: Vec::new() }));
            }
            return;
        }
        let elements = elements(kind, key, value, place.family);
        if is_single(kind) {
            let default = elements.first().is_some_and(|e| absent::of(key).is_some_and(|d| meaning(kind, d) == e.id));
            self.put(&place, (!default).then_some(Slot { kind, elements }));
            return;
        }
        if elements.is_empty() {
            return;
        }
        let empty_set = |slot: &Slot| kind == Kind::Capabilities && slot.elements.is_empty();
        if value.starts_with('~') && self.slots.get(&place).is_some_and(empty_set) {
            return;
        }
        let slot = self.slots.entry(place.clone()).or_insert_with(|| Slot { kind, elements: Vec::new() });
        if is_switch(key, value) {
            slot.elements.clear();
        }
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

/// `RestrictNamespaces=yes`, `RestrictAddressFamilies=none`: a word that is no element of the list, and the whole of it.
pub fn is_switch(key: &str, word: &str) -> bool {
    if key == "RestrictAddressFamilies" {
        return word == "none";
    }
    ["RestrictNamespaces", "DelegateNamespaces", "Delegate"].contains(&key)
        && ["yes", "no"].contains(&keys::switch(word))
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

/// Where an assignment goes, and how it is read there.
pub fn place_of(section: &str, key: &str) -> (Place, Kind) {
    let kind = keys::kind(key);
    // Both feed one buffer (systemd.exec(5)).
    let input = matches!(key, "StandardInputText" | "StandardInputData").then_some("StandardInput*");
    let place = |key: &str, family| Place { section: section.to_owned(), key: key.to_owned(), family };
    match keys::family(section, key).or(input) {
        // The descriptors are passed in the order of the lines.
        Some(family @ ("Listen*" | "StandardInput*")) => (place(family, true), Kind::Sequence),
        Some(family) => (place(family, true), Kind::Entries),
        None => (place(key, false), kind),
    }
}

/// The settings that `key` sets: older spellings are what they stand for, `TimeoutSec=` is two.
fn meant<'a>(section: &'a str, key: &'a str) -> Vec<(&'a str, &'a str)> {
    match (section, key) {
        ("Service", "TimeoutSec") => vec![(section, "TimeoutStartSec"), (section, "TimeoutStopSec")],
        _ => vec![keys::current(section, key)],
    }
}

/// The one text for what a single value means.
fn meaning(kind: Kind, value: &str) -> String {
    match kind {
        Kind::Switch => keys::switch(value).to_owned(),
        Kind::Span => keys::span(value).map_or_else(|| value.to_owned(), |span| format!("{span:?}")),
        _ => value.to_owned(),
    }
}

fn elements(kind: Kind, key: &str, value: &str, family: bool) -> Vec<Element> {
    let whole = || Element { key: key.to_owned(), raw: value.to_owned(), id: meaning(kind, value), alone: true };
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
