//! What each setting that confines a service means, and which direction is stricter (systemd.exec(5),
//! systemd.resource-control(5), capabilities(7)): whether a change hardens the unit or weakens it.
//!
//! Said only where it is sure: two words of which neither is stricter, or a path that systemd would have to resolve, have
//! no effect here. What another setting implies counts: with `DynamicUser=yes` a lost `NoNewPrivileges=` weakens nothing.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::LazyLock;

use serde::Serialize;

use super::diff::{Change, Class};
use super::element;
use super::exec::{self, Command};
use super::keys;
use super::reading::{Reading, Setting};

/// What a change does to the confinement of the unit's processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// They may do less.
    Hardens,
    /// They may do more.
    Weakens,
}

/// How a setting confines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// One of these words, from the weakest to the strictest, `|` between equals; then what holds without the key.
    Levels(&'static str, &'static str),
    /// A list of what is let through, `~` takes back; without the key everything, or nothing.
    Lets { all: bool },
    /// Each element is one more that is allowed.
    Grants,
    /// Each element is an exception from one of these settings, and means nothing without them.
    Exempts(&'static [&'static str]),
    /// Each element is one more that is denied; denied too when it stands under one of these.
    Denies(&'static [&'static str]),
    /// Any value confines but these.
    Confines(&'static [&'static str]),
    /// Permission bits, and those without the key.
    Mode(u32),
    /// Permission bits that are taken away, and those without the key.
    Mask(u32),
    /// Who it runs as.
    User,
    /// Which devices it can open.
    Devices,
    /// Commands, whose prefix may lift the confinement.
    Commands,
}

const PATHS: &[&str] = &[
    "ProtectSystem",
    "ProtectHome",
    "ReadOnlyPaths",
    "InaccessiblePaths",
    "TemporaryFileSystem",
    "RootDirectory",
    "RootImage",
];

const TABLE: &[(Meaning, &str)] = &[
    (
        Meaning::Levels("no yes", "no"),
        "NoNewPrivileges DynamicUser RemoveIPC MemoryDenyWriteExecute RestrictRealtime RestrictSUIDSGID LockPersonality \
         PrivateDevices PrivateNetwork PrivateMounts PrivateIPC PrivatePIDs ProtectKernelTunables ProtectKernelModules \
         ProtectKernelLogs ProtectClock",
    ),
    (Meaning::Levels("yes no", "no"), "PermissionsStartOnly RootDirectoryStartOnly"),
    (Meaning::Levels("no yes full strict", "no"), "ProtectSystem"),
    (Meaning::Levels("no read-only tmpfs yes", "no"), "ProtectHome"),
    (Meaning::Levels("no yes|private strict", "no"), "ProtectControlGroups"),
    (Meaning::Levels("no private yes", "no"), "ProtectHostname"),
    (Meaning::Levels("no yes disconnected", "no"), "PrivateTmp"),
    (Meaning::Levels("no full identity yes|self|managed", "no"), "PrivateUsers"),
    (Meaning::Levels("no yes", "no"), "PrivateBPF"),
    (Meaning::Levels("default noaccess invisible ptraceable", "default"), "ProtectProc"),
    (Meaning::Levels("all pid", "all"), "ProcSubset"),
    (Meaning::Levels("inherit shared private", "private"), "KeyringMode"),
    (
        Meaning::Lets { all: true },
        "CapabilityBoundingSet SystemCallFilter SystemCallArchitectures RestrictAddressFamilies RestrictNamespaces \
         RestrictFileSystems RestrictNetworkInterfaces",
    ),
    (Meaning::Lets { all: false }, "AmbientCapabilities"),
    (Meaning::Grants, "SupplementaryGroups"),
    (Meaning::Exempts(PATHS), "ReadWritePaths BindPaths"),
    (Meaning::Exempts(&["NoExecPaths"]), "ExecPaths"),
    (Meaning::Exempts(&["IPAddressDeny"]), "IPAddressAllow"),
    (Meaning::Exempts(&["SocketBindDeny"]), "SocketBindAllow"),
    (Meaning::Denies(&["InaccessiblePaths", "TemporaryFileSystem"]), "ReadOnlyPaths"),
    (Meaning::Denies(&[]), "InaccessiblePaths TemporaryFileSystem NoExecPaths"),
    (Meaning::Denies(&[]), "IPAddressDeny SocketBindDeny"),
    (Meaning::Confines(&["/"]), "RootDirectory RootImage"),
    (Meaning::Confines(&["unconfined"]), "AppArmorProfile SELinuxContext SmackProcessLabel"),
    (
        Meaning::Mode(0o755),
        "DirectoryMode RuntimeDirectoryMode StateDirectoryMode CacheDirectoryMode LogsDirectoryMode \
         ConfigurationDirectoryMode",
    ),
    (Meaning::Mode(0o666), "SocketMode"),
    (Meaning::Mask(0o022), "UMask"),
    (Meaning::User, "User"),
    (Meaning::Devices, "DevicePolicy DeviceAllow"),
    (
        Meaning::Commands,
        "ExecCondition ExecStartPre ExecStart ExecStartPost ExecReload ExecStop ExecStopPost ExecStopPre",
    ),
];

