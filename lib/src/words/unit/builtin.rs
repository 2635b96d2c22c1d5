//! Units of our own: a hardened service, or the socket or timer that starts one, from a few values.
//!
//! All settings are ones that systemd 252 and later know. A value is data: words are quoted so that the program gets them as
//! they were given, and what can't be quoted is refused, so no value begins a line, a word, a variable or a specifier.

use core::net::SocketAddr;
use std::str::FromStr;

use caps::Capability;

use super::exec::quoted;
use super::file::File;
use crate::words::exit::{Coded, Exit};

mod hardening;

/// Which unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builtin {
    /// A service that runs one program.
    Service,
    /// A socket that starts the service of its name.
    Socket,
    /// A timer that starts the service of its name.
    Timer,
}

/// When systemd counts a service as started (`Type=` in systemd.service(5)), as far as our service goes with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// When the program is executed.
    #[default]
    Exec,
    /// When the program says that it is ready (`sd_notify(3)`).
    Notify,
    /// When the program has ended.
    Oneshot,
}

/// The values for a unit, as they were given.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// The unit's name, with or without its suffix; without one the service has its program's.
    pub name: Option<String>,
    /// The program of the service.
    pub binary: Option<String>,
    /// The configuration file that the program is told with `--config`.
    pub config: Option<String>,
    /// Further words for the program.
    pub arguments: Vec<String>,
    /// Who it runs as, or whose the socket file is.
    pub user: Option<String>,
    /// The group of that.
    pub group: Option<String>,
    /// The one line that `systemctl status` shows.
    pub description: Option<String>,
    /// The capabilities that the service needs.
    pub ambient: Vec<String>,
    /// When the service counts as started.
    pub start: Option<Start>,
    /// Where the socket listens.
    pub listen: Vec<String>,
    /// When the timer elapses.
    pub calendar: Vec<String>,
}

type Flags = Vec<&'static str>;

impl Given {
    /// Fails when there is a value that only a unit of ours has a place for.
    pub fn has_none(&self) -> Result<(), BuiltinError> {
        let (service, account, listen, calendar) = self.flags();
        let all = [service, account, listen, calendar, self.description.iter().map(|_| "--description").collect()];
        match all.concat().first() {
            Some(flag) => Err(BuiltinError::NoBuiltin { flag }),
            None => Ok(()),
        }
    }

    /// The flags that were given: of a service alone, of a service or a socket, of a socket alone, of a timer alone.
    fn flags(&self) -> (Flags, Flags, Flags, Flags) {
        let given =
            |all: &[(&'static str, bool)]| all.iter().filter(|(_, given)| *given).map(|(flag, _)| *flag).collect();
        let service = [
            ("--binary", self.binary.is_some()),
            ("--config", self.config.is_some()),
            ("--ambient", !self.ambient.is_empty()),
            ("--type", self.start.is_some()),
            (WORDS, !self.arguments.is_empty()),
        ];
        let account = [("--user", self.user.is_some()), ("--group", self.group.is_some())];
        let listen = [("--listen", !self.listen.is_empty())];
        let calendar = [("--calendar", !self.calendar.is_empty())];
        (given(&service), given(&account), given(&listen), given(&calendar))
    }
}

/// What stands after `--`.
const WORDS: &str = "words after --";

/// A unit's name and text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The name, with its suffix.
    pub name: String,
    /// The text.
    pub text: String,
}

/// Why there is no such unit.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuiltinError {
    /// A value that can't be done without.
    #[error("--builtin {builtin}: {flag} is needed; see unit-render --help")]
    Missing {
        /// Which unit.
        builtin: &'static str,
        /// The flag.
        flag: &'static str,
    },
    /// A value of a built-in unit, and none is asked for.
    #[error("{flag}: belongs to a built-in unit, and no --builtin is given; what BIN is told stands after --")]
    NoBuiltin {
        /// The flag.
        flag: &'static str,
    },
    /// A value that has no place in this unit.
    #[error("--builtin {builtin}: has no place for {flag}")]
    NoPlace {
        /// Which unit.
        builtin: &'static str,
        /// The flag.
        flag: &'static str,
    },
    /// A value that can't stand in a unit, or would not work there.
    #[error("{flag} '{value}': {why}")]
    Value {
        /// The flag.
        flag: &'static str,
        /// The value.
        value: String,
        /// What is wrong, and what is right.
        why: &'static str,
    },
}

