//! What systemd must answer for a setting as we read it: the property and its value, by the property's type on the bus.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Value, json};
use upswap::words::privileges::CapSet;
use upswap::words::unit::exec;
use upswap::words::unit::keys::{self, Kind};
use upswap::words::unit::reading::{Name, Reading};

use super::values::{address, capability, commands, filter, namespaces, number, sorted, statuses, usec};

/// A unit's properties: `{"type": …, "data": …}` by name.
pub type Properties = BTreeMap<String, Value>;

/// Why a setting was not compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Untold {
    /// systemd has no property for it.
    NoProperty,
    /// systemd itself ignores the key or its section.
    Ignored,
    /// A specifier, which only systemd resolves.
    Specifier,
    /// What it becomes depends on the host.
    Host,
    /// Only a unit that is not active shows it as its file has it, or one that is.
    State,
}

/// A value that a property must have.
pub enum Wanted {
    /// Just this.
    Exactly(Value),
    /// These and perhaps others, which follow from something else.
    Among(Vec<Value>),
}

/// What else must be known: of systemd, and of other units.
pub struct Knowledge {
    /// The system calls of each `@group`.
    groups: BTreeMap<String, Vec<String>>,
    /// `daily` is `*-*-* 00:00:00`.
    calendars: BTreeMap<String, String>,
    /// The unit that another name is an alias of.
    aliases: BTreeMap<String, String>,
    /// What a unit of a kind has where nothing is set.
    plain: BTreeMap<String, Properties>,
}

impl Knowledge {
    /// From what `systemd-analyze syscall-filter` prints, lines of an expression and its normal form, and the units.
    ///
    /// Of the units, `plain.*` set nothing, and `odd-known.service` filters by `@known`: systemd shows those calls alone
    /// that its libseccomp knows.
    pub fn new(groups: &str, calendars: &str, units: &BTreeMap<String, Properties>) -> Self {
        let mut calls: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut last = String::new();
        for line in groups.lines().filter(|line| !line.trim().starts_with('#') && !line.trim().is_empty()) {
            if line.starts_with('@') {
                line.clone_into(&mut last);
            } else if line.starts_with(' ') {
                calls.entry(last.clone()).or_default().push(line.trim().to_owned());
            }
        }
        let known = &units["odd-known.service"]["SystemCallFilter"]["data"][1];
        let known: BTreeSet<_> = known.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for calls in calls.values_mut() {
            calls.retain(|call| call.starts_with('@') || known.contains(call.as_str()));
        }
        let calendars = calendars.lines().filter_map(|line| line.split_once('\t'));
        let names = |properties: &Properties| properties["Names"]["data"].as_array().cloned().unwrap_or_default();
        let aliases = units.values().flat_map(|properties| {
            let id = properties["Id"]["data"].as_str().unwrap_or_default().to_owned();
            names(properties).into_iter().filter_map(move |name| Some((name.as_str()?.to_owned(), id.clone())))
        });
        let plain = units.iter().filter_map(|(name, all)| Some((name.strip_prefix("plain.")?.to_owned(), all.clone())));
        Self {
            groups: calls,
            calendars: calendars.map(|(at, normal)| (at.to_owned(), normal.to_owned())).collect(),
            aliases: aliases.collect(),
            plain: plain.collect(),
        }
    }

    fn calls(&self, word: &str) -> Vec<String> {
        match self.groups.get(word) {
            Some(members) => members.iter().flat_map(|member| self.calls(member)).collect(),
            None => vec![word.to_owned()],
        }
    }
}

impl Wanted {
    /// True when a property's value is what is wanted.
    pub fn fits(&self, told: &Value) -> bool {
        match self {
            Self::Exactly(value) => value == told,
            Self::Among(values) => told.as_array().is_some_and(|told| values.iter().all(|value| told.contains(value))),
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(value) => write!(f, "{value}"),
            Self::Among(values) => write!(f, "{} and perhaps others", json!(values)),
        }
    }
}

/// A property, its value, and what it must be.
type Expected = Vec<(String, Value, Wanted)>;

