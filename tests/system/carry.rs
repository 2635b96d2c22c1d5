//! `unit-diff --drop-in` against a real systemd: with the drop-in the new unit is to systemd what the operator's old one
//! was, but for what the new release means to change; without it, it is not.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use fs_err as fs;

use crate::env::Env;

/// An operator's change of a unit, by hand or in drop-ins.
struct Edit {
    name: &'static str,
    /// What the unit ends in, and so what it is.
    suffix: &'static str,
    /// What BASE says, and what OLD says in its place.
    old: &'static [(&'static str, &'static str)],
    /// The unit's drop-ins: name and text.
    drop_ins: &'static [(&'static str, &'static str)],
    /// What BASE says, and what NEW says in its place, besides [`RELEASE`].
    new: &'static [(&'static str, &'static str)],
    /// What properties hold in the end that both changed, each by a part of its value; those of all others are known.
    merged: &'static [(&'static str, &'static str)],
}

/// What every new release changes.
const RELEASE: &[(&str, &str)] =
    &[("The demo", "The demo, second edition"), ("StartLimitBurst=5", "StartLimitBurst=7")];

const SERVICE: &str = "[Unit]
Description=The demo
Documentation=man:demo(8)
After=network.target
ConditionPathExists=/usr/bin/demo
StartLimitBurst=5
[Service]
Type=exec
User=bin
Environment=LEVEL=info COLOR=never
EnvironmentFile=-/etc/default/demo
ExecStartPre=/usr/bin/test -d /etc
ExecStart=/usr/bin/demo serve --config /etc/demo.yaml --listen 127.0.0.1:80
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=5s
LimitNOFILE=512
NoNewPrivileges=yes
ProtectSystem=strict
PrivateTmp=yes
ReadWritePaths=/var/lib/demo /run
SupplementaryGroups=adm
CapabilityBoundingSet=CAP_NET_BIND_SERVICE CAP_CHOWN
AmbientCapabilities=CAP_NET_BIND_SERVICE
SystemCallFilter=@system-service
SystemCallFilter=~@resources
RestrictAddressFamilies=AF_INET AF_UNIX
RestrictNamespaces=yes
StateDirectory=demo
KillMode=mixed
TimeoutStopSec=20s
IPAddressAllow=127.0.0.0/8
IPAddressDeny=any
DeviceAllow=/dev/null rw
BindReadOnlyPaths=/etc/ssl
[Install]
WantedBy=multi-user.target
";

const SOCKET: &str = "[Unit]
Description=The demo
StartLimitBurst=5
[Socket]
ListenStream=/run/demo.sock
ListenDatagram=127.0.0.1:5353
SocketMode=0660
SocketUser=bin
[Install]
WantedBy=sockets.target
";

const TIMER: &str = "[Unit]
Description=The demo
StartLimitBurst=5
[Timer]
OnCalendar=daily
OnBootSec=5min
Persistent=yes
RandomizedDelaySec=1h
Unit=debug-shell.service
";

const PATH: &str = "[Unit]
Description=The demo
StartLimitBurst=5
[Path]
PathChanged=/etc/demo.yaml
PathExists=/run/demo.go
Unit=debug-shell.service
";

/// An edit of the service file that no release meets.
const fn by_hand(name: &'static str, old: &'static [(&'static str, &'static str)]) -> Edit {
    Edit { name, suffix: "service", old, drop_ins: &[], new: &[], merged: &[] }
}

const COMMAND: (&str, &str) = ("127.0.0.1:80", "127.0.0.1:80 --json");

