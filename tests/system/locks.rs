//! One chain at a time per NAME, and chains of different NAMEs side by side.

use crate::env::{Env, Output};

/// A host that runs v1.0.0 as `runed`, and once more as `other`, with a profile each. What `/opt/gate-NAME` says is the only probe.
fn host() -> Env {
    let host = Env::boot().with_tools().with_releases().with_rune("v1.0.0").with_profile("100ms");
    host.run(
        "mkdir -p /opt/other/bin /run/ended
        cp --preserve=all /usr/local/bin/rune /usr/local/bin/runed /opt/other/bin
        printf 'listen=127.0.0.1:8080\\n' >/opt/other/runed.conf
        /opt/other/bin/runed print-systemd --binary /opt/other/bin/runed --config /opt/other/runed.conf |
            sed /StateDirectory/d >/etc/systemd/system/other.service
        systemctl daemon-reload
        systemctl start other
        sed -e '/^PROBES/d' /etc/upswap/runed.conf >/etc/upswap/other.conf
        printf 'PROBES=\"--exec /opt/gate-other\"\\nBIN_DIR=/opt/other/bin\\n' >>/etc/upswap/other.conf
        sed -i 's,^PROBES=.*,PROBES=\"--exec /opt/gate-runed\",' /etc/upswap/runed.conf",
    )
    .success();
    host
}

/// Writes the probe of `name`: a shell command that is true when the chain may go on.
fn gate(host: &Env, name: &str, command: &str) {
    host.run(&format!("cat >/opt/gate-{name} <<'GATE'\n#!/bin/sh\n{command}\nGATE\nchmod +x /opt/gate-{name}"))
        .success();
}

#[test]
fn of_eight_chains_at_once_one_works_and_seven_say_who_does() {
    let host = host();
    // The one that works goes on when the seven others have ended.
    gate(&host, "runed", "test $(ls /run/ended | wc -l) = 7");
    let ended = host.run(
        "for n in 1 2 3 4 5 6 7 8; do
            (code=0; upswap upgrade runed -q --version v2.0.0 --timeout 60s 2>/run/said.$n || code=$?
            mv /run/said.$n /run/ended/$code.$n) &
        done
        wait
        cd /run/ended; ls; cat *",
    );
    let ended = ended.success();
    let codes = |code: &str| ended.stdout().lines().filter(|line| line.starts_with(&format!("{code}."))).count();
    assert_eq!((codes("0"), codes("75")), (1, 7), "{}", ended.stdout());
    let said: Vec<&str> = ended.stdout().lines().filter(|line| line.starts_with("rollback: ")).collect();
    assert_eq!(said.len(), 7, "{}", ended.stdout());
    assert!(said.iter().all(|line| line.contains("runed: locked by PID ")), "{said:?}");
    assert_eq!(
        host.run("curl -fsS http://127.0.0.1/version; rollback --list").success().stdout().lines().next(),
        Some("v2.0.0")
    );
}

/// Both chains at once, each going on only when the other is in its guarded part too.
fn both(host: &Env, between: &str) -> Output {
    gate(host, "runed", "touch /run/inside.runed; test -e /run/inside.other");
    gate(host, "other", "touch /run/inside.other; test -e /run/inside.runed");
    host.run(&format!(
        "upswap upgrade runed -q --version v2.0.0 --timeout 8s & one=$!
        {between}
        upswap upgrade other -q --version v2.0.0 --timeout 8s & other=$!
        wait $one; wait $other
        curl -fsS http://127.0.0.1/version http://127.0.0.1:8080/version"
    ))
}

#[test]
fn two_names_do_not_block_each_other() {
    assert_eq!(both(&host(), "").success().stdout(), "v2.0.0\nv2.0.0");
}

/// If they waited for each other, the test above would see it.
#[test]
fn one_after_the_other_they_would_not_meet() {
    both(&host(), "wait $one").code(4);
}

#[test]
fn the_lock_of_a_chain_that_was_killed_is_free_at_once() {
    let host = host();
    gate(&host, "runed", "touch /run/inside; false");
    host.run(
        "setsid upswap upgrade runed -q --version v2.0.0 --timeout 60s & chain=$!
        until test -e /run/inside; do sleep 0.01; done
        test $(flock --nonblock /run/upswap/runed.lock true || echo held) = held
        while pkill -KILL --session $chain; do :; done
        flock --nonblock /run/upswap/runed.lock true",
    )
    .success();
    gate(&host, "runed", "true");
    let next = host.run("upswap upgrade runed --version v2.0.0").success();
    assert!(next.stderr().contains("an earlier chain left generation 2 on trial"), "{}", next.stderr());
    assert_eq!(host.run("curl -fsS http://127.0.0.1/version").success().stdout(), "v2.0.0");
}
