//! What unit-diff says besides the differences, where a host is needed to know it.

use std::path::Path;

use fs_err as fs;
use serde_json::Value;

use super::{host, stderr, stdout, unit_diff};

const FRAGMENT: &str = "[Service]\nUser=nobody\nExecStart=/opt/runed --port 1\n";

/// The notes that are given for OLD and NEW on a host, as `about: text`; the same lines stand on stderr.
fn notes(root: &Path, old: &str, new: &str) -> String {
    let ran = unit_diff().current_dir(root).env("UPSWAP_ROOT", root).args(["--json", old, new]).assert();
    assert!(matches!(ran.get_output().status.code(), Some(0 | 1)), "{}", stderr(&ran));
    let json: Value = serde_json::from_str(&stdout(&ran)).unwrap();
    let mut told = Vec::new();
    for note in json["notes"].as_array().unwrap() {
        let text = note["text"].as_str().unwrap();
        assert!(stderr(&ran).contains(&format!("unit-diff: {text}\n")), "{text}");
        told.push(format!("{}: {text}", note["about"].as_str().unwrap()));
    }
    assert_eq!(stderr(&ran).lines().count(), told.len(), "{}", stderr(&ran));
    told.join("\n").replace(root.to_str().unwrap(), "ROOT")
}

fn loaded(fragment: &str, more: &str) -> tempfile::TempDir {
    let root = host(&format!("LoadState=loaded\nFragmentPath={fragment}\n{more}"));
    let path = root.path().join(fragment.trim_start_matches('/'));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, FRAGMENT).unwrap();
    fs::write(root.path().join("new"), FRAGMENT.replace("--port 1", "--port 2")).unwrap();
    root
}

#[test]
fn a_unit_of_a_package_would_be_shadowed() {
    let root = loaded("/usr/lib/systemd/system/runed.service", "");
    let vendor = notes(root.path(), "runed.service", "new");
    insta::assert_snapshot!(vendor, @"fragment: runed.service is loaded from /usr/lib/systemd/system/runed.service, which belongs to a package: NEW in /etc/systemd/system would shadow it and all its later versions; what is yours alone belongs into a drop-in: systemctl edit runed.service");
    // What replaces the very file shadows nothing.
    let itself = root.path().join("usr/lib/systemd/system/runed.service");
    assert_eq!(notes(root.path(), "runed.service", itself.to_str().unwrap()), "");
    let generated = loaded("/run/systemd/generator/runed.service", "");
    insta::assert_snapshot!(notes(generated.path(), "runed.service", "new"), @"fragment: runed.service is loaded from /run/systemd/generator/runed.service, which was generated: NEW in /etc/systemd/system would shadow it and all its later versions; what is yours alone belongs into a drop-in: systemctl edit runed.service");
    let own = loaded("/etc/systemd/system/runed.service", "");
    assert_eq!(notes(own.path(), "runed.service", "new"), "");
}

