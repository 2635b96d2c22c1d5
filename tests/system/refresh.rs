//! `upswap upgrade --refresh-unit`: the units of a new version, the operator's edits carried over them, and the way back.

use crate::env::Env;
use crate::material;

/// What an operator has done to the unit of an older installer: in the file itself, and in a drop-in of its own.
const EDITS: &str = "unit=/etc/systemd/system/runed.service
    sed -i -e '/^User=/i # debugging\\nEnvironment=RUST_LOG=debug\\nNice=5' -e 's/^ProtectHome=.*/ProtectHome=read-only/' $unit
    groupadd --system docker
    printf '[Unit]\\nAfter=docker.service\\nWants=docker.service\\n\\n[Service]\\nSupplementaryGroups=docker\\n' >$unit.d/docker.conf
    systemctl daemon-reload
    systemctl restart runed";

/// Everything that a refresh may touch, to the byte, and what systemd made of it.
const STATE: &str = "cd /etc/systemd/system
    find . -name 'runed*' -type f ! -name '.*' -exec sha256sum {} + | sort -k2
    find /var/lib/upswap -path '*systemd/runed*' -type f -exec sha256sum {} + | sort -k2
    sha256sum /usr/local/bin/rune /usr/local/bin/runed
    systemctl show --property=NeedDaemonReload,DropInPaths,Environment,Nice,ProtectHome,LimitNOFILE,AmbientCapabilities runed";

const REFRESH: &str = "upswap upgrade runed --refresh-unit";
const DROP_IN: &str = "/etc/systemd/system/runed.service.d/00-upswap.conf";

/// A host from an older installer, with hand edits and a drop-in of docker's.
fn edited_host() -> Env {
    let host = Env::boot().with_tools().with_releases_of(&material::releases_of_units()).with_rune("v1.0.0");
    let host = host.with_profile("4s");
    host.run(EDITS).success();
    assert!(edits_are_alive(&host));
    assert_eq!(show(&host, "AmbientCapabilities"), "");
    host
}

fn show(host: &Env, property: &str) -> String {
    host.run(&format!("systemctl show --property={property} --value runed")).success().stdout().to_owned()
}

/// Whether systemd still has every edit of [`EDITS`].
fn edits_are_alive(host: &Env) -> bool {
    let [environment, nice, home, groups, after, wants] =
        ["Environment", "Nice", "ProtectHome", "SupplementaryGroups", "After", "Wants"].map(|key| show(host, key));
    environment == "RUST_LOG=debug"
        && nice == "5"
        && home == "read-only"
        && groups == "docker"
        && after.contains("docker.service")
        && wants.contains("docker.service")
}

fn state_of(host: &Env) -> String {
    host.run(STATE).success().stdout().to_owned()
}

fn version_served(host: &Env) -> String {
    host.run("curl -fsS http://127.0.0.1/version").success().stdout().to_owned()
}

#[test]
fn the_edits_of_a_host_from_an_older_installer_live_on_and_a_bad_release_brings_all_back() {
    let host = edited_host();
    let edited = state_of(&host);

    let bad = host.run(&format!("{REFRESH} --version v4.0.0 --carry-edits")).code(5);
    assert!(bad.stderr().contains("your edits go into"), "{}", bad.stderr());
    assert_eq!(state_of(&host), edited, "the edited unit is back to the byte, and there is no drop-in and no base");
    assert_eq!(version_served(&host), "v1.0.0");

    let plan = host.run(&format!("{REFRESH} --version v3.0.0 --carry-edits --plan")).success();
    for shown in ["AmbientCapabilities=CAP_NET_BIND_SERVICE", "Environment=RUST_LOG=debug", "would restart"] {
        assert!(plan.stderr().contains(shown), "{shown}: {}", plan.stderr());
    }
    assert_eq!(state_of(&host), edited, "a plan changes nothing");

    // Without the file's capability port 80 needs the new unit's.
    host.run(&format!("{REFRESH} --version v3.0.0 --carry-edits --skip-caps --keep 9")).success();
    assert!(edits_are_alive(&host));
    assert_eq!((version_served(&host).as_str(), show(&host, "LimitNOFILE").as_str()), ("v3.0.0", "8192"));
    assert_eq!(show(&host, "AmbientCapabilities"), "cap_net_bind_service");
    host.run(&format!(
        "test -z \"$(getcap /usr/local/bin/runed)\"
        runed print-systemd | cmp - /etc/systemd/system/runed.service
        systemctl show --property=DropInPaths --value runed | grep -q '^{DROP_IN} '
        test $(pgrep -c -x runed) = 1"
    ))
    .success();

    let refreshed = state_of(&host);
    let again = host.run(&format!("{REFRESH} --version v3.0.0 --carry-edits")).success();
    assert!(again.stderr().contains("nothing was restarted"), "{}", again.stderr());
    assert_eq!(state_of(&host), refreshed, "a second refresh finds all as it is to be");

    host.run(&format!("{REFRESH} --version v4.0.0 --carry-edits --retry-failed")).code(5);
    assert_eq!(state_of(&host), refreshed, "unit, drop-in and base are back to the byte");
    assert_eq!(version_served(&host), "v3.0.0");

    // Another edit of the unit as it is now joins those that are carried already.
    host.run("sed -i '/^User=/i OOMScoreAdjust=-500' /etc/systemd/system/runed.service; systemctl daemon-reload")
        .success();
    host.run(&format!("{REFRESH} --version v5.0.0 --carry-edits")).success();
    assert!(edits_are_alive(&host));
    assert_eq!((version_served(&host).as_str(), show(&host, "OOMScoreAdjust").as_str()), ("v5.0.0", "-500"));
    assert_eq!(show(&host, "RestartUSec"), "2s", "what only the release changed is as the release has it");

    host.run("rollback runed --to 1").success();
    assert_eq!(state_of(&host), edited, "a rollback by hand leads back to the same bytes");
}