const EDITS: &[Edit] = &[
    by_hand("a variable more", &[("LEVEL=info", "LEVEL=info EXTRA=1")]),
    by_hand("a variable changed", &[("LEVEL=info", "LEVEL=debug")]),
    by_hand("a variable less", &[(" COLOR=never", "")]),
    by_hand(
        "a variable with all that is quoted",
        &[("COLOR=never", "COLOR=never \"SAY=a \\\"b\\\" 100%% $$HOME 'c'\\ttab\\x41\" 'ONE=two three'")],
    ),
    by_hand("no variable at all", &[("Environment=LEVEL=info COLOR=never\n", "")]),
    by_hand("another environment file", &[("EnvironmentFile=-/etc/default/demo", "EnvironmentFile=-/srv/demo.env")]),
    by_hand(
        "an environment file more",
        &[("EnvironmentFile=-/etc/default/demo", "EnvironmentFile=-/etc/default/demo\nEnvironmentFile=-/srv/more")],
    ),
    by_hand("a restart delay", &[("RestartSec=5s", "RestartSec=1min 30s")]),
    by_hand("restart always", &[("on-failure", "always")]),
    by_hand("no restart", &[("Restart=on-failure\n", "")]),
    by_hand("a file limit", &[("LimitNOFILE=512", "LimitNOFILE=700:900")]),
    by_hand("a memory limit", &[("Type=exec", "Type=exec\nMemoryMax=512M\nMemoryHigh=400M")]),
    by_hand(
        "a command before the first",
        &[("ExecStartPre=", "ExecStartPre=+/bin/mkdir -p '/srv/a b' $$x %%y\nExecStartPre=")],
    ),
    by_hand("a command after the last", &[("-d /etc\n", "-d /etc\nExecStartPre=-/bin/true\n")]),
    by_hand("no command before the start", &[("ExecStartPre=/usr/bin/test -d /etc\n", "")]),
    by_hand("a flag more", &[("--listen", "--debug --listen")]),
    by_hand("a flag changed", &[("127.0.0.1:80", "[::]:8080")]),
    by_hand("a wrapper", &[("ExecStart=/usr/bin/demo", "ExecStart=-/usr/bin/nice -n 5 /usr/bin/demo")]),
    by_hand(
        "a shell around",
        &[(
            "ExecStart=/usr/bin/demo serve --config /etc/demo.yaml --listen 127.0.0.1:80",
            "ExecStart=/bin/sh -c 'exec /usr/bin/demo serve \"$$HOME\" ; true' \\\n    # and more\n    -- a\\;b",
        )],
    ),
    Edit {
        name: "flags of both",
        suffix: "service",
        old: &[("--listen", "--debug --listen"), ("/etc/demo.yaml", "/srv/demo.yaml")],
        drop_ins: &[],
        new: &[COMMAND],
        merged: &[("ExecStart", "/usr/bin/demo serve --config /srv/demo.yaml --debug --listen 127.0.0.1:80 --json ;")],
    },
    Edit {
        name: "a wrapper over a changed command",
        suffix: "service",
        old: &[("ExecStart=/usr/bin/demo", "ExecStart=/usr/bin/env A=%%h /usr/bin/demo")],
        drop_ins: &[],
        new: &[COMMAND],
        merged: &[(
            "ExecStart",
            "/usr/bin/env A=%h /usr/bin/demo serve --config /etc/demo.yaml --listen 127.0.0.1:80 --json ;",
        )],
    },
    Edit {
        name: "variables of both",
        suffix: "service",
        old: &[("LEVEL=info COLOR=never", "LEVEL=debug")],
        drop_ins: &[],
        new: &[("COLOR=never", "COLOR=never NEWER=1")],
        merged: &[("Environment", "LEVEL=debug NEWER=1")],
    },
    Edit {
        name: "paths of both",
        suffix: "service",
        old: &[("/var/lib/demo /run", "/var/lib/demo /srv")],
        drop_ins: &[],
        new: &[("/var/lib/demo /run", "/var/lib/demo /run /var/log/demo")],
        merged: &[("ReadWritePaths", "/var/lib/demo /var/log/demo /srv")],
    },
    Edit {
        name: "commands of both",
        suffix: "service",
        old: &[("ExecStartPre=", "ExecStartPre=/bin/first\nExecStartPre=")],
        drop_ins: &[],
        new: &[("-d /etc\n", "-d /etc\nExecStartPre=/bin/last\n")],
        merged: &[("ExecStartPre", "/bin/first ;"), ("ExecStartPre", "-d /etc ;"), ("ExecStartPre", "/bin/last ;")],
    },
    by_hand("a path more", &[("/var/lib/demo /run", "/var/lib/demo /run /srv")]),
    by_hand("a path less", &[("/var/lib/demo /run", "/run")]),
    by_hand("another user, and its groups", &[("User=bin", "User=daemon\nGroup=daemon"), ("=adm", "=adm docker")]),
    by_hand("no user", &[("User=bin\n", "")]),
    by_hand("no sandbox", &[("NoNewPrivileges=yes\n", ""), ("ProtectSystem=strict\n", ""), ("PrivateTmp=yes\n", "")]),
    by_hand("a weaker sandbox", &[("ProtectSystem=strict", "ProtectSystem=full"), ("PrivateTmp=yes", "PrivateTmp=no")]),
    by_hand("a capability more", &[(" CAP_CHOWN", " CAP_CHOWN CAP_KILL")]),
    by_hand("a capability less", &[(" CAP_CHOWN", "")]),
    by_hand("every capability", &[("CapabilityBoundingSet=CAP_NET_BIND_SERVICE CAP_CHOWN\n", "")]),
    by_hand(
        "no capability",
        &[
            ("CapabilityBoundingSet=CAP_NET_BIND_SERVICE CAP_CHOWN", "CapabilityBoundingSet="),
            ("AmbientCapabilities=CAP_NET_BIND_SERVICE\n", ""),
        ],
    ),
    by_hand("all but a capability", &[("CAP_NET_BIND_SERVICE CAP_CHOWN", "~CAP_SYS_ADMIN CAP_SYS_MODULE")]),
    by_hand("a system call more", &[("=~@resources", "=~@resources\nSystemCallFilter=mount")]),
    by_hand("fewer system calls", &[("@system-service", "@basic-io")]),
    by_hand("other address families", &[("AF_INET AF_UNIX", "AF_INET6 AF_UNIX AF_NETLINK")]),
    by_hand("namespaces allowed", &[("RestrictNamespaces=yes", "RestrictNamespaces=no")]),
    by_hand("addresses", &[("127.0.0.0/8", "127.0.0.0/8 10.0.0.0/8"), ("IPAddressDeny=any\n", "")]),
    by_hand("devices", &[("/dev/null rw", "/dev/fuse rw\nDeviceAllow=/dev/kvm r")]),
    by_hand("bind mounts", &[("=/etc/ssl", "=/srv/ssl:/etc/ssl /etc/pki")]),
    by_hand("directories", &[("StateDirectory=demo", "StateDirectory=demo demo/more\nLogsDirectory=demo")]),
    by_hand("a time for both ends", &[("TimeoutStopSec=20s", "TimeoutSec=40s")]),
    by_hand("the old kill mode", &[("KillMode=mixed\n", "")]),
    by_hand(
        "dependencies more",
        &[("network.target", "network.target docker.service\nWants=docker.service dev-disk-by\\x2duuid-1.device")],
    ),
    by_hand("a condition more", &[("/usr/bin/demo\n", "/usr/bin/demo\nConditionHost=|a\nConditionHost=|host\n")]),
    by_hand("a condition less", &[("ConditionPathExists=/usr/bin/demo\n", "")]),
    by_hand("start limits", &[("StartLimitBurst=5", "StartLimitBurst=5\nStartLimitIntervalSec=3min")]),
    by_hand("where it is wanted", &[("multi-user.target", "graphical.target")]),
    Edit {
        name: "a group in an existing drop-in, and one by hand",
        suffix: "service",
        old: &[("=adm", "=adm docker")],
        drop_ins: &[("10-groups.conf", "[Service]\nSupplementaryGroups=audio\nEnvironment=LEVEL=trace\n")],
        new: &[],
        merged: &[],
    },
    Edit {
        name: "an existing drop-in that begins anew",
        suffix: "service",
        old: &[("LEVEL=info", "LEVEL=debug"), ("LimitNOFILE=512", "LimitNOFILE=600")],
        drop_ins: &[(
            "override.conf",
            "[Service]\nExecStart=\nExecStart=/usr/bin/demo mine\nEnvironment=\nEnvironment=MINE=1\n",
        )],
        new: &[COMMAND],
        merged: &[],
    },
    Edit {
        name: "a drop-in of an earlier refresh",
        suffix: "service",
        old: &[],
        drop_ins: &[
            ("00-upswap.conf", "[Service]\nLimitNOFILE=640\nEnvironment=\nEnvironment=LEVEL=warn\n"),
            ("90-last.conf", "[Service]\nEnvironment=LAST=1\n"),
        ],
        new: &[],
        merged: &[],
    },
    Edit {
        name: "another socket",
        suffix: "socket",
        old: &[("/run/demo.sock", "/run/other.sock")],
        ..by_hand("", &[])
    },
    Edit {
        name: "a socket first",
        suffix: "socket",
        old: &[("ListenStream=", "ListenStream=7777\nListenStream=")],
        ..by_hand("", &[])
    },
    Edit {
        name: "who may connect",
        suffix: "socket",
        old: &[("SocketMode=0660\n", ""), ("SocketUser=bin\n", "")],
        ..by_hand("", &[])
    },
    Edit { name: "another time", suffix: "timer", old: &[("=daily", "=Mon *-*-* 04:05")], ..by_hand("", &[]) },
    Edit {
        name: "only after the boot",
        suffix: "timer",
        old: &[("OnCalendar=daily\n", ""), ("=5min", "=7min")],
        ..by_hand("", &[])
    },
    Edit {
        name: "no delay",
        suffix: "timer",
        old: &[("RandomizedDelaySec=1h\n", ""), ("=yes", "=no")],
        ..by_hand("", &[])
    },
    Edit {
        name: "another path",
        suffix: "path",
        old: &[("PathChanged=/etc/demo.yaml", "PathModified=/srv/demo.yaml")],
        ..by_hand("", &[])
    },
];