/// What systemd must answer for `name`, a key that the unit's files assign.
pub fn expected(
    unit: &str,
    name: Name<'_>,
    reading: &Reading<'_>,
    properties: &Properties,
    knowledge: &Knowledge,
) -> Result<Expected, Untold> {
    let (section, key) = name;
    let suffix = unit.rsplit('.').next().unwrap_or_default();
    if section == "Install" {
        return Err(Untold::NoProperty);
    }
    let own = section.to_ascii_lowercase() == suffix && section.starts_with(|c: char| c.is_ascii_uppercase());
    Case { section, key, suffix, own, reading, properties, knowledge }.expected()
}

struct Case<'a> {
    section: &'a str,
    key: &'a str,
    suffix: &'a str,
    /// Whether it is the section of the unit's own kind.
    own: bool,
    reading: &'a Reading<'a>,
    properties: &'a Properties,
    knowledge: &'a Knowledge,
}

impl Case<'_> {
    fn expected(&self) -> Result<Expected, Untold> {
        // Every unit has the properties that a target has, and what the keys of [Unit] say is among them.
        let of_any = |name: &String| self.knowledge.plain["target"].contains_key(name);
        let seen = |name: &String| {
            if self.own { !of_any(name) || self.key == "Sockets" || self.key == "Service" } else { of_any(name) }
        };
        let found: Vec<_> =
            self.names().into_iter().filter(|name| self.properties.contains_key(name) && seen(name)).collect();
        if found.is_empty() || !(self.own || self.section == "Unit") {
            return Err(if keys::is_known(self.key) && self.own { Untold::NoProperty } else { Untold::Ignored });
        }
        found.into_iter().map(|property| self.one(property)).collect()
    }

    /// The properties that tell of the key.
    fn names(&self) -> Vec<String> {
        let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let Self { section, key, .. } = *self;
        match (section, key) {
            ("Unit", _) if key.starts_with("Condition") => named(&["Conditions"]),
            ("Unit", _) if key.starts_with("Assert") => named(&["Asserts"]),
            ("Service", "Sockets") => named(&["TriggeredBy"]),
            ("Socket", "Service") => named(&["Triggers"]),
            ("Socket", _) if key.starts_with("Listen") => named(&["Listen"]),
            ("Timer", "OnCalendar") => named(&["TimersCalendar"]),
            ("Timer", "OnActiveSec" | "OnBootSec" | "OnStartupSec" | "OnUnitActiveSec" | "OnUnitInactiveSec") => {
                named(&["TimersMonotonic"])
            }
            ("Path", "PathExists" | "PathExistsGlob" | "PathChanged" | "PathModified" | "DirectoryNotEmpty") => {
                named(&["Paths"])
            }
            (_, "EnvironmentFile") => named(&["EnvironmentFiles"]),
            (_, "ImportCredential") => named(&["ImportCredential", "ImportCredentialEx"]),
            (_, "CPUQuota") => named(&["CPUQuotaPerSecUSec"]),
            (_, "Delegate") => named(&["Delegate", "DelegateControllers"]),
            (_, "TimerSlackNSec") => named(&["TimerSlackNSec"]),
            _ if keys::kind(key) == Kind::Commands => vec![format!("{key}Ex")],
            _ if key.starts_with("Limit") => vec![key.to_owned(), format!("{key}Soft")],
            _ if key.ends_with("Sec") => vec![format!("{}USec", key.trim_end_matches("Sec"))],
            _ => named(&[key]),
        }
    }

    fn one(&self, property: String) -> Result<(String, Value, Wanted), Untold> {
        let Self { section, key, suffix, reading, .. } = *self;
        let answer = &self.properties[&property];
        let (kind, mut told) = (answer["type"].as_str().unwrap_or_default(), answer["data"].clone());
        let Some(setting) = reading.settings().get(&(section, key)) else {
            let family = keys::family(section, key).is_some();
            let plain = self.knowledge.plain.get(suffix).and_then(|all| all.get(&property)).map(|v| v["data"].clone());
            if family {
                told = self.of_this_key(&told);
                return Ok((property, told, Wanted::Exactly(json!([]))));
            }
            // What nothing describes is called by its name.
            let plain = if key == "Description" { Some(self.properties["Id"]["data"].clone()) } else { plain };
            return Ok((property, told, Wanted::Exactly(plain.unwrap_or_default())));
        };
        let values = self.known(&setting.values)?;
        let wanted = match keys::kind(key) {
            Kind::Dependencies => Wanted::Among(self.units(&values)),
            _ if keys::family(section, key).is_some() => {
                told = sorted(&self.of_this_key(&told));
                Wanted::Exactly(sorted(&self.members(&values)))
            }
            Kind::Commands => {
                let command = |c: &Value| json!([c[0], c[1], sorted(&c[2])]);
                told = told.as_array().into_iter().flatten().map(command).collect();
                Wanted::Exactly(json!(commands(&values)))
            }
            _ => match self.by_key(kind, &values, &mut told) {
                Some(wanted) => wanted,
                None => self.by_type(&property, kind, &values, &mut told)?,
            },
        };
        Ok((property, told, wanted))
    }

    /// The values without specifiers, `%%` resolved; dependencies lose the words that have one.
    fn known(&self, values: &[&str]) -> Result<Vec<String>, Untold> {
        let plain = |text: &str| !text.replace("%%", "").contains('%');
        let numbers = matches!(self.key, "CPUQuota" | "TasksMax");
        if keys::kind(self.key) == Kind::Dependencies {
            let words = values.iter().flat_map(|v| exec::words(v).unwrap_or_default());
            return Ok(words.filter(|w| plain(w)).collect());
        }
        if !numbers && !values.iter().all(|v| plain(v)) {
            return Err(Untold::Specifier);
        }
        Ok(values.iter().map(|v| v.replace("%%", "%")).collect())
    }

    fn units(&self, values: &[String]) -> Vec<Value> {
        let id = |name: &String| self.knowledge.aliases.get(name).unwrap_or(name).clone();
        values.iter().map(|name| json!(id(name))).collect()
    }

    /// The entries of a list for a whole family that are of this key.
    fn of_this_key(&self, told: &Value) -> Value {
        let key = self.key;
        let entries = told.as_array().cloned().unwrap_or_default();
        let its = |entry: &Value, name: &str| entry[0] == name;
        let entries = entries.into_iter().filter_map(|entry| match self.section {
            "Unit" => its(&entry, key).then(|| json!([key, entry[1], entry[2], entry[3]])),
            "Socket" => its(&entry, key.trim_start_matches("Listen")).then_some(entry),
            "Timer" if key == "OnCalendar" => Some(json!([key, entry[1]])),
            "Timer" => its(&entry, &key.replace("Sec", "USec")).then(|| json!([key, entry[1]])),
            _ => its(&entry, key).then_some(entry),
        });
        entries.collect()
    }

    /// Our values as such entries.
    fn members(&self, values: &[String]) -> Value {
        let key = self.key;
        let entry = |value: &String| match self.section {
            "Unit" => {
                let (trigger, rest) = value.strip_prefix('|').map_or((false, value.as_str()), |rest| (true, rest));
                let (negated, rest) = rest.strip_prefix('!').map_or((false, rest), |rest| (true, rest));
                json!([key, trigger, negated, keys::simple_path(rest.trim_start())])
            }
            "Socket" => {
                let number = value.chars().all(|c| c.is_ascii_digit());
                json!([key.trim_start_matches("Listen"), if number { format!("[::]:{value}") } else { value.clone() }])
            }
            "Timer" if key == "OnCalendar" => json!([key, self.knowledge.calendars.get(value)]),
            "Timer" => json!([key, usec(value)]),
            _ => json!([key, value]),
        };
        values.iter().map(entry).collect()
    }

    /// A value of which systemd keeps more, or in another form, than words or a number.
    fn by_key(&self, kind: &str, values: &[String], told: &mut Value) -> Option<Wanted> {
        let words = || values.iter().flat_map(|v| exec::words(v).unwrap_or_default()).collect::<Vec<_>>();
        let exactly = Wanted::Exactly;
        Some(match self.key {
            "CapabilityBoundingSet" | "AmbientCapabilities" => {
                let shown = CapSet::of(told.as_u64().unwrap_or_default()).within(CapSet::every());
                *told = json!(shown.names());
                exactly(json!(self.capabilities(values).names()))
            }
            "SystemCallFilter" => {
                let filter = filter(values, |word| self.knowledge.calls(word), &["@default"]);
                exactly(json!([filter.0, filter.1]))
            }
            "RestrictAddressFamilies" => {
                let filter = filter(values, |word| vec![word.to_owned()], &[]);
                exactly(json!([filter.0, filter.1]))
            }
            "RestrictNamespaces" => exactly(json!(namespaces(values))),
            "IPAddressAllow" | "IPAddressDeny" => {
                *told =
                    told.as_array().map(|all| all.iter().map(|one| json!(address(one))).collect()).unwrap_or_default();
                *told = sorted(told);
                let known = |word: String| match word.as_str() {
                    "any" => vec!["0.0.0.0/0".to_owned(), "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0/0".to_owned()],
                    "localhost" => vec!["127.0.0.0/8".to_owned(), "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1/128".to_owned()],
                    _ => vec![word],
                };
                exactly(sorted(&words().into_iter().flat_map(known).map(|w| json!(w)).collect()))
            }
            "DeviceAllow" => {
                let pair = |value: &String| {
                    let (node, access) = value.split_once(' ').unwrap_or((value, "rwm"));
                    json!([node, access])
                };
                Wanted::Among(values.iter().map(pair).collect())
            }
            "EnvironmentFile" => {
                let pair = |v: &str| v.strip_prefix('-').map_or_else(|| json!([v, false]), |path| json!([path, true]));
                exactly(values.iter().map(|v| pair(&keys::simple_path(v))).collect())
            }
            "Environment" => {
                let mut last = BTreeMap::new();
                for word in words() {
                    last.insert(word.split('=').next().unwrap_or_default().to_owned(), word);
                }
                *told = sorted(told);
                exactly(sorted(&last.into_values().map(|word| json!(word)).collect()))
            }
            "BindPaths" | "BindReadOnlyPaths" => {
                let pairs = words().into_iter().map(|word| {
                    let (from, to) = word.split_once(':').unwrap_or((&word, &word));
                    json!([from, to])
                });
                *told =
                    told.as_array().map(|all| all.iter().map(|b| json!([b[0], b[1]])).collect()).unwrap_or_default();
                exactly(pairs.collect())
            }
            "TemporaryFileSystem" => {
                let pairs = words().into_iter().map(|word| {
                    let (path, options) = word.split_once(':').unwrap_or((&word, ""));
                    json!([path, options])
                });
                *told = sorted(told);
                exactly(sorted(&pairs.collect()))
            }
            "LoadCredential" | "LoadCredentialEncrypted" => {
                let pair = |v: &String| v.split_once(':').map_or_else(|| json!([v, v]), |(id, path)| json!([id, path]));
                *told = sorted(told);
                exactly(sorted(&values.iter().map(pair).collect()))
            }
            "SetCredential" => {
                let pair = |v: &String| v.split_once(':').map(|(id, text)| json!([id, text.as_bytes()]));
                exactly(values.iter().filter_map(pair).collect())
            }
            "ImportCredential" => {
                let pair = |v: &String| {
                    let (glob, name) = v.split_once(':').unwrap_or((v, ""));
                    if kind == "as" { json!(glob) } else { json!([glob, name]) }
                };
                *told = sorted(told);
                exactly(sorted(&values.iter().map(pair).collect()))
            }
            "LogExtraFields" => exactly(values.iter().map(|v| json!(v.as_bytes())).collect()),
            "SuccessExitStatus" | "RestartPreventExitStatus" | "RestartForceExitStatus" => exactly(statuses(&words())),
            "ExecSearchPath" => exactly(values.iter().flat_map(|v| v.split(':')).map(|v| json!(v)).collect()),
            _ => return None,
        })
    }

    fn by_type(&self, property: &str, kind: &str, values: &[String], told: &mut Value) -> Result<Wanted, Untold> {
        let key = self.key;
        let last = values.last().map(String::as_str).unwrap_or_default();
        let words = || values.iter().flat_map(|v| exec::words(v).unwrap_or_default()).collect::<Vec<_>>();
        let exactly = |value: Value| Ok(Wanted::Exactly(value));
        match (key, kind) {
            ("Delegate", "b") => exactly(json!(keys::switch(last) != "no")),
            ("Delegate", _) => {
                // Of what it asks for systemd shows what there is.
                *told = sorted(told);
                match keys::switch(last) {
                    "yes" => Err(Untold::Host),
                    "no" => exactly(json!([])),
                    _ => exactly(sorted(&json!(words()))),
                }
            }
            ("CPUAffinity" | "CoredumpFilter" | "LimitNICE", _) => Err(Untold::Host),
            _ if key.starts_with("Limit") => exactly(self.limit(property, last)),
            (_, "as") => {
                let words = words().iter().map(|word| json!(keys::simple_path(word))).collect();
                if keys::kind(key) == Kind::OrderedWords {
                    return exactly(words);
                }
                *told = sorted(told);
                exactly(sorted(&words))
            }
            ("TimerSlackNSec", _) => exactly(json!(usec(last) * 1000)),
            ("WatchdogSec", _) if *told == json!(u64::MAX) => Err(Untold::State),
            ("Options", _) if self.properties["ActiveState"]["data"] == "active" => Err(Untold::State),
            ("WorkingDirectory", _) => exactly(json!(keys::meaning(key, last).replacen('-', "!", 1))),
            ("StandardInput" | "StandardOutput" | "StandardError", _) => {
                exactly(json!(last.split(':').next().unwrap_or_default()))
            }
            (_, "b") => exactly(json!(keys::switch(last) == "yes")),
            (_, "s") if keys::kind(key) == Kind::Switch => exactly(json!(keys::switch(last))),
            (_, "s") => exactly(json!(keys::meaning(key, last))),
            (_, "t") if keys::kind(key) == Kind::Span || key.ends_with("Sec") => {
                exactly(json!(usec(&keys::meaning(key, last))))
            }
            (_, "u") if key.ends_with("Mode") || key == "UMask" => {
                exactly(json!(u32::from_str_radix(last, 8).unwrap_or(u32::MAX)))
            }
            _ if last.ends_with('%') && key == "CPUQuota" => {
                exactly(json!(last.trim_end_matches('%').parse::<u64>().unwrap_or(0) * 10_000))
            }
            _ if last.ends_with('%') => Err(Untold::Host),
            (_, "t" | "u" | "i") => exactly(number(key, last)),
            _ => Err(Untold::NoProperty),
        }
    }

    /// A resource limit: `BOTH` or `SOFT:HARD`.
    fn limit(&self, property: &str, value: &str) -> Value {
        let (soft, hard) = value.split_once(':').unwrap_or((value, value));
        let one = if property.ends_with("Soft") { soft } else { hard };
        let seconds = self.key == "LimitCPU" && one != "infinity";
        if seconds { json!(usec(one) / 1_000_000) } else { number(self.key, one) }
    }

    /// systemd.exec(5): what confines takes capabilities out of the bounding set besides.
    fn capabilities(&self, values: &[String]) -> CapSet {
        let (mut set, mut first) = (CapSet::NONE, true);
        for value in values {
            let (taken, list) = value.strip_prefix('~').map_or((false, value.as_str()), |list| (true, list));
            let named = exec::words(list).unwrap_or_default();
            let named = named.iter().fold(CapSet::NONE, |set, name| set.with(capability(name)));
            set = match (taken, first) {
                (false, _) => set.with(named),
                (true, true) => CapSet::every().without(named),
                (true, _) => set.without(named),
            };
            first = false;
        }
        let on = |key: &str| self.reading.last("Service", key).is_some_and(|v| keys::switch(v) == "yes");
        let without = [
            ("PrivateDevices", "CAP_MKNOD CAP_SYS_RAWIO"),
            ("ProtectKernelModules", "CAP_SYS_MODULE"),
            ("ProtectKernelLogs", "CAP_SYSLOG"),
            ("ProtectClock", "CAP_SYS_TIME CAP_WAKE_ALARM"),
        ];
        let without = without.into_iter().filter(|(key, _)| on(key) && self.key == "CapabilityBoundingSet");
        without.flat_map(|(_, names)| names.split(' ')).fold(set, |set, name| set.without(capability(name)))
    }
}