impl Coded for BuiltinError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// A word that says no such unit, or no such start.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("one of {0} is needed")]
pub struct NotOneOf(&'static str);

impl FromStr for Builtin {
    type Err = NotOneOf;

    fn from_str(word: &str) -> Result<Self, NotOneOf> {
        let all = [Self::Service, Self::Socket, Self::Timer];
        all.into_iter().find(|one| one.word() == word).ok_or(NotOneOf("service, socket and timer"))
    }
}

impl FromStr for Start {
    type Err = NotOneOf;

    fn from_str(word: &str) -> Result<Self, NotOneOf> {
        let all = [Self::Exec, Self::Notify, Self::Oneshot];
        all.into_iter().find(|one| one.word() == word).ok_or(NotOneOf("exec, notify and oneshot"))
    }
}

impl Start {
    /// The value of `Type=`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Exec => "exec",
            Self::Notify => "notify",
            Self::Oneshot => "oneshot",
        }
    }
}

const BEFORE_RESTART: &str = "\
# Not after an end with status 0: a service that ends so in order to run its own update needs Restart=always.
Restart=on-failure
RestartSec=2s
";

impl Builtin {
    /// The word for it, which is also its suffix.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Socket => "socket",
            Self::Timer => "timer",
        }
    }

    /// The unit with these values.
    pub fn fill(self, given: &Given) -> Result<Named, BuiltinError> {
        self.has_place_for(given)?;
        let stem = self.stem(given)?;
        let default = match self {
            Self::Service => stem.clone(),
            Self::Socket => format!("Socket of {stem}"),
            Self::Timer => format!("Timer of {stem}"),
        };
        let description = match &given.description {
            Some(text) => line("--description", text)?,
            None => default,
        };
        let text = match self {
            Self::Service => service(given, &stem, &description)?,
            Self::Socket => socket(given, &description)?,
            Self::Timer => timer(given, &description)?,
        };
        let name = format!("{stem}.{}", self.word());
        let text = format!(
            "# By unit-render --builtin {}. Changes belong into a drop-in: systemctl edit {name}\n[Unit]\n{text}",
            self.word()
        );
        if File::parse(text.clone().into_bytes()).is_err() {
            let why = "has a character that systemd does not take in a unit";
            return Err(BuiltinError::Value { flag: "--builtin", value: self.word().to_owned(), why });
        }
        Ok(Named { name, text })
    }

    fn has_place_for(self, given: &Given) -> Result<(), BuiltinError> {
        let (service, account, listen, calendar) = given.flags();
        let others: Vec<_> = match self {
            Self::Service => listen.into_iter().chain(calendar).collect(),
            Self::Socket => service.into_iter().chain(calendar).collect(),
            Self::Timer => service.into_iter().chain(account).chain(listen).collect(),
        };
        match others.first() {
            Some(flag) => Err(BuiltinError::NoPlace { builtin: self.word(), flag }),
            None => Ok(()),
        }
    }

    /// The unit's name without its suffix.
    fn stem(self, given: &Given) -> Result<String, BuiltinError> {
        let suffix = format!(".{}", self.word());
        let (flag, stem) = match (&given.name, &given.binary) {
            (Some(name), _) => ("--name", name.strip_suffix(&suffix).unwrap_or(name)),
            (None, Some(binary)) => ("--binary", binary.rsplit('/').next().unwrap_or_default()),
            (None, None) if self == Self::Service => return Err(self.missing("--binary")),
            (None, None) => return Err(self.missing("--name")),
        };
        // systemd.unit(5), without '@', '\' and ':': the name is also that of the state folder.
        let letter = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if stem.is_empty() || stem.len() > 200 || stem.starts_with(['.', '-']) || !stem.chars().all(letter) {
            let why = match flag {
                "--name" => "a unit's name is of letters, digits, '-', '_' and '.', and has no '@' here",
                _ => "gives no name for the unit, which is of letters, digits, '-', '_' and '.'; say it with --name",
            };
            return Err(bad(flag, given.name.as_deref().unwrap_or(stem), why));
        }
        Ok(stem.to_owned())
    }

    const fn missing(self, flag: &'static str) -> BuiltinError {
        BuiltinError::Missing { builtin: self.word(), flag }
    }
}

