//! What a person should know who puts one unit in another's place, and what no single setting says: who owns the data
//! then, where it is looked for, and which drop-ins go on applying.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;

use super::diff::{self, Change};
use super::exec;
use super::file::File;
use super::flags;
use super::keys;
use super::reading::Reading;

/// Something to know besides the differences.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// What it is about.
    pub about: About,
    /// What to know and what to do, on one line.
    pub text: String,
    /// What OLD has, where it is one thing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// What NEW has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
}

/// What a [`Note`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum About {
    /// The unit that systemd has loaded is another file than the one that would be replaced, or a package's.
    Fragment,
    /// The files changed since systemd read them.
    NeedDaemonReload,
    /// Drop-ins of OLD go on applying over NEW.
    DropIns,
    /// A drop-in says what is executed, not NEW.
    ExecStart,
    /// The service runs as another user.
    User,
    /// The service looks for its data elsewhere.
    Data,
    /// NEW takes what the program's file capabilities give.
    FileCapabilities,
}

impl About {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Fragment,
        Self::NeedDaemonReload,
        Self::DropIns,
        Self::ExecStart,
        Self::User,
        Self::Data,
        Self::FileCapabilities,
    ];
}

impl Note {
    /// A note that is not about one thing which differs.
    #[must_use]
    pub fn new(about: About, text: String) -> Self {
        Self { about, text, old: None, new: None }
    }

    fn between(self, old: Option<&str>, new: Option<&str>) -> Self {
        Self { old: old.map(ToOwned::to_owned), new: new.map(ToOwned::to_owned), ..self }
    }
}

/// What follows from the two units alone.
#[must_use]
pub fn notes(old: &Reading, new: &Reading) -> Vec<Note> {
    user(old, new).into_iter().chain(data(old, new)).collect()
}

/// What follows from the `drop_ins` of OLD, by name, that stay when NEW takes the place of its fragment; `changes` is what
/// was found without them.
#[must_use]
pub fn staying(drop_ins: &[(&str, &File)], old: &Reading, new: &[&File], changes: &[Change]) -> Vec<Note> {
    if drop_ins.is_empty() {
        return Vec::new();
    }
    let files = drop_ins.iter().map(|(_, file)| *file);
    let (bare, both) = (Reading::of(new.iter().copied()), Reading::of(new.iter().copied().chain(files)));
    let still: Vec<String> = diff::compare(old, &both).iter().map(ToString::to_string).collect();
    let gone: BTreeSet<String> = changes
        .iter()
        .filter(|change| !still.contains(&change.to_string()))
        .map(|change| format!("{}=", change.key))
        .collect();
    let names = list(drop_ins.iter().map(|(name, _)| *name));
    let applies = if drop_ins.len() == 1 { "goes" } else { "go" };
    let mut text = format!("{names} {applies} on applying when NEW takes the fragment's place");
    if !gone.is_empty() {
        let what = list(gone.iter().map(String::as_str));
        text = format!("{text}, so what is said of {what} does not come to pass");
    }
    let mut notes = vec![Note::new(About::DropIns, text)];
    let exec = |reading: &Reading| reading.commands("ExecStart").unwrap_or_default();
    if exec(&bare) != exec(&both) {
        let shown = |reading| list(exec(reading).iter().map(ToString::to_string));
        let says = |file: &File| file.assignments().any(|a| a.section == "Service" && a.key == "ExecStart");
        let by = list(drop_ins.iter().filter(|(_, file)| says(file)).map(|(name, _)| *name));
        let text = format!("ExecStart= of NEW is not what will run: {by} says {}", shown(&both));
        notes.push(Note::new(About::ExecStart, text).between(Some(&shown(&both)), Some(&shown(&bare))));
    }
    notes
}

fn list<T: AsRef<str>>(words: impl IntoIterator<Item = T>) -> String {
    words.into_iter().map(|word| word.as_ref().to_owned()).collect::<Vec<_>>().join(", ")
}

fn service<'a>(reading: &'a Reading<'a>, key: &str) -> Option<&'a str> {
    reading.last("Service", key)
}

fn words(reading: &Reading, key: &str) -> Vec<String> {
    let setting = reading.settings().get(&("Service", key));
    let values = setting.map(|setting| setting.values.as_slice()).unwrap_or_default();
    values.iter().flat_map(|value| exec::words(value).unwrap_or_default()).collect()
}

/// Who a service runs as: `root` when nothing is said.
fn runs_as(reading: &Reading) -> String {
    let name = service(reading, "User");
    match (service(reading, "DynamicUser").map(keys::switch), name) {
        (Some("yes"), Some(name)) => format!("the dynamic user {name}"),
        (Some("yes"), None) => "a dynamic user".to_owned(),
        (_, None | Some("0")) => "root".to_owned(),
        (_, Some(name)) => name.to_owned(),
    }
}

fn is_service(reading: &Reading) -> bool {
    reading.settings().keys().any(|(section, key)| *section == "Service" && *key == "ExecStart")
}