impl Edit {
    fn base(&self) -> &'static str {
        match self.suffix {
            "socket" => SOCKET,
            "timer" => TIMER,
            "path" => PATH,
            _ => SERVICE,
        }
    }

    fn with(&self, changes: &[(&str, &str)]) -> String {
        changes.iter().fold(self.base().to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{}: BASE does not say {from:?}", self.name);
            text.replacen(from, to, 1)
        })
    }

    fn operated(&self) -> String {
        self.with(self.old)
    }

    fn refreshed(&self) -> String {
        self.with(&[RELEASE, self.new].concat())
    }
}

/// By property, all its lines.
type Properties = BTreeMap<String, Vec<String>>;

fn unit(number: usize, edit: &Edit) -> String {
    format!("edit-{number:02}.{}", edit.suffix)
}

/// Lets systemd load a unit for each edit, and says what it makes of them.
fn loaded(host: &Env, unit_and_drop_in: impl Fn(usize, &Edit) -> (String, Option<String>)) -> Vec<Properties> {
    let staged = tempfile::tempdir().unwrap();
    let mut names = String::new();
    for (number, edit) in EDITS.iter().enumerate() {
        let name = unit(number, edit);
        let (text, drop_in) = unit_and_drop_in(number, edit);
        let folder = staged.path().join(format!("{name}.d"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(staged.path().join(&name), text).unwrap();
        for (name, text) in edit.drop_ins {
            fs::write(folder.join(name), text).unwrap();
        }
        if let Some(text) = drop_in {
            fs::write(folder.join("00-upswap.conf"), text).unwrap();
        }
        let _ = write!(names, " {name}");
    }
    host.run("rm -rf /etc/systemd/system/edit-*").success();
    host.copy(staged.path(), "/etc/systemd/system");
    let shown = host.run(&format!("systemctl daemon-reload; systemctl show --no-pager{names}")).success();
    let mut units: Vec<Properties> = shown.stdout().split("\n\n").map(properties).collect();
    // systemctl prints neither the conditions nor where a unit is wanted.
    for (number, edit) in EDITS.iter().enumerate() {
        let name = unit(number, edit);
        if edit.name.contains("condition") {
            let path = format!("/org/freedesktop/systemd1/unit/{}", name.replace('-', "_2d").replace('.', "_2e"));
            let asked = format!(
                "busctl get-property org.freedesktop.systemd1 {path} org.freedesktop.systemd1.Unit Conditions | sed 's/ -\\?[0-9]*$//'"
            );
            units[number].insert("Conditions".into(), vec![host.run(&asked).success().stdout().to_owned()]);
        } else if edit.name.contains("wanted") {
            let links = format!(
                "systemctl enable --quiet {name}; cd /etc/systemd/system; ls -d *.wants/{name}; systemctl disable --quiet {name}"
            );
            units[number].insert("Links".into(), vec![host.run(&links).success().stdout().to_owned()]);
        }
    }
    assert_eq!(units.len(), EDITS.len());
    units
}

/// All but what differs between two readings of one file, and what is no setting.
fn properties(text: &str) -> Properties {
    let mut properties = Properties::new();
    for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
        if ["DropInPaths", "NeedDaemonReload", "MemoryAvailable"].contains(&key) || key.contains("Timestamp") {
            continue;
        }
        // Sets have no order.
        let mut value: Vec<&str> = value.split(' ').collect();
        if !key.starts_with("Exec") {
            value.sort_unstable();
        }
        properties.entry(key.to_owned()).or_default().push(value.join(" "));
    }
    properties
}

/// What the four readings say of an edit.
struct Readings<'a> {
    base: &'a Properties,
    old: &'a Properties,
    new: &'a Properties,
}

