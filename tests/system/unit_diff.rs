//! unit-diff's notes on a host with a real systemd: what it says comes to pass when NEW takes OLD's place.

use crate::env::Env;

/// The capabilities that `demo.service` has as it runs, by /proc.
const EFFECTIVE: &str = "sed -n 's/^CapEff:\\s*//p' /proc/$(systemctl show --property=MainPID --value demo)/status";

/// A host with `demo.service` as `folder` has it, and a new one in `/root/demo.service`.
fn host() -> Env {
    let host = Env::boot().with_tools();
    host.run("useradd --system rune; useradd --system other; mkdir /opt/demo; cp /bin/sleep /opt/demo/d").success();
    host
}

/// Puts a unit for demo there, as the user `rune`; `more` is said besides.
fn unit(host: &Env, path: &str, more: &str) {
    let text = format!("[Service]\\nType=exec\\nUser=rune\\nExecStart=/opt/demo/d infinity\\n{more}\\n");
    host.run(&format!("mkdir -p $(dirname {path}); printf '{text}' >{path}; systemctl daemon-reload")).success();
}

/// What unit-diff notes of the difference.
#[track_caller]
fn notes(host: &Env, old: &str) -> String {
    host.run(&format!("cd /root; unit-diff {old} ./demo.service")).code(1).stderr().to_owned()
}

#[test]
fn a_unit_of_a_package_is_shadowed_and_what_systemd_has_not_read_is_said() {
    let host = host();
    unit(&host, "/usr/lib/systemd/system/demo.service", "Nice=1");
    unit(&host, "/root/demo.service", "Nice=2");
    // Of a unit that does not run systemd has nothing loaded, and reads the files when it is asked.
    host.run("systemctl start demo").success();
    let said = notes(&host, "demo.service");
    assert!(said.contains("systemd/system/demo.service, which belongs to a package: NEW in /etc"), "{said}");

    // The same file by its other name is the one that is loaded.
    let by_path = notes(&host, "/lib/systemd/system/demo.service");
    assert!(by_path.contains("belongs to a package"), "{by_path}");

    // It is put there, and systemd has not read it yet.
    host.run("cp /root/demo.service /etc/systemd/system/; sed -i s/2/3/ /root/demo.service").success();
    let said = notes(&host, "/etc/systemd/system/demo.service");
    assert!(said.contains("after a daemon-reload /etc/systemd/system/demo.service shadows it"), "{said}");
    host.run("systemctl daemon-reload").success();
    let path = host.run("systemctl show --property=FragmentPath --value demo").success();
    assert_eq!(path.stdout(), "/etc/systemd/system/demo.service", "so it does");
    assert_eq!(notes(&host, "demo.service"), "");
    let said = notes(&host, "/usr/lib/systemd/system/demo.service");
    assert!(said.contains("so what stands there changes nothing"), "{said}");

    host.run("sed -i s/2/4/ /etc/systemd/system/demo.service; touch -d '+1 hour' /etc/systemd/system/demo.service")
        .success();
    for old in ["demo.service", "/etc/systemd/system/demo.service"] {
        let said = notes(&host, old);
        assert!(said.contains("systemctl daemon-reload makes systemd read them"), "{said}");
    }

    unit(&host, "/etc/systemd/system/demo.service.d/nice.conf", "Nice=5");
    let said = notes(&host, "/etc/systemd/system/demo.service");
    assert!(said.contains("demo.service.d/nice.conf goes on applying"), "{said}");
    host.run("cp /root/demo.service /etc/systemd/system/; systemctl daemon-reload").success();
    assert_eq!(host.run("systemctl show --property=Nice --value demo").success().stdout(), "5", "so it does");
}

#[test]
fn another_user_owns_its_state_directory_by_systemd_and_the_rest_by_chown() {
    let host = host();
    let service = "/etc/systemd/system/demo.service";
    unit(&host, service, "StateDirectory=demo\\nReadWritePaths=/srv/demo");
    host.run("mkdir -p /srv/demo; chown rune: /srv/demo; systemctl start demo; runuser -u rune touch /var/lib/demo/x")
        .success();
    unit(&host, "/root/demo.service", "StateDirectory=demo\\nReadWritePaths=/srv/demo\\nUser=other");
    let said = notes(&host, "demo.service");
    assert!(said.contains("runs as other, until now as rune; systemd gives it /var/lib/demo when it starts"), "{said}");
    let (_, command) = said.trim_end().rsplit_once("must be its own first: ").unwrap();
    assert_eq!(command, "chown -R other: /srv/demo");
    host.run(&format!("cp /root/demo.service {service}; systemctl daemon-reload; {command}; systemctl restart demo"))
        .success();
    let owners = host.run("stat -c %U /var/lib/demo /var/lib/demo/x /srv/demo").success();
    assert_eq!(owners.stdout(), "other\nother\nother");
}

/// The note is there exactly when the process is without the capability afterwards.
#[test]
fn a_program_is_without_its_file_capabilities_when_it_is_said() {
    let host = host();
    let service = "/etc/systemd/system/demo.service";
    host.run("setcap cap_net_bind_service=ep /opt/demo/d").success();
    unit(&host, service, "");
    host.run("systemctl start demo").success();
    let held = "0000000000000400";
    assert_eq!(host.run(EFFECTIVE).success().stdout(), held);
    for (new, keeps) in [
        ("Nice=1", true),
        ("NoNewPrivileges=yes", false),
        ("NoNewPrivileges=yes\\nAmbientCapabilities=CAP_NET_BIND_SERVICE", true),
        ("CapabilityBoundingSet=CAP_CHOWN", false),
        ("CapabilityBoundingSet=~CAP_CHOWN", true),
        ("SystemCallFilter=~@privileged", true),
        ("LockPersonality=yes", true),
        ("DynamicUser=yes", false),
    ] {
        unit(&host, service, "");
        unit(&host, "/root/demo.service", new);
        let said = notes(&host, "demo.service").contains("file capabilities (cap_net_bind_service=ep)");
        host.run(&format!("cp /root/demo.service {service}; systemctl daemon-reload; systemctl restart demo || :"))
            .success();
        let has = host.run(&format!("systemctl is-active -q demo && {EFFECTIVE} || echo none")).success();
        let still = has.stdout() == held;
        // Whether a filter takes it is a matter of systemd's version; the note must be right in any.
        assert_eq!(said, !still, "{new}: {}", has.stdout());
        assert!(still == keeps || new.contains("Filter") || new.contains("Lock"), "{new}: {}", has.stdout());
    }
}