#[test]
fn a_file_that_systemd_has_not_loaded_is_said() {
    let root = loaded("/usr/lib/systemd/system/runed.service", "NeedDaemonReload=yes");
    let etc = root.path().join("etc/systemd/system/runed.service");
    fs::write(&etc, FRAGMENT).unwrap();
    insta::assert_snapshot!(notes(root.path(), etc.to_str().unwrap(), "new"), @"
    need-daemon-reload: runed.service: its files changed since systemd read them, and the files are what was read here; systemctl daemon-reload makes systemd read them
    fragment: systemd has loaded runed.service from /usr/lib/systemd/system/runed.service: after a daemon-reload ROOT/etc/systemd/system/runed.service shadows it
    ");
    insta::assert_snapshot!(notes(root.path(), "runed.service", etc.to_str().unwrap()), @"
    need-daemon-reload: runed.service: its files changed since systemd read them, and the files are what was read here; systemctl daemon-reload makes systemd read them
    fragment: systemd has loaded runed.service from /usr/lib/systemd/system/runed.service: after a daemon-reload ROOT/etc/systemd/system/runed.service shadows it
    ");
    let root = loaded("/etc/systemd/system/runed.service", "");
    let vendor = root.path().join("usr/lib/systemd/system/runed.service");
    fs::write(&vendor, FRAGMENT).unwrap();
    insta::assert_snapshot!(notes(root.path(), "runed.service", vendor.to_str().unwrap()), @"fragment: systemd has loaded runed.service from /etc/systemd/system/runed.service: it shadows ROOT/usr/lib/systemd/system/runed.service, so what stands there changes nothing");
    // A file elsewhere asks systemd nothing.
    fs::remove_file(root.path().join("usr/bin/systemctl")).unwrap();
    assert_eq!(notes(root.path(), "new", "new"), "");
    assert_eq!(
        notes(root.path(), vendor.to_str().unwrap(), "new"),
        "",
        "and one of its places without systemd neither"
    );
}

#[test]
fn drop_ins_go_on_applying() {
    let drop_in = "/etc/systemd/system/runed.service.d/10-a.conf";
    let root = loaded("/etc/systemd/system/runed.service", &format!("DropInPaths={drop_in}"));
    let write = |text: &str| fs::write(root.path().join(drop_in.trim_start_matches('/')), text).unwrap();
    write("[Service]\nUMask=0077\nEnvironment=A=1\n");
    insta::assert_snapshot!(notes(root.path(), "runed.service", "new"), @"drop-ins: /etc/systemd/system/runed.service.d/10-a.conf goes on applying when NEW takes the fragment's place, so what is said of Environment=, UMask= does not come to pass");
    write("[Service]\nNice=1\nExecStart=\nExecStart=/opt/other\n");
    insta::assert_snapshot!(notes(root.path(), "runed.service", "new"), @"
    drop-ins: /etc/systemd/system/runed.service.d/10-a.conf goes on applying when NEW takes the fragment's place, so what is said of ExecStart=, Nice= does not come to pass
    exec-start: ExecStart= of NEW is not what will run: /etc/systemd/system/runed.service.d/10-a.conf says /opt/other
    ");
    let etc = root.path().join("etc/systemd/system/runed.service");
    insta::assert_snapshot!(notes(root.path(), etc.to_str().unwrap(), "new"), @"
    drop-ins: /etc/systemd/system/runed.service.d/10-a.conf goes on applying when NEW takes the fragment's place, so what is said of ExecStart= does not come to pass
    exec-start: ExecStart= of NEW is not what will run: /etc/systemd/system/runed.service.d/10-a.conf says /opt/other
    ");
}

/// Needs root, as every file with capabilities does.
#[test]
fn a_program_would_be_without_its_file_capabilities() {
    let root = loaded("/etc/systemd/system/runed.service", "Version=257.1");
    fs::create_dir_all(root.path().join("opt")).unwrap();
    fs::create_dir_all(root.path().join("proc/1")).unwrap();
    let runed = root.path().join("opt/runed");
    fs::write(&runed, "\x7fELF").unwrap();
    let all = "ffffffffff";
    let status = format!("CapInh: 0\nCapPrm: {all}\nCapEff: {all}\nCapBnd: {all}\nCapAmb: 0\nNoNewPrivs: 0\n");
    fs::write(root.path().join("proc/1/status"), status).unwrap();
    let told = |new: &str| {
        fs::write(root.path().join("new"), format!("{FRAGMENT}{new}")).unwrap();
        notes(root.path(), "runed.service", "new")
    };
    assert_eq!(told("NoNewPrivileges=yes\n"), "", "it has none yet");
    let bind: upswap::words::filecaps::FileCaps = "cap_net_bind_service=ep".parse().unwrap();
    xattr::set(&runed, "security.capability", &bind.to_bytes()).unwrap();
    assert_eq!(told("Nice=1\nCapabilityBoundingSet=CAP_NET_BIND_SERVICE CAP_KILL\n"), "");
    insta::assert_snapshot!(told("NoNewPrivileges=yes\n"), @"file-capabilities: NEW takes what /opt/runed has by its file capabilities (cap_net_bind_service=ep): cap_net_bind_service (permitted): file capability ignored: NoNewPrivileges=yes; AmbientCapabilities=CAP_NET_BIND_SERVICE gives it without the file: systemctl edit runed.service");
    insta::assert_snapshot!(told("CapabilityBoundingSet=CAP_KILL\n"), @"file-capabilities: NEW takes what /opt/runed has by its file capabilities (cap_net_bind_service=ep): execve: Operation not permitted: the file has cap_net_bind_service with the effective bit, and the bounding set lacks it; CapabilityBoundingSet=CAP_NET_BIND_SERVICE beside the others lets it start");
    insta::assert_snapshot!(told("DynamicUser=yes\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n"), @"user: the service runs as the dynamic user nobody, until now as nobody; its number is known only while it runs, so data elsewhere must go to StateDirectory=");
    // With what the note says it is whole again.
    assert_eq!(told("NoNewPrivileges=yes\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n"), "");
}