impl Readings<'_> {
    /// The properties that are not what they should be.
    fn wrong(&self, edit: &Edit, is: &Properties) -> Vec<String> {
        let mut wrong = Vec::new();
        let none = Vec::new();
        let of = |properties: &'_ Properties, key: &str| properties.get(key).unwrap_or(&none).clone();
        let keys: std::collections::BTreeSet<_> = self.old.keys().chain(is.keys()).collect();
        for key in keys {
            let now = of(is, key);
            let parts: Vec<_> = edit
                .merged
                .iter()
                .filter(|(property, _)| *property == key.trim_end_matches("Ex"))
                .map(|(_, part)| *part)
                .collect();
            if !parts.is_empty() {
                let sorted = |text: &str| {
                    let mut words: Vec<_> = text.split(' ').map(ToOwned::to_owned).collect();
                    words.sort_unstable();
                    words.join(" ")
                };
                let holds = |(line, part): (&String, &&str)| {
                    if key.starts_with("Exec") { line.contains(*part) } else { *line == sorted(part) }
                };
                if now.len() != parts.len() || !now.iter().zip(&parts).all(holds) {
                    wrong.push(format!("{key}: {now:?}, and not {parts:?}"));
                }
                continue;
            }
            let meant = if of(self.base, key) == of(self.new, key) { of(self.old, key) } else { of(self.new, key) };
            if now != meant {
                wrong.push(format!("{key}: {now:?}, and not {meant:?}"));
            }
        }
        wrong
    }
}

