//! wait: how soon svc-wait knows that a service failed, how soon the old version answers again, and what waiting costs, beside
//! the polling loop that install scripts have. On a host with a real systemd, in a container; needs root, as the system tests do.
//!
//! Absolute times hold only for one machine at one time. ROUNDS and STABLE (seconds of the quiet wait) make it shorter or longer.
#![allow(clippy::print_stdout, clippy::print_stderr, dead_code)] // It talks to people, and uses a part of the test hosts.

use std::time::Duration;

#[path = "../tests/system/env.rs"]
mod env;
#[path = "../tests/support/material.rs"]
mod material;

use env::Env;

/// A service that runs for a moment, notes the time, and fails.
const FAILS: &str = "[Service]
Type=exec
ExecStart=/bin/sh -c 'sleep 0.3; date +%%s%%N >/run/failed; exit 1'
";
/// From the note of the failing process to the verdict, and to the end of svc-wait, which adds what the journal says.
const VERDICT: &str = "rm -f /run/failed
svc-wait fails --exe any --stable 20s -- systemctl restart fails 2>&1 >/dev/null | {
    read -r verdict
    told=$(date +%s%N)
    cat >/dev/null
    ended=$(date +%s%N)
    failed=$(cat /run/failed)
    case $verdict in *crashed*) echo $(((told - failed) / 1000)) $(((ended - failed) / 1000)) ;; esac
}";

/// The way of a script: copies in place, capability, restart, and is-active every second until it says yes.
const SCRIPT: &str = "install -m 0755 /opt/v3/runed /usr/local/bin/runed
setcap cap_net_bind_service=+ep /usr/local/bin/runed
systemctl restart runed
for turn in $(seq 15); do
    if systemctl is-active --quiet runed; then echo success; exit; fi
    sleep 1
done
echo failure";
/// The same release by the chain; it serves for a moment and ends.
const CHAIN: &str = "rollback --guard runed -q -- sh -ec '
    swapbin -q --unverified --retry-failed --unit runed.service -t /usr/local/bin /opt/v3/runed
    svc-wait -q runed --stable 5s --http http://127.0.0.1:7861/health -- systemctl restart runed'";
/// What the script leaves behind, mended by hand.
const MEND: &str = "systemctl stop runed
install -m 0755 /opt/v1/runed /usr/local/bin/runed
setcap cap_net_bind_service=+ep /usr/local/bin/runed
systemctl reset-failed runed
systemctl start runed";

fn main() {
    let number = |name: &str, default| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    let (rounds, stable) = (number("ROUNDS", 9), number("STABLE", 60));
    let host = Env::boot().with_tools().with_releases().with_rune("v1.0.0");
    host.put(&material::program("measured"), "/opt/measured");
    host.run(&format!(
        "cat >/run/systemd/system/fails.service <<'END'\n{FAILS}END
        for major in 1 3; do
            mkdir /opt/v$major
            tar -xf /srv/releases/runestack/rune/v$major.0.0/rune_linux_{}.tar.gz -C /opt/v$major
        done
        systemctl daemon-reload",
        material::goarch()
    ))
    .success();

    let times = (0..rounds).map(|_| {
        let said = host.run(VERDICT).success();
        let (verdict, end) = said.stdout().split_once(' ').unwrap();
        (Duration::from_micros(verdict.parse().unwrap()), Duration::from_micros(end.parse().unwrap()))
    });
    let (verdicts, ends) = times.unzip();
    told("from the exit of a failing process to the verdict", verdicts, "median below 10 ms");
    told("to the end of svc-wait, with the journal", ends, "");

    let (mut bare, mut back, mut over) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (restarted, restart) = host.pause_of("systemctl restart runed");
        restarted.success();
        let (taken_back, pause) = host.pause_of(CHAIN);
        taken_back.code(5);
        over.push(pause.saturating_sub(restart));
        bare.push(restart);
        back.push(pause);
    }
    told("no answer across a bare restart", bare, "");
    told("no answer across a release that fails after a while, until the old one answers", back, "");
    told("that, less the bare restart of the same round", over, "at most 50 ms");

    let said = host.run(SCRIPT).success();
    println!("a script that polls is-active, of the same release: {}", said.stdout());
    host.run(MEND).success();

    let quiet = host.run(&format!(
        "/opt/measured /run/quiet svc-wait -q runed --stable {stable}s --http http://127.0.0.1:7861/health
        cat /run/quiet"
    ));
    let quiet = quiet.success();
    let columns: Vec<f64> = quiet.stdout().split(' ').map(|n| n.parse().unwrap()).collect();
    println!(
        "waiting {stable} s on a healthy service: {:.2} % of one core, svc-wait and all it starts (target: below 2 %); {:.1} MiB, \
         the largest process (target: 16)",
        columns[1] / columns[0] * 100.0,
        columns[2] / 1024.0
    );
}

/// Says the median and the range of `times`.
fn told(what: &str, mut times: Vec<Duration>, target: &str) {
    times.sort_unstable();
    let ms = |time: &Duration| time.as_secs_f64() * 1000.0;
    let target = if target.is_empty() { String::new() } else { format!(" (target: {target})") };
    println!(
        "{what}: {:.1} ms ({:.1}-{:.1}){target}",
        ms(&times[times.len() / 2]),
        ms(&times[0]),
        ms(&times[times.len() - 1])
    );
}
