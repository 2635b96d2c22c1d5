//! The difference of two units in systemd's meaning: what NEW adds to OLD, changes in it, and loses of it.
//!
//! Equality is decided on what systemd reads; flags, variables and list elements only decide how a difference is told.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use serde::Serialize;

use super::keys::{self, Kind};
use super::reading::{Name, Reading, Setting};
use super::sandbox::{self, Effect};
use super::{absent, element, exec};

mod commands;

/// What a change does to the old unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// NEW has it, OLD has not.
    Adds,
    /// Both have it, and it differs.
    Changes,
    /// OLD has it, NEW has not.
    Loses,
}

/// One difference. Of a unit with very many it holds no text of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change<'a> {
    /// What it does to OLD.
    pub class: Class,
    /// What it does to the confinement of the unit's processes, where that is sure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    /// The section, without brackets.
    pub section: &'a str,
    /// The key.
    pub key: &'a str,
    /// What of the value it speaks of, when not of the whole: a variable, a flag, `program`, `prefix`, `order`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<Cow<'a, str>>,
    /// What OLD says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<Cow<'a, str>>,
    /// What NEW says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<Cow<'a, str>>,
}

/// The differences from `old` to `new`: by section, then by key in the order in which the units have them. Empty when
/// systemd would see the same unit.
#[must_use]
pub fn compare<'a>(old: &Reading<'a>, new: &Reading<'a>) -> Vec<Change<'a>> {
    let names: BTreeSet<&Name> = old.settings().keys().chain(new.settings().keys()).collect();
    let mut ranked: Vec<_> = names.into_iter().map(|name| (rank(name, old, new), name)).collect();
    ranked.sort();
    let mut changes = Vec::new();
    for (_, name) in ranked {
        let from = changes.len();
        let mut told = Told { name: *name, changes: &mut changes };
        setting(name.1, old.settings().get(name), new.settings().get(name), &mut told);
        sandbox::judge(old, new, changes.get_mut(from..).unwrap_or_default());
    }
    changes
}

impl Change<'_> {
    /// The word in the first column: what it does to the confinement, unless something is lost: then that.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match (self.class, self.effect) {
            (Class::Loses, _) => "LOSES",
            (_, Some(Effect::Hardens)) => "hardens",
            (_, Some(Effect::Weakens)) => "weakens",
            (Class::Adds, None) => "adds",
            (Class::Changes, None) => "changes",
        }
    }
}

impl fmt::Display for Change<'_> {
    /// One line: `LOSES    [Service] NoNewPrivileges=yes (weakens)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { class, effect, section, key, part, old, new } = self;
        write!(f, "{:<8} [{section}] {key}=", self.word())?;
        let shown = |text: &str| if text.is_empty() { "\"\"".to_owned() } else { text.to_owned() };
        let value = match (old, new) {
            (Some(old), Some(new)) => format!("{} -> {}", shown(old), shown(new)),
            (text, None) | (None, text) => text.as_ref().map(ToString::to_string).unwrap_or_default(),
        };
        match part {
            // A variable is written as in the unit; a flag or a word of ours stands apart from the '='.
            Some(part) if keys::kind(key) == Kind::Variables => write!(f, "{part}={value}"),
            Some(part) => write!(f, "{}", format!(" {part} {value}").trim_end()),
            None => f.write_str(&value),
        }?;
        match (class, effect) {
            (Class::Loses, Some(Effect::Weakens)) => f.write_str(" (weakens)"),
            (Class::Loses, Some(Effect::Hardens)) => f.write_str(" (hardens)"),
            _ => Ok(()),
        }
    }
}

/// `[Unit]` first, `[Install]` and what systemd doesn't know last, as people write units; then the order of the files.
fn rank<'a>(name: &Name<'a>, old: &Reading, new: &Reading) -> (u8, &'a str, bool, usize) {
    let section = match name.0 {
        "Unit" => 0,
        "Install" => 2,
        other if keys::is_section(other) => 1,
        _ => 3,
    };
    let (first, second) = (old.settings().get(name), new.settings().get(name));
    let rank = first.or(second).map(|s| s.rank).unwrap_or_default();
    (section, name.0, first.is_none(), rank)
}

