//! What a unit's settings make of a process before its program is executed: systemd.exec(5), in the order in which systemd
//! applies them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::execve::Caller;
use super::{CapSet, Sets};
use crate::words::unit::exec::words;

/// The properties that [`Setting::read`] needs, for one `systemctl show`.
pub const PROPERTIES: &[&str] = &[
    "AmbientCapabilities",
    "BindPaths",
    "BindReadOnlyPaths",
    "CapabilityBoundingSet",
    "ExecPaths",
    "ExecStart",
    "ExecStartEx",
    "ExtensionDirectories",
    "ExtensionImages",
    "Group",
    "LockPersonality",
    "MemoryDenyWriteExecute",
    "MountImages",
    "NoExecPaths",
    "NoNewPrivileges",
    "PAMName",
    "PrivateDevices",
    "PrivateUsers",
    "ProtectClock",
    "ProtectHome",
    "ProtectHostname",
    "ProtectKernelLogs",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "ProtectSystem",
    "ReadOnlyPaths",
    "ReadWritePaths",
    "RestrictAddressFamilies",
    "RestrictNamespaces",
    "RestrictRealtime",
    "RestrictSUIDSGID",
    "RootDirectory",
    "RootImage",
    "SecureBits",
    "SystemCallArchitectures",
    "SystemCallFilter",
    "SystemCallLog",
    "TemporaryFileSystem",
    "User",
];

/// `SECBIT_NOROOT` of prctl(2).
const NOROOT: u64 = 1;
/// From this version on, systemd installs the system call filters of a unit with `User=` while it is still privileged.
const KEEPS_PRIVILEGES_FOR_FILTERS: u32 = 255;

/// The settings of a unit that decide about capabilities, as systemd has them loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// The program of the last command of `ExecStart=`.
    pub program: PathBuf,
    /// Its prefix is `+`: nothing of this applies.
    pub fully_privileged: bool,
    /// Its prefix is `!`: it runs as root.
    pub no_setuid: bool,
    /// `User=`, also the one that `DynamicUser=` makes; empty when it is not set.
    pub user: String,
    /// `Group=`.
    pub group: String,
    /// `CapabilityBoundingSet=`.
    pub bounding: CapSet,
    /// `AmbientCapabilities=`.
    pub ambient: CapSet,
    /// `SecureBits=`.
    pub secure_bits: u64,
    /// `NoNewPrivileges=`.
    pub no_new_privileges: bool,
    /// `PrivateUsers=`: a user namespace of its own.
    pub private_users: bool,
    /// The settings that install a system call filter.
    pub filters: Vec<&'static str>,
    /// The filter lets the process change its capabilities.
    pub filter_lets_drop: bool,
    /// The paths that get a mount of their own, with the setting that does it.
    pub mounts: Vec<(&'static str, PathBuf)>,
    /// The settings that may put another file in the program's place.
    pub covers: Vec<&'static str>,
    /// Settings that this does not explain, `RootDirectory=` or `RootImage=`.
    pub other_root: Option<&'static str>,
    /// `PAMName=`: a PAM module may change the sets.
    pub pam: bool,
    /// systemd's version.
    pub version: u32,
}

