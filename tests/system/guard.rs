//! The guard among real signals, terminals and control groups.

use crate::env::Env;

/// Waits until the new version answers.
const RUNS_NEW: &str = "until curl -fsS http://127.0.0.1/version 2>/dev/null | grep -q v2.0.0; do sleep 0.01; done";
const STATE: &str = "stat -c '%n %i %a %u:%g' /usr/local/bin/rune /usr/local/bin/runed; getcap /usr/local/bin/runed";

/// A host whose `runed` is only healthy while it is the old version: an upgrade waits until it is ended, the way back does not.
fn host() -> Env {
    let host = Env::boot().with_tools().with_releases().with_rune("v1.0.0").with_profile("0");
    host.run(
        "printf '#!/bin/sh\ncurl -fsS http://127.0.0.1/version | grep -q v1.0.0\n' >/root/old-answers
        chmod +x /root/old-answers
        sed -i '/^PROBES=/d' /etc/upswap/runed.conf
        printf 'PROBES=\"--exec /root/old-answers\"\nTIMEOUT=60s\n' >>/etc/upswap/runed.conf",
    )
    .success();
    host
}

fn version_served(host: &Env) -> String {
    host.run("curl -fsS http://127.0.0.1/version").success().stdout().to_owned()
}

/// The change is taken back, nothing is left open or lying about, and no process of the chain is left.
#[track_caller]
fn is_as_before(host: &Env, before: &str) {
    assert_eq!(version_served(host), "v1.0.0");
    assert_eq!(host.run(STATE).success().stdout(), before);
    host.run("! rollback --list | grep -q 'on trial'; ! pgrep -x rollback; ! ls -d /tmp/tmp.* 2>/dev/null").success();
}

#[test]
fn whoever_ends_the_chain_the_change_is_taken_back_and_5() {
    let host = host();
    let before = host.run(STATE).success().stdout().to_owned();

    // To the script alone, to the guard alone, and twice.
    for end in ["kill -TERM $script", "kill -INT $script", "kill -HUP $script", "pkill -QUIT -x rollback"] {
        let script = format!(
            "setsid env --default-signal=INT,QUIT,HUP upswap upgrade runed --version v2.0.0 & script=$!
            {RUNS_NEW}
            {end}; kill $script
            wait $script"
        );
        let output = host.run(&script).code(5);
        assert!(output.stderr().contains("the chain was told to end"), "{end}: {}", output.stderr());
        is_as_before(&host, &before);
    }

    // systemd stops the unit that runs the upgrade: all of its processes get the signal, those that just look at the service too.
    host.run(&format!(
        "systemd-run --quiet --unit=upgrades --setenv=GITHUB_API_URL --property=Type=exec --property=RemainAfterExit=yes \
            upswap upgrade runed --version v2.0.0
        {RUNS_NEW}
        systemctl stop upgrades
        journalctl --sync
        journalctl --unit=upgrades | grep 'Main process exited, code=exited, status=5'"
    ))
    .success();
    is_as_before(&host, &before);

    // The terminal is gone, and with it everybody who could read what is said.
    host.run(&format!(
        "script -qefc 'upswap upgrade runed --version v2.0.0; echo $? >/run/code' /dev/null </dev/null & terminal=$!
        {RUNS_NEW}
        kill -KILL $terminal
        while pgrep -x rollback || pgrep -x upgrade; do sleep 0.05; done >/dev/null"
    ))
    .success();
    is_as_before(&host, &before);
}

/// A host whose `runed` has an updater in its own control group, which upgrades it to what it reads in /run/wanted.
fn host_that_upgrades_itself(upgrade: &str) -> Env {
    let host = Env::boot().with_tools().with_releases().with_rune("v1.0.0").with_profile("1s");
    host.run(&format!(
        "cat >/root/updater <<'END'
#!/bin/sh
export GITHUB_API_URL=https://localhost:8443
while sleep 0.05; do
    ! read -r tag </run/wanted || {{ rm /run/wanted; {upgrade} runed --version $tag >/run/said 2>&1; }}
done 2>/dev/null
END
        chmod +x /root/updater
        printf '[Service]\nExecStartPost=+/bin/sh -c \"/root/updater &\"\n' >/etc/systemd/system/runed.service.d/updater.conf
        systemctl daemon-reload
        systemctl restart runed"
    ))
    .success();
    host
}

/// Lets it upgrade itself, waits until no guard is left, and gives what was said and the updater's process after it.
fn upgrades_itself(host: &Env, tag: &str) -> (String, String) {
    let updater = "pgrep -x -o updater";
    let before = host.run(updater).success().stdout().to_owned();
    host.run(&format!(
        "rm -f /run/said; echo {tag} >/run/wanted
        until grep -q 'is committed\\|in place\\|refused' /run/said 2>/dev/null; do sleep 0.05; done
        while pgrep -x rollback; do sleep 0.05; done >/dev/null"
    ))
    .success();
    let after = host.run(updater).success().stdout().to_owned();
    assert_ne!(before, after, "systemd ended all that was in the control group");
    (host.run("cat /run/said").success().stdout().to_owned(), after)
}

#[test]
fn a_service_that_upgrades_itself_is_upgraded_and_goes_back() {
    let host = host_that_upgrades_itself("upswap upgrade");
    let (said, _) = upgrades_itself(&host, "v2.0.0");
    assert!(said.contains("generation 2 (v2.0.0) is committed, proven healthy"), "{said}");
    assert_eq!(version_served(&host), "v2.0.0");
    let (said, _) = upgrades_itself(&host, "v4.0.0");
    assert!(said.contains("generation 2 (v2.0.0) is back in place; runed.service runs it and is healthy"), "{said}");
    assert_eq!(version_served(&host), "v2.0.0");
    host.run("! rollback --list | grep -q 'on trial'; ! ls -d /tmp/tmp.* 2>/dev/null").success();
    host.run("journalctl --sync; journalctl | grep -c 'A guard of upswap' | grep -x '[2-4]'").success();
}

/// A control group namespace of its own hides from the guard that it is inside the unit.
#[test]
fn without_a_scope_of_its_own_a_service_can_t_upgrade_itself() {
    let host = host_that_upgrades_itself("unshare --cgroup upswap upgrade");
    host.run(
        "printf '[Service]\nTimeoutStopSec=1s\n' >/etc/systemd/system/runed.service.d/stop.conf
        systemctl daemon-reload
        echo v2.0.0 >/run/wanted
        until journalctl --unit=runed | grep 'Killing process .* (rollback) with signal SIGKILL'; do sleep 0.05; done
        while ! systemctl is-active --quiet runed; do sleep 0.05; done",
    )
    .success();
    assert_eq!(version_served(&host), "v1.0.0");
}