/// The canary: the check of the edits sees the chain that loses them.
#[test]
fn without_carrying_the_edits_are_lost_and_that_is_seen() {
    let host = edited_host();
    let refused = host.run(&format!("{REFRESH} --version v3.0.0")).code(1);
    assert!(refused.stderr().contains("--carry-edits"), "{}", refused.stderr());
    assert!(edits_are_alive(&host));
    host.run(&format!("{REFRESH} --version v3.0.0 --accept-loss")).success();
    assert!(!edits_are_alive(&host));
    assert!(show(&host, "SupplementaryGroups") == "docker", "drop-ins of others are nobody's to touch");
}

#[test]
fn a_conflict_is_listed_and_nothing_is_changed() {
    let host = edited_host();
    host.run(
        "sed -i 's/^RestartSec=.*/RestartSec=7s/' /etc/systemd/system/runed.service
        systemctl daemon-reload",
    )
    .success();
    let before = state_of(&host);
    for plan in ["", " --plan"] {
        let refused = host.run(&format!("{REFRESH} --version v5.0.0 --carry-edits{plan}")).code(1);
        assert!(refused.stderr().contains("RestartSec"), "{}", refused.stderr());
        assert!(refused.stderr().contains("systemctl edit runed.service"), "{}", refused.stderr());
    }
    assert_eq!(state_of(&host), before);
    assert_eq!(version_served(&host), "v1.0.0");
    // The release before has it as it was, so there the edit is the only change.
    host.run(&format!("{REFRESH} --version v3.0.0 --carry-edits")).success();
    assert_eq!((show(&host, "RestartUSec").as_str(), version_served(&host).as_str()), ("7s", "v3.0.0"));

    // Carried once, it is in the way of a refresh that carries nothing, and is dropped only when that is said.
    let refused = host.run(&format!("{REFRESH} --version v5.0.0")).code(1);
    assert!(refused.stderr().contains(DROP_IN), "{}", refused.stderr());
    host.run(&format!("sed -i 's/^RestartSec=.*/RestartSec=2s/' {DROP_IN}; systemctl daemon-reload")).success();
    // What the new release has by itself need not be carried any more.
    host.run(&format!(
        "sed -i -e '/^Environment/d' -e '/^Nice/d' -e '/^ProtectHome/d' {DROP_IN}; systemctl daemon-reload
        {REFRESH} --version v5.0.0 --carry-edits
        ! grep -v '^#' {DROP_IN}"
    ))
    .success();
    assert_eq!(show(&host, "RestartUSec"), "2s");
}

#[test]
fn what_makes_no_sense_together_is_refused() {
    let host = edited_host();
    for (flags, says) in [
        ("--carry-edits", "--refresh-unit"),
        ("--restart-sockets", "--refresh-unit"),
        ("--refresh-unit --unit-base /etc/hostname", "--carry-edits"),
        ("--refresh-unit --carry-edits --accept-loss", "choose one"),
        ("--refresh-unit --restart-sockets --skip-restart", "choose one"),
        ("--refresh-unit --carry-edits --unit-base /nowhere --version v3.0.0", "/nowhere"),
    ] {
        let refused = host.run(&format!("upswap upgrade runed {flags}")).code(2);
        assert!(refused.stderr().contains(says), "{flags}: {}", refused.stderr());
    }
    // A binary that came without its unit: what that lacks is told, and the right base is asked for.
    host.run(
        "runed print-systemd >/root/v1.service
        upswap upgrade runed --version v3.0.0",
    )
    .success();
    let plan = host.run(&format!("{REFRESH} --version v5.0.0 --carry-edits --plan"));
    assert!(plan.stderr().contains("--unit-base FILE"), "{}", plan.stderr());
    host.run(&format!("{REFRESH} --version v5.0.0 --carry-edits --unit-base /root/v1.service")).success();
    assert!(edits_are_alive(&host));
    assert_eq!(show(&host, "AmbientCapabilities"), "cap_net_bind_service");
}