/// What systemd says can't be understood: the property.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("systemd tells no {0} of it that can be understood")]
pub struct Untold(&'static str);

impl Setting {
    /// Reads what `systemctl show` prints of a service; `version` is the manager's own property of that name.
    pub fn read(properties: &BTreeMap<String, String>, version: &str) -> Result<Self, Untold> {
        let text = |key: &str| properties.get(key).map_or("", String::as_str);
        let set = |key: &'static str| {
            let names = properties.get(key).ok_or(Untold(key))?.split_whitespace();
            names.map(|name| CapSet::named(name).ok_or(Untold(key))).try_fold(CapSet::NONE, |a, b| Ok(a.with(b?)))
        };
        // An older systemd has no ExecStartEx=; then the prefixes are not told.
        let shown = Some(text("ExecStartEx")).filter(|shown| !shown.is_empty()).unwrap_or(text("ExecStart"));
        let (program, flags) = command(shown).ok_or(Untold("ExecStart="))?;
        let filter = text("SystemCallFilter");
        Ok(Self {
            program,
            fully_privileged: flags.contains(&"privileged"),
            no_setuid: flags.contains(&"no-setuid"),
            user: text("User").to_owned(),
            group: text("Group").to_owned(),
            bounding: set("CapabilityBoundingSet")?,
            ambient: set("AmbientCapabilities").unwrap_or_default(),
            secure_bits: text("SecureBits").parse().unwrap_or(0),
            no_new_privileges: text("NoNewPrivileges") == "yes",
            private_users: !matches!(text("PrivateUsers"), "" | "no"),
            filters: filters(properties),
            filter_lets_drop: lets_drop(filter),
            mounts: mounts(properties),
            covers: ["MountImages", "ExtensionImages", "ExtensionDirectories"]
                .into_iter()
                .filter(|key| !text(key).is_empty())
                .collect(),
            other_root: ["RootDirectory", "RootImage"].into_iter().find(|key| !text(key).is_empty()),
            pam: !text("PAMName").is_empty(),
            version: version.split(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse().ok()).unwrap_or(0),
        })
    }

    /// Whether the process runs as `User=`.
    #[must_use]
    pub fn changes_user(&self) -> bool {
        !self.fully_privileged && !self.no_setuid && !self.user.is_empty()
    }

    /// The process as systemd lets it call execve(2): started by a `manager` with these sets, as the user `uid` and the
    /// group `gid` (`None`: not known, and not root).
    #[must_use]
    pub fn before_execve(&self, manager: &Sets, uid: Option<u32>, gid: Option<u32>) -> Caller {
        let mut sets = Sets { effective: CapSet::NONE, ambient: CapSet::NONE, no_new_privs: false, ..*manager };
        if self.fully_privileged {
            return Caller { sets, uid: Some(0), gid: Some(0), noroot: false };
        }
        if self.private_users {
            let every = CapSet::every();
            sets = Sets { permitted: every, bounding: every, inheritable: CapSet::NONE, ..sets };
        }
        let (admin, setuid) = (cap("cap_sys_admin"), cap("cap_setuid"));
        let could_admin = sets.permitted.holds(admin);
        let keeps = self.keeps_privileges_for_filters();
        sets.bounding = sets.bounding.within(self.bounding);
        sets.inheritable = sets.inheritable.within(self.bounding);
        // What the bounding set lacks can't be made ambient and is passed over.
        let ambient = self.ambient.within(sets.bounding);
        sets.inheritable = sets.inheritable.with(ambient);
        let uid = if self.changes_user() { uid } else { Some(0) };
        let unprivileged = uid != Some(0);
        // Capabilities go with the user root (setresuid(2)), unless systemd must still do something with them.
        if unprivileged && !keeps && self.ambient.is_empty() && self.secure_bits == 0 {
            sets.permitted = CapSet::NONE;
        }
        if keeps {
            if !self.ambient.holds(setuid) {
                sets.permitted = sets.permitted.without(setuid);
                sets.inheritable = sets.inheritable.without(setuid);
            }
            let kept = admin.with(cap("cap_setpcap"));
            sets.inheritable = sets.inheritable.with(kept.within(sets.bounding));
            sets.permitted = sets.permitted.without(kept.without(sets.bounding));
        }
        sets.ambient = ambient;
        let implied = !self.filters.is_empty() && !(could_admin && (keeps || !unprivileged));
        sets.no_new_privs = self.no_new_privileges || implied;
        Caller {
            sets,
            uid,
            gid: if self.changes_user() { gid } else { Some(0) },
            noroot: self.secure_bits & NOROOT != 0,
        }
    }

    /// The setting that mounts the place of `program` anew, and with `nosuid`: systemd does that under `NoNewPrivileges=`.
    #[must_use]
    pub fn remounts_nosuid(&self, program: &Path) -> Option<&'static str> {
        let applies = self.no_new_privileges && !self.fully_privileged;
        self.mounts.iter().find(|(_, path)| applies && program.starts_with(path)).map(|(setting, _)| *setting)
    }

    /// The settings that may put another file in the place of `program` than the host has there.
    #[must_use]
    pub fn may_cover(&self, program: &Path) -> Vec<&'static str> {
        let over = |(setting, path): &(&'static str, PathBuf)| {
            (matches!(*setting, "BindPaths" | "BindReadOnlyPaths" | "TemporaryFileSystem") && program.starts_with(path))
                .then_some(*setting)
        };
        let mut found: Vec<_> = self.mounts.iter().filter_map(over).chain(self.covers.iter().copied()).collect();
        found.retain(|_| !self.fully_privileged);
        found.dedup();
        found
    }

    fn keeps_privileges_for_filters(&self) -> bool {
        let filtered = !self.filters.is_empty() && self.filter_lets_drop;
        self.version >= KEEPS_PRIVILEGES_FOR_FILTERS && self.changes_user() && filtered
    }
}

