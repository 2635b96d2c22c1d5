//! Canaries: what the system tests rely on is really there, and would be missed if it were not.

use crate::env::Env;

/// Starts a service of another user and asks for its executable, as svc-wait does.
const EXE_OF_A_SERVICE: &str = "systemd-run --quiet --unit=other --property=Type=exec --uid=nobody sleep infinity
    readlink /proc/$(systemctl show --property=MainPID --value other)/exe";
const WRITE_TO_ETC: &str = "systemd-run --quiet --wait --pipe --property=ProtectSystem=strict touch /etc/canary";
const NETWORK_OF_ITS_OWN: &str = "own=$(systemd-run --quiet --wait --pipe --property=PrivateNetwork=yes \
        sh -c 'readlink /proc/self/ns/net; ip -4 -o address show up dev lo | grep -o 127.0.0.1 >&2')
    test \"$own\" != \"$(readlink /proc/1/ns/net)\"";

#[test]
fn root_reads_the_executable_of_another_users_service() {
    let host = Env::boot();
    assert_eq!(host.run(EXE_OF_A_SERVICE).success().stdout(), "/usr/bin/sleep");
}

#[test]
fn sandboxes_of_systemd_bite() {
    let host = Env::boot();
    let refused = host.run(WRITE_TO_ETC).code(1);
    assert!(refused.stderr().contains("Read-only file system"), "{refused:?}");
    host.run(NETWORK_OF_ITS_OWN).success();
}

#[test]
fn without_the_capabilities_none_of_this_holds() {
    let host = Env::boot_without_capabilities();
    host.run(EXE_OF_A_SERVICE).code(1);
    host.run(WRITE_TO_ETC).success();
    host.run(NETWORK_OF_ITS_OWN).code(1);
}

#[test]
fn the_tools_run_on_the_host() {
    let host = Env::boot().with_tools();
    host.run(
        "for tool in fetch verify unit-render unit-diff svc-wait swapbin setcap-keep rollback; do
            command -v $tool
            $tool --version
        done
        command -v upswap",
    )
    .success();
}

#[test]
fn a_dropped_host_is_gone() {
    let name = {
        let host = Env::boot();
        host.run("true").success();
        host.run("exit 5").code(5);
        host.name().to_owned()
    };
    let exists = std::process::Command::new("podman").args(["container", "exists", &name]).status().unwrap();
    assert_eq!(exists.code(), Some(1));
}
