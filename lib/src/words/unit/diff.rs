//! The difference of two units in systemd's meaning: what NEW adds to OLD, changes in it, and loses of it.
//!
//! Equality is decided on what systemd reads; flags, variables and list elements only decide how a difference is told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::exec::{self, Command};
use super::flags::{self, Flag};
use super::keys::{self, Kind};
use super::reading::{Name, Reading, Setting};

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

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What it does to OLD.
    pub class: Class,
    /// The section, without brackets.
    pub section: String,
    /// The key.
    pub key: String,
    /// What of the value it speaks of, when not of the whole: a variable, a flag, `program`, `prefix`, `order`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// What OLD says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// What NEW says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
}

/// The differences from `old` to `new`: by section, then by key in the order in which the units have them. Empty when
/// systemd would see the same unit.
#[must_use]
pub fn compare(old: &Reading, new: &Reading) -> Vec<Change> {
    let names: BTreeSet<&Name> = old.settings().keys().chain(new.settings().keys()).collect();
    let mut ranked: Vec<_> = names.into_iter().map(|name| (rank(name, old, new), name)).collect();
    ranked.sort();
    let mut changes = Vec::new();
    for (_, name) in ranked {
        let mut parts = Vec::new();
        setting(keys::kind(&name.1), old.settings().get(name), new.settings().get(name), &mut parts);
        changes.extend(parts.into_iter().map(|Part { class, part, old, new }| Change {
            class,
            section: name.0.clone(),
            key: name.1.clone(),
            part,
            old,
            new,
        }));
    }
    changes
}

impl fmt::Display for Class {
    /// The word in its column; a loss is the one that must not be overlooked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Adds => "adds",
            Self::Changes => "changes",
            Self::Loses => "LOSES",
        })
    }
}

impl fmt::Display for Change {
    /// One line: `LOSES    [Service] Environment=RUST_LOG=debug`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { class, section, key, part, old, new } = self;
        write!(f, "{class:<8} [{section}] {key}=")?;
        if let Some(part) = part {
            // A variable is written as in the unit; a flag or a word of ours stands apart from the '='.
            write!(f, "{}", if keys::kind(key) == Kind::Variables { format!("{part}=") } else { format!(" {part} ") })?;
        }
        match (old, new) {
            (Some(old), Some(new)) => write!(f, "{old} -> {new}"),
            (Some(one), None) | (None, Some(one)) => write!(f, "{one}"),
            (None, None) => Ok(()),
        }
    }
}

/// `[Unit]` first, `[Install]` and what systemd doesn't know last, as people write units; then the order of the files.
fn rank(name: &Name, old: &Reading, new: &Reading) -> (u8, String, bool, usize) {
    let section = match name.0.as_str() {
        "Unit" => 0,
        "Install" => 2,
        other if keys::is_section(other) => 1,
        _ => 3,
    };
    let (first, second) = (old.settings().get(name), new.settings().get(name));
    let rank = first.or(second).map(|s| s.rank).unwrap_or_default();
    (section, name.0.clone(), first.is_none(), rank)
}

/// A [`Change`] before its section and key are known.
struct Part {
    class: Class,
    part: Option<String>,
    old: Option<String>,
    new: Option<String>,
}

impl Part {
    fn adds(new: impl Into<String>) -> Self {
        Self { class: Class::Adds, part: None, old: None, new: Some(new.into()) }
    }

    fn loses(old: impl Into<String>) -> Self {
        Self { class: Class::Loses, part: None, old: Some(old.into()), new: None }
    }

    fn changes(old: impl Into<String>, new: impl Into<String>) -> Self {
        Self { class: Class::Changes, part: None, old: Some(old.into()), new: Some(new.into()) }
    }

    fn of(mut self, part: impl Into<String>) -> Self {
        self.part = Some(part.into());
        self
    }
}

