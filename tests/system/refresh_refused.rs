//! `upswap upgrade --refresh-unit` where systemd would not read, or not take, what it puts in place.

use crate::env::Env;
use crate::material;

const REFRESH: &str = "upswap upgrade runed --refresh-unit --carry-edits";

/// All that a refresh may touch, and what systemd made of it.
const STATE: &str = "cd /etc/systemd/system
    find . -name 'runed*' ! -name '.*' -printf '%M %u %p %l\\n' | sort
    cat runed.service; cat runed.service.d/*.conf; sha256sum /usr/local/bin/runed
    systemctl show --property=LoadState,NeedDaemonReload,DropInPaths,Environment,InvocationID runed";

fn host() -> Env {
    let host = Env::boot().with_tools().with_releases_of(&material::releases_of_units()).with_rune("v1.0.0");
    let host = host.with_profile("1s");
    host.run("sed -i '/^User=/i Environment=EDITED=1' /etc/systemd/system/runed.service; systemctl daemon-reload")
        .success();
    host
}

#[test]
fn a_unit_that_systemd_refuses_is_taken_back_also_when_nothing_is_restarted() {
    let host = host();
    host.run(
        "mkdir -p /srv/own/v9.0.0 /root/own; cd /root/own
        tar -x --no-same-owner -f /srv/releases/runestack/rune/v3.0.0/rune_linux_$(dpkg --print-architecture).tar.gz rune runed
        runed print-systemd | tee base | sed '/^ExecStart=/d' >runed.service
        cd /srv/own/v9.0.0; tar -C /root/own -c -z -f rune_linux_$(dpkg --print-architecture).tar.gz rune runed runed.service
        sha256sum *.tar.gz >checksums.txt",
    )
    .success();
    let before = host.run(STATE).success().stdout().to_owned();
    let own = "--source /srv/own --key '' --extract rune,runed,runed.service --unit-base /root/own/base";
    let refused = host.run(&format!("{REFRESH} {own} --skip-restart")).code(5);
    assert!(refused.stderr().contains("bad-setting"), "{}", refused.stderr());
    assert_eq!(host.run(STATE).success().stdout(), before, "and the process that ran runs on");
}

#[test]
fn a_drop_in_that_would_not_be_read_is_refused_before_anything_is_changed() {
    let host = host();
    for (prepared, says, undone) in [
        (
            "mv runed.service /root; systemctl --quiet link /root/runed.service",
            "is a link to /root/runed.service",
            "rm runed.service; mv /root/runed.service .",
        ),
        (
            "mv runed.service.d /root; ln -s /root/runed.service.d .",
            "is not a folder",
            "rm runed.service.d; mv /root/runed.service.d .",
        ),
        (
            "mkdir service.d; printf '[Service]\\nEnvironment=MORE=1\\n' >service.d/00-upswap.conf",
            "service.d/00-upswap.conf already",
            "rm -r service.d",
        ),
    ] {
        host.run(&format!("cd /etc/systemd/system; {prepared}; systemctl daemon-reload")).success();
        let before = host.run(STATE).success().stdout().to_owned();
        let refused = host.run(&format!("{REFRESH} --version v3.0.0")).code(1);
        assert!(refused.stderr().contains(says), "{}", refused.stderr());
        assert_eq!(host.run(STATE).success().stdout(), before);
        host.run(&format!("cd /etc/systemd/system; {undone}; systemctl daemon-reload")).success();
    }
    // The canary: without all that it is taken; and what was for root alone is so in the drop-in too.
    host.run("chmod 0640 /etc/systemd/system/runed.service").success();
    host.run(&format!("{REFRESH} --version v3.0.0")).success();
    let modes = host.run("cd /etc/systemd/system; stat -c %a runed.service runed.service.d/00-upswap.conf");
    assert_eq!(modes.success().stdout(), "640\n640");
    let environment = host.run("systemctl show --property=Environment --value runed");
    assert_eq!(environment.success().stdout(), "EDITED=1");
}

#[test]
fn another_service_of_a_socket_runs_again_when_the_socket_can_not_open() {
    let host = Env::boot().with_tools().with_releases_of(&material::releases_of_units()).with_profile("1s");
    let all = "--extract rune,runed,runed.socket,runed-check.service,runed-check.timer";
    host.run(&format!("upswap install-service runed --user rune --version v1.0.0 --cap cap_net_bind_service=ep {all}"))
        .success();
    // The port that the next release listens on is taken.
    host.run(
        "cd /etc/systemd/system
        printf '[Service]\\nSockets=runed.socket\\nExecStart=sleep infinity\\n' >second.service
        printf '[Service]\\nExecStart=sleep infinity\\n' >taker.service
        printf '[Socket]\\nListenStream=127.0.0.1:7873\\n' >taker.socket
        systemctl daemon-reload; systemctl start second.service taker.socket",
    )
    .success();
    let listens =
        "systemctl show --property=Listen --value runed.socket; systemctl is-active second runed runed.socket";
    let before = host.run(listens).success().stdout().to_owned();
    let refresh = format!("{REFRESH} --restart-sockets --version v3.0.0 {all}");
    host.run(&refresh).code(5);
    assert_eq!(host.run(listens).success().stdout(), before);
    // The canary: it is the port alone.
    host.run(&format!("systemctl stop taker.socket; {refresh} --retry-failed")).success();
    assert_eq!(host.run(listens).success().stdout(), before.replace("7871", "7873"));
}