/// A capability by a name that is one.
fn cap(name: &str) -> CapSet {
    CapSet::named(name).unwrap_or_default()
}

/// Program and flags of `{ path=/bin/x ; argv[]=/bin/x -a ; flags=no-setuid ; start_time=… }`. The arguments may hold anything.
fn command(shown: &str) -> Option<(PathBuf, Vec<&str>)> {
    let (path, rest) = shown.strip_prefix("{ path=")?.split_once(" ; argv[]=")?;
    let before = rest.rsplit_once(" ; start_time=").map_or(rest, |(before, _)| before);
    let flags = before.rsplit_once(" ; flags=").map_or("", |(_, flags)| flags);
    Some((PathBuf::from(path), flags.split_whitespace().collect())).filter(|(path, _)| !path.as_os_str().is_empty())
}

/// The settings that are done by a system call filter, and so imply `NoNewPrivileges=` where systemd is not privileged.
fn filters(properties: &BTreeMap<String, String>) -> Vec<&'static str> {
    const SWITCHES: [&str; 11] = [
        "LockPersonality",
        "MemoryDenyWriteExecute",
        "PrivateDevices",
        "ProtectClock",
        "ProtectHostname",
        "ProtectKernelTunables",
        "ProtectKernelModules",
        "ProtectKernelLogs",
        "RestrictNamespaces",
        "RestrictRealtime",
        "RestrictSUIDSGID",
    ];
    // A list that denies nothing is shown as "~", one that allows nothing as nothing at all.
    const LISTS: [&str; 3] = ["RestrictAddressFamilies", "SystemCallFilter", "SystemCallLog"];
    let text = |key: &str| properties.get(key).map(String::as_str);
    let switched = SWITCHES.into_iter().filter(|key| !matches!(text(key), None | Some("" | "no")));
    let listed = LISTS.into_iter().filter(|key| !matches!(text(key), None | Some("~")));
    let archs = Some("SystemCallArchitectures").filter(|key| !matches!(text(key), None | Some("")));
    switched.chain(listed).chain(archs).collect()
}

/// Whether a shown `SystemCallFilter=` lets the calls through that change capabilities.
fn lets_drop(filter: &str) -> bool {
    let (denies, listed) = filter.strip_prefix('~').map_or((false, filter), |listed| (true, listed));
    let named = |call: &str| listed.split_whitespace().any(|word| word.split(':').next() == Some(call));
    let calls = ["capget", "capset", "prctl"];
    if denies || filter.is_empty() { !calls.into_iter().any(named) } else { calls.into_iter().all(named) }
}