/// What `DynamicUser=yes` sets where the unit says nothing stricter than the default (systemd.exec(5)).
const OF_A_DYNAMIC_USER: &[(&str, &str)] = &[
    ("NoNewPrivileges", "yes"),
    ("RestrictSUIDSGID", "yes"),
    ("RemoveIPC", "yes"),
    ("PrivateTmp", "yes"),
    ("ProtectSystem", "strict"),
    ("ProtectHome", "read-only"),
];

/// The keys that this knows.
pub fn keys() -> impl Iterator<Item = &'static str> {
    TABLE.iter().flat_map(|(_, keys)| keys.split_whitespace())
}

/// The word in force of a key of `[Service]` that has an order of strictness, implied ones included.
#[must_use]
pub fn level<'a>(reading: &'a Reading<'a>, key: &str) -> Option<&'a str> {
    In(reading, "Service").level(key)
}

/// Whether a list of `[Service]` that lets through or takes back (`CapabilityBoundingSet=`) lets `word` through.
#[must_use]
pub fn lets_through(reading: &Reading, key: &str, word: &str) -> bool {
    let all = matches!(meaning(key), Some(Meaning::Lets { all: true }));
    let lets = Lets::read(In(reading, "Service").setting(key), all);
    lets.said.get(&word.to_ascii_lowercase()).copied().unwrap_or(lets.all)
}

/// Fills in the effect of `changes`, all of one key.
pub fn judge(old: &Reading, new: &Reading, changes: &mut [Change]) {
    let Some(Change { section, key, .. }) = changes.first() else { return };
    let Some(meaning) = meaning(key).filter(|_| is_confined(section)) else { return };
    let (section, key) = (*section, *key);
    let sides = Sides { old: In(old, section), new: In(new, section), key };
    match meaning {
        Meaning::Levels(words, _) => {
            let level = |side: In| side.level(key).and_then(|word| rank(words, word));
            all(changes, sides.compare(level));
        }
        Meaning::Lets { all } => sides.lets(all, changes),
        Meaning::Grants => sides.elements(changes, |_| true, Effect::Weakens),
        Meaning::Exempts(from) if from.iter().any(|key| sides.old.restricts(key)) => {
            if from.iter().any(|key| sides.new.restricts(key)) {
                sides.elements(changes, |_| true, Effect::Weakens);
            }
        }
        Meaning::Exempts(_) => {}
        Meaning::Denies(besides) => {
            let elsewhere: BTreeSet<String> =
                besides.iter().flat_map(|key| [sides.old.names(key), sides.new.names(key)]).flatten().collect();
            sides.elements(changes, |name| !elsewhere.contains(name), Effect::Hardens);
        }
        Meaning::Confines(_) => all(changes, sides.compare(|side| Some(side.restricts(key)))),
        Meaning::Mode(absent) => all(changes, sides.bits(absent, Effect::Weakens)),
        Meaning::Mask(absent) => all(changes, sides.bits(absent, Effect::Hardens)),
        Meaning::User => all(changes, sides.compare(|side| Some(!side.is_root()))),
        Meaning::Devices => match sides.compare(In::devices) {
            None if key == "DeviceAllow" => sides.elements(changes, |_| true, Effect::Weakens),
            effect => all(changes, effect),
        },
        Meaning::Commands => {
            for change in changes {
                change.effect = of_command(change);
            }
        }
    }
}

static MEANINGS: LazyLock<HashMap<&'static str, Meaning>> = LazyLock::new(|| {
    TABLE.iter().flat_map(|(meaning, keys)| keys.split_whitespace().map(|key| (key, *meaning))).collect()
});

fn meaning(key: &str) -> Option<Meaning> {
    MEANINGS.get(key).copied()
}

/// The sections whose settings are about processes and control groups.
fn is_confined(section: &str) -> bool {
    matches!(section, "Service" | "Socket" | "Mount" | "Swap" | "Slice" | "Scope")
}

fn all(changes: &mut [Change], effect: Option<Effect>) {
    for change in changes {
        change.effect = effect;
    }
}

/// The opposite of `effect` for what is lost.
fn of(class: Class, effect: Effect) -> Option<Effect> {
    match (class, effect) {
        (Class::Adds, effect) => Some(effect),
        (Class::Loses, Effect::Hardens) => Some(Effect::Weakens),
        (Class::Loses, Effect::Weakens) => Some(Effect::Hardens),
        (Class::Changes, _) => None,
    }
}

