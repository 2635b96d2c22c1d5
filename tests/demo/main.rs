//! `make demo`: the main job, shown. A host with a real systemd, a good release, a bad one, and the way back.
//!
//! Everything printed under a `$` is a command that runs on that host. What the demo claims it also checks.
#![allow(clippy::print_stdout, clippy::print_stderr, dead_code)] // It talks to people, and uses a part of the test hosts.

#[path = "../system/env.rs"]
mod env;
#[path = "../support/material.rs"]
mod material;

use env::Env;

const SHOW: &str = "curl -s http://127.0.0.1/version
ps -o user=,args= -p $(systemctl show --property=MainPID --value runed)
getcap /usr/local/bin/runed";

const TO_V2: &str = "fetch gh:runestack/rune@v2.0.0 --sums checksums.txt --sig checksums.txt.minisig |
  verify --sums checksums.txt --minisign /srv/releases/minisign.pub --extract rune,runed --files-from - |
  rollback --guard runed -- sh -ec '
    swapbin --unit runed.service -t /usr/local/bin --files-from -
    svc-wait runed --stable 4s --http http://127.0.0.1:7861/health -- systemctl restart runed'
";

const TO_V3: &str = "upswap upgrade runed --version v3.0.0";

const PROFILE: &str = "SOURCE=gh:runestack/rune
SUMS=checksums.txt
KEY=/srv/releases/minisign.pub
EXTRACT=rune,runed
PROBES=\"--http http://127.0.0.1:7861/health\"
STABLE=4s
";

fn main() {
    heading("A host: systemd in a container, a release server, and runed v1.0.0 as its installer left it");
    let host = Env::boot().with_tools().with_releases().with_rune("v1.0.0");
    host.run(&format!("cat >/etc/upswap/runed.conf <<'END'\n{PROFILE}END")).success();
    expect(host.show(SHOW), 0);
    expect_served(&host, "v1.0.0");
    let capability = host.run("setcap-keep --save /usr/local/bin/runed").success();

    heading("A bare restart, measured by a prober that asks for /health every millisecond");
    let (restarted, bare) = host.pause_during(|| host.show("systemctl restart runed"));
    expect(restarted, 0);
    println!("=> longest time without an answer: {:.0} ms", millis(bare));

    heading("The chain takes it to v2.0.0, the prober still asking");
    let (upgraded, pause) = host.pause_during(|| host.show(TO_V2));
    expect(upgraded, 0);
    println!("=> longest time without an answer: {:.0} ms (a bare restart: {:.0} ms)", millis(pause), millis(bare));
    expect(host.show(SHOW), 0);
    expect_served(&host, "v2.0.0");
    let now = host.run("setcap-keep --save /usr/local/bin/runed").success();
    assert_eq!(now.stdout(), capability.stdout(), "the capability is unchanged, byte for byte");

    heading("v3.0.0 crashes three seconds after its start; a profile says where releases are and what healthy means");
    expect(host.show("cat /etc/upswap/runed.conf"), 0);
    expect(host.show(TO_V3), 5);
    println!("=> exit status 5: tried and taken back");
    expect(host.show(SHOW), 0);
    expect_served(&host, "v2.0.0");

    heading("By hand, at night: what is there to go back to, and back to v1.0.0");
    expect(host.show("rollback --list runed"), 0);
    // The host's first files have no release that upswap knows of: they are generation 1.
    expect(host.show("rollback runed --to 1"), 0);
    expect(host.show(SHOW), 0);
    expect_served(&host, "v1.0.0");
    let last = host.run("setcap-keep --save /usr/local/bin/runed").success();
    assert_eq!(last.stdout(), capability.stdout(), "the old inode is back, with its capability");

    heading("Done: every step above did what it says");
}

fn heading(text: &str) {
    println!("\n== {text}");
}

fn expect(code: Option<i32>, expected: i32) {
    assert_eq!(code, Some(expected), "the command above ended otherwise than it should");
}

fn expect_served(host: &Env, version: &str) {
    assert_eq!(host.run("curl -fsS http://127.0.0.1/version").success().stdout(), version);
}

fn millis(pause: std::time::Duration) -> f64 {
    pause.as_secs_f64() * 1000.0
}