/// A [`Change`] before its section and key are known.
struct Difference<'a> {
    class: Class,
    part: Option<Cow<'a, str>>,
    old: Option<Cow<'a, str>>,
    new: Option<Cow<'a, str>>,
}

/// Where the differences of one key go.
struct Told<'c, 'a> {
    name: Name<'a>,
    changes: &'c mut Vec<Change<'a>>,
}

impl<'a> Told<'_, 'a> {
    fn push(&mut self, difference: Difference<'a>) {
        let Difference { class, part, old, new } = difference;
        let (section, key) = self.name;
        self.changes.push(Change { class, effect: None, section, key, part, old, new });
    }

    fn extend(&mut self, differences: impl IntoIterator<Item = Difference<'a>>) {
        differences.into_iter().for_each(|difference| self.push(difference));
    }

    fn len(&self) -> usize {
        self.changes.len()
    }
}

impl<'a> Difference<'a> {
    fn adds(new: impl Into<Cow<'a, str>>) -> Self {
        Self { class: Class::Adds, part: None, old: None, new: Some(new.into()) }
    }

    fn loses(old: impl Into<Cow<'a, str>>) -> Self {
        Self { class: Class::Loses, part: None, old: Some(old.into()), new: None }
    }

    fn changes(old: impl Into<Cow<'a, str>>, new: impl Into<Cow<'a, str>>) -> Self {
        Self { class: Class::Changes, part: None, old: Some(old.into()), new: Some(new.into()) }
    }

    fn of(mut self, part: impl Into<Cow<'a, str>>) -> Self {
        self.part = Some(part.into());
        self
    }
}

fn setting<'a>(key: &str, old: Option<&Setting<'a>>, new: Option<&Setting<'a>>, out: &mut Told<'_, 'a>) {
    let [before, after] = [old, new].map(|s| s.map(|s| s.values.as_slice()).unwrap_or_default());
    if old.is_some() && new.is_some() && before == after {
        return;
    }
    match keys::kind(key) {
        Kind::Text | Kind::Switch | Kind::Span => single(key, before.last().copied(), after.last().copied(), out),
        Kind::Words | Kind::Dependencies => set(key, &words(key, before), &words(key, after), out),
        Kind::OrderedWords => sequence(key, &words(key, before), &words(key, after), out),
        Kind::Entries => set(key, &whole(key, before), &whole(key, after), out),
        // The empty value is no absent one (Delegate=).
        Kind::Sequence if [old, new].iter().any(|s| s.is_some_and(|s| s.values.is_empty())) => {
            emptied(old, new, out);
        }
        Kind::Sequence => sequence(key, &whole(key, before), &whole(key, after), out),
        Kind::Capabilities if old.is_some() && new.is_some() => filter(key, before, after, out),
        // Without the key every capability is in the set; with the key the words are all there is.
        Kind::Capabilities => emptied(old, new, out),
        Kind::Filter => filter(key, before, after, out),
        Kind::Variables => variables(before, after, out),
        Kind::Commands => commands::commands(before, after, out),
    }
}

/// Lists told as a whole, of which an empty one means something.
fn emptied<'a>(old: Option<&Setting<'a>>, new: Option<&Setting<'a>>, out: &mut Told<'_, 'a>) {
    let listed = |setting: &Setting| match setting.values.as_slice() {
        [] => "\"\"".to_owned(),
        values => values.join(" "),
    };
    out.extend(match (old.map(listed), new.map(listed)) {
        (Some(old), Some(new)) => Some(Difference::changes(old, new)),
        (Some(old), None) => Some(Difference::loses(old)),
        (None, new) => new.map(Difference::adds),
    });
}

/// The words of all `values`; a value that can't be split is one word.
fn words<'a>(key: &str, values: &[&'a str]) -> Vec<Cow<'a, str>> {
    let mut words: Vec<Cow<str>> = Vec::with_capacity(values.len());
    for value in values {
        if !value.contains(['"', '\'', '\\']) {
            words.extend(value.split([' ', '\t', '\n', '\r']).filter(|word| !word.is_empty()).map(Cow::from));
        } else if let Ok(split) = exec::words(value) {
            words.extend(split.into_iter().map(Cow::from));
        } else {
            words.push(Cow::from(*value));
        }
    }
    simplified(key, words)
}

