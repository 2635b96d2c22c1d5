//! Recovery: at boot before anything is started from half a change, and each minute when a chain was killed.

use crate::env::Env;

/// Begins an upgrade of `runed` to v2.0.0 with another unit, and stays where the old and the new files are mixed.
const HALF: &str = "fetch gh:runestack/rune@v2.0.0 --sums checksums.txt |
        verify --sums checksums.txt --extract rune,runed --files-from - >/run/files
    mkdir /run/unit
    sed '/^User=/i Environment=HALF=yes' /etc/systemd/system/runed.service >/run/unit/runed.service
    systemd-run --quiet --collect --unit=chain rollback --guard runed -- sh -ec '
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