#[test]
fn a_new_unit_with_the_drop_in_is_the_old_one_to_systemd() {
    let host = Env::boot().with_tools();
    // A drop-in of an earlier refresh is the operator's, so neither release has it.
    let without = |edit: &Edit| edit.drop_ins.iter().any(|(name, _)| *name == "00-upswap.conf").then(String::new);
    let base = loaded(&host, |_, edit| (edit.base().to_owned(), without(edit)));
    let new = loaded(&host, |_, edit| (edit.refreshed(), without(edit)));
    let old = loaded(&host, |_, edit| (edit.operated(), None));
    let mut given = Vec::new();
    for (unit, edit) in base.iter().chain(&new).chain(&old).zip(EDITS.iter().cycle()) {
        assert_eq!(unit["LoadState"], ["loaded"], "{}", edit.name);
    }
    for (number, edit) in EDITS.iter().enumerate() {
        let name = unit(number, edit);
        let script = format!(
            "mkdir -p /root/carry; cd /root/carry
            cat >{name}.base <<'END'\n{}END
            cat >{name}.new <<'END'\n{}END
            unit-diff --drop-in --base ./{name}.base {name} ./{name}.new",
            edit.base(),
            edit.refreshed()
        );
        given.push(host.run(&script).success().stdout().to_owned() + "\n");
    }
    let carried = loaded(&host, |number, edit| (edit.refreshed(), Some(given[number].clone())));
    let is_reset = |line: &&str| line.ends_with('=');
    let without_resets = loaded(&host, |number, edit| {
        let kept = given[number].lines().filter(|line| !is_reset(line)).collect::<Vec<_>>().join("\n");
        (edit.refreshed(), Some(kept + "\n"))
    });
    let mut problems = String::new();
    let mut resets = 0;
    for (number, edit) in EDITS.iter().enumerate() {
        let readings = Readings { base: &base[number], old: &old[number], new: &new[number] };
        let mut problem = |what: &str| {
            let _ = writeln!(problems, "{number} {}: {what}\n{}", edit.name, given[number]);
        };
        for wrong in readings.wrong(edit, &carried[number]) {
            problem(&wrong);
        }
        // The canaries: without the drop-in, and without its resets, the comparison must fail.
        if readings.wrong(edit, &new[number]).is_empty() {
            problem("is the same without the drop-in, and so shows nothing");
        }
        if given[number].lines().any(|line| is_reset(&line)) {
            resets += 1;
            if readings.wrong(edit, &without_resets[number]).is_empty() {
                problem("is the same without the resets of its drop-in");
            }
        }
    }
    assert!(problems.is_empty(), "{problems}");
    assert!(EDITS.len() >= 30 && resets >= 15, "{} edits, {resets} with a reset", EDITS.len());
}
