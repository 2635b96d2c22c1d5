//! `setcap-keep --explain` against what a real systemd gives: computed and /proc/PID/status must be equal, set by set.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;
use upswap::words::privileges::{CapSet, Sets};

use crate::env::Env;
use crate::material::full_sweep;

/// The programs, each a copy of sleep(1), by what is done to it. `cap_chown` stands for a capability that the unit does not speak of.
const PROGRAMS: [(&str, &str); 14] = [
    ("/opt/none", ":"),
    ("/opt/ep", "setcap cap_net_bind_service=ep"),
    ("/opt/p", "setcap cap_net_bind_service=p"),
    ("/opt/eip", "setcap cap_net_bind_service=eip"),
    ("/opt/i", "setcap cap_net_bind_service=ei"),
    ("/opt/two", "setcap cap_net_bind_service,cap_chown=ep"),
    ("/opt/other", "setcap cap_chown=ep"),
    // setcap(8) with "=" leaves an attribute that gives nothing.
    ("/opt/empty", "setcap ="),
    // For a user namespace whose root is user 1000.
    ("/opt/v3", "setcap -n 1000 cap_net_bind_service=ep"),
    ("/usr/local/bin/ep", "setcap cap_net_bind_service=ep"),
    ("/run/nosuid/ep", "setcap cap_net_bind_service=ep"),
    ("/opt/setuid", "chmod 4755"),
    ("/opt/setuid-ep", "chmod 4755 /opt/setuid-ep; setcap cap_net_bind_service=ep"),
    ("/opt/setgid", "chgrp daemon /opt/setgid; chmod 2755"),
];

