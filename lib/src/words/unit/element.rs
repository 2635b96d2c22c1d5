//! The elements of lists by what they are about: two of one name are one element that differs, not one lost and one added.

/// What the element of a list of `key` is about: the path without its `-`, the credential's name, where a bind mount goes.
#[must_use]
pub fn name<'a>(key: &str, element: &'a str) -> &'a str {
    let before = |separator: char| element.split(separator).next().unwrap_or(element);
    match key {
        "LoadCredential"
        | "LoadCredentialEncrypted"
        | "SetCredential"
        | "SetCredentialEncrypted"
        | "OpenFile"
        | "StateDirectory"
        | "RuntimeDirectory"
        | "CacheDirectory"
        | "LogsDirectory" => before(':'),
        "TemporaryFileSystem" => before(':').trim_start_matches('-'),
        "BindPaths" | "BindReadOnlyPaths" => {
            let bare = element.trim_start_matches('-');
            bare.split(':')
                .nth(1)
                .filter(|destination| !destination.is_empty())
                .unwrap_or_else(|| before(':'))
                .trim_start_matches('-')
        }
        "DeviceAllow"
        | "IODeviceWeight"
        | "IOReadBandwidthMax"
        | "IOWriteBandwidthMax"
        | "IOReadIOPSMax"
        | "IOWriteIOPSMax"
        | "IODeviceLatencyTargetSec" => element.split_whitespace().next().unwrap_or(element),
        "LogExtraFields" => before('='),
        "EnvironmentFile" => element.trim_start_matches('-'),
        "ReadWritePaths"
        | "ReadOnlyPaths"
        | "InaccessiblePaths"
        | "ExecPaths"
        | "NoExecPaths"
        | "ReadWriteDirectories"
        | "ReadOnlyDirectories"
        | "InaccessibleDirectories" => element.trim_start_matches(['-', '+']),
        _ => element,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_is_named_by_what_it_is_about() {
        for (key, element, expected) in [
            ("LoadCredential", "db:/etc/db", "db"),
            ("SetCredential", "db:a b", "db"),
            ("BindPaths", "-/a:/b:rbind", "/b"),
            ("BindPaths", "/a", "/a"),
            ("BindPaths", "-/a", "/a"),
            ("BindReadOnlyPaths", "/a::norbind", "/a"),
            ("DeviceAllow", "/dev/null rw", "/dev/null"),
            ("EnvironmentFile", "-/a", "/a"),
            ("ReadWritePaths", "-+/a", "/a"),
            ("TemporaryFileSystem", "/a:ro", "/a"),
            ("StateDirectory", "a:b", "a"),
            ("After", "-a:b", "-a:b"),
            ("DeviceAllow", "", ""),
        ] {
            assert_eq!(name(key, element), expected, "{key}={element}");
        }
    }
}
