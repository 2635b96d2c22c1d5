//! `--explain` on a host in a folder: its words, its codes, its JSON. What it computes is compared with a real systemd by the system tests.

use std::fmt::Write as _;

use fs_err as fs;

use super::{NET_BIND, with_caps};
use crate::host::{Host, chmod};

const ALL: &str = "cap_chown cap_dac_override cap_dac_read_search cap_fowner cap_fsetid cap_kill cap_setgid cap_setuid \
    cap_setpcap cap_linux_immutable cap_net_bind_service cap_net_broadcast cap_net_admin cap_net_raw cap_ipc_lock cap_ipc_owner \
    cap_sys_module cap_sys_rawio cap_sys_chroot cap_sys_ptrace cap_sys_pacct cap_sys_admin cap_sys_boot cap_sys_nice \
    cap_sys_resource cap_sys_time cap_sys_tty_config cap_mknod cap_lease cap_audit_write cap_audit_control cap_setfcap \
    cap_mac_override cap_mac_admin cap_syslog cap_wake_alarm cap_block_suspend cap_audit_read cap_perfmon cap_bpf \
    cap_checkpoint_restore";
const FULL: &str = "000001ffffffffff";
const BIND: &str = "0000000000000400";
const NONE: &str = "0000000000000000";

/// A host whose `runed.service` runs `/bin/runed` as the user 7 with the capability of its file, as process 42.
fn running() -> Host {
    let host = with_caps();
    process(&host, 1, FULL, NONE, FULL);
    process(&host, 42, BIND, NONE, FULL);
    std::os::unix::fs::symlink(host.path("bin/runed"), host.path("proc/42/exe")).unwrap();
    unit(&host, "");
    host
}

fn process(host: &Host, pid: u32, permitted: &str, ambient: &str, bounding: &str) {
    fs::create_dir_all(host.path(format!("proc/{pid}"))).unwrap();
    let text = format!(
        "Name:\tx\nCapInh:\t{ambient}\nCapPrm:\t{permitted}\nCapEff:\t{permitted}\nCapBnd:\t{bounding}\nCapAmb:\t{ambient}\nNoNewPrivs:\t0\n"
    );
    host.file(format!("proc/{pid}/status"), text);
}

/// What systemd says of the unit; the last line of a key counts.
fn unit(host: &Host, more: &str) {
    let exec = "{ path=/bin/runed ; argv[]=/bin/runed ; flags= ; start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }";
    host.file(
        "unit",
        format!(
            "Version=252.39-1\nLoadState=loaded\nMainPID=42\nUser=7\nExecStartEx={exec}\nCapabilityBoundingSet={ALL}\n\
             AmbientCapabilities=\nSystemCallFilter=~\nRestrictAddressFamilies=~\nSystemCallLog=~\nSecureBits=0\n{more}\n"
        ),
    );
}

/// The table, and what is said besides.
fn told(host: &Host, code: i32) -> String {
    let ran = host.setcap_keep(["--explain", "runed"]).is(code);
    format!("{}{}", ran.stdout, ran.stderr)
}

#[test]
fn a_service_that_loses_nothing() {
    insta::assert_snapshot!(told(&running(), 0));
}

#[test]
fn each_loss_is_told_with_its_reason_and_the_way_out() {
    let host = running();
    let mut all = String::new();
    for more in [
        "NoNewPrivileges=yes",
        "SystemCallFilter=capset",
        "CapabilityBoundingSet=cap_chown cap_kill",
        "AmbientCapabilities=cap_net_bind_service",
        "NoNewPrivileges=yes\nProtectSystem=strict",
        "User=\nSecureBits=1\nNeedDaemonReload=yes\nPAMName=login\nMountImages=x",
    ] {
        unit(&host, more);
        let code = i32::from(!more.contains("Ambient") && !more.contains("SecureBits"));
        write!(all, "# {}\n{}\n", more.replace('\n', ", "), told(&host, code)).unwrap();
    }
    unit(&host, "");
    xattr::remove(host.path("bin/runed"), "security.capability").unwrap();
    write!(all, "# setcap -r\n{}\n", told(&host, 1)).unwrap();
    fs::remove_dir_all(host.path("proc/42")).unwrap();
    write!(all, "# it has just ended\n{}\n", told(&host, 0)).unwrap();
    unit(&host, "MainPID=0\nUser=");
    write!(all, "# not running, of root\n{}", told(&host, 0)).unwrap();
    insta::assert_snapshot!(all);
}