/// Settings that are tried one by one, the program first; commas part the lines, and `|` what goes into a drop-in.
const SINGLE: [&str; 63] = [
    "/opt/none",
    "+/opt/ep,User=rune,NoNewPrivileges=yes,CapabilityBoundingSet=CAP_CHOWN",
    "!/opt/none,User=rune,NoNewPrivileges=yes,CapabilityBoundingSet=CAP_CHOWN",
    "!/opt/none,User=rune,LockPersonality=yes",
    "!!/opt/none,User=rune,AmbientCapabilities=CAP_CHOWN",
    "-@/opt/none arg0,User=rune,AmbientCapabilities=CAP_CHOWN CAP_KILL",
    "/opt/ep,User=rune|NoNewPrivileges=yes",
    "/opt/ep,User=rune,NoNewPrivileges=yes|NoNewPrivileges=no",
    "/opt/none,User=rune|AmbientCapabilities=CAP_NET_BIND_SERVICE",
    "/opt/none,User=rune,AmbientCapabilities=CAP_NET_BIND_SERVICE|AmbientCapabilities=",
    "/opt/ep,User=rune,CapabilityBoundingSet=CAP_CHOWN|CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
    "/opt/ep,User=rune,CapabilityBoundingSet=~CAP_NET_BIND_SERVICE",
    "/opt/ep,User=rune,#AmbientCapabilities=CAP_CHOWN",
    "/opt/none,User=rune,AmbientCapabilities=~",
    "/opt/none,CapabilityBoundingSet=",
    "/opt/none,AmbientCapabilities=CAP_CHOWN,CapabilityBoundingSet=CAP_KILL",
    "/opt/none,User=rune,AmbientCapabilities=CAP_SYS_TIME CAP_CHOWN",
    // What implies NoNewPrivileges=, or not, by systemd's version.
    "/opt/ep,User=rune,LockPersonality=yes",
    "/opt/ep,User=rune,MemoryDenyWriteExecute=yes",
    "/opt/ep,User=rune,PrivateDevices=yes",
    "/opt/ep,User=rune,ProtectClock=yes",
    "/opt/ep,User=rune,ProtectHostname=yes",
    "/opt/ep,User=rune,ProtectKernelTunables=yes",
    "/opt/ep,User=rune,ProtectKernelModules=yes",
    "/opt/ep,User=rune,ProtectKernelLogs=yes",
    "/opt/ep,User=rune,RestrictNamespaces=yes",
    "/opt/ep,User=rune,RestrictRealtime=yes",
    "/opt/ep,User=rune,RestrictSUIDSGID=yes",
    "/opt/ep,User=rune,RestrictAddressFamilies=AF_UNIX AF_INET",
    "/opt/ep,User=rune,RestrictAddressFamilies=none",
    "/opt/ep,User=rune,SystemCallArchitectures=native",
    "/opt/ep,User=rune,SystemCallFilter=@system-service",
    "/opt/ep,User=rune,SystemCallFilter=@system-service,SystemCallFilter=~@privileged capset",
    "/opt/ep,User=rune,SystemCallFilter=~@swap",
    "/opt/ep,User=rune,SystemCallFilter=~capset:EPERM",
    "/opt/ep,User=rune,SystemCallLog=@swap",
    "/opt/ep,User=rune,ProtectSystem=full,PrivateTmp=yes,ProtectControlGroups=yes,UMask=0077",
    "/opt/none,User=root,RestrictNamespaces=yes",
    "/opt/none,User=root,RestrictNamespaces=yes,NoNewPrivileges=yes",
    "/opt/none,User=root,RestrictNamespaces=yes,NoNewPrivileges=yes,AmbientCapabilities=CAP_SETUID",
    "/opt/none,RestrictNamespaces=yes,NoNewPrivileges=yes",
    "/opt/none,RestrictNamespaces=yes,CapabilityBoundingSet=CAP_CHOWN,User=root",
    "/opt/eip,User=rune,RestrictNamespaces=yes,CapabilityBoundingSet=CAP_NET_BIND_SERVICE CAP_SYS_ADMIN",
    // A mount namespace under NoNewPrivileges= is nosuid in places.
    "/usr/local/bin/ep,User=rune,NoNewPrivileges=yes,AmbientCapabilities=CAP_CHOWN,ProtectSystem=full",
    "/usr/local/bin/ep,User=rune,NoNewPrivileges=yes,AmbientCapabilities=CAP_CHOWN,ProtectHome=yes",
    "/opt/ep,User=rune,NoNewPrivileges=yes,AmbientCapabilities=CAP_CHOWN,ProtectSystem=full",
    "/opt/ep,User=rune,NoNewPrivileges=yes,AmbientCapabilities=CAP_CHOWN,ProtectSystem=strict",
    "/opt/ep,User=rune,NoNewPrivileges=yes,AmbientCapabilities=CAP_CHOWN,PrivateTmp=yes",
    "/opt/ep,User=rune,NoNewPrivileges=yes,AmbientCapabilities=CAP_CHOWN,ReadWritePaths=-/opt",
    "/opt/ep,User=rune,AmbientCapabilities=CAP_CHOWN,ReadWritePaths=-/opt",
    // User namespaces, secure bits, set-ID bits, scripts, a wrapper.
    "/opt/ep,User=rune,PrivateUsers=yes",
    "/opt/v3,User=rune,PrivateUsers=yes",
    "/opt/none,PrivateUsers=yes,CapabilityBoundingSet=CAP_CHOWN CAP_SYS_TIME",
    "/opt/ep,User=rune,PrivateUsers=yes,LockPersonality=yes",
    "/opt/none,SecureBits=noroot",
    "/opt/ep,SecureBits=noroot,AmbientCapabilities=CAP_CHOWN",
    "/opt/ep,User=rune,NoNewPrivileges=yes,SecureBits=keep-caps",
    "/opt/setuid,User=rune,AmbientCapabilities=CAP_CHOWN",
    "/opt/setuid,User=rune,NoNewPrivileges=yes,AmbientCapabilities=CAP_CHOWN",
    "/opt/setuid-ep,User=rune",
    "/opt/setgid,User=rune,AmbientCapabilities=CAP_CHOWN",
    "/opt/script,User=rune",
    "/opt/wrapper,User=rune,AmbientCapabilities=CAP_CHOWN",
];

/// Every file × every ambient and bounding set × `NoNewPrivileges=` × user: all of them with `UPSWAP_SWEEP=full`, else every fifth,
/// which has each value beside each other one.
fn matrix() -> Vec<String> {
    let mut cases = Vec::new();
    let files = ["/opt/none", "/opt/ep", "/opt/p", "/opt/eip", "/opt/two", "/opt/empty", "/opt/v3", "/run/nosuid/ep"];
    for file in files {
        for ambient in [
            "",
            ",AmbientCapabilities=CAP_NET_BIND_SERVICE",
            ",AmbientCapabilities=CAP_NET_BIND_SERVICE CAP_SYS_PTRACE",
        ] {
            for bounding in ["", ",CapabilityBoundingSet=CAP_SYS_PTRACE CAP_KILL"] {
                for privileges in ["", ",NoNewPrivileges=yes"] {
                    for user in [",User=rune", ",User=root", ",DynamicUser=yes"] {
                        cases.push(format!("{file}{user}{ambient}{bounding}{privileges}"));
                    }
                }
            }
        }
    }
    let every = if full_sweep() { 1 } else { 5 };
    cases.into_iter().step_by(every).collect()
}

