//! unit-render's units under a real systemd: it takes them without a word, runs them, and keeps them in.

use crate::env::Env;

/// A host with the tools, and `runed` without any file capability, under no unit.
fn host() -> Env {
    let host = Env::boot().with_tools().with_releases();
    host.run(
        "useradd --system --no-create-home --shell /usr/sbin/nologin rune
        tar -x --no-same-owner -f /srv/releases/runestack/rune/v1.0.0/rune_linux_$(dpkg --print-architecture).tar.gz -C /usr/local/bin
        mkdir /root/try",
    )
    .success();
    host
}

const VERIFY: &str =
    "cd /root/try; systemd-analyze verify --man=no ./runed.service ./runed.socket ./runed.timer 2>said || touch refused
    cat said; test ! -s said; test ! -e refused";

#[test]
fn systemd_takes_our_units_without_a_word() {
    let host = host();
    for more in [
        "",
        "--user rune --group rune",
        "--ambient CAP_NET_BIND_SERVICE --type notify",
        "--ambient CAP_SYS_TIME,CAP_NET_ADMIN,CAP_MKNOD,CAP_SYSLOG,CAP_SYS_MODULE,CAP_NET_RAW,CAP_SYS_NICE,CAP_SYS_ADMIN,CAP_SYS_RAWIO,CAP_SYS_PTRACE,CAP_SYS_BOOT,CAP_SYS_CHROOT",
        "--type oneshot --config '/etc/my rune.yaml' --description '100% $HOME \"quoted\"'",
    ] {
        host.run(&format!(
            "cd /root/try; rm -f *
            unit-render --check --builtin service --binary /usr/local/bin/runed {more} -- 'a b' '%h' '$HOME' ';' '' '\"' >runed.service
            unit-render --check --builtin socket --name runed --listen 127.0.0.1:80 --listen /run/runed.sock --listen @x >runed.socket
            unit-render --check --builtin timer --name runed --calendar daily --calendar 'Mon *-*-* 03:00:00 UTC' >runed.timer
            {VERIFY}"
        ))
        .success();
    }
    // This check can fail.
    host.run(&format!("echo Unknown=1 >>/root/try/runed.service; {VERIFY}")).code(1);
}

#[test]
fn a_service_of_ours_binds_port_80_and_can_do_nothing_else() {
    let host = host();
    // The dynamic users are those from 61184 on (systemd.exec(5)).
    for (who, is_its_user) in [("--user rune", "= $(id -u rune)"), ("", "-ge 61184")] {
        host.run(&format!(
            "unit-render --check --builtin service --binary /usr/local/bin/runed {who} --type notify --ambient cap_net_bind_service \
                -- --listen 0.0.0.0:80 >/root/runed.service
            swapbin -q /root/runed.service -T /etc/systemd/system/runed.service --unverified
            systemctl daemon-reload
            systemctl start runed
            curl -fsS http://127.0.0.1/health
            pid=$(systemctl show --property=MainPID --value runed)
            test $(ps -o uid= -p $pid) {is_its_user}
            grep -E '^Cap(Prm|Eff|Bnd|Amb):' /proc/$pid/status | while read -r set value; do test $value = 0000000000000400; done
            grep -q '^NoNewPrivs:.1' /proc/$pid/status
            test -d /var/lib/runed/.
            systemd-analyze security --no-pager runed >/root/security
            systemctl stop runed"
        ))
        .success();
        let exposure = host
            .run("grep -o 'exposure level for runed.service: [0-9.]*' /root/security | grep -o '[0-9.]*$'")
            .success();
        let exposure: f64 = exposure.stdout().parse().unwrap();
        assert!(exposure <= 2.0, "systemd-analyze security: {exposure}");
        // Without the capability it can't, which shows that the unit gives it.
        host.run(
            "sed -i '/^AmbientCapabilities=/d' /etc/systemd/system/runed.service; systemctl daemon-reload
            ! systemctl start runed; systemctl stop runed; systemctl reset-failed runed || :",
        )
        .success();
    }
}

