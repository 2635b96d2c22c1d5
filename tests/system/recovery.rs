//! Recovery: at boot before anything is started from half a change, and each minute when a chain was killed.

use crate::env::Env;

/// Begins an upgrade of `runed` to v2.0.0 with another unit, and stays where the old and the new files are mixed.
const HALF: &str = "fetch gh:runestack/rune@v2.0.0 --sums checksums.txt |
        verify --sums checksums.txt --extract rune,runed --files-from - >/run/files
    mkdir /run/unit
    sed '/^User=/i Environment=HALF=yes' /etc/systemd/system/runed.service >/run/unit/runed.service
    systemd-run --quiet --collect --unit=chain --property=KillMode=process rollback --guard runed -- sh -ec '
        swapbin --unit runed.service -t /usr/local/bin --files-from /run/files
        swapbin -T /run/unit/runed.service /etc/systemd/system/runed.service
        ln -f /usr/local/bin/.rune.upswap-1 /usr/local/bin/rune
        touch /run/half
        sleep infinity'
    while ! test -e /run/half; do sleep 0.01; done";
const STATE: &str = "cd /usr/local/bin; stat -c '%n %i %a %u:%g' rune runed; getcap runed
    cat /etc/systemd/system/runed.service";
const RUNS: &str = "systemctl is-active --quiet runed
    tr '\\0' '\\n' </proc/$(systemctl show --property=MainPID --value runed)/environ | grep HALF || echo whole
    curl -fsS http://127.0.0.1/version";

fn cut_short() -> (Env, String) {
    let host = Env::boot().with_tools().with_releases().with_rune("v1.0.0");
    let before = host.run(STATE).success().stdout().to_owned();
    host.run(HALF).success();
    (host, before)
}

#[test]
fn after_a_power_cut_the_old_files_are_back_before_anything_is_started_from_the_new() {
    let (host, before) = cut_short();
    host.power_off_and_boot();
    // The unit file that came back is what systemd started, though it had read the other one when the boot began.
    assert_eq!(host.run(RUNS).success().stdout(), "whole\nv1.0.0");
    assert_eq!(host.run(STATE).success().stdout(), before);
    let list = host.run("rollback --list runed").success();
    assert!(list.stdout().contains("* 1") && !list.stdout().contains("on trial"), "{}", list.stdout());
    host.run(
        "at() { systemctl show --property=$2 --value $1; }
        test $(at upswap-recover.service InactiveEnterTimestampMonotonic) -lt $(at sysinit.target ActiveEnterTimestampMonotonic)
        test $(at upswap-recover.service Result) = success
        test $(at runed.service NeedDaemonReload) = no
        test -z \"$(systemctl list-units --failed --no-legend | grep upswap)\"
        journalctl --boot --unit=upswap-recover | grep 'runed: generation 1 is back in place'
        ! journalctl --boot | grep -i 'ordering cycle'",
    )
    .success();
}

#[test]
fn without_the_boot_unit_the_half_change_is_what_is_started() {
    let (host, before) = cut_short();
    host.run("systemctl mask --quiet upswap-recover.service").success();
    host.power_off_and_boot();
    assert_eq!(host.run(RUNS).success().stdout(), "HALF=yes\nv2.0.0");
    assert_ne!(host.run(STATE).success().stdout(), before);
}

/// The chain's guard is killed, then the rest of the chain, before anything was restarted.
#[test]
fn a_killed_guard_is_settled_by_the_timer_s_service_when_its_chain_is_gone() {
    let (host, before) = cut_short();
    let settle = "systemctl start upswap-settle.service; journalctl --sync; journalctl --quiet --unit=upswap-settle";
    // Idle, or a chain is at work: not a line, each minute.
    assert_eq!(host.run(settle).success().stdout(), "");
    host.run("pkill -KILL -x rollback; rollback --list runed | grep 'is at work on it'").success();
    assert_eq!(host.run(settle).success().stdout(), "");
    host.run("pkill -KILL -x sleep; flock --timeout 10 /run/upswap/runed.lock true").success();
    // Half of the change was running.
    host.run("systemctl daemon-reload; systemctl restart runed; curl -fsS http://127.0.0.1/version | grep v2.0.0")
        .success();
    let told = host.run(settle).success();
    assert!(told.stdout().contains("generation 1 is back in place; runed.service runs it and is healthy"), "{told:?}");
    assert_eq!(told.stdout().lines().count(), 1, "{told:?}");
    assert_eq!(host.run(RUNS).success().stdout(), "whole\nv1.0.0");
    assert_eq!(host.run(STATE).success().stdout(), before);
    assert_eq!(host.run(settle).success().stdout(), told.stdout(), "and nothing more");
}