/// A host with the user and the programs.
fn host() -> Env {
    let host = Env::boot().with_tools();
    let mut script = "useradd --system --no-create-home rune; mkdir -p /run/nosuid\n".to_owned();
    for (program, deed) in PROGRAMS {
        writeln!(script, "cp /usr/bin/sleep {program}\n{deed} {program}").unwrap();
    }
    script += "cp /bin/sh /opt/sh-ep; setcap cap_net_bind_service=ep /opt/sh-ep
        printf '#! /opt/sh-ep -e\\nwhile :; do read line </run/never; done\\n' >/opt/script; mkfifo -m 0666 /run/never
        printf '#!/bin/sh\\nexec /opt/p infinity\\n' >/opt/wrapper
        chmod +x /opt/script /opt/wrapper
        getcap -n /opt/v3 | grep -q rootid=1000";
    host.run(&script).success();
    host
}

/// Starts a unit for each case.
fn start(host: &Env, cases: &[String]) {
    let mut script =
        "systemctl stop 'case-*.service'; rm -rf /run/systemd/system/case-*; cd /run/systemd/system\n".to_owned();
    for (n, case) in cases.iter().enumerate() {
        let (unit, drop_in) = case.split_once('|').map_or((case.as_str(), None), |(a, b)| (a, Some(b)));
        let (command, settings) = unit.split_once(',').unwrap_or((unit, ""));
        let settings = settings.replace(',', "\n");
        writeln!(
            script,
            "cat >case-{n}.service <<'EOF'\n[Service]\nType=exec\nExecStart={command} infinity\n{settings}\nEOF"
        )
        .unwrap();
        if let Some(drop_in) = drop_in {
            writeln!(script, "mkdir case-{n}.service.d; printf '[Service]\\n{drop_in}\\n' >case-{n}.service.d/a.conf")
                .unwrap();
        }
    }
    writeln!(
        script,
        "systemctl daemon-reload; systemctl start $(printf 'case-%s ' $(seq 0 {})) 2>/dev/null || :",
        cases.len() - 1
    )
    .unwrap();
    // A wrapper has a moment until it executes what it wraps.
    script += "while ps -o args= -C wrapper | grep -q .; do sleep 0.01; done\n";
    host.run(&script).success();
}

/// The differences between what is computed of each case's unit and what its process really holds.
fn differences(host: &Env, cases: &[String]) -> Vec<String> {
    let script = format!(
        "for n in $(seq 0 {}); do
            state=$(systemctl show --property=MainPID,ExecMainStatus --value case-$n | paste -sd ' ')
            echo \"=== $n $state\"
            grep -E '^(Cap|NoNew)' /proc/${{state%% *}}/status || :
            echo ---
            setcap-keep -q --json --explain case-$n || :
        done",
        cases.len() - 1
    );
    let told = host.run(&script).success();
    let answers: BTreeMap<usize, &str> = told.stdout().split("=== ").skip(1).map(numbered).collect();
    assert_eq!(answers.len(), cases.len());
    cases.iter().enumerate().filter_map(|(n, case)| differs(case, answers[&n])).collect()
}

fn numbered(answer: &str) -> (usize, &str) {
    let (number, rest) = answer.split_once(' ').unwrap();
    (number.parse().unwrap(), rest)
}