const ALL: &str = "--extract rune,runed,runed.socket,runed-check.service,runed-check.timer";
/// The ports of sockets that the host listens on, of those that a release ever names.
const LISTENS: &str = "for port in 7871 7873 7874 7875; do
    if timeout 2 bash -c \"exec 3<>/dev/tcp/127.0.0.1/$port\" 2>/dev/null; then echo $port; fi
done";
const NEXT_CHECK: &str =
    "systemctl show --property=TimersCalendar --value runed-check.timer | grep -o '0[0-9]:00:00' | sed 1q";

#[test]
fn the_sockets_and_timers_of_a_release_are_refreshed_too() {
    let host = Env::boot().with_tools().with_releases_of(&material::releases_of_units()).with_profile("4s");
    let told = |script: &str| host.run(script).success().stdout().to_owned();
    host.run(&format!("upswap install-service runed --user rune --version v1.0.0 --cap cap_net_bind_service=ep {ALL}"))
        .success();
    assert_eq!((told(LISTENS).as_str(), told(NEXT_CHECK).as_str()), ("7871", "03:00:00"));
    host.run("systemctl is-enabled runed.socket runed-check.timer").success();

    host.run(
        "sed -i 's/^ListenStream/Backlog=64\\n&/' /etc/systemd/system/runed.socket
        systemctl daemon-reload",
    )
    .success();
    let refresh = |rest: &str| host.run(&format!("{REFRESH} --carry-edits {ALL} {rest}"));
    let left = refresh("--version v3.0.0").success();
    assert!(left.stderr().contains("--restart-sockets"), "{}", left.stderr());
    assert_eq!((told(LISTENS).as_str(), told(NEXT_CHECK).as_str()), ("7871", "05:00:00"));
    assert_eq!(version_served(&host), "v3.0.0");

    let (taken, pause) = host.pause_of(&format!("{REFRESH} --carry-edits {ALL} --version v3.0.0 --restart-sockets"));
    let taken = taken.success();
    assert!(taken.stderr().contains("refused connections for at most"), "{}", taken.stderr());
    assert!(pause > std::time::Duration::ZERO);
    assert_eq!(told(LISTENS), "7873");
    assert_eq!(told("systemctl show --property=Backlog --value runed.socket"), "64", "an edit of a socket is carried");

    let state = format!("{STATE} runed.socket runed-check.timer | grep -v ^DropInPaths");
    let before = told(&state);
    refresh("--version v4.0.0 --restart-sockets").code(5);
    assert_eq!(told(&state), before);
    assert_eq!((told(LISTENS).as_str(), version_served(&host).as_str()), ("7873", "v3.0.0"));

    // The way back by hand closes and opens what it changes.
    host.run("rollback runed --to v1.0.0").success();
    assert_eq!((told(LISTENS).as_str(), told(NEXT_CHECK).as_str()), ("7871", "03:00:00"));
    assert_eq!(version_served(&host), "v1.0.0");

    // The canary, and why a changed socket waits to be asked for: read again alone it listens nowhere once its service restarts.
    host.run("sed -i s/7871/7874/ /etc/systemd/system/runed.socket; systemctl daemon-reload; systemctl restart runed")
        .success();
    assert_eq!(told(LISTENS), "");
}

/// Nobody knows what of a unit that came by other ways is an edit, so that has to be said.
#[test]
fn a_unit_without_a_base_is_refused_until_one_is_named() {
    let host = edited_host();
    host.run(
        "mkdir /root/v1; cd /root/v1
        tar -x --no-same-owner -f /srv/releases/runestack/rune/v1.0.0/rune_linux_$(dpkg --print-architecture).tar.gz
        runed print-systemd >runed.service
        cp runed-check.timer runed-check.service /etc/systemd/system
        sed -i '/^.Timer/a RandomizedDelaySec=300' /etc/systemd/system/runed-check.timer
        systemctl daemon-reload; systemctl start runed-check.timer",
    )
    .success();
    let before = state_of(&host);
    let refused = host.run(&format!("{REFRESH} --version v3.0.0 --carry-edits {ALL}")).code(1);
    assert!(refused.stderr().contains("--unit-base FILE"), "{}", refused.stderr());
    assert_eq!(state_of(&host), before);
    let output = host.run(&format!("{REFRESH} --version v3.0.0 --carry-edits --unit-base /root/v1 {ALL}")).success();
    assert!(output.stderr().contains("runed.socket: the unit is new"), "{}", output.stderr());
    assert!(edits_are_alive(&host));
    let timer =
        "systemctl show --property=RandomizedDelayUSec --value runed-check.timer; systemctl is-active runed.socket";
    assert_eq!(host.run(timer).code(3).stdout(), "5min\ninactive");
    assert_eq!(host.run(NEXT_CHECK).success().stdout(), "05:00:00");
}