#[test]
fn the_units_are_there_after_an_installation_and_after_a_boot() {
    let host = Env::boot().with_tools();
    let waits = "systemctl show --property=ActiveState,SubState,UnitFileState upswap-settle.timer
        test \"$(systemctl show --property=NextElapseUSecMonotonic --value upswap-settle.timer)\" != infinity";
    let guards = "rollback --guard x -- true";
    let told = host.run(&format!("systemctl daemon-reload; {guards}")).success();
    let expected = "rollback: x: upswap-settle.timer is not active (systemctl start upswap-settle.timer): \
                    if this is killed, its trial stays open until the next chain or 'rollback --pending'";
    assert_eq!(told.stderr(), expected);
    host.run("systemctl start upswap-settle.timer").success();
    assert_eq!(host.run(guards).success().stderr(), "");
    host.run("systemctl mask --quiet upswap-recover").success();
    assert!(
        host.run(guards)
            .success()
            .stderr()
            .contains("upswap-recover.service is masked (systemctl unmask upswap-recover")
    );
    assert_eq!(host.run("rollback -q --guard x -- true").success().stderr(), "");
    host.run("systemctl unmask --quiet upswap-recover").success();
    let active = "ActiveState=active\nSubState=waiting\nUnitFileState=static";
    assert_eq!(host.run(waits).success().stdout(), active);
    host.power_off_and_boot();
    assert_eq!(host.run(waits).success().stdout(), active);
    host.run(
        "cd /usr/local/lib/systemd/system
        test -z \"$(systemd-analyze --man=no verify upswap-*.service upswap-*.timer 2>&1)\"
        cd ../user
        test -z \"$(XDG_RUNTIME_DIR=/tmp systemd-analyze --man=no --user verify upswap-*.service upswap-*.timer 2>&1)\"
        systemctl show --property=WantedBy --value upswap-recover | grep -x sysinit.target",
    )
    .success();
    assert_eq!(host.run(guards).success().stderr(), "");
}

#[test]
fn a_user_s_manager_takes_back_what_the_user_left_before_it_starts_anything() {
    let host = Env::boot().with_tools();
    // The image has no pam_systemd to say where the folder is.
    host.run(
        "useradd --create-home --uid 1000 user
        mkdir /etc/systemd/system/user@.service.d
        printf '[Service]\\nEnvironment=XDG_RUNTIME_DIR=/run/user/%%i\\n' >/etc/systemd/system/user@.service.d/test.conf
        systemctl daemon-reload",
    )
    .success();
    let user = "setpriv --reuid=1000 --regid=1000 --clear-groups env HOME=/home/user XDG_RUNTIME_DIR=/run/user/1000";
    host.run(&format!(
        "{user} XDG_RUNTIME_DIR= sh -ec 'cd; mkdir bin; echo 1 >bin/x; echo 2 >new; swapbin --trial new bin/x'
        systemctl start user@1000
        grep 1 /home/user/bin/x
        {user} systemctl --user is-active upswap-settle.timer"
    ))
    .success();
}

/// A folder that comes over the network comes after `sysinit.target`: no cycle, and nothing is taken for what it is not.
#[test]
fn what_is_mounted_late_is_left_to_the_timer() {
    let host = Env::boot().with_tools();
    let trial = |name: &str| {
        format!(
            "mkdir -p /opt/{name}
            printf '#!/bin/sh\n' >/root/{name}
            rollback --guard {name} -- sh -c 'swapbin --unverified /root/{name} /opt/{name}/{name}; kill -9 $PPID' || :
            flock --timeout 10 /run/upswap/{name}.lock true\n"
        )
    };
    let late = "mkdir -p /srv/late /opt/late
        echo '/srv/late /opt/late none bind,_netdev,nofail,x-systemd.after=basic.target 0 0' >>/etc/fstab
        systemctl daemon-reload; systemctl start opt-late.mount\n";
    host.run(&(late.to_owned() + &trial("late") + &trial("here"))).success();
    host.power_off_and_boot();
    let no_cycle =
        "! journalctl --boot --quiet | grep -i 'cycle'; systemctl is-active --quiet opt-late.mount sysinit.target";
    host.run(no_cycle).success();
    host.run(
        "journalctl --boot --unit=upswap-recover | grep '/opt/late is not the folder of generation 2'
        test ! -e /opt/here/here; test -e /opt/late/late
        rollback --list | grep 'on trial'
        systemctl start upswap-settle.service
        test ! -e /opt/late/late
        ! rollback --list | grep 'on trial'",
    )
    .success();

    // The same for the state folder: the boot unit does not find it, and says nothing.
    let state = "mv /var/lib/upswap /srv/state; mkdir /var/lib/upswap
        echo '/srv/state /var/lib/upswap none bind,_netdev,nofail,x-systemd.after=basic.target 0 0' >>/etc/fstab
        systemctl daemon-reload; systemctl start var-lib-upswap.mount\n";
    host.run(&(state.to_owned() + &trial("again"))).success();
    host.power_off_and_boot();
    host.run(no_cycle).success();
    host.run(
        "test $(systemctl show --property=ConditionResult --value upswap-recover) = no
        test -e /opt/again/again
        systemctl start upswap-settle.service
        test ! -e /opt/again/again",
    )
    .success();
}