#[test]
fn a_process_that_the_program_executed_is_explained_by_both() {
    let host = running();
    fs::rename(host.path("bin/runed"), host.path("bin/old")).unwrap();
    host.file("bin/runed", "a wrapper");
    fs::remove_file(host.path("proc/42/exe")).unwrap();
    std::os::unix::fs::symlink(host.path("bin/old"), host.path("proc/42/exe")).unwrap();
    host.setcap_keep(["--explain", "runed"]).is(0).says("process 42 runs /bin/old, which /bin/runed executed");
}

#[test]
fn the_json_answer_has_it_all() {
    let host = running();
    insta::assert_snapshot!(
        host.setcap_keep(["--json", "-q", "--explain", "runed"])
            .is(0)
            .stdout
            .replace(&ALL.split(' ').map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(","), "ALL")
    );
    unit(&host, "CapabilityBoundingSet=cap_chown");
    let json = host.setcap_keep(["--json", "--explain", "runed"]).is(1).json();
    assert!(json["next"].is_null() && json["refused"].as_str().unwrap().contains("cap_net_bind_service"), "{json:#}");
}

#[test]
fn what_can_t_be_explained_has_its_code_and_one_line() {
    let host = running();
    let mut all = String::new();
    let mut add = |host: &Host, unit: &str, code: i32| {
        let ran = host.setcap_keep(["--explain", unit]).is(code).prints("");
        assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
        write!(all, "{code} {}", ran.stderr).unwrap();
    };
    for name in ["run*", "runed@.service", "runed.socket", "../runed", "-n"] {
        if !name.starts_with('-') {
            add(&host, name, 2);
        }
    }
    for (more, code) in [
        ("LoadState=not-found", 1),
        ("LoadState=masked", 1),
        ("LoadState=bad-setting", 3),
        ("RootDirectory=/srv/root", 3),
        ("ExecStartEx=", 3),
        ("CapabilityBoundingSet=cap_of_tomorrow", 3),
        ("ExecStartEx={ path=/bin/none ; argv[]=/bin/none ; flags= ; start_time=[n/a] ; }", 3),
    ] {
        unit(&host, more);
        add(&host, "runed", code);
    }
    unit(&host, "");
    fs::remove_file(host.path("proc/1/status")).unwrap();
    add(&host, "runed", 3);
    process(&host, 1, FULL, NONE, FULL);
    host.file("bin/script", "#!/bin/none\n");
    chmod(host.path("bin/script"), 0o755);
    unit(&host, "ExecStartEx={ path=script ; argv[]=script ; flags= ; start_time=[n/a] ; }");
    add(&host, "runed", 3);
    host.program("usr/bin/systemctl", "#!/bin/sh\necho 'Failed to connect to bus' >&2; exit 1\n");
    add(&host, "runed", 3);
    insta::assert_snapshot!(all);
}

#[test]
fn the_interpreter_of_a_script_counts_and_a_link_to_itself_ends() {
    let host = running();
    host.file("bin/start", "#! /bin/runed -x\n");
    unit(&host, "ExecStartEx={ path=/bin/start ; argv[]=/bin/start ; flags= ; start_time=[n/a] ; }");
    let json = host.setcap_keep(["--json", "--explain", "runed"]).is(0).json();
    assert_eq!(
        (json["program"].as_str(), json["file_capabilities"].as_str()),
        (Some("/bin/runed"), Some("cap_net_bind_service=ep"))
    );
    host.file("bin/start", "#!/bin/start\n");
    host.setcap_keep(["--json", "--explain", "runed"]);
    assert_eq!(super::caps(host.path("bin/runed")), Some(NET_BIND.to_vec()));
}
