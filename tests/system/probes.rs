//! svc-wait's probes where the kernel says who listens and in which network, and where systemd listens for others.

use crate::env::Env;

const STRANGER: &str = "127.0.0.1:8443";
const HEALTH: &str = "--http http://127.0.0.1:7861/health";

/// A host with `runed`, and a server of another unit at [`STRANGER`].
fn host() -> Env {
    Env::boot().with_tools().with_releases().with_rune("v1.0.0")
}

#[test]
fn who_listens_is_told_from_the_unit() {
    let host = host();
    host.run(&format!("svc-wait runed --stable 0 {HEALTH} --tcp 127.0.0.1:80 --tcp 127.0.0.1:7861")).success();
    let told = host.run(&format!("svc-wait runed --timeout 1s --stable 0 --tcp {STRANGER}")).code(1);
    assert!(told.stderr().contains("runed.service: wrong-listener: tcp 127.0.0.1:8443: "), "{told:?}");
    assert!(told.stderr().contains("(release-server) of release-server.service listens there"), "{told:?}");
    host.run(&format!("svc-wait runed --timeout 1s --stable 0 --insecure --status 404 --http https://{STRANGER}/no"))
        .code(1);
    // Canaries: what is refused does answer, and is the other unit's own.
    host.run(&format!("svc-wait runed --stable 0 --insecure --status 404 --http https://{STRANGER}/no --via-proxy"))
        .success();
    host.run(&format!("svc-wait release-server --stable 0 --tcp {STRANGER}")).success();
}

#[test]
fn a_service_with_a_network_of_its_own_is_asked_there() {
    let host = host();
    host.run(
        "mkdir -p /etc/systemd/system/runed.service.d
        printf '[Service]\\nPrivateNetwork=yes\\n' >/etc/systemd/system/runed.service.d/network.conf
        systemctl daemon-reload",
    )
    .success();
    let healthy = host
        .run(&format!("svc-wait runed --stable 1s --measure {HEALTH} --tcp localhost:7861 -- systemctl restart runed"));
    healthy.success();
    // Canaries: nobody answers there for the host, and the host's own server is not there for the service.
    host.run("curl -fsS --max-time 5 http://127.0.0.1:7861/health").code(7);
    let told = host.run(&format!("svc-wait runed --timeout 1s --stable 0 --tcp {STRANGER}")).code(1);
    assert!(
        told.stderr().contains("runed.service: probe-failed: connect to 127.0.0.1:8443: Connection refused"),
        "{told:?}"
    );

    // A socket of the host's network that systemd hands to it is asked where it is.
    host.run(
        "printf '[Socket]\\nListenStream=127.0.0.1:9091\\n' >/etc/systemd/system/runed.socket
        systemctl daemon-reload
        systemctl stop runed; systemctl start runed.socket; systemctl start runed",
    )
    .success();
    let told = host.run("svc-wait runed --timeout 1s --stable 0 --tcp 127.0.0.1:9091").code(1);
    assert!(told.stderr().contains("runed.service: not-provable: "), "{told:?}");
}

#[test]
fn a_connection_to_a_socket_unit_proves_nothing() {
    let host = host();
    host.run(
        "printf '[Socket]\\nListenStream=127.0.0.1:9091\\nListenStream=/run/runed.sock\\n' >/etc/systemd/system/runed.socket
        systemctl daemon-reload
        systemctl stop runed; systemctl start runed.socket; systemctl start runed",
    )
    .success();
    for probe in ["--tcp 127.0.0.1:9091", "--unix /run/runed.sock"] {
        let told = host.run(&format!("svc-wait runed --stable 0 {probe} -- touch /run/ran")).code(1);
        assert!(told.stderr().contains("runed.service: not-provable: "), "{told:?}");
        assert!(told.stderr().contains("ask it by --http, --exec or --version-from (nothing was run)"), "{told:?}");
        host.run(&format!("svc-wait runed --stable 0 {probe}")).code(1);
    }
    host.run("[ ! -e /run/ran ]").success();
    // The canary: the connection is accepted while the service can't do anything at all.
    host.run(
        "systemctl kill --signal=STOP runed
        bash -c 'exec 3<>/dev/tcp/127.0.0.1/9091'",
    )
    .success();
    host.run("svc-wait runed --timeout 1s --stable 0 --http http://127.0.0.1:7861/health").code(1);
    // The socket unit itself is another matter.
    host.run("svc-wait runed.socket --stable 0 --tcp 127.0.0.1:9091").success();
}

#[test]
fn the_pause_of_a_restart_is_measured_and_stays_in_the_history() {
    let host = host();
    let pause = |more: &str| {
        let json = host.run(&format!("svc-wait runed --json --stable 0 {HEALTH} {more} -- systemctl restart runed"));
        let json: serde_json::Value = serde_json::from_str(json.success().stdout()).unwrap();
        json["times"]["pause_ms"].as_u64()
    };
    let bare = pause("--measure").unwrap();
    assert!(bare > 0 && pause("").is_none());
    host.run(
        "mkdir -p /etc/systemd/system/runed.service.d
        printf '[Service]\\nExecStartPre=sleep 2\\n' >/etc/systemd/system/runed.service.d/slow.conf
        systemctl daemon-reload",
    )
    .success();
    let slow = pause("--measure").unwrap();
    assert!(slow >= 2000 && slow > bare, "{slow} ms after {bare} ms");

    host.run(&format!(
        "fetch --quiet gh:runestack/rune@v2.0.0 --sums checksums.txt |
            verify --quiet --sums checksums.txt --extract rune,runed --files-from - |
            rollback --quiet --guard runed -- sh -ec '
                swapbin -q --unit runed.service -t /usr/local/bin --files-from -
                svc-wait -q runed --stable 0 --measure {HEALTH} --version-from http://127.0.0.1/version \
                    --expect-version v2.0.0 -- systemctl restart runed'
        rollback --list runed | grep 'v2.0.0.* s without an answer'
        rollback runed
        rollback --list runed | grep -q 'v2.0.0.* s without an answer'"
    ))
    .success();
    assert_eq!(host.run("curl -fsS http://127.0.0.1/version").success().stdout(), "v1.0.0");
}

#[test]
fn the_journal_is_that_of_the_run_that_failed() {
    let host = Env::boot().with_tools();
    let told = host
        .run(
            "printf '[Service]\\nExecStart=/bin/sh -c \"echo words of $$INVOCATION_ID; exit 3\"\\n' >/etc/systemd/system/app.service
            systemctl daemon-reload
            for run in 1 2; do
                systemctl start app
                while systemctl is-active --quiet app; do sleep 0.05; done
            done
            journalctl --sync
            svc-wait --json app --exe any --stable 5s -- systemctl restart app",
        )
        .code(1);
    let json: serde_json::Value = serde_json::from_str(told.stdout()).unwrap();
    assert_eq!(json["name"], "crashed", "{json}");
    let words = format!("words of {}", json["invocation"].as_str().unwrap());
    assert_eq!(json["journal"], serde_json::json!([words]));
    // The canary: the words of the runs before are there.
    host.run("journalctl --output=cat | grep -c '^words of' | grep -x 3").success();
}
