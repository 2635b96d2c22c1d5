//! The examples of every `--help`, run as they are printed, each on a host where what it speaks of is there.

use crate::env::Env;

/// A host with `runed` v1.0.0, and a folder with what a person who tries the examples has at hand.
fn host() -> Env {
    let host = Env::boot().with_tools().with_releases().with_rune("v1.0.0");
    host.run(
        "mkdir /root/try && cd /root/try
        cp /srv/releases/runestack/rune/v2.0.0/* .
        cp /srv/releases/minisign.pub rune.pub
        tar -x --no-same-owner -f rune_linux_$(dpkg --print-architecture).tar.gz runed
        [ -e rune_linux_amd64.tar.gz ]",
    )
    .success();
    host
}

/// The blocks of commands under `Examples:`, without their indentation.
fn examples(host: &Env, tool: &str) -> Vec<String> {
    let help = host.run(&format!("{tool} --help")).success();
    let text = help.stdout().split("Examples:\n").nth(1).unwrap().to_owned();
    let mut blocks = vec![String::new()];
    for line in text.lines() {
        match (line.strip_prefix("    "), blocks.last_mut()) {
            (Some(command), Some(block)) => block.extend([command, "\n"]),
            _ => blocks.push(String::new()),
        }
    }
    blocks.retain(|block| !block.is_empty());
    assert!(blocks.len() > 1, "{tool}: its examples were not found in {text}");
    blocks
}

/// Runs each example of `tool`. `prepare` is run before the example that holds its first text; an example that holds the
/// first text of `answers` ends with that code.
fn try_all(host: &Env, tool: &str, prepare: &[(&str, &str)], answers: &[(&str, i32)]) {
    let blocks = examples(host, tool);
    for (text, _) in prepare {
        assert!(blocks.iter().any(|block| block.contains(text)), "{tool}: no example has '{text}' any more");
    }
    for block in blocks {
        for (_, script) in prepare.iter().filter(|(text, _)| block.contains(text)) {
            host.run(&format!("cd /root/try\n{script}")).success();
        }
        let code = answers.iter().find(|(text, _)| block.contains(text)).map_or(0, |(_, code)| *code);
        // The address of an example is nobody's: the test host's own server stands in for it.
        let here = block.replace("https://dl.example.com/", "https://localhost:8443/runestack/rune/releases/download/");
        let _ran = host.run(&format!("cd /root/try\n{here}")).code(code);
    }
}

#[test]
fn of_fetch_and_verify() {
    let host = host();
    let mirror = "mkdir -p /mnt/mirror/github.com; fetch -q gh:runestack/rune@v2.0.0\n        cp -r /var/cache/upswap/fetch/localhost*/* /mnt/mirror/github.com";
    // There is no index beside the releases, no such registry, and no cargo.
    let answers = [("--index", 1), ("oci://", 75), ("cargo:", 3)];
    try_all(&host, "fetch", &[("/mnt/mirror", mirror)], &answers);
    // Nobody signed by SSH, and runed has no configuration to check.
    try_all(&host, "verify", &[], &[("rune.signers", 1), ("config check", 1)]);
}

#[test]
fn of_the_unit_tools() {
    let host = host();
    host.run("cd /root/try; sed '/^Restart=/d; /^User=/a UMask=0000' /etc/systemd/system/runed.service >runed.service")
        .success();
    let template = "printf '[Service]\\nUser={{USER}}\\nExecStart={{BINARY}}\\n' >runed.service.in";
    try_all(&host, "unit-render", &[("--template", template)], &[]);
    let base = "cp runed.service base.service; sed -i 's/^ExecStart=.*/& --debug/' /etc/systemd/system/runed.service";
    try_all(&host, "unit-diff", &[("--drop-in", base)], &[("grep", 0), ("--drop-in", 0), ("unit-diff", 1)]);
}

#[test]
fn of_svc_wait() {
    let host = host();
    let app = "mkdir -p /opt/app/bin; cp /bin/sleep /opt/app/bin/app
        printf '#!/bin/sh\\nexec /opt/app/bin/app infinity\\n' >/opt/app/start; chmod +x /opt/app/start
        printf '[Service]\\nExecStart=/opt/app/start\\n' >/etc/systemd/system/app.service; systemctl daemon-reload";
    try_all(&host, "svc-wait", &[("restart app", app)], &[]);
}

#[test]
fn of_swapbin_and_setcap_keep() {
    let host = host();
    let on_trial = "swapbin -q --trial --name runed .runed.old /usr/local/bin/runed";
    host.run("cp /usr/local/bin/runed /root/try/.runed.old").success();
    try_all(&host, "swapbin", &[("--commit", on_trial)], &[]);
    let package = "mkdir -p deb/DEBIAN deb/usr/bin; cp runed deb/usr/bin/runed
        printf 'Package: runed\\nVersion: 2\\nArchitecture: all\\nMaintainer: nobody\\nDescription: runed\\n' >deb/DEBIAN/control
        dpkg-deb --build deb runed.deb; cp runed /usr/bin/runed; setcap cap_net_bind_service=ep /usr/bin/runed";
    try_all(&host, "setcap-keep", &[("dpkg", package)], &[]);
    host.run("getcap /usr/bin/runed | grep -q cap_net_bind_service=ep").success();
}

#[test]
fn of_rollback() {
    let host = host();
    host.run(
        "cd /root/try
        fetch --quiet gh:runestack/rune@v2.0.0 --sums checksums.txt |
            verify --quiet --sums checksums.txt --extract rune,runed --files-from - |
            rollback --quiet --guard runed -- sh -ec '
                swapbin -q --unit runed.service -t /usr/local/bin --files-from -
                svc-wait -q runed --stable 1s -- systemctl restart runed'",
    )
    .success();
    try_all(&host, "rollback", &[], &[]);
}