/// `PID STATUS`, the lines of /proc/PID/status, `---`, and the answer of --explain.
fn differs(case: &str, answer: &str) -> Option<String> {
    let (state, rest) = answer.split_once('\n').unwrap();
    let (status, json) = rest.split_once("---\n").unwrap();
    let explained: Value = serde_json::from_str(json).unwrap_or_else(|e| panic!("{case}: {e}: {answer}"));
    if state.starts_with("0 ") {
        // systemd tells by 203 that the program could not be executed.
        let refused = explained["refused"].is_string() && explained["exit"] == 1 && state == "0 203";
        return (!refused).then(|| format!("{case}: failed ({state}), and computed was {explained:#}"));
    }
    let real = Sets::read(status).unwrap_or_else(|| panic!("{case}: {answer}"));
    let names = |key: &str, sets: &str| {
        let list =
            explained[sets][key].as_array().map(|list| list.iter().map(|name| name.as_str().unwrap().to_owned()));
        list.map(Iterator::collect::<Vec<_>>)
    };
    for sets in ["next", "now"] {
        for (key, real) in [
            ("permitted", real.permitted),
            ("effective", real.effective),
            ("inheritable", real.inheritable),
            ("bounding", real.bounding),
            ("ambient", real.ambient),
        ] {
            if names(key, sets) != Some(real.names()) {
                return Some(format!("{case}: {sets} {key} is {:?}, really {:?}", names(key, sets), real.names()));
            }
        }
        if explained[sets]["no_new_privs"] != real.no_new_privs {
            return Some(format!("{case}: {sets} NoNewPrivs is not {}", real.no_new_privs));
        }
    }
    (explained["exit"] != 0).then(|| format!("{case}: nothing changed, and it says {explained:#}"))
}

#[test]
fn what_is_computed_is_what_systemd_gives() {
    let host = host();
    let cases: Vec<String> = SINGLE.map(str::to_owned).into_iter().chain(matrix()).collect();
    let found: Vec<_> = cases
        .chunks(150)
        .flat_map(|cases| {
            start(&host, cases);
            differences(&host, cases)
        })
        .collect();
    assert!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
}

/// The same comparison while systemctl hides a setting from the tool, so that it computes as if it did not know the rule.
#[test]
fn a_rule_that_is_not_known_is_found() {
    let host = host();
    let cases = [
        "/opt/ep,User=rune,NoNewPrivileges=yes",
        "/opt/none,User=rune,AmbientCapabilities=CAP_CHOWN",
        "/opt/p,User=rune,CapabilityBoundingSet=CAP_CHOWN",
        "/opt/p,User=rune",
        "+/opt/none,User=rune",
        "/opt/none,SecureBits=noroot",
        "/opt/ep,User=rune,NoNewPrivileges=yes,AmbientCapabilities=CAP_CHOWN,ProtectSystem=strict",
        "/opt/ep,User=rune,SystemCallFilter=~capset",
        "/opt/none,PrivateUsers=yes",
    ]
    .map(str::to_owned);
    start(&host, &cases);
    host.run("mv /usr/bin/systemctl /usr/bin/systemctl.real").success();
    let every = CapSet::every().names().join(" ");
    let everything = format!("s/^CapabilityBoundingSet=.*/CapabilityBoundingSet={every}/");
    for (hidden, finds) in [
        ("", vec![]),
        ("s/^NoNewPrivileges=yes/NoNewPrivileges=no/", vec![0, 6]),
        ("/^AmbientCapabilities=/d", vec![1, 6]),
        (everything.as_str(), vec![2]),
        ("s/^User=rune/User=root/", vec![0, 1, 2, 3, 6, 7]),
        ("s/flags=privileged/flags=/", vec![4]),
        ("/^SecureBits=/d", vec![5]),
        ("/^ProtectSystem=/d", vec![6]),
        ("/^SystemCallFilter=/d", vec![7]),
        ("/^PrivateUsers=/d", vec![8]),
    ] {
        let shim = format!(
            "#!/bin/sh\nset -e\n/usr/bin/systemctl.real \"$@\" >/run/shown.$$\nsed '{hidden}' /run/shown.$$\nrm /run/shown.$$\n"
        );
        host.run(&format!("cat >/usr/bin/systemctl <<'EOF'\n{shim}EOF\nchmod +x /usr/bin/systemctl")).success();
        let found = differences(&host, &cases);
        let expected: Vec<&String> = finds.iter().map(|n| &cases[*n]).collect();
        let cases_found: Vec<_> =
            cases.iter().filter(|case| found.iter().any(|f| f.starts_with(&format!("{case}: ")))).collect();
        assert_eq!(cases_found, expected, "{hidden}: {found:#?}");
    }
}