fn whole<'a>(key: &str, values: &[&'a str]) -> Vec<Cow<'a, str>> {
    simplified(key, values.iter().map(|value| Cow::from(*value)).collect())
}

fn simplified<'a>(key: &str, mut elements: Vec<Cow<'a, str>>) -> Vec<Cow<'a, str>> {
    if keys::is_path(key) {
        for element in &mut elements {
            if let Cow::Owned(simple) = keys::simple_path(element) {
                *element = simple.into();
            }
        }
    }
    elements
}

fn single<'a>(key: &str, old: Option<&'a str>, new: Option<&'a str>, out: &mut Told<'_, 'a>) {
    out.extend(match (old, new) {
        (Some(old), Some(new)) if keys::meaning(key, old) != keys::meaning(key, new) => {
            Some(Difference::changes(old, new))
        }
        // A default that is said is one that is not said.
        (Some(old), None) if !absent::is_default(key, old) => Some(Difference::loses(old)),
        (None, Some(new)) if !absent::is_default(key, new) => Some(Difference::adds(new)),
        _ => None,
    });
}

fn set<'a>(key: &str, old: &[Cow<'a, str>], new: &[Cow<'a, str>], out: &mut Told<'_, 'a>) {
    fn alone<'l, 'a>(list: &'l [Cow<'a, str>], other: &[Cow<'a, str>]) -> Vec<&'l Cow<'a, str>> {
        let other: BTreeSet<&str> = other.iter().map(Cow::as_ref).collect();
        let mut told: BTreeSet<&str> = BTreeSet::new();
        let mut alone = Vec::new();
        for element in list.iter().filter(|element| !other.contains(element.as_ref())) {
            if told.insert(element) {
                alone.push(element);
            }
        }
        alone
    }
    elements(key, &alone(old, new), &alone(new, old), out);
}

fn sequence<'a>(key: &str, old: &[Cow<'a, str>], new: &[Cow<'a, str>], out: &mut Told<'_, 'a>) {
    if let ([old], [new]) = (old, new) {
        if old != new {
            out.push(Difference::changes(old.clone(), new.clone()));
        }
        return;
    }
    let (kept_old, lost) = against(old, new);
    let (kept_new, added) = against(new, old);
    let paired = elements(key, &lost, &added, out);
    // What differs a little has its place among the others too.
    let places = |list: &[Cow<'a, str>], alone: &[&Cow<'a, str>]| -> Vec<String> {
        let without: BTreeSet<*const Cow<'a, str>> =
            alone.iter().filter(|e| !paired.contains(element::name(key, e))).map(|e| std::ptr::from_ref(*e)).collect();
        let stays = list.iter().filter(|e| !without.contains(&std::ptr::from_ref(*e)));
        stays.map(|e| element::name(key, e).to_owned()).collect()
    };
    if kept_old != kept_new || (!paired.is_empty() && places(old, &lost) != places(new, &added)) {
        let joined = |list: &[Cow<'a, str>], kept: &[&Cow<'a, str>]| {
            if paired.is_empty() {
                kept.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join("; ")
            } else {
                list.join("; ")
            }
        };
        out.push(Difference::changes(joined(old, &kept_old), joined(new, &kept_new)).of("order"));
    }
}

