//! `upswap install-service`: the first time, again, and a first time that fails.

use crate::env::Env;

const INSTALL: &str = "upswap install-service runed --user rune --source gh:runestack/rune --sums checksums.txt \
    --key /srv/releases/minisign.pub --extract rune,runed --stable 4s --probes '--http http://127.0.0.1/health'";

#[test]
fn the_first_time_and_again() {
    let host = Env::boot().with_tools().with_releases();
    host.run(&format!("{INSTALL} --version v1.0.0 --cap cap_net_bind_service=ep --dir /var/lib/rune")).success();
    host.run(
        "test \"$(curl -fsS http://127.0.0.1/version)\" = v1.0.0
        test \"$(stat -c %U:%G /var/lib/rune)\" = rune:rune
        test \"$(ps -o user= -p $(systemctl show --property=MainPID --value runed))\" = rune
        systemctl is-enabled --quiet runed
        getcap /usr/local/bin/runed | grep -q cap_net_bind_service=ep
        test -z \"$(getcap /usr/local/bin/rune)\"",
    )
    .success();
    let invocation = "systemctl show --property=InvocationID --value runed";
    let before = host.run(invocation).success();
    let again =
        host.run(&format!("{INSTALL} --version v1.0.0 --cap cap_net_bind_service=ep --dir /var/lib/rune")).success();
    assert!(again.stderr().contains("nothing was restarted"), "{}", again.stderr());
    assert_eq!(host.run(invocation).success().stdout(), before.stdout());
    // The operator's edits of the unit are not install-service's to change.
    host.run("sed -i 's/^RestartSec=.*/RestartSec=7s/' /etc/systemd/system/runed.service; systemctl daemon-reload")
        .success();
    host.run(&format!("{INSTALL} --version v2.0.0 --cap cap_net_bind_service=ep")).success();
    host.run("grep -q RestartSec=7s /etc/systemd/system/runed.service; test \"$(curl -fsS http://127.0.0.1/version)\" = v2.0.0").success();
}

#[test]
fn ambient_capabilities_instead_of_file_capabilities() {
    let host = Env::boot().with_tools().with_releases();
    host.run(&format!("{INSTALL} --version v1.0.0 --ambient CAP_NET_BIND_SERVICE")).success();
    host.run(
        "test -z \"$(getcap /usr/local/bin/runed)\"
        test \"$(curl -fsS http://127.0.0.1/version)\" = v1.0.0
        systemctl show --property=AmbientCapabilities runed | grep -q cap_net_bind_service",
    )
    .success();
    host.run(&format!("{INSTALL} --version v1.0.0 --ambient CAP_NET_BIND_SERVICE --cap cap_net_bind_service=ep"))
        .code(2);
    // What is wrong with the words is found before anything is made.
    host.run(&format!("{INSTALL} --version v1.0.0 --user nosuch --cap banana")).code(2);
    host.run(&format!("{INSTALL} --version v1.0.0 --user nosuch --ambient CAP_NOPE")).code(2);
    host.run("getent passwd nosuch").code(2);
    // The service was not there before: going back before it would leave a process without its files.
    assert!(host.run("rollback runed").code(1).stderr().contains("no earlier good generation"));
    assert!(host.run("rollback runed --to 1").code(1).stderr().contains("before the service was installed"));
    host.run("curl -fsS http://127.0.0.1/health").success();
}

#[test]
fn a_first_time_that_fails_leaves_no_file_and_no_unit() {
    let host = Env::boot().with_tools().with_releases();
    // Without the capability it can't bind its port.
    let output = host.run(&format!("{INSTALL} --version v1.0.0")).code(5);
    assert!(output.stderr().contains("crashed"), "{}", output.stderr());
    host.run(
        "test ! -e /usr/local/bin/runed
        test ! -e /usr/local/bin/rune
        test ! -e /etc/systemd/system/runed.service
        test \"$(systemctl show --property=LoadState --value runed)\" = not-found
        test \"$(systemctl is-failed runed)\" != failed",
    )
    .success();
    host.run(&format!("{INSTALL} --version v1.0.0 --cap cap_net_bind_service=ep")).success();
}
