//! The test material under a real systemd: the daemon serves, each fault is what its name says.

use std::time::Duration;

use crate::env::Env;

/// Puts another release in place of `runed`, with the capability, and restarts it: by hand, so that only the release is tested.
fn swap_by_hand(host: &Env, tag: &str) -> crate::env::Output {
    host.run(&format!(
        "tar -x --no-same-owner -f /srv/releases/runestack/rune/{tag}/rune_linux_$(dpkg --print-architecture).tar.gz -C /tmp runed
        install /tmp/runed /usr/local/bin/.runed.new
        setcap cap_net_bind_service=+ep /usr/local/bin/.runed.new
        mv /usr/local/bin/.runed.new /usr/local/bin/runed
        systemctl reset-failed runed
        timeout 3 systemctl restart runed"
    ))
}

#[test]
fn runed_binds_port_80_as_an_unprivileged_user_and_pauses_for_a_restart_only() {
    let host = Env::boot().with_releases().with_rune("v1.0.0");
    assert_eq!(host.run("curl -fsS http://127.0.0.1/version; rune status").success().stdout(), "v1.0.0\nruned v1.0.0");
    let owner = host.run("ps -o user= -p $(systemctl show --property=MainPID --value runed)").success();
    assert_eq!(owner.stdout(), "rune");
    let (restart, pause) = host.pause_of("systemctl restart runed");
    restart.success();
    assert!(pause > Duration::from_millis(2) && pause < Duration::from_secs(2), "{pause:?}");
}

#[test]
fn each_fault_is_what_its_name_says() {
    let host = Env::boot().with_releases().with_rune("v1.0.0");
    // A state then lasts until it is looked at.
    host.run(
        "mkdir /etc/systemd/system/runed.service.d
        printf '[Service]\\nRestart=no\\n' >/etc/systemd/system/runed.service.d/test.conf
        systemctl daemon-reload",
    )
    .success();
    let state = |host: &Env| {
        host.run("systemctl show --property=Result,ExecMainStatus --value runed | paste -sd ' '")
            .success()
            .stdout()
            .to_owned()
    };
    swap_by_hand(&host, "v3.0.0").success();
    host.run("curl -fsS http://127.0.0.1/health").success();
    host.run("while systemctl is-active --quiet runed; do sleep 0.1; done").success();
    assert_eq!(state(&host), "exit-code 1", "crash-after");

    swap_by_hand(&host, "v4.0.0").code(1);
    assert_eq!(state(&host), "exit-code 3", "exit-at-once");

    swap_by_hand(&host, "v5.0.0").code(124);
    assert_eq!(host.run("systemctl show --property=SubState --value runed").success().stdout(), "start", "never-ready");
    host.run("curl -fsS http://127.0.0.1/health").code(7);

    swap_by_hand(&host, "v6.0.0").success();
    assert_eq!(host.run("curl -fsS http://127.0.0.1/version").success().stdout(), "v9.9.9", "wrong-version");

    swap_by_hand(&host, "v7.0.0").code(1);
    assert_eq!(state(&host), "exit-code 1", "needs-newer-glibc: the loader's status");
    assert!(host.run("runed --version").code(1).stderr().contains("GLIBC_2.99"));

    swap_by_hand(&host, "v8.0.0").code(1);
    assert_eq!(state(&host), "exit-code 203", "other-machine");
}

#[test]
fn the_release_server_is_trusted_by_the_host_and_gives_what_was_signed() {
    let host = Env::boot().with_releases();
    host.run(
        "curl -fsS $GITHUB_API_URL/repos/runestack/rune/releases/latest | grep -q '\"tag_name\":\"v8.0.0\"'
        cd /tmp
        for asset in checksums.txt rune_linux_amd64.tar.gz rune_linux_arm64.tar.gz; do
            curl -fsSLO $GITHUB_API_URL/runestack/rune/releases/download/v2.0.0/$asset
        done
        sha256sum --check --strict --quiet checksums.txt",
    )
    .success();
}