fn user(old: &Reading, new: &Reading) -> Option<Note> {
    let (before, after) = (runs_as(old), runs_as(new));
    if before == after || !is_service(old) || !is_service(new) {
        return None;
    }
    let mut text = format!("the service runs as {after}, until now as {before}");
    let given: Vec<String> =
        [("StateDirectory", "/var/lib"), ("CacheDirectory", "/var/cache"), ("LogsDirectory", "/var/log")]
            .into_iter()
            .flat_map(|(key, below)| words(new, key).into_iter().map(move |word| (below, word)))
            .map(|(below, word)| format!("{below}/{}", word.split(':').next().unwrap_or_default()))
            .collect();
    if !given.is_empty() {
        text = format!("{text}; systemd gives it {} when it starts", list(&given));
    }
    let dynamic = after.contains("dynamic user");
    let own: BTreeSet<String> = places(new)
        .into_iter()
        .map(|place| place.value)
        .chain(words(new, "ReadWritePaths").into_iter().map(|path| path.trim_start_matches(['-', '+']).to_owned()))
        .filter(|path| path.starts_with('/') && Path::new(path).components().count() > 2)
        .filter(|path| !given.iter().any(|given| Path::new(path).starts_with(given)))
        .collect();
    text = match (after.as_str(), dynamic) {
        ("root", _) => {
            format!("{text}; what it writes then belongs to root, and {before} can't write it after a way back")
        }
        (_, true) => {
            format!("{text}; its number is known only while it runs, so data elsewhere must go to StateDirectory=")
        }
        (name, _) if own.is_empty() => {
            format!("{text}; what else {before} owns and the service needs must be given to it: chown -R {name}: PATH")
        }
        (name, _) => {
            let paths = own.iter().map(|path| exec::quoted(path)).collect::<Vec<_>>().join(" ");
            format!("{text}; what it writes must be its own first: chown -R {name}: {paths}")
        }
    };
    Some(Note::new(About::User, text).between(Some(&before), Some(&after)))
}

/// Where a service is told to keep its data.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    /// What tells it: `ExecStart= --data-dir`.
    by: String,
    value: String,
    /// One more of it means other data than before.
    moves: bool,
}