fn service(given: &Given, stem: &str, description: &str) -> Result<String, BuiltinError> {
    let binary = given.binary.as_deref().ok_or(Builtin::Service.missing("--binary"))?;
    let mut command = program(binary)?;
    let config = given.config.as_deref().map(|config| reachable("--config", config)).transpose()?;
    for word in config.map(|config| ["--config", config]).into_iter().flatten() {
        command.extend([" ", &argument("--config", word)?]);
    }
    for word in &given.arguments {
        command.extend([" ", &argument("after --:", word)?]);
    }
    let account = account(given, "User", "Group")?.unwrap_or_else(|| "DynamicUser=yes\n".to_owned());
    let held = capabilities(&given.ambient)?;
    let capabilities = held.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let start = given.start.unwrap_or_default();
    let lasting = start != Start::Oneshot;
    let limit = if lasting { "StartLimitIntervalSec=5min\nStartLimitBurst=30\n" } else { "" };
    let restart = if lasting { BEFORE_RESTART } else { "" };
    let ambient = if capabilities.is_empty() { String::new() } else { format!("AmbientCapabilities={capabilities}\n") };
    let install = if lasting { "\n[Install]\nWantedBy=multi-user.target\n" } else { "" };
    Ok(format!(
        "\
Description={description}
After=network-online.target
Wants=network-online.target
{limit}
[Service]
Type={start}
ExecStart={command}
{account}{restart}StateDirectory={stem}
StateDirectoryMode=0750

# File capabilities (setcap) and NoNewPrivileges= don't go together: the program's file must have none, and what the service
# needs stands in AmbientCapabilities= (unit-render --ambient).
NoNewPrivileges=yes
CapabilityBoundingSet={capabilities}
{ambient}{hardened}{install}",
        hardened = hardening::lines(&held),
        start = start.word(),
    ))
}

fn socket(given: &Given, description: &str) -> Result<String, BuiltinError> {
    if given.listen.is_empty() {
        return Err(Builtin::Socket.missing("--listen"));
    }
    let mut listen = String::new();
    let (mut file, mut address) = (false, false);
    for place in &given.listen {
        let value = line("--listen", place)?;
        let port = place.parse::<u16>().is_ok_and(|port| port > 0);
        let is_address = place.parse::<SocketAddr>().is_ok_and(|address| address.port() > 0);
        let is_file = place.starts_with('/') && place.len() < 108 && !place.ends_with('/');
        if !(port || is_address || is_file || (place.starts_with('@') && place.len() > 1 && place.len() < 108)) {
            let why = "a port, ADDRESS:PORT, [ADDRESS]:PORT, /PATH or @NAME is needed";
            return Err(bad("--listen", place, why));
        }
        file |= is_file;
        address |= is_address;
        listen.extend(["ListenStream=", &value, "\n"]);
    }
    // An address may come up later than its socket (systemd.socket(5)).
    let free = if address { "FreeBind=yes\n" } else { "" };
    let account = account(given, "SocketUser", "SocketGroup")?;
    if account.is_some() && !file {
        return Err(bad(
            "--user",
            given.user.as_deref().unwrap_or_default(),
            "only a socket that is a /PATH is somebody's",
        ));
    }
    let mode = if file { "SocketMode=0660\n" } else { "" };
    let account = account.unwrap_or_default();
    Ok(format!(
        "Description={description}\n\n[Socket]\n{listen}{free}{account}{mode}\n[Install]\nWantedBy=sockets.target\n"
    ))
}

fn timer(given: &Given, description: &str) -> Result<String, BuiltinError> {
    if given.calendar.is_empty() {
        return Err(Builtin::Timer.missing("--calendar"));
    }
    let mut elapses = String::new();
    for time in &given.calendar {
        let letter = |c: char| c.is_ascii_alphanumeric() || " *:-.,/~_+".contains(c);
        if time.trim().is_empty() || !time.chars().all(letter) {
            let why = "a time as systemd.time(7) has them is needed: daily, 'Mon 03:00', '*-*-* 04:00'";
            return Err(bad("--calendar", time, why));
        }
        elapses.extend(["OnCalendar=", time.trim(), "\n"]);
    }
    Ok(format!("Description={description}\n\n[Timer]\n{elapses}Persistent=yes\n\n[Install]\nWantedBy=timers.target\n"))
}