fn rank(words: &str, word: &str) -> Option<usize> {
    words.split(' ').position(|equals| equals.split('|').any(|known| known == word))
}

/// How much a prefix lifts (systemd.service(5)): `+` everything, `!` the user; `!!` nothing where the kernel has ambient
/// capabilities.
fn kept(prefix: &str) -> u8 {
    match prefix {
        prefix if prefix.contains('+') => 0,
        prefix if prefix.contains('!') && !prefix.contains("!!") => 1,
        _ => 2,
    }
}

fn of_command(change: &Change) -> Option<Effect> {
    let is_prefix = change.part.as_deref().is_some_and(|part| part == "prefix" || part.ends_with(" prefix"));
    match (&change.old, &change.new, change.class) {
        (Some(old), Some(new), Class::Changes) if is_prefix => strictness(kept(old).cmp(&kept(new))),
        (Some(line), None, class) | (None, Some(line), class) if change.part.is_none() => {
            let commands = exec::commands(line).unwrap_or_default();
            let lifts = |command: &Command| kept(&command.prefix) < kept("");
            commands.iter().any(lifts).then(|| of(class, Effect::Weakens)).flatten()
        }
        _ => None,
    }
}

/// What it means that OLD is less strict than NEW, or stricter.
fn strictness(old_to_new: Ordering) -> Option<Effect> {
    match old_to_new {
        Ordering::Less => Some(Effect::Hardens),
        Ordering::Greater => Some(Effect::Weakens),
        Ordering::Equal => None,
    }
}

/// One section of a unit.
#[derive(Clone, Copy)]
struct In<'a>(&'a Reading<'a>, &'a str);

impl<'a> In<'a> {
    fn setting<'s>(self, key: &'s str) -> Option<&'s Setting<'a>>
    where
        'a: 's,
    {
        self.0.settings().get(&(self.1, key))
    }

    fn last(self, key: &str) -> Option<&'a str> {
        self.0.last(self.1, key)
    }

    fn is_on(self, key: &str) -> bool {
        self.last(key).is_some_and(|value| keys::switch(value) == "yes")
    }

    fn is_root(self) -> bool {
        !self.is_on("DynamicUser") && matches!(self.last("User"), None | Some("root" | "0"))
    }

    /// The word in force of a key with levels, also when another setting implies it.
    fn level(self, key: &str) -> Option<&'a str> {
        let Some(Meaning::Levels(_, absent)) = meaning(key) else { return None };
        let implied = OF_A_DYNAMIC_USER.iter().find(|(implied, _)| *implied == key && self.is_on("DynamicUser"));
        let word = self.last(key).map_or(absent, |value| keys::switch(value.split(':').next().unwrap_or_default()));
        Some(implied.filter(|_| word == absent).map_or(word, |(_, implied)| implied))
    }

    /// Whether the setting confines at all.
    fn restricts(self, key: &str) -> bool {
        match meaning(key) {
            Some(Meaning::Levels(_, absent)) => self.level(key) != Some(absent),
            Some(Meaning::Confines(but)) => {
                self.last(key).is_some_and(|value| !but.contains(&value.trim_start_matches('-')))
            }
            _ => self.setting(key).is_some_and(|setting| !setting.values.is_empty()),
        }
    }

    /// What the elements of a list are about: the paths, the addresses.
    fn names(self, key: &str) -> BTreeSet<String> {
        let whole = keys::kind(key) == keys::Kind::Entries;
        let values = self.setting(key).map(|setting| setting.values.as_slice()).unwrap_or_default();
        let split = |value: &&str| match exec::words(value) {
            Ok(words) if !whole => words,
            _ => vec![(*value).to_owned()],
        };
        values.iter().flat_map(split).map(|element| element::name(key, &element).to_owned()).collect()
    }

    /// How strict `DevicePolicy=` is in force: `auto` is `closed` as soon as something is allowed.
    fn devices(self) -> Option<usize> {
        let policy = rank("auto closed strict", self.last("DevicePolicy").unwrap_or("auto"))?;
        Some(if self.is_on("PrivateDevices") || self.restricts("DeviceAllow") { policy.max(1) } else { policy })
    }
}

/// The two units, of one key.
#[derive(Clone, Copy)]
struct Sides<'a> {
    old: In<'a>,
    new: In<'a>,
    key: &'a str,
}