/// The paths that systemd mounts anew in the unit's own mount namespace.
fn mounts(properties: &BTreeMap<String, String>) -> Vec<(&'static str, PathBuf)> {
    let text = |key: &str| properties.get(key).map_or("", String::as_str);
    let mut found: Vec<(&'static str, PathBuf)> = Vec::new();
    let system: &[&str] = match text("ProtectSystem") {
        "strict" => &["/"],
        "full" => &["/usr", "/boot", "/efi", "/etc"],
        "yes" => &["/usr", "/boot", "/efi"],
        _ => &[],
    };
    let home: &[&str] = if matches!(text("ProtectHome"), "" | "no") { &[] } else { &["/home", "/root", "/run/user"] };
    found.extend(system.iter().map(|path| ("ProtectSystem", PathBuf::from(path))));
    found.extend(home.iter().map(|path| ("ProtectHome", PathBuf::from(path))));
    for key in ["ReadWritePaths", "ReadOnlyPaths", "ExecPaths", "NoExecPaths"] {
        let paths = words(text(key)).unwrap_or_default();
        found.extend(paths.iter().map(|path| (key, PathBuf::from(path.trim_start_matches(['-', '+'])))));
    }
    for key in ["BindPaths", "BindReadOnlyPaths"] {
        let target = |word: &String| word.split(':').nth(1).map(PathBuf::from);
        found.extend(words(text(key)).unwrap_or_default().iter().filter_map(target).map(|path| (key, path)));
    }
    let temporary = words(text("TemporaryFileSystem")).unwrap_or_default();
    let path = |word: &String| PathBuf::from(word.split(':').next().unwrap_or_default());
    found.extend(temporary.iter().map(path).map(|path| ("TemporaryFileSystem", path)));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::verdict::state::properties;

    /// What every service has: an `ExecStart=` and the full bounding set.
    fn setting(text: &str, version: &str) -> Setting {
        let all = CapSet::every().names().join(" ");
        let base = format!(
            "ExecStart={{ path=/opt/x ; argv[]=/opt/x ; ignore_errors=no ; start_time=[n/a] }}\nCapabilityBoundingSet={all}\n"
        );
        Setting::read(&properties(&(base + text)), version).unwrap()
    }

    fn manager() -> Sets {
        let every = CapSet::every();
        Sets { permitted: every, effective: every, bounding: every, ..Sets::default() }
    }

    #[test]
    fn the_command_is_read_past_anything_in_its_arguments() {
        let shown = "{ path=/opt/a b ; argv[]=/opt/a b ; flags=x ; start_time= ; flags=ignore-failure no-setuid ; start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }";
        let read = setting(&format!("ExecStartEx={shown}\n"), "252.39-1");
        assert_eq!((read.program.to_str(), read.no_setuid, read.version), (Some("/opt/a b"), true, 252));
        for bad in ["", "ExecStart=x\n", "ExecStart={ path= ; argv[]= ; }\nCapabilityBoundingSet=\n"] {
            assert!(Setting::read(&properties(bad), "").is_err(), "{bad}");
        }
        let strange = "ExecStart={ path=/x ; argv[]=/x ; }\nCapabilityBoundingSet=cap_of_tomorrow\n";
        assert_eq!(Setting::read(&properties(strange), "252"), Err(Untold("CapabilityBoundingSet")));
    }

    #[test]
    fn no_new_privileges_is_implied_by_filters_where_systemd_is_unprivileged() {
        for (text, before, since) in [
            ("User=rune", false, false),
            ("User=rune\nLockPersonality=yes", true, false),
            ("LockPersonality=yes", false, false),
            ("User=root\nLockPersonality=yes", false, false),
            ("User=rune\nRestrictAddressFamilies=~\nSystemCallFilter=~\nSystemCallLog=~", false, false),
            ("User=rune\nRestrictAddressFamilies=", true, false),
            ("User=rune\nSystemCallFilter=~capset", true, true),
            ("User=rune\nSystemCallFilter=read write", true, true),
            ("User=rune\nSystemCallFilter=capget capset prctl read", true, false),
            ("User=rune\nNoNewPrivileges=yes", true, true),
        ] {
            for (version, expected) in [("254", before), ("255", since)] {
                let setting = setting(text, version);
                let uid = if setting.user == "root" { Some(0) } else { Some(7) };
                let caller = setting.before_execve(&manager(), uid, Some(7));
                assert_eq!(caller.sets.no_new_privs, expected, "{text} {version}");
            }
        }
    }

    #[test]
    fn places_that_are_mounted_anew_are_known() {
        let nnp = "NoNewPrivileges=yes\n";
        for (text, expected) in [
            ("ProtectSystem=full", Some("ProtectSystem")),
            ("ProtectSystem=no\nProtectHome=yes", None),
            ("ReadOnlyPaths=\"/q r\" -+/usr/local", Some("ReadOnlyPaths")),
            ("BindReadOnlyPaths=/a:/usr:rbind", Some("BindReadOnlyPaths")),
            ("TemporaryFileSystem=/usr/local:ro", Some("TemporaryFileSystem")),
        ] {
            let read = setting(&format!("{nnp}{text}\n"), "252");
            assert_eq!(read.remounts_nosuid(Path::new("/usr/local/bin/runed")), expected, "{text}");
            assert_eq!(setting(text, "252").remounts_nosuid(Path::new("/usr/local/bin/runed")), None);
        }
    }
}
