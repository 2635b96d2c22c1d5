//! What our service is kept from, as far as the capabilities that it needs allow.

use caps::Capability;

/// Every setting, in the order in which they stand in the unit.
const SETTINGS: &[(&str, &str)] = &[
    ("UMask", "0077"),
    ("PrivateTmp", "yes"),
    ("PrivateDevices", "yes"),
    ("ProtectSystem", "strict"),
    ("ProtectHome", "yes"),
    ("ProtectProc", "invisible"),
    ("ProtectClock", "yes"),
    ("ProtectHostname", "yes"),
    ("ProtectControlGroups", "yes"),
    ("ProtectKernelLogs", "yes"),
    ("ProtectKernelModules", "yes"),
    ("ProtectKernelTunables", "yes"),
    ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6"),
    ("RestrictNamespaces", "yes"),
    ("RestrictRealtime", "yes"),
    ("RestrictSUIDSGID", "yes"),
    ("LockPersonality", "yes"),
    ("MemoryDenyWriteExecute", "yes"),
    ("SystemCallArchitectures", "native"),
    ("SystemCallFilter", "@system-service"),
    ("SystemCallErrorNumber", "EPERM"),
];

/// What says more than its key.
const COMMENT: (&str, &str) = (
    "MemoryDenyWriteExecute",
    "# A program that makes code while it runs (Java, Node.js, LuaJIT) needs MemoryDenyWriteExecute=no.\n",
);

/// Settings that take a capability away again (systemd.exec(5)), or without whose loosening it is worth nothing: the
/// capability, the key, and what its value gets added; nothing: the key is left out.
const LOOSENED: &[(Capability, &str, &str)] = &[
    (Capability::CAP_MKNOD, "PrivateDevices", ""),
    (Capability::CAP_SYS_RAWIO, "PrivateDevices", ""),
    (Capability::CAP_SYS_RAWIO, "SystemCallFilter", "@raw-io"),
    (Capability::CAP_SYS_TIME, "ProtectClock", ""),
    (Capability::CAP_SYS_TIME, "SystemCallFilter", "@clock"),
    (Capability::CAP_WAKE_ALARM, "ProtectClock", ""),
    (Capability::CAP_SYSLOG, "ProtectKernelLogs", ""),
    (Capability::CAP_SYSLOG, "SystemCallFilter", "syslog"),
    (Capability::CAP_SYS_MODULE, "ProtectKernelModules", ""),
    (Capability::CAP_SYS_MODULE, "SystemCallFilter", "@module"),
    (Capability::CAP_NET_ADMIN, "RestrictAddressFamilies", "AF_NETLINK"),
    (Capability::CAP_NET_ADMIN, "ProtectKernelTunables", ""),
    (Capability::CAP_NET_RAW, "RestrictAddressFamilies", "AF_PACKET"),
    (Capability::CAP_SYS_NICE, "RestrictRealtime", ""),
    (Capability::CAP_SYS_CHROOT, "SystemCallFilter", "chroot"),
    (Capability::CAP_SYS_ADMIN, "RestrictNamespaces", ""),
    (Capability::CAP_SYS_ADMIN, "ProtectHostname", ""),
    (Capability::CAP_SYS_ADMIN, "SystemCallFilter", "@mount"),
    (Capability::CAP_SYS_BOOT, "SystemCallFilter", "@reboot"),
    (Capability::CAP_SYS_PTRACE, "SystemCallFilter", "@debug"),
    (Capability::CAP_SYS_PTRACE, "ProtectProc", ""),
];

/// The lines for a service that holds these capabilities.
pub(super) fn lines(held: &[Capability]) -> String {
    let mut text = String::new();
    for (key, value) in SETTINGS {
        let changes = || LOOSENED.iter().filter(|(needed, of, _)| of == key && held.contains(needed));
        if changes().any(|(.., more)| more.is_empty()) {
            continue;
        }
        if *key == COMMENT.0 {
            text.push_str(COMMENT.1);
        }
        text.extend([*key, "=", *value]);
        for (.., more) in changes() {
            text.extend([" ", *more]);
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_a_needed_capability_away_is_left_out() {
        let strict = lines(&[]);
        assert_eq!(strict, lines(&[Capability::CAP_NET_BIND_SERVICE]));
        assert_eq!(strict.lines().filter(|line| line.contains('=') && !line.starts_with('#')).count(), SETTINGS.len());
        let clock = lines(&[Capability::CAP_SYS_TIME]);
        assert!(
            !clock.contains("ProtectClock") && clock.contains("SystemCallFilter=@system-service @clock\n"),
            "{clock}"
        );
        let net = lines(&[Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW]);
        assert!(net.contains("RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_PACKET\n"), "{net}");
        for (_, key, _) in LOOSENED {
            assert!(SETTINGS.iter().any(|(known, _)| known == key), "{key}");
        }
    }
}