impl<'a> Sides<'a> {
    /// By a measure that grows with strictness.
    fn compare<T: Ord>(&self, measure: impl Fn(In<'a>) -> Option<T>) -> Option<Effect> {
        strictness(measure(self.old)?.cmp(&measure(self.new)?))
    }

    /// Each element that is not on the other side under another spelling; `more` is what one more does.
    fn elements(&self, changes: &mut [Change], counts: impl Fn(&str) -> bool, more: Effect) {
        let (before, after) = (self.old.names(self.key), self.new.names(self.key));
        for change in changes {
            change.effect = match (&change.old, &change.new, change.class) {
                (Some(old), Some(new), Class::Changes) if self.key == "DeviceAllow" => of_access(old, new),
                (Some(element), None, class) | (None, Some(element), class) => {
                    let name = element::name(self.key, element);
                    let moved = before.contains(name) && after.contains(name);
                    if moved || !counts(name) { None } else { of(class, more) }
                }
                _ => None,
            };
        }
    }

    /// `one_more` is what one more bit does.
    fn bits(&self, absent: u32, one_more: Effect) -> Option<Effect> {
        let read = |side: In| match side.last(self.key) {
            Some(text) => u32::from_str_radix(text, 8).ok(),
            None => Some(absent),
        };
        let (old, new) = (read(self.old)?, read(self.new)?);
        match (old & !new == 0, new & !old == 0) {
            (true, false) => of(Class::Adds, one_more),
            (false, true) => of(Class::Loses, one_more),
            _ => None,
        }
    }

    fn lets(&self, all_without: bool, changes: &mut [Change]) {
        let read = |side: In| Lets::read(side.setting(self.key), all_without);
        let (old, new) = (read(self.old), read(self.new));
        match (old.is_within(&new), new.is_within(&old)) {
            (true, false) => all(changes, Some(Effect::Weakens)),
            (false, true) => all(changes, Some(Effect::Hardens)),
            // Some more and some less: each by itself.
            (false, false) if old.all == new.all => {
                for change in changes {
                    let word = change.old.as_ref().or(change.new.as_ref()).map_or("", |word| word.as_ref());
                    let more = if word.starts_with('~') { Effect::Hardens } else { Effect::Weakens };
                    change.effect = of(change.class, more);
                }
            }
            _ => {}
        }
    }
}

/// `DeviceAllow=/dev/x rw`: fewer letters are less; none are all three.
fn of_access(old: &str, new: &str) -> Option<Effect> {
    let letters = |entry: &str| -> BTreeSet<char> {
        entry.split_whitespace().nth(1).map_or_else(|| "rwm".chars().collect(), |letters| letters.chars().collect())
    };
    let (old, new) = (letters(old), letters(new));
    match (old.is_subset(&new), new.is_subset(&old)) {
        (true, false) => Some(Effect::Weakens),
        (false, true) => Some(Effect::Hardens),
        _ => None,
    }
}

/// What a list lets through: all but some, or some. Groups (`@system-service`) are words like others.
#[derive(Debug, PartialEq, Eq)]
struct Lets {
    all: bool,
    /// The last word on each: `true` is let through.
    said: BTreeMap<String, bool>,
}

impl Lets {
    fn read(setting: Option<&Setting>, all_without: bool) -> Self {
        let mut lets = Self { all: all_without, said: BTreeMap::new() };
        let Some(Setting { values, .. }) = setting else { return lets };
        // The empty capability set.
        lets.all &= !values.is_empty();
        let mut first = true;
        for value in values {
            let (denies, list) = value.strip_prefix('~').map_or((false, *value), |list| (true, list));
            match keys::switch(list) {
                // RestrictNamespaces= is a boolean besides; "none" is of RestrictAddressFamilies=.
                "no" => lets = Self { all: !denies, said: BTreeMap::new() },
                "yes" | "none" => lets = Self { all: denies, said: BTreeMap::new() },
                list => {
                    if first {
                        lets.all = denies;
                    }
                    let word = |word: &str| word.split(':').next().unwrap_or_default().to_ascii_lowercase();
                    lets.said.extend(list.split_whitespace().map(|w| (word(w), !denies)));
                }
            }
            first = false;
        }
        lets
    }

    /// True when it surely lets nothing through that `other` does not.
    fn is_within(&self, other: &Self) -> bool {
        let words = |lets: &Self, let_through: bool| -> BTreeSet<String> {
            lets.said.iter().filter(|(_, said)| **said == let_through).map(|(word, _)| word.clone()).collect()
        };
        match (self.all, other.all) {
            (true, false) => false,
            (true, true) => words(other, false).is_subset(&words(self, false)),
            (false, false) => {
                words(self, true).is_subset(&words(other, true)) && words(other, false).is_subset(&words(self, false))
            }
            // Whether a group holds another word is not known here.
            (false, true) => {
                let (some, denied) = (words(self, true), words(other, false));
                let groups = some.iter().chain(&denied).any(|word| word.starts_with('@'));
                some.is_disjoint(&denied) && (!groups || denied.is_empty() || some.is_empty())
            }
        }
    }
}

#[cfg(test)]
mod tests;
