//! Units of our own: a hardened service, or the socket or timer that starts one, from a few values.
//!
//! All settings are ones that systemd 252 and later know. A value is data: words are quoted so that the program gets them as
//! they were given, and what can't be quoted is refused, so no value begins a line, a word, a variable or a specifier.

use std::net::SocketAddr;
use std::str::FromStr;

use super::exec::quoted;
use super::file::File;
use crate::words::exit::{Coded, Exit};

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
# Not again after an end with status 0; a service that updates itself and ends so needs Restart=always.
Restart=on-failure
RestartSec=2s
";

const HARDENED: &str = "\
UMask=0077
PrivateTmp=yes
PrivateDevices=yes
ProtectSystem=strict
ProtectHome=yes
ProtectProc=invisible
ProtectClock=yes
ProtectHostname=yes
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
# A program that makes code while it runs (Java, Node.js, LuaJIT) needs MemoryDenyWriteExecute=no.
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
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
        let service = [
            ("--binary", given.binary.is_some()),
            ("--config", given.config.is_some()),
            ("--ambient", !given.ambient.is_empty()),
            ("--type", given.start.is_some()),
            ("words after --", !given.arguments.is_empty()),
        ];
        let account = [("--user", given.user.is_some()), ("--group", given.group.is_some())];
        let listen = [("--listen", !given.listen.is_empty())];
        let calendar = [("--calendar", !given.calendar.is_empty())];
        let others: Vec<_> = match self {
            Self::Service => listen.into_iter().chain(calendar).collect(),
            Self::Socket => service.into_iter().chain(calendar).collect(),
            Self::Timer => service.into_iter().chain(account).chain(listen).collect(),
        };
        match others.into_iter().find(|(_, is_given)| *is_given) {
            Some((flag, _)) => Err(BuiltinError::NoPlace { builtin: self.word(), flag }),
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
    let capabilities = capabilities(&given.ambient)?;
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
{ambient}{HARDENED}{install}",
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

/// The names, as capabilities(7) has them, each once.
fn capabilities(names: &[String]) -> Result<String, BuiltinError> {
    let mut all: Vec<String> = Vec::new();
    for name in names {
        let known = name.to_ascii_uppercase().parse::<caps::Capability>();
        let known = known.map_err(|_| bad("--ambient", name, "is not a capability; capabilities(7) lists them"))?;
        if !all.contains(&known.to_string()) {
            all.push(known.to_string());
        }
    }
    Ok(all.join(" "))
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
mod tests {
    use super::super::exec;
    use super::*;
    use proptest::prelude::*;

    fn runed() -> Given {
        Given { binary: Some("/usr/local/bin/runed".into()), ..Given::default() }
    }

    fn settings(text: &str) -> Vec<(String, String)> {
        let file = File::parse(text.as_bytes().to_vec()).unwrap();
        assert_eq!(file.complaints(), [], "{text}");
        file.assignments().iter().map(|a| (format!("[{}]{}", a.section, a.key), a.value.clone())).collect()
    }

    fn value(text: &str, key: &str) -> Option<String> {
        let found: Vec<_> = settings(text).into_iter().filter(|(name, _)| name.ends_with(key)).collect();
        assert!(found.len() < 2, "{found:?}");
        found.into_iter().next().map(|(_, value)| value)
    }

    #[test]
    fn a_service_holds_its_capabilities_and_no_others() {
        let none = Builtin::Service.fill(&runed()).unwrap().text;
        assert_eq!(value(&none, "]CapabilityBoundingSet").as_deref(), Some(""));
        assert_eq!((value(&none, "]AmbientCapabilities"), value(&none, "]User")), (None, None));
        assert_eq!(value(&none, "]DynamicUser").as_deref(), Some("yes"));
        let ambient = ["cap_net_bind_service", "CAP_SYS_NICE", "CAP_NET_BIND_SERVICE"].map(str::to_owned).to_vec();
        let given = Given { ambient, user: Some("rune".into()), group: Some("www".into()), ..runed() };
        let two = Builtin::Service.fill(&given).unwrap().text;
        for key in ["]CapabilityBoundingSet", "]AmbientCapabilities"] {
            assert_eq!(value(&two, key).as_deref(), Some("CAP_NET_BIND_SERVICE CAP_SYS_NICE"));
        }
        assert_eq!((value(&two, "]User"), value(&two, "]Group")), (Some("rune".into()), Some("www".into())));
        assert_eq!(value(&two, "]DynamicUser"), None);
    }

    #[test]
    fn no_key_stands_twice_and_all_are_systemd_s() {
        let text = Builtin::Service.fill(&runed()).unwrap().text;
        let mut keys: Vec<_> = settings(&text).into_iter().map(|(key, _)| key).collect();
        keys.sort();
        let count = keys.len();
        keys.dedup();
        assert_eq!(keys.len(), count);
    }

    #[test]
    fn a_oneshot_is_for_a_timer_or_socket_to_start() {
        let text = Builtin::Service.fill(&Given { start: Some(Start::Oneshot), ..runed() }).unwrap().text;
        assert!(!text.contains("Restart=") && !text.contains("[Install]"), "{text}");
    }

    #[test]
    fn what_does_not_belong_is_refused_by_its_flag() {
        let said = |builtin: Builtin, given: Given| builtin.fill(&given).unwrap_err().to_string();
        let named = || Given { name: Some("runed".into()), ..Given::default() };
        let list = |text: &str| vec![text.to_owned()];
        for (builtin, given, expected) in [
            (Builtin::Service, Given::default(), "--builtin service: --binary is needed"),
            (Builtin::Service, named(), "--builtin service: --binary is needed"),
            (Builtin::Service, Given { listen: list("80"), ..runed() }, "--builtin service: has no place for --listen"),
            (Builtin::Socket, Given { listen: list("80"), ..Given::default() }, "--builtin socket: --name is needed"),
            (Builtin::Socket, named(), "--builtin socket: --listen is needed"),
            (Builtin::Socket, runed(), "--builtin socket: has no place for --binary"),
            (Builtin::Timer, named(), "--builtin timer: --calendar is needed"),
            (Builtin::Timer, Given { user: Some("u".into()), ..named() }, "--builtin timer: has no place for --user"),
            (Builtin::Service, Given { group: Some("g".into()), ..runed() }, "--group 'g': is the group of a user"),
            (Builtin::Service, Given { ambient: list("CAP_X"), ..runed() }, "--ambient 'CAP_X': is not a capability"),
            (
                Builtin::Socket,
                Given { listen: list("80"), user: Some("u".into()), ..named() },
                "--user 'u': only a socket",
            ),
            (Builtin::Service, Given { name: Some("a@b".into()), ..runed() }, "--name 'a@b': a unit's name is of"),
            (
                Builtin::Timer,
                Given { name: Some("a.service".into()), calendar: list("daily"), user: None, ..Given::default() },
                "",
            ),
        ] {
            match expected {
                "" => assert_eq!(builtin.fill(&given).unwrap().name, "a.service.timer"),
                expected => {
                    let said = said(builtin, given);
                    assert!(said.starts_with(expected), "{said}");
                }
            }
        }
        for binary in [
            "runed",
            "/usr/bin/",
            "/usr/../bin/x",
            "/usr//bin/x",
            "/home/u/runed",
            "/tmp/runed",
            "/a\n/b",
            "/bin/a b",
            "",
        ] {
            let given = Given { binary: Some(binary.into()), ..Given::default() };
            assert!(Builtin::Service.fill(&given).is_err(), "{binary}");
        }
        for listen in
            ["0", "65536", "", "x:80", "1.2.3.4", "[::1]", "/a ", " /a", "/a\\", "@", "/a\nExecStartPre=/x", "80 81"]
        {
            assert!(Builtin::Socket.fill(&Given { listen: list(listen), ..named() }).is_err(), "{listen}");
        }
        for listen in ["80", "1.2.3.4:80", "[::1]:80", "/run/a b.sock", "@a"] {
            assert!(Builtin::Socket.fill(&Given { listen: list(listen), ..named() }).is_ok(), "{listen}");
        }
        for user in ["", "a b", "-a", "a\nb", "%i", "..", "a$b", "ä"] {
            assert!(Builtin::Service.fill(&Given { user: Some(user.into()), ..runed() }).is_err(), "{user}");
        }
        for calendar in ["", " ", "daily\nX=1", "%i", "a\\"] {
            assert!(Builtin::Timer.fill(&Given { calendar: list(calendar), ..named() }).is_err(), "{calendar}");
        }
    }

    /// What systemd gives the program for a word of its command line.
    fn received(word: &str) -> String {
        word.replace("%%", "%").replace("$$", "$")
    }

    proptest! {
        /// The keys are always the same, and the program gets the words that were given.
        #[test]
        fn no_value_leaves_its_place(
            word in "[ -~äß\\u{2028}]{0,8}",
            description in "\\PC{0,8}",
            config in "/[ -~]{0,8}",
        ) {
            let given = Given {
                arguments: vec![word.clone(), "last".into()],
                description: Some(description.clone()),
                config: Some(config.clone()),
                ..runed()
            };
            let plain = Given { arguments: vec!["x".into()], description: Some("x".into()), config: Some("/x".into()), ..runed() };
            let keys = |given: &Given| {
                let text = Builtin::Service.fill(given)?.text;
                Ok::<_, BuiltinError>((settings(&text).into_iter().map(|(key, _)| key).collect::<Vec<_>>(), text))
            };
            let (expected, _) = keys(&plain).unwrap();
            if let Ok((keys, text)) = keys(&given) {
                prop_assert_eq!(keys, expected);
                let commands = exec::commands(&value(&text, "]ExecStart").unwrap()).unwrap();
                prop_assert_eq!(commands.len(), 1);
                let words: Vec<_> = commands[0].arguments.iter().map(|word| received(word)).collect();
                prop_assert_eq!(words, ["--config", &config, &word, "last"].map(str::to_owned));
                prop_assert_eq!(value(&text, "]Description").unwrap().replace("%%", "%"), description);
            }
        }
    }
}
