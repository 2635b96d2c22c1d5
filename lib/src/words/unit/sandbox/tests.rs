use super::*;
use crate::words::unit::diff;
use crate::words::unit::file::File;

fn reading(text: &str) -> Reading<'static> {
    of(&format!("[Service]\n{text}\n"))
}

fn of(text: &str) -> Reading<'static> {
    Reading::of([&*Box::leak(Box::new(File::parse(text.as_bytes().to_vec()).unwrap()))])
}

/// The effects of all changes, `+` hardens, `-` weakens, `.` neither, in the order of the lines.
fn effects(old: &str, new: &str) -> String {
    let sign = |change: &Change| match change.effect {
        Some(Effect::Hardens) => '+',
        Some(Effect::Weakens) => '-',
        None => '.',
    };
    diff::compare(&reading(old), &reading(new)).iter().map(sign).collect()
}

/// Each pair is tried both ways: what hardens in one direction weakens in the other.
fn stricter(pairs: &[(&str, &str)]) {
    for (weak, strict) in pairs {
        for (old, new, sign) in [(weak, strict, "+"), (strict, weak, "-")] {
            assert_eq!(effects(old, new).replace(sign, ""), "", "{old} -> {new}");
            assert_ne!(effects(old, new), "", "{old} -> {new}");
        }
    }
}

fn without_effect(pairs: &[(&str, &str)]) {
    for (old, new) in pairs {
        for (old, new) in [(old, new), (new, old)] {
            let found = effects(old, new);
            assert!(!found.is_empty() && found.chars().all(|sign| sign == '.'), "{old} -> {new}: {found}");
        }
    }
}

#[test]
fn no_key_stands_twice_and_all_are_known() {
    let all: Vec<_> = keys().collect();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    for key in all {
        assert!(keys::table().any(|(known, _)| known == key), "{key}");
    }
}

#[test]
fn words_have_an_order() {
    stricter(&[
        ("", "NoNewPrivileges=yes"),
        ("NoNewPrivileges=no", "NoNewPrivileges=1"),
        ("", "DynamicUser=yes"),
        ("ProtectSystem=yes", "ProtectSystem=full"),
        ("ProtectSystem=full", "ProtectSystem=strict"),
        ("ProtectHome=read-only", "ProtectHome=tmpfs"),
        ("ProtectControlGroups=yes", "ProtectControlGroups=strict"),
        ("ProtectHostname=private:x", "ProtectHostname=yes"),
        ("PrivateTmp=yes", "PrivateTmp=disconnected"),
        ("PrivateUsers=full", "PrivateUsers=self"),
        ("", "ProtectProc=invisible"),
        ("", "ProcSubset=pid"),
        ("KeyringMode=shared", ""),
        ("KeyringMode=inherit", "KeyringMode=private"),
        ("PermissionsStartOnly=yes", ""),
        ("DevicePolicy=closed", "DevicePolicy=strict"),
    ]);
    without_effect(&[
        ("ProtectControlGroups=yes", "ProtectControlGroups=private"),
        ("ProtectSystem=yes", "ProtectSystem=of-tomorrow"),
        ("", "Restart=always"),
        ("", "PrivateUsersX=yes"),
    ]);
}

#[test]
fn what_a_dynamic_user_implies_is_in_force() {
    assert_eq!(effects("NoNewPrivileges=yes\nUser=a", "DynamicUser=yes\nUser=a"), ".+");
    assert_eq!(effects("NoNewPrivileges=yes\nProtectSystem=full", "DynamicUser=yes"), "..+".replace("..", ".+"));
    assert_eq!(effects("DynamicUser=yes", "DynamicUser=yes\nProtectSystem=strict"), ".");
    assert_eq!(effects("DynamicUser=yes\nUser=a", "DynamicUser=yes"), ".");
}

#[test]
fn lists_that_let_through_are_compared_as_sets() {
    stricter(&[
        ("", "CapabilityBoundingSet="),
        ("", "CapabilityBoundingSet=CAP_KILL"),
        ("", "CapabilityBoundingSet=~CAP_KILL"),
        ("CapabilityBoundingSet=CAP_KILL CAP_CHOWN", "CapabilityBoundingSet=CAP_KILL"),
        ("CapabilityBoundingSet=~CAP_KILL", "CapabilityBoundingSet=CAP_CHOWN"),
        ("AmbientCapabilities=CAP_KILL", ""),
        ("AmbientCapabilities=CAP_KILL cap_chown", "AmbientCapabilities=CAP_CHOWN"),
        ("", "SystemCallFilter=@system-service"),
        ("SystemCallFilter=@system-service", "SystemCallFilter=@system-service\nSystemCallFilter=~@privileged"),
        ("SystemCallFilter=~@clock", "SystemCallFilter=~@clock\nSystemCallFilter=~@mount"),
        ("", "RestrictAddressFamilies=none"),
        ("RestrictAddressFamilies=AF_UNIX", "RestrictAddressFamilies=none"),
        ("RestrictAddressFamilies=AF_UNIX AF_INET", "RestrictAddressFamilies=AF_UNIX"),
        ("", "RestrictNamespaces=yes"),
        ("RestrictNamespaces=cgroup", "RestrictNamespaces=true"),
        ("", "RestrictNamespaces=~user"),
        ("", "SystemCallArchitectures=native"),
    ]);
    without_effect(&[
        ("", "RestrictNamespaces=no"),
        ("SystemCallFilter=~@clock", "SystemCallFilter=@system-service"),
        ("SystemCallFilter=a b:EPERM", "SystemCallFilter=a b"),
    ]);
    // Some more, some less: each by itself.
    assert_eq!(effects("AmbientCapabilities=CAP_KILL", "AmbientCapabilities=CAP_CHOWN"), "+-");
    assert_eq!(effects("SystemCallFilter=~a", "SystemCallFilter=~b"), ".");
    assert_eq!(effects("SystemCallFilter=~a\nSystemCallFilter=~x", "SystemCallFilter=~b\nSystemCallFilter=~x"), "-+");
}