fn setting(kind: Kind, old: Option<&Setting>, new: Option<&Setting>, out: &mut Vec<Part>) {
    let values = |s: Option<&Setting>| s.map(|s| s.values.clone()).unwrap_or_default();
    let (before, after) = (values(old), values(new));
    if old.is_some() && new.is_some() && before == after {
        return;
    }
    match kind {
        Kind::Text => single(&before, &after, |v| v.to_owned(), out),
        Kind::Switch => single(&before, &after, |v| keys::switch(v).to_owned(), out),
        Kind::Span => {
            single(&before, &after, |v| keys::microseconds(v).map_or_else(|| v.to_owned(), |us| format!("{us}us")), out);
        }
        Kind::Words | Kind::Dependencies => set(&words(&before), &words(&after), out),
        Kind::OrderedWords => sequence(&words(&before), &words(&after), out),
        Kind::Entries => set(&before, &after, out),
        Kind::Sequence => sequence(&before, &after, out),
        Kind::Capabilities if old.is_some() && new.is_some() => filter(&before, &after, out),
        // Without the key every capability is in the set; with the key the words are all there is.
        Kind::Capabilities => match new {
            Some(_) => out.push(Part::adds(listed(&after))),
            None => out.push(Part::loses(listed(&before))),
        },
        Kind::Filter => filter(&before, &after, out),
        Kind::Variables => variables(&before, &after, out),
        Kind::Commands => commands(&before, &after, out),
    }
}

fn listed(values: &[String]) -> String {
    if values.is_empty() { "\"\"".to_owned() } else { values.join(" ") }
}

/// The words of all `values`; a value that can't be split is one word.
fn words(values: &[String]) -> Vec<String> {
    values.iter().flat_map(|value| exec::words(value).unwrap_or_else(|_| vec![value.clone()])).collect()
}

fn single(old: &[String], new: &[String], meaning: impl Fn(&str) -> String, out: &mut Vec<Part>) {
    match (old.last(), new.last()) {
        (Some(old), Some(new)) if meaning(old) != meaning(new) => out.push(Part::changes(old, new)),
        (Some(old), None) => out.push(Part::loses(old)),
        (None, Some(new)) => out.push(Part::adds(new)),
        _ => {}
    }
}

fn set(old: &[String], new: &[String], out: &mut Vec<Part>) {
    let (before, after): (BTreeSet<_>, BTreeSet<_>) = (old.iter().collect(), new.iter().collect());
    let mut told = BTreeSet::new();
    out.extend(old.iter().filter(|e| !after.contains(e) && told.insert(*e)).map(Part::loses));
    out.extend(new.iter().filter(|e| !before.contains(e) && told.insert(*e)).map(Part::adds));
}

