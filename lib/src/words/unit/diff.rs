//! The difference of two units in systemd's meaning: what NEW adds to OLD, changes in it, and loses of it.
//!
//! Equality is decided on what systemd reads; flags, variables and list elements only decide how a difference is told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use serde::Serialize;

use super::keys::{self, Kind};
use super::reading::{Name, Reading, Setting};
use super::sandbox::{self, Effect};
use super::{element, exec};

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

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What it does to OLD.
    pub class: Class,
    /// What it does to the confinement of the unit's processes, where that is sure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
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
        setting(name.1, old.settings().get(name), new.settings().get(name), &mut parts);
        let from = changes.len();
        changes.extend(parts.into_iter().map(|Difference { class, part, old, new }| Change {
            class,
            effect: None,
            section: name.0.to_owned(),
            key: name.1.to_owned(),
            part,
            old,
            new,
        }));
        sandbox::judge(old, new, changes.get_mut(from..).unwrap_or_default());
    }
    changes
}

impl Change {
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

impl fmt::Display for Change {
    /// One line: `LOSES    [Service] NoNewPrivileges=yes (weakens)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { class, effect, section, key, part, old, new } = self;
        write!(f, "{:<8} [{section}] {key}=", self.word())?;
        let value = match (old, new) {
            (Some(old), Some(new)) => {
                let shown = |text: &str| if text.is_empty() { "\"\"".to_owned() } else { text.to_owned() };
                format!("{} -> {}", shown(old), shown(new))
            }
            (old, new) => old.as_ref().or(new.as_ref()).cloned().unwrap_or_default(),
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
struct Difference {
    class: Class,
    part: Option<String>,
    old: Option<String>,
    new: Option<String>,
}

impl Difference {
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

fn setting(key: &str, old: Option<&Setting>, new: Option<&Setting>, out: &mut Vec<Difference>) {
    let values =
        |s: Option<&Setting>| s.map(|s| s.values.iter().map(|v| (*v).to_owned()).collect()).unwrap_or_default();
    let (before, after): (Vec<String>, Vec<String>) = (values(old), values(new));
    if old.is_some() && new.is_some() && before == after {
        return;
    }
    match keys::kind(key) {
        Kind::Text => single(&before, &after, ToOwned::to_owned, out),
        Kind::Switch => single(&before, &after, |v| keys::switch(v).to_owned(), out),
        Kind::Span => {
            single(&before, &after, |v| keys::span(v).map_or_else(|| v.to_owned(), |span| format!("{span:?}")), out);
        }
        Kind::Words | Kind::Dependencies => set(key, &words(&before), &words(&after), out),
        Kind::OrderedWords => sequence(key, &words(&before), &words(&after), out),
        Kind::Entries => set(key, &before, &after, out),
        Kind::Sequence => sequence(key, &before, &after, out),
        Kind::Capabilities if old.is_some() && new.is_some() => filter(key, &before, &after, out),
        // Without the key every capability is in the set; with the key the words are all there is.
        Kind::Capabilities => match new {
            Some(_) => out.push(Difference::adds(listed(&after))),
            None => out.push(Difference::loses(listed(&before))),
        },
        Kind::Filter => filter(key, &before, &after, out),
        Kind::Variables => variables(&before, &after, out),
        Kind::Commands => commands::commands(&before, &after, out),
    }
}

fn listed(values: &[String]) -> String {
    if values.is_empty() { "\"\"".to_owned() } else { values.join(" ") }
}

/// The words of all `values`; a value that can't be split is one word.
fn words(values: &[String]) -> Vec<String> {
    values.iter().flat_map(|value| exec::words(value).unwrap_or_else(|_| vec![value.clone()])).collect()
}

fn single(old: &[String], new: &[String], meaning: impl Fn(&str) -> String, out: &mut Vec<Difference>) {
    match (old.last(), new.last()) {
        (Some(old), Some(new)) if meaning(old) != meaning(new) => out.push(Difference::changes(old, new)),
        (Some(old), None) => out.push(Difference::loses(old)),
        (None, Some(new)) => out.push(Difference::adds(new)),
        _ => {}
    }
}

fn set(key: &str, old: &[String], new: &[String], out: &mut Vec<Difference>) {
    let (before, after): (BTreeSet<_>, BTreeSet<_>) = (old.iter().collect(), new.iter().collect());
    let mut told = BTreeSet::new();
    let lost: Vec<_> = old.iter().filter(|e| !after.contains(e) && told.insert(*e)).collect();
    let added: Vec<_> = new.iter().filter(|e| !before.contains(e) && told.insert(*e)).collect();
    elements(key, &lost, &added, out);
}

fn sequence(key: &str, old: &[String], new: &[String], out: &mut Vec<Difference>) {
    if let ([old], [new]) = (old, new) {
        if old != new {
            out.push(Difference::changes(old, new));
        }
        return;
    }
    let (kept_old, lost) = against(old, new);
    let (kept_new, added) = against(new, old);
    let paired = elements(key, &lost, &added, out);
    // What differs a little has its place among the others too.
    let places = |list: &[String], alone: &[&String]| -> Vec<String> {
        let without: BTreeSet<*const String> =
            alone.iter().filter(|e| !paired.contains(element::name(key, e))).map(|e| std::ptr::from_ref(*e)).collect();
        let stays = list.iter().filter(|e| !without.contains(&std::ptr::from_ref(*e)));
        stays.map(|e| element::name(key, e).to_owned()).collect()
    };
    if kept_old != kept_new || (!paired.is_empty() && places(old, &lost) != places(new, &added)) {
        let joined = |list: &[String], kept: &[&String]| {
            if paired.is_empty() {
                kept.iter().map(|e| e.as_str()).collect::<Vec<_>>().join("; ")
            } else {
                list.join("; ")
            }
        };
        out.push(Difference::changes(joined(old, &kept_old), joined(new, &kept_new)).of("order"));
    }
}

/// Elements that one side alone has: where one of each is about the same thing, it is one that differs. The names of those.
fn elements(key: &str, lost: &[&String], added: &[&String], out: &mut Vec<Difference>) -> BTreeSet<String> {
    let (olds, news) = (by(lost, |e| element::name(key, e)), by(added, |e| element::name(key, e)));
    let only = |named: &BTreeMap<&str, VecDeque<&String>>, name: &str| match named.get(name) {
        Some(all) if all.len() == 1 => all.front().map(|element| (*element).clone()),
        _ => None,
    };
    let mut paired = BTreeSet::new();
    for element in lost {
        let name = element::name(key, element);
        out.push(match only(&news, name).filter(|_| only(&olds, name).is_some()) {
            Some(new) => {
                paired.insert(name.to_owned());
                Difference::changes(*element, new)
            }
            None => Difference::loses(*element),
        });
    }
    let alone = added.iter().filter(|element| !paired.contains(element::name(key, element)));
    out.extend(alone.map(|element| Difference::adds(*element)));
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
fn filter(key: &str, old: &[String], new: &[String], out: &mut Vec<Difference>) {
    // Capabilities in any case, and a boolean in any spelling (RestrictNamespaces=), are one word.
    let one = |value: &String| match keys::switch(value) {
        switch if switch != value => switch.to_owned(),
        _ if key.ends_with("Capabilities") || key == "CapabilityBoundingSet" => value.to_ascii_uppercase(),
        _ => value.clone(),
    };
    let (old, new): (Vec<_>, Vec<_>) = (old.iter().map(one).collect(), new.iter().map(one).collect());
    if old.iter().chain(&new).any(|value| value.starts_with('~')) {
        sequence(key, &old, &new, out);
    } else {
        set(key, &words(&old), &words(&new), out);
    }
}

fn variables(old: &[String], new: &[String], out: &mut Vec<Difference>) {
    let read = |values: &[String]| -> (Vec<String>, BTreeMap<String, String>) {
        let mut order = Vec::new();
        let mut last = BTreeMap::new();
        for word in words(values) {
            // systemd ignores a word without '='.
            if let Some((name, value)) = word.split_once('=')
                && last.insert(name.to_owned(), value.to_owned()).is_none()
            {
                order.push(name.to_owned());
            }
        }
        (order, last)
    };
    let ((old_names, before), (new_names, after)) = (read(old), read(new));
    for name in old_names {
        match (before.get(&name), after.get(&name)) {
            (Some(old), Some(new)) if old != new => out.push(Difference::changes(old, new).of(name)),
            (Some(old), None) => out.push(Difference::loses(old).of(name)),
            _ => {}
        }
    }
    for name in new_names.into_iter().filter(|name| !before.contains_key(name)) {
        let new = after.get(&name).cloned().unwrap_or_default();
        out.push(Difference::adds(new).of(name));
    }
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
mod tests {
    use super::*;
    use crate::words::unit::file::File;
    use proptest::prelude::*;

    fn reading(text: &str) -> Reading<'static> {
        Reading::of([&*Box::leak(Box::new(File::parse(text.as_bytes().to_vec()).unwrap()))])
    }

    fn changes(old: &str, new: &str) -> Vec<String> {
        compare(&reading(old), &reading(new)).iter().map(ToString::to_string).collect()
    }

    fn service(old: &str, new: &str) -> Vec<String> {
        changes(&format!("[Service]\n{old}\n"), &format!("[Service]\n{new}\n"))
    }

    #[test]
    fn what_systemd_does_not_see_is_the_same() {
        let cases = [
            ("RestartSec=5", "RestartSec = 5s # no"),
            ("RestartSec=1min 30s", "# c\nRestartSec=1\nRestartSec=90"),
            ("NoNewPrivileges=yes", "NoNewPrivileges=true"),
            ("ReadWritePaths=/a /b", "ReadWritePaths=\"/b\"\nReadWritePaths=/a"),
            ("Environment=A=1 B=2", "Environment=B=9\nEnvironment=\"B=2\"\nEnvironment='A=1'"),
            ("ExecStart=/a  -x \\\n  --y", "ExecStart=/wrong\nExecStart=\nExecStart=/a -x '--y'"),
            ("ExecStartPre=/a ; /b", "ExecStartPre=/a\nExecStartPre=/b"),
            ("User=", ""),
        ];
        for (old, new) in cases {
            // The first case alone differs: a comment can't follow a value.
            let same = service(old, new).is_empty();
            assert_eq!(same, !new.contains("# no"), "{old} / {new}");
        }
    }

    #[test]
    fn a_command_is_compared_by_prefix_program_and_flag() {
        let old = "ExecStart=/usr/bin/d serve --config /a --data-dir=/srv --v";
        let new = "ExecStart=-/usr/local/bin/d serve --config=/b --v --json";
        assert_eq!(
            service(old, new),
            [
                "changes  [Service] ExecStart= prefix none -> -",
                "changes  [Service] ExecStart= program /usr/bin/d -> /usr/local/bin/d",
                "changes  [Service] ExecStart= --config /a -> /b",
                "LOSES    [Service] ExecStart= --data-dir /srv",
                "adds     [Service] ExecStart= --json",
            ]
        );
        assert_eq!(
            service("ExecStart=/a -x -y", "ExecStart=/a -y -x"),
            ["changes  [Service] ExecStart=/a -x -y -> /a -y -x"]
        );
        assert_eq!(
            service("ExecStart=/a --l 1 --l 2", "ExecStart=/a --l 2 --l 3 --l 4"),
            [
                "LOSES    [Service] ExecStart= --l 1",
                "adds     [Service] ExecStart= --l 3",
                "adds     [Service] ExecStart= --l 4"
            ]
        );
    }

    #[test]
    fn several_commands_are_paired_by_program_and_their_order_counts() {
        assert_eq!(
            service(
                "ExecStartPre=/a 1\nExecStartPre=/b\nExecStartPre=/c",
                "ExecStartPre=/c\nExecStartPre=/a 2\nExecStartPre=/b\nExecStartPre=/d"
            ),
            [
                "changes  [Service] ExecStartPre= /a argument 1 -> 2",
                "adds     [Service] ExecStartPre=/d",
                "changes  [Service] ExecStartPre= order /a 1; /b; /c -> /c; /a 2; /b; /d",
            ]
        );
    }

    #[test]
    fn lists_are_compared_by_element_and_variables_by_name() {
        assert_eq!(
            changes("[Unit]\nAfter=a b\n", "[Unit]\nAfter=b c\n"),
            ["LOSES    [Unit] After=a", "adds     [Unit] After=c"]
        );
        assert_eq!(
            service("Environment=A=1 B=2 C=\"x y\"", "Environment=A=3 D="),
            [
                "changes  [Service] Environment=A=1 -> 3",
                "LOSES    [Service] Environment=B=2",
                "LOSES    [Service] Environment=C=x y",
                "adds     [Service] Environment=D="
            ]
        );
        assert_eq!(
            service("SystemCallFilter=@a\nSystemCallFilter=~@b", "SystemCallFilter=~@b\nSystemCallFilter=@a").len(),
            1
        );
    }

    #[test]
    fn elements_about_one_thing_are_one_that_differs() {
        for (old, new, expected) in [
            (
                "LoadCredential=a:/1 \nLoadCredential=b:/2",
                "LoadCredential=b:/3\nLoadCredential=a:/1",
                "changes  [Service] LoadCredential=b:/2 -> b:/3",
            ),
            ("BindPaths=/a:/x /b:/y", "BindPaths=/c:/x /b:/y", "changes  [Service] BindPaths=/a:/x -> /c:/x"),
            (
                "EnvironmentFile=/a\nEnvironmentFile=-/b",
                "EnvironmentFile=-/a\nEnvironmentFile=-/b",
                "changes  [Service] EnvironmentFile=/a -> -/a",
            ),
            (
                "EnvironmentFile=/a\nEnvironmentFile=-/b",
                "EnvironmentFile=-/b\nEnvironmentFile=/a",
                "changes  [Service] EnvironmentFile= order /a; -/b -> -/b; /a",
            ),
            (
                "DeviceAllow=/dev/a r\nDeviceAllow=/dev/b r",
                "DeviceAllow=/dev/b r\nDeviceAllow=/dev/a rw",
                "weakens  [Service] DeviceAllow=/dev/a r -> /dev/a rw",
            ),
            ("ReadWritePaths=-/a", "ReadWritePaths=/a", "changes  [Service] ReadWritePaths=-/a -> /a"),
            (
                "ReadWritePaths=-/a /a",
                "ReadWritePaths=+/a",
                "LOSES    [Service] ReadWritePaths=-/a\nLOSES    [Service] ReadWritePaths=/a\nadds     [Service] ReadWritePaths=+/a",
            ),
        ] {
            assert_eq!(service(old, new).join("\n"), expected, "{old} / {new}");
        }
    }

    #[test]
    fn spellings_of_one_command_line() {
        for (old, new, expected) in [
            ("--v serve", "serve --v", "changes  [Service] ExecStart=/a --v serve -> /a serve --v"),
            ("--v serve --x=1", "serve --v --x 2", "changes  [Service] ExecStart= --x 1 -> 2"),
            ("-abc", "-ab", "LOSES    [Service] ExecStart= -abc\nadds     [Service] ExecStart= -ab"),
            ("--a=b=c", "--a b=c", "changes  [Service] ExecStart=/a --a=b=c -> /a --a b=c"),
            ("--a=", "--a", "changes  [Service] ExecStart= --a \"\" -> none"),
            ("\\\n  --x 1 \\\n# c\n  --y", "--x 1 --y", ""),
            ("--x 1 --x 2", "--x 2 --x 1", "changes  [Service] ExecStart=/a --x 1 --x 2 -> /a --x 2 --x 1"),
            ("-- --x", "--x", "LOSES    [Service] ExecStart= argument --x\nadds     [Service] ExecStart= --x"),
        ] {
            let line = |rest: &str| format!("ExecStart=/a {rest}");
            assert_eq!(service(&line(old), &line(new)).join("\n"), expected, "{old} / {new}");
        }
    }

    #[test]
    fn an_empty_bounding_set_is_not_an_absent_one() {
        assert_eq!(service("", "CapabilityBoundingSet="), ["hardens  [Service] CapabilityBoundingSet=\"\""]);
        assert_eq!(
            service("CapabilityBoundingSet=CAP_CHOWN", "CapabilityBoundingSet="),
            ["LOSES    [Service] CapabilityBoundingSet=CAP_CHOWN (hardens)"]
        );
    }

    proptest! {
        #[test]
        fn a_unit_is_the_same_as_itself_and_a_swap_swaps_the_classes(
            old in prop::collection::vec("(User|ExecStartPre|Environment|After|Fancy)=(/a|B=1|-x 'c'|/a ;|~)?( -x)?( --y[=1 ]z)?", 0..8),
            new in prop::collection::vec("(User|ExecStartPre|Environment|After|Fancy)=(/a|B=1|-x 'c'|/a ;|~)?( -x)?( --y[=1 ]z)?", 0..8),
        ) {
            let text = |lines: &[String]| format!("[Service]\n{}\n", lines.join("\n"));
            let (old, new) = (reading(&text(&old)), reading(&text(&new)));
            prop_assert!(compare(&old, &old).is_empty());
            let count = |changes: &[Change], class| changes.iter().filter(|c| c.class == class).count();
            let (there, back) = (compare(&old, &new), compare(&new, &old));
            prop_assert_eq!(count(&there, Class::Adds), count(&back, Class::Loses));
            prop_assert_eq!(count(&there, Class::Changes), count(&back, Class::Changes));
        }
    }
}