#[test]
fn paths_groups_and_addresses_count_by_element() {
    stricter(&[
        ("SupplementaryGroups=docker", ""),
        ("", "InaccessiblePaths=/a"),
        ("", "ReadOnlyPaths=-/a"),
        ("", "IPAddressDeny=any"),
        ("ProtectSystem=strict\nReadWritePaths=/a", "ProtectSystem=strict"),
        ("DynamicUser=yes\nReadWritePaths=/a", "DynamicUser=yes"),
        ("IPAddressDeny=any\nIPAddressAllow=localhost", "IPAddressDeny=any"),
        ("", "NoExecPaths=/"),
    ]);
    // An exception from nothing is nothing; one that comes with its rule is part of it.
    without_effect(&[
        ("", "ReadWritePaths=/a"),
        ("", "IPAddressAllow=localhost"),
        ("ReadOnlyPaths=-/a", "ReadOnlyPaths=/a"),
    ]);
    assert_eq!(effects("", "ProtectSystem=strict\nReadWritePaths=/a"), "+.");
    assert_eq!(effects("ReadOnlyPaths=/a", "InaccessiblePaths=/a"), ".+");
    assert_eq!(effects("InaccessiblePaths=/a", "ReadOnlyPaths=/a"), "-.");
}

#[test]
fn devices_users_bits_and_roots() {
    stricter(&[
        ("User=root", "User=rune"),
        ("", "User=rune"),
        ("DevicePolicy=auto", "DevicePolicy=strict"),
        ("", "DeviceAllow=/dev/null"),
        ("DeviceAllow=/dev/a\nDeviceAllow=/dev/b", "DeviceAllow=/dev/a"),
        ("DevicePolicy=closed\nDeviceAllow=/dev/a", "DevicePolicy=closed"),
        ("PrivateDevices=yes\nDeviceAllow=/dev/a", "PrivateDevices=yes"),
        ("DeviceAllow=/dev/a", "DeviceAllow=/dev/a r"),
        ("UMask=0022", "UMask=0077"),
        ("", "UMask=0027"),
        ("StateDirectoryMode=0755", "StateDirectoryMode=0700"),
        ("", "RootDirectory=/srv/root"),
        ("RootDirectory=/", "RootDirectory=/srv/root"),
        ("AppArmorProfile=unconfined", "AppArmorProfile=rune"),
        ("", "AppArmorProfile=-rune"),
    ]);
    without_effect(&[
        ("User=a", "User=b"),
        ("User=root", ""),
        ("User=0", ""),
        ("UMask=0022", "UMask=0007"),
        ("UMask=022", "UMask=x"),
        ("RootDirectory=/", ""),
        ("DevicePolicy=auto\nDeviceAllow=/dev/a", "DevicePolicy=closed\nDeviceAllow=/dev/a"),
    ]);
}

#[test]
fn a_prefix_lifts_the_confinement_of_its_command() {
    stricter(&[
        ("ExecStart=+/a", "ExecStart=/a"),
        ("ExecStart=!/a", "ExecStart=/a"),
        ("ExecStart=+/a", "ExecStart=!/a"),
        ("ExecStart=/a\nExecStartPre=+/b", "ExecStart=/a"),
        ("ExecStartPre=/a\nExecStartPre=+/b", "ExecStartPre=/a\nExecStartPre=-/b"),
    ]);
    without_effect(&[
        ("ExecStart=!!/a", "ExecStart=/a"),
        ("ExecStart=-/a", "ExecStart=/a"),
        ("ExecStart=/a +x", "ExecStart=/a"),
        ("", "ExecStartPre=-/a"),
    ]);
}

#[test]
fn other_sections_confine_nothing() {
    for section in ["Unit", "Install", "X-Rune"] {
        let changes = diff::compare(&of(""), &of(&format!("[{section}]\nNoNewPrivileges=yes\n")));
        assert_eq!(changes.first().unwrap().effect, None);
    }
}