/// Elements that one side alone has: where one of each is about the same thing, it is one that differs. The names of those.
fn elements<'a>(
    key: &str,
    lost: &[&Cow<'a, str>],
    added: &[&Cow<'a, str>],
    out: &mut Told<'_, 'a>,
) -> BTreeSet<String> {
    let mut paired = BTreeSet::new();
    if lost.is_empty() || added.is_empty() {
        out.extend(lost.iter().map(|element| Difference::loses((*element).clone())));
        out.extend(added.iter().map(|element| Difference::adds((*element).clone())));
        return paired;
    }
    let named = |list: &[&Cow<'a, str>]| {
        let mut named: BTreeMap<String, Option<Cow<'a, str>>> = BTreeMap::new();
        for element in list {
            let name = element::name(key, element).to_owned();
            named.entry(name).and_modify(|only| *only = None).or_insert_with(|| Some((*element).clone()));
        }
        named
    };
    let (olds, news) = (named(lost), named(added));
    let only = |named: &BTreeMap<String, Option<Cow<'a, str>>>, name: &str| named.get(name).cloned().flatten();
    for element in lost {
        let name = element::name(key, element);
        out.push(match only(&news, name).filter(|_| only(&olds, name).is_some()) {
            Some(new) => {
                paired.insert(name.to_owned());
                Difference::changes((*element).clone(), new)
            }
            None => Difference::loses((*element).clone()),
        });
    }
    let alone = added.iter().filter(|element| !paired.contains(element::name(key, element)));
    out.extend(alone.map(|element| Difference::adds((*element).clone())));
    paired
}

/// The elements of `list` that have a partner in `other`, each used once, and those that have none.
fn against<'a, T: Ord>(list: &'a [T], other: &[T]) -> (Vec<&'a T>, Vec<&'a T>) {
    let mut left: BTreeMap<&T, usize> = BTreeMap::new();
    for element in other {
        *left.entry(element).or_default() += 1;
    }
    list.iter().partition(|element| match left.get_mut(element) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    })
}

/// Lists in which `~` takes words back are what their order makes of them; without it they are sets.
fn filter<'a>(key: &str, old: &[&'a str], new: &[&'a str], out: &mut Told<'_, 'a>) {
    // Capabilities in any case, and a boolean in any spelling (RestrictNamespaces=), are one word.
    let one = |value: &&'a str| -> Cow<'a, str> {
        match keys::switch(value) {
            switch if switch != *value => switch.to_owned().into(),
            _ if key.ends_with("Capabilities") || key == "CapabilityBoundingSet" => value.to_ascii_uppercase().into(),
            _ => (*value).into(),
        }
    };
    let (old, new): (Vec<_>, Vec<_>) = (old.iter().map(one).collect(), new.iter().map(one).collect());
    if old.iter().chain(&new).any(|value| value.starts_with('~')) {
        return sequence(key, &old, &new, out);
    }
    let words = |values: &[Cow<'a, str>]| -> Vec<Cow<'a, str>> {
        let split = |value: &Cow<'a, str>| match value {
            Cow::Borrowed(value) => words(key, &[value]),
            Cow::Owned(value) => words(key, &[value]).into_iter().map(|word| word.into_owned().into()).collect(),
        };
        values.iter().flat_map(split).collect()
    };
    set(key, &words(&old), &words(&new), out);
}

fn variables<'a>(old: &[&'a str], new: &[&'a str], out: &mut Told<'_, 'a>) {
    let (old, new) = (words("", old), words("", new));
    let ((old_names, before), (new_names, after)) = (read_variables(&old), read_variables(&new));
    for name in old_names {
        match (before.get(name), after.get(name)) {
            (Some(old), Some(new)) if old != new => {
                out.push(Difference::changes((*old).to_owned(), (*new).to_owned()).of(name.to_owned()));
            }
            (Some(old), None) => out.push(Difference::loses((*old).to_owned()).of(name.to_owned())),
            _ => {}
        }
    }
    for name in new_names.into_iter().filter(|name| !before.contains_key(name)) {
        let new = after.get(name).copied().unwrap_or_default();
        out.push(Difference::adds(new.to_owned()).of(name.to_owned()));
    }
}

/// The variables in the order of their first, each with its last value.
fn read_variables<'w>(words: &'w [Cow<str>]) -> (Vec<&'w str>, BTreeMap<&'w str, &'w str>) {
    let (mut order, mut last) = (Vec::new(), BTreeMap::new());
    // systemd ignores a word without '='.
    for (name, value) in words.iter().filter_map(|word| word.split_once('=')) {
        if last.insert(name, value).is_none() {
            order.push(name);
        }
    }
    (order, last)
}

/// `elements` by a name, in their order.
fn by<'a, T, N: Ord>(elements: &[&'a T], name: impl Fn(&'a T) -> N) -> BTreeMap<N, VecDeque<&'a T>> {
    let mut named: BTreeMap<N, VecDeque<&T>> = BTreeMap::new();
    for element in elements {
        named.entry(name(element)).or_default().push_back(element);
    }
    named
}

#[cfg(test)]
mod tests;