fn places(reading: &Reading) -> Vec<Place> {
    let mut places = Vec::new();
    for flag in reading.commands("ExecStart").unwrap_or_default().iter().flat_map(|c| flags::flags(&c.arguments)) {
        let Some(name) = flag.name.filter(|name| is_data_flag(name)) else { continue };
        places.push(Place { by: format!("ExecStart= {name}"), value: flag.value.unwrap_or_default(), moves: true });
    }
    let variables: BTreeMap<String, String> = words(reading, "Environment")
        .iter()
        .filter_map(|word| word.split_once('='))
        .filter(|(name, _)| is_data(name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    places.extend(variables.into_iter().map(|(name, value)| Place {
        by: format!("Environment= {name}"),
        value,
        moves: true,
    }));
    for word in words(reading, "StateDirectory") {
        let name = word.split(':').next().unwrap_or_default();
        places.push(Place { by: "StateDirectory=".to_owned(), value: format!("/var/lib/{name}"), moves: false });
    }
    for key in ["WorkingDirectory", "RootDirectory"] {
        places.extend(service(reading, key).map(|value| Place {
            by: format!("{key}="),
            value: value.trim_start_matches('-').to_owned(),
            moves: false,
        }));
    }
    places
}

fn is_data_flag(flag: &str) -> bool {
    matches!(flag, "-d" | "-D") || (flag.starts_with('-') && is_data(flag.trim_start_matches('-')))
}

/// True for what programs call the place of their data: `data-dir`, `storage.tsdb.path`, `RUNE_DB_PATH`, `home`.
fn is_data(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let words: Vec<&str> = name.split(['-', '_', '.']).collect();
    let place = |word: &str| {
        matches!(
            word,
            "dir" | "directory" | "path" | "folder" | "root" | "home" | "file" | "location" | "url" | "uri" | "dsn"
        )
    };
    let whole = |word: &str| {
        matches!(
            word,
            "datadir"
                | "datapath"
                | "dbpath"
                | "dbdir"
                | "dbfile"
                | "dbname"
                | "statedir"
                | "storagedir"
                | "basedir"
                | "datafolder"
        )
    };
    let data = |word: &str| matches!(word, "data" | "db" | "database" | "state" | "storage" | "store");
    match words.as_slice() {
        ["db" | "storage" | "home" | "root"]
        | ["home" | "root" | "base", "dir" | "directory" | "path"]
        | [.., "data" | "database"] => true,
        [before @ .., last] => whole(last) || (place(last) && before.iter().any(|word| data(word))),
        [] => false,
    }
}

fn data(old: &Reading, new: &Reading) -> Vec<Note> {
    if !is_service(old) || !is_service(new) {
        return Vec::new();
    }
    let (before, after) = (places(old), places(new));
    let known = |places: &[Place], value: &str| places.iter().any(|place| place.value == value);
    let lost: Vec<_> = before.iter().filter(|place| !known(&after, &place.value)).collect();
    let added: Vec<_> = after.iter().filter(|place| !known(&before, &place.value)).collect();
    let alone = |places: &[&Place], by: &str| places.iter().filter(|place| place.by == by).count() == 1;
    let mut notes = Vec::new();
    for place in &lost {
        let Place { by, value, .. } = place;
        let partner = added.iter().find(|new| new.by == *by && alone(&lost, by) && alone(&added, by));
        let text = match partner {
            Some(new) => format!(
                "{by} is {} in NEW, until now {value}: the service starts with what is there, perhaps nothing; move the data while it is stopped, or let NEW say {value}",
                new.value
            ),
            None => format!(
                "{by} {value} is not in NEW: the service starts with the data of another place, perhaps with none; let NEW say it, or move the data while it is stopped"
            ),
        };
        notes.push(Note::new(About::Data, text).between(Some(value), partner.map(|new| new.value.as_str())));
    }
    for place in added.iter().filter(|place| place.moves && !lost.iter().any(|old| old.by == place.by)) {
        let Place { by, value, .. } = place;
        let text = format!(
            "{by} {value} is not in OLD: where the service had its data elsewhere until now, it starts without it; move the data while it is stopped"
        );
        notes.push(Note::new(About::Data, text).between(None, Some(value)));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(text: &str) -> Reading<'static> {
        let file = File::parse(format!("[Service]\nExecStart=/a\n{text}\n").into_bytes()).unwrap();
        Reading::of([&*Box::leak(Box::new(file))])
    }

    fn told(old: &str, new: &str) -> String {
        let notes = notes(&reading(old), &reading(new));
        notes.iter().map(|note| format!("{:?}: {}", note.about, note.text)).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn flags_and_variables_of_data_are_known_by_their_names() {
        for name in
            "-d -D --data --data-dir --datadir --data_dir --db --db-path --database --database-url --state-dir --storage \
             --storage.tsdb.path --storage-dir --home --root --home-dir -data-dir --raft-data-dir"
                .split_whitespace()
        {
            assert!(is_data_flag(name), "{name}");
        }
        for name in
            "--data-center --metadata --db-user --root-ca-path --state --config --dir --log-dir --stored --debug d data"
                .split_whitespace()
        {
            assert!(!is_data_flag(name), "{name}");
        }
        assert!(is_data("RUNE_DATA_DIR") && is_data("DATABASE_URL") && is_data("HOME") && !is_data("RUST_LOG"));
    }

    #[test]
    fn data_that_is_looked_for_elsewhere_is_said_and_another_spelling_is_not() {
        for (old, new, about) in [
            ("ExecStart=\nExecStart=/a --data-dir /x", "ExecStart=\nExecStart=/a --data=/x", 0),
            ("ExecStart=\nExecStart=/a --data-dir /x", "Environment=A_DATA_DIR=/x", 0),
            ("ExecStart=\nExecStart=/a --data-dir /x", "", 1),
            ("", "ExecStart=\nExecStart=/a --data-dir /x", 1),
            ("ExecStart=\nExecStart=/a -d /x", "ExecStart=\nExecStart=/a -d /y", 1),
            ("StateDirectory=a b", "StateDirectory=a", 1),
            ("StateDirectory=a", "StateDirectory=a b", 0),
            ("", "WorkingDirectory=/x", 0),
            ("WorkingDirectory=/y", "WorkingDirectory=/x", 1),
        ] {
            assert_eq!(told(old, new).lines().filter(|line| line.starts_with("Data")).count(), about, "{old} / {new}");
        }
    }

    #[test]
    fn another_user_is_said_with_what_must_be_given_to_it() {
        let cases = [
            ("User=a", "User=b\nStateDirectory=r\nReadWritePaths=-/srv/r /var/lib/r/x /"),
            ("User=a", "User=b"),
            ("User=a", ""),
            ("", "User=a\nExecStart=\nExecStart=/a --data '/srv/a b'"),
            ("User=a", "User=a\nDynamicUser=1\nStateDirectory=r"),
        ];
        let all: Vec<_> = cases.iter().map(|(old, new)| told(old, new)).collect();
        insta::assert_snapshot!(all.join("\n"), @r#"
        User: the service runs as b, until now as a; systemd gives it /var/lib/r when it starts; what it writes must be its own first: chown -R b: /srv/r
        User: the service runs as b, until now as a; what else a owns and the service needs must be given to it: chown -R b: PATH
        User: the service runs as root, until now as a; what it writes then belongs to root, and a can't write it after a way back
        User: the service runs as a, until now as root; what it writes must be its own first: chown -R a: "/srv/a b"
        Data: ExecStart= --data /srv/a b is not in OLD: where the service had its data elsewhere until now, it starts without it; move the data while it is stopped
        User: the service runs as the dynamic user a, until now as a; systemd gives it /var/lib/r when it starts; its number is known only while it runs, so data elsewhere must go to StateDirectory=
        "#);
        assert_eq!(told("User=root", "User=0"), "");
    }
}