fn sequence(old: &[String], new: &[String], out: &mut Vec<Part>) {
    if let ([old], [new]) = (old, new) {
        if old != new {
            out.push(Part::changes(old, new));
        }
        return;
    }
    let (kept_old, lost) = against(old, new);
    let (kept_new, added) = against(new, old);
    out.extend(lost.into_iter().map(Part::loses));
    out.extend(added.into_iter().map(Part::adds));
    if kept_old != kept_new {
        let joined = |kept: &[&String]| kept.iter().map(|e| e.as_str()).collect::<Vec<_>>().join("; ");
        out.push(Part::changes(joined(&kept_old), joined(&kept_new)).of("order"));
    }
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
fn filter(old: &[String], new: &[String], out: &mut Vec<Part>) {
    if old.iter().chain(new).any(|value| value.starts_with('~')) {
        sequence(old, new, out);
    } else {
        set(&words(old), &words(new), out);
    }
}

fn variables(old: &[String], new: &[String], out: &mut Vec<Part>) {
    let read = |values: &[String]| -> (Vec<String>, BTreeMap<String, String>) {
        let mut order = Vec::new();
        let mut last = BTreeMap::new();
        for word in words(values) {
            // systemd ignores a word without '='.
            if let Some((name, value)) = word.split_once('=') {
                if last.insert(name.to_owned(), value.to_owned()).is_none() {
                    order.push(name.to_owned());
                }
            }
        }
        (order, last)
    };
    let ((old_names, before), (new_names, after)) = (read(old), read(new));
    for name in old_names {
        match (before.get(&name), after.get(&name)) {
            (Some(old), Some(new)) if old != new => out.push(Part::changes(old, new).of(name)),
            (Some(old), None) => out.push(Part::loses(old).of(name)),
            _ => {}
        }
    }
    for name in new_names.into_iter().filter(|name| !before.contains_key(name)) {
        let new = after.get(&name).cloned().unwrap_or_default();
        out.push(Part::adds(new).of(name));
    }
}

fn commands(old: &[String], new: &[String], out: &mut Vec<Part>) {
    let read = |values: &[String]| values.iter().map(|v| exec::commands(v)).collect::<Result<Vec<_>, _>>();
    let (Ok(before), Ok(after)) = (read(old), read(new)) else { return sequence(old, new, out) };
    let (before, after) = (before.concat(), after.concat());
    if before == after {
        return;
    }
    if let ([old], [new]) = (before.as_slice(), after.as_slice()) {
        return command(old, new, None, out);
    }
    let shown = |commands: &[Command]| commands.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (old_lines, new_lines) = (shown(&before), shown(&after));
    let (kept_old, lost) = against(&old_lines, &new_lines);
    let (kept_new, mut added) = against(&new_lines, &old_lines);
    let find = |all: &[Command], lines: &[String], line: &String| {
        lines.iter().position(|l| l == line).and_then(|i| all.get(i).cloned()).unwrap_or_default()
    };
    for line in lost {
        let old = find(&before, &old_lines, line);
        let same = added.iter().position(|l| find(&after, &new_lines, l).program == old.program);
        match same.map(|index| added.remove(index)) {
            Some(partner) => command(&old, &find(&after, &new_lines, partner), Some(&old.program), out),
            None => out.push(Part::loses(line)),
        }
    }
    out.extend(added.into_iter().map(Part::adds));
    if kept_old != kept_new {
        let joined = |kept: &[&String]| kept.iter().map(|e| e.as_str()).collect::<Vec<_>>().join("; ");
        out.push(Part::changes(joined(&kept_old), joined(&kept_new)).of("order"));
    }
}

/// What differs between two command lines, by prefix, program and flag. `of` names the command when there are several.
fn command(old: &Command, new: &Command, of: Option<&str>, out: &mut Vec<Part>) {
    let name = |part: &str| of.map_or_else(|| part.to_owned(), |program| format!("{program} {part}").trim_end().to_owned());
    let told = out.len();
    if old.prefix != new.prefix {
        let shown = |prefix: &str| if prefix.is_empty() { "none".to_owned() } else { prefix.to_owned() };
        out.push(Part::changes(shown(&old.prefix), shown(&new.prefix)).of(name("prefix")));
    }
    if old.program != new.program {
        out.push(Part::changes(&old.program, &new.program).of(name("program")));
    }
    let (before, after) = (flags::flags(&old.arguments), flags::flags(&new.arguments));
    let (_, lost) = against(&before, &after);
    let (_, mut added) = against(&after, &before);
    let alone = |flags: &[&Flag], flag: &Flag| flags.iter().filter(|f| f.name == flag.name).count() == 1;
    for flag in &lost {
        let partner = added.iter().position(|f| f.name == flag.name).filter(|_| alone(&lost, flag) && alone(&added, flag));
        match partner.map(|index| added.remove(index)) {
            Some(new) => {
                let value = |flag: &Flag| flag.value.clone().unwrap_or_else(|| "none".to_owned());
                let part = name(flag.name.as_deref().unwrap_or("argument"));
                out.push(Part::changes(value(flag), value(new)).of(part));
            }
            None => out.push(flagged(Part::loses, flag, &name)),
        }
    }
    out.extend(added.into_iter().map(|flag| flagged(Part::adds, flag, &name)));
    if out.len() == told {
        // The same flags in another order or spelling: another argv all the same.
        out.push(Part::changes(old.to_string(), new.to_string()));
    }
}

fn flagged(class: impl Fn(String) -> Part, flag: &Flag, name: &dyn Fn(&str) -> String) -> Part {
    let part = name(flag.name.as_deref().unwrap_or("argument"));
    class(flag.value.clone().unwrap_or_default()).of(part)
}