/// The two settings of who it is; `None` when nobody is said.
fn account(given: &Given, user: &str, group: &str) -> Result<Option<String>, BuiltinError> {
    // systemd.exec(5), and numbers.
    let fits = |name: &str| {
        let letter = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        name.len() < 32
            && name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && name.chars().all(letter)
            && name.chars().any(|c| c != '.')
    };
    for (flag, name) in [("--user", &given.user), ("--group", &given.group)] {
        if let Some(name) = name.as_deref().filter(|name| !fits(name)) {
            let why =
                "a user's or group's name is of letters, digits, '-', '_' and '.', and begins with none of '-' and '.'";
            return Err(bad(flag, name, why));
        }
    }
    match (&given.user, &given.group) {
        (Some(name), named) => {
            let group_line = named.as_ref().map(|named| format!("{group}={named}\n")).unwrap_or_default();
            Ok(Some(format!("{user}={name}\n{group_line}")))
        }
        (None, Some(named)) => Err(bad("--group", named, "is the group of a user: --user is needed too")),
        (None, None) => Ok(None),
    }
}

/// The capabilities of these names, as capabilities(7) has them, each once.
fn capabilities(names: &[String]) -> Result<Vec<Capability>, BuiltinError> {
    let mut all = Vec::new();
    for name in names {
        let known = name.to_ascii_uppercase().parse();
        let known = known.map_err(|_| bad("--ambient", name, "is not a capability; capabilities(7) lists them"))?;
        if !all.contains(&known) {
            all.push(known);
        }
    }
    Ok(all)
}

/// The program of a command line: nothing but specifiers is replaced in it.
fn program(path: &str) -> Result<String, BuiltinError> {
    let path = reachable("--binary", path)?;
    let whole = !path.ends_with('/') && path.split('/').skip(1).all(|part| !["", ".", ".."].contains(&part));
    if !path.starts_with('/') || !whole {
        return Err(bad("--binary", path, "the absolute path of a program is needed, without '..'"));
    }
    Ok(quoted(&without_specifiers(&plain("--binary", path)?)))
}

/// Refuses what the service would not see at its path.
fn reachable<'p>(flag: &'static str, path: &'p str) -> Result<&'p str, BuiltinError> {
    let below = |folders: &[&str]| {
        folders
            .iter()
            .any(|folder| path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    };
    if below(&["/home", "/root", "/run/user"]) {
        return Err(bad(
            flag,
            path,
            "the service can't see it there: ProtectHome=yes; put it into /usr/local, /opt or /etc",
        ));
    }
    if below(&["/tmp", "/var/tmp"]) {
        return Err(bad(
            flag,
            path,
            "the service can't see it there: PrivateTmp=yes; put it into /usr/local, /opt or /etc",
        ));
    }
    Ok(path)
}

/// A word of a command line, for the program to get as it is.
fn argument(flag: &'static str, word: &str) -> Result<String, BuiltinError> {
    Ok(quoted(&without_specifiers(&plain(flag, word)?).replace('$', "$$")))
}

/// A value that is the whole of a line, for systemd to take as it is.
fn line(flag: &'static str, text: &str) -> Result<String, BuiltinError> {
    let text = plain(flag, text)?;
    if text.is_empty() || text.trim() != text || text.ends_with('\\') {
        return Err(bad(
            flag,
            &text,
            "a line is needed that neither begins nor ends with a blank or ends with a backslash",
        ));
    }
    Ok(without_specifiers(&text))
}

fn plain(flag: &'static str, text: &str) -> Result<String, BuiltinError> {
    if text.contains(char::is_control) {
        return Err(bad(flag, text, "has a control character"));
    }
    Ok(text.to_owned())
}

fn without_specifiers(text: &str) -> String {
    text.replace('%', "%%")
}

fn bad(flag: &'static str, value: &str, why: &'static str) -> BuiltinError {
    BuiltinError::Value { flag, value: value.to_owned(), why }
}

#[cfg(test)]
#[path = "builtin/tests.rs"]
mod tests;
