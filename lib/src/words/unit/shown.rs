//! What `systemctl show` would print of a unit that nobody has loaded, as far as it decides about capabilities.

use std::collections::BTreeMap;

use super::exec::{self, Command};
use super::reading::Reading;
use super::sandbox;
use crate::words::privileges::CapSet;

/// The properties that [`crate::words::privileges::setting::Setting::read`] reads; `None` for a unit without a program, or
/// one whose program only systemd can name (`%h/bin/x`).
#[must_use]
pub fn properties(reading: &Reading) -> Option<BTreeMap<String, String>> {
    let commands = reading.commands("ExecStart").ok()?;
    let Command { prefix, program, .. } = commands.last().filter(|command| !command.program.contains('%'))?;
    let flags = match prefix.as_str() {
        prefix if prefix.contains('+') => "privileged",
        prefix if prefix.contains('!') && !prefix.contains("!!") => "no-setuid",
        _ => "",
    };
    let mut shown = BTreeMap::new();
    for ((section, key), setting) in reading.settings() {
        if *section == "Service" && !setting.values.is_empty() {
            shown.insert((*key).to_owned(), setting.values.join(" "));
        }
    }
    for key in sandbox::keys() {
        if let Some(level) = sandbox::level(reading, key) {
            shown.insert(key.to_owned(), level.to_owned());
        }
    }
    if reading.last("Service", "DynamicUser").is_some_and(|value| super::keys::switch(value) == "yes") {
        shown.entry("User".to_owned()).or_insert_with(|| "(dynamic)".to_owned());
    }
    for key in ["CapabilityBoundingSet", "AmbientCapabilities"] {
        let names = CapSet::every().names();
        let held: Vec<_> = names.into_iter().filter(|name| sandbox::lets_through(reading, key, name)).collect();
        shown.insert(key.to_owned(), held.join(" "));
    }
    if shown.contains_key("SystemCallFilter") {
        // Which calls a group holds is systemd's to know; what counts is whether systemd can still change capabilities.
        let denied = |call: &str| !sandbox::lets_through(reading, "SystemCallFilter", call);
        let allows = reading.settings().get(&("Service", "SystemCallFilter"));
        let lists_what_is_let_through =
            allows.and_then(|setting| setting.values.first()).is_some_and(|value| !value.starts_with('~'));
        let drops =
            lists_what_is_let_through || !["capset", "@privileged", "prctl", "@process"].into_iter().any(denied);
        shown.insert("SystemCallFilter".to_owned(), if drops { "~reboot" } else { "~capset" }.to_owned());
    }
    // A number in what is shown, words in the file.
    let bits = shown.remove("SecureBits").unwrap_or_default();
    let noroot = exec::words(&bits).unwrap_or_default().iter().any(|word| word == "noroot");
    shown.insert("SecureBits".to_owned(), u64::from(noroot).to_string());
    let line = format!("{{ path={program} ; argv[]={program} ; flags={flags} ; start_time=[n/a] }}");
    shown.insert("ExecStartEx".to_owned(), line);
    Some(shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::privileges::setting::Setting;
    use crate::words::unit::file::File;

    fn setting(text: &str) -> Option<Setting> {
        let file = File::parse(format!("[Service]\n{text}\n").into_bytes()).unwrap();
        let shown = properties(&Reading::of(&[file]))?;
        Some(Setting::read(&shown, "257").unwrap())
    }

    #[test]
    fn a_file_is_read_as_if_it_were_loaded() {
        let read = setting(
            "ExecStart=+/opt/a x\nUser=rune\nNoNewPrivileges=1\nCapabilityBoundingSet=CAP_KILL cap_chown\n\
             CapabilityBoundingSet=~CAP_CHOWN\nSystemCallFilter=~@privileged\nSecureBits=keep-caps noroot\nProtectSystem=on",
        )
        .unwrap();
        assert_eq!((read.program.to_str(), read.fully_privileged), (Some("/opt/a"), true));
        assert_eq!((read.user.as_str(), read.no_new_privileges, read.secure_bits), ("rune", true, 1));
        assert_eq!(read.bounding, CapSet::named("cap_kill").unwrap());
        assert_eq!((read.ambient, read.filter_lets_drop), (CapSet::NONE, false));
        assert!(read.mounts.iter().any(|(key, _)| *key == "ProtectSystem"));
        let plain = setting("ExecStart=/opt/a").unwrap();
        assert_eq!((plain.bounding, plain.filters.len(), plain.filter_lets_drop), (CapSet::every(), 0, true));
        let dynamic = setting("ExecStart=!/opt/a\nDynamicUser=yes\nCapabilityBoundingSet=").unwrap();
        assert_eq!((dynamic.user.as_str(), dynamic.no_new_privileges), ("(dynamic)", true));
        assert_eq!((dynamic.bounding, dynamic.no_setuid), (CapSet::NONE, true));
        assert!(setting("ExecStart=%h/a").is_none() && setting("Type=oneshot").is_none());
    }
}