#[test]
fn a_socket_and_a_timer_of_ours_start_their_service() {
    let host = host();
    host.run(
        "/usr/local/bin/runed --listen 127.0.0.1:7861 2>/dev/null >/dev/null &
        cd /etc/systemd/system
        unit-render --builtin socket --name proxy --listen 127.0.0.1:8080 --listen /run/proxy.sock --user rune >proxy.socket
        unit-render --check --builtin service --name proxy --binary /lib/systemd/systemd-socket-proxyd -- 127.0.0.1:7861 >proxy.service
        unit-render --builtin timer --name stamp --calendar '*-*-* *:*:*' --description Stamps >stamp.timer
        unit-render --check --builtin service --name stamp --binary /usr/bin/touch --type oneshot -- '/var/lib/stamp/100% $HOME' >stamp.service
        # A timer may be a minute late.
        mkdir stamp.timer.d; printf '[Timer]\nAccuracySec=1us\n' >stamp.timer.d/soon.conf
        systemctl daemon-reload
        systemctl start proxy.socket stamp.timer
        test \"$(systemctl is-active proxy.service)\" = inactive
        test \"$(stat -c '%a %U' /run/proxy.sock)\" = '660 rune'
        for turn in $(seq 100); do curl -fsS http://127.0.0.1:8080/health && break; sleep 0.1; done
        test \"$(systemctl is-active proxy.service)\" = active
        for turn in $(seq 100); do test -e '/var/lib/stamp/100% $HOME' && break; sleep 0.1; done
        test -e '/var/lib/stamp/100% $HOME'",
    )
    .success();
}

#[test]
fn like_a_loaded_unit_as_systemd_shows_it() {
    let host = host();
    host.run(
        "printf '[Service]\\nDynamicUser=yes\\nExecStart=/usr/local/bin/runed --config /etc/other.conf\\n' >/etc/systemd/system/dynamic.service
        printf '[Service]\\nUser=rune\\nExecStart=/usr/bin/env A=1 /usr/local/bin/runed --config /etc/other.conf\\n' >/etc/systemd/system/wrapped.service
        systemctl daemon-reload",
    )
    .success();
    // systemd has a name for the dynamic user, which must not become that of a real one.
    host.run("systemctl show --property=User --value dynamic | grep -qx dynamic").success();
    let dynamic = host.run("unit-render --check --like dynamic -- /usr/local/bin/runed print-systemd").success();
    assert!(dynamic.stdout().contains("User=rune\n") && dynamic.stdout().contains("--config /etc/other.conf"));
    let wrapped = host.run("unit-render --like wrapped -- /usr/local/bin/runed print-systemd").success();
    assert!(wrapped.stdout().contains("ExecStart=/usr/local/bin/runed --config /etc/rune/runed.conf\n"), "{wrapped:?}");
    assert!(wrapped.stderr().contains("through /usr/bin/env"), "{wrapped:?}");
}

#[test]
fn a_check_finds_the_faults_of_the_text_and_no_others() {
    let host = host();
    let render = "cd /root/try; unit-render --check --template";
    host.run(
        "cd /root/try
        unit='[Service]\\nExecStart=/usr/local/bin/runed\\n'
        printf \"$unit\" >good.service.in
        printf \"${unit}Unknown=1\\nRestart=perhaps\\n\" >bad.service.in
        printf \"[Unit]\\nDocumentation=man:nowhere(8)\\nWants=broken.service\\n$unit\" >others.service.in
        printf '[Service]\\nExecStart=/nowhere/runed\\n' >missing.service.in
        printf \"$unit\" >dropped.service.in
        printf '[Service]\\nNonsense=1\\nExecStart=/nowhere\\n' >/etc/systemd/system/broken.service
        mkdir /etc/systemd/system/dropped.service.d
        printf '[Service]\\nNonsense=1\\n' >/etc/systemd/system/dropped.service.d/x.conf
        systemctl daemon-reload",
    )
    .success();
    for good in ["good", "others", "dropped"] {
        let ran = host.run(&format!("{render} {good}.service.in")).success();
        assert!(ran.stdout().contains("ExecStart=/usr/local/bin/runed") && ran.stderr().is_empty(), "{ran:?}");
    }
    let bad = host.run(&format!("{render} bad.service.in")).code(1);
    assert_eq!(bad.stdout(), "");
    assert!(bad.stderr().contains("bad.service:3: Unknown key") && bad.stderr().contains("bad.service:4"), "{bad:?}");
    let missing = host.run(&format!("{render} missing.service.in")).code(1);
    assert!(missing.stderr().contains("/nowhere/runed is not executable"), "{missing:?}");
    // Nobody special is needed, and what a caller has set for systemd's programs changes nothing.
    host.run(
        "cd /root/try; chmod 755 /root /root/try; umask 077
        export SYSTEMD_LOG_LEVEL=debug SYSTEMD_LOG_TARGET=journal
        nobody='setpriv --reuid=65534 --regid=65534 --clear-groups'
        $nobody unit-render --check --template good.service.in
        ! $nobody unit-render --check --template bad.service.in
        ! unit-render --check --template bad.service.in",
    )
    .success();
    host.run(&format!("mv /usr/bin/systemd-analyze /root; {render} good.service.in")).code(3);
}
