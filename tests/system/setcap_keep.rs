//! setcap-keep and `rollback PATH` on a real host: a loss is told before the restart that brings it.

use serde_json::Value;
use upswap::words::privileges::Sets;

use crate::env::Env;

const DROP_IN: &str = "/etc/systemd/system/runed.service.d/test.conf";

fn explained(host: &Env, code: i32) -> Value {
    serde_json::from_str(host.run("setcap-keep -q --json --explain runed").code(code).stdout()).unwrap()
}

fn set_down(setting: &str) -> String {
    format!("mkdir -p ${{d%/*}}; printf '[Service]\\n{setting}\\n' >$d; systemctl daemon-reload")
}

#[test]
fn a_loss_is_told_before_the_restart_that_brings_it() {
    let host = Env::boot().with_tools().with_releases().with_rune("v1.0.0");
    let run = |script: &str| host.run(&format!("d={DROP_IN}; b=/usr/local/bin\n{script}")).success();
    let at_rest = explained(&host, 0);
    assert_eq!(at_rest["losses"], serde_json::json!([]), "{at_rest:#}");
    let back = "umount $b 2>/dev/null || :; setcap cap_net_bind_service=ep $b/runed; rm -f $d; systemctl daemon-reload
        systemctl reset-failed runed; systemctl restart runed";
    for (deed, reason) in [
        ("cp $b/runed $b/new; mv $b/new $b/runed".to_owned(), "the file that runs has it"),
        (set_down("NoNewPrivileges=yes"), "NoNewPrivileges= and ProtectSystem= mount /usr/local/bin/runed nosuid"),
        (set_down("NoNewPrivileges=yes\\nProtectSystem=no"), "file capability ignored: NoNewPrivileges=yes"),
        (set_down("SystemCallFilter=~capset"), "NoNewPrivileges=yes, which SystemCallFilter= implies for User=rune"),
        ("mount --bind $b $b; mount -o remount,bind,nosuid $b".to_owned(), "is on a file system mounted nosuid"),
        (
            set_down("AmbientCapabilities=CAP_NET_BIND_SERVICE") + "; setcap cap_chown=ep $b/runed",
            "AmbientCapabilities= cleared",
        ),
        (set_down("CapabilityBoundingSet=CAP_CHOWN"), ""),
    ] {
        run(&deed);
        let told = explained(&host, 1);
        // runed itself does not come up without it; what systemd gave it is seen all the same.
        host.run("systemctl restart runed || :; systemctl show --property=ExecMainStatus --value runed | grep -q 203")
            .code(i32::from(!reason.is_empty()));
        if reason.is_empty() {
            assert!(told["refused"].as_str().unwrap().contains("cap_net_bind_service"), "{told:#}");
        } else {
            let loss = &told["losses"][0];
            assert_eq!(loss["capabilities"], serde_json::json!(["cap_net_bind_service"]), "{deed}: {told:#}");
            assert!(loss["reason"].as_str().unwrap().contains(reason), "{deed}: {told:#}");
            assert!(!told["next"]["permitted"].to_string().contains("cap_net_bind_service"), "{deed}");
        }
        run(back);
    }
    explained(&host, 0);
    run("mkdir -p ${d%/*}; printf '[Service]\\nNoNewPrivileges=yes\\n' >$d");
    let stale = explained(&host, 0);
    assert!(stale["notes"][0].as_str().unwrap().contains("changed on disk"), "{stale:#}");
    // The ways out that are told are ways out.
    run("cp $b/runed $b/new; mv $b/new $b/runed; rm $d; systemctl daemon-reload
        eval \"$(setcap-keep -q --explain runed | sed -n 's/^  setcap/setcap/p')\"
        setcap-keep -q --explain runed; systemctl restart runed");
    run(&(set_down("NoNewPrivileges=yes")
        + "; way=$(setcap-keep -q --explain runed | sed -n 's/^  \\(AmbientCapabilities=[A-Z_ ]*\\) gives.*/\\1/p')
        echo \"$way\" >>$d; systemctl daemon-reload; setcap-keep -q --explain runed; systemctl restart runed"));
    let status = host.run("cat /proc/$(systemctl show --property=MainPID --value runed)/status").success();
    assert_eq!(Sets::read(status.stdout()).unwrap().effective.to_string(), "cap_net_bind_service");
}

#[test]
fn rollback_path_works_where_nothing_else_is_left() {
    let host = Env::boot().with_tools().with_releases().with_rune("v1.0.0");
    host.run(
        "cd /usr/local/bin
        swapbin -q /usr/bin/true runed
        systemctl restart runed || :
        rm -rf /var/lib/upswap /run/upswap
        mount -t tmpfs -o ro tmpfs /var; mount -t tmpfs -o ro tmpfs /run/lock
        systemctl stop dbus.socket dbus.service 2>/dev/null
        rollback ./runed
        umount /var
        systemctl reset-failed runed; systemctl restart runed
        curl -fsS --retry 5 --retry-connrefused http://127.0.0.1/health",
    )
    .success();
}
