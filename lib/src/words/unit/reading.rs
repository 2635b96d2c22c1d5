//! What systemd makes of a fragment and its drop-ins together: for each key the value or the list that is in force.

use std::collections::{BTreeMap, HashMap};

use super::absent::{self, Deed};
use super::exec::{self, Command, Unreadable};
use super::file::{Assignment, File};
use super::keys;

/// A section and a key.
pub type Name<'a> = (&'a str, &'a str);

/// The effective reading of a unit.
#[derive(Clone, Debug, Default)]
pub struct Reading<'a> {
    settings: BTreeMap<Name<'a>, Setting<'a>>,
    families: HashMap<(&'a str, &'static str), Vec<Name<'a>>>,
    seen: usize,
}

/// The assignments of one key that are in force, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setting<'a> {
    /// When the key was first seen, for an order that people recognise.
    pub rank: usize,
    /// The values in force: one for a key whose last assignment counts, none after a reset that itself means something.
    pub values: Vec<&'a str>,
}

impl<'a> Reading<'a> {
    /// Reads `files` as one unit: the fragment first, then the drop-ins in systemd's order.
    #[must_use]
    pub fn of(files: impl IntoIterator<Item = &'a File>) -> Self {
        let mut reading = Self::default();
        for assignment in files.into_iter().flat_map(File::assignments) {
            reading.take(assignment);
        }
        reading
    }

    /// The settings in force, by section and key.
    #[must_use]
    pub fn settings(&self) -> &BTreeMap<Name<'a>, Setting<'a>> {
        &self.settings
    }

    /// The last value in force of a key.
    #[must_use]
    pub fn last(&self, section: &str, key: &str) -> Option<&'a str> {
        self.settings.get(&(section, key))?.values.last().copied()
    }

    /// The commands of an `Exec…=` key of `[Service]`.
    pub fn commands(&self, key: &str) -> Result<Vec<Command>, Unreadable> {
        let setting = self.settings.get(&("Service", key));
        let values = setting.map(|s| s.values.as_slice()).unwrap_or_default();
        values.iter().map(|value| exec::commands(value)).collect::<Result<Vec<_>, _>>().map(|all| all.concat())
    }

    fn take(&mut self, Assignment { section, key, value, .. }: Assignment<'a>) {
        for name in keys::settings(section, key) {
            let kind = keys::kind(name.1);
            let rank = self.seen;
            self.seen += 1;
            let emptied = self.settings.get(&name).is_some_and(|setting| setting.values.is_empty());
            match absent::deed(name.1, kind, value, emptied) {
                Deed::Nothing => {}
                Deed::Resets => self.reset(name),
                Deed::Empties => {
                    self.settings.insert(name, Setting { rank, values: Vec::new() });
                }
                Deed::Replaces => {
                    let setting = self.setting(name, rank);
                    setting.values.clear();
                    setting.values.push(value);
                }
                Deed::Adds => self.setting(name, rank).values.push(value),
            }
        }
    }

    fn setting(&mut self, name: Name<'a>, rank: usize) -> &mut Setting<'a> {
        if let Some(family) = keys::family(name.0, name.1)
            && !self.settings.contains_key(&name)
        {
            self.families.entry((name.0, family)).or_default().push(name);
        }
        self.settings.entry(name).or_insert_with(|| Setting { rank, values: Vec::with_capacity(1) })
    }

    fn reset(&mut self, name: Name<'a>) {
        self.settings.remove(&name);
        if let Some(family) = keys::family(name.0, name.1) {
            for relative in self.families.remove(&(name.0, family)).unwrap_or_default() {
                self.settings.remove(&relative);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(texts: &[&str]) -> Vec<String> {
        let files: Vec<_> = texts.iter().map(|t| File::parse(t.as_bytes().to_vec()).unwrap()).collect();
        let reading = Reading::of(&files);
        reading.settings().iter().map(|((section, key), s)| format!("{section}.{key}={}", s.values.join("|"))).collect()
    }

    #[test]
    fn drop_ins_reset_and_add_as_in_systemd() {
        let fragment = "[Unit]\nAfter=a\nConditionPathExists=/a\nConditionHost=h\n[Service]\nUser=a\nExecStart=/a\nEnvironment=A=1\n\
                        CapabilityBoundingSet=CAP_CHOWN\n";
        let drop_in = "[Service]\nExecStart=\nExecStart=/b\nUser=\nEnvironment=B=2\nCapabilityBoundingSet=\n\
                       [Unit]\nAfter=\nAfter=b\nConditionUser=\n";
        assert_eq!(
            shown(&[fragment, drop_in]),
            ["Service.CapabilityBoundingSet=", "Service.Environment=A=1|B=2", "Service.ExecStart=/b", "Unit.After=a|b"]
        );
    }

    #[test]
    fn an_empty_value_is_what_systemd_takes_it_for() {
        let cases: &[(&str, &[&str])] = &[
            // systemd says that it ignores it, or puts the default back.
            (
                "Restart=always\nRestart=\nRestartSec=5\nRestartSec=",
                &["Service.Restart=always", "Service.RestartSec=5"],
            ),
            ("User=a\nUser=\nNice=5\nNice=\nWorkingDirectory=/a\nWorkingDirectory=", &[]),
            ("CapabilityBoundingSet=A\nCapabilityBoundingSet=~", &[]),
            ("CapabilityBoundingSet=\nCapabilityBoundingSet=~A", &["Service.CapabilityBoundingSet="]),
            (
                "CapabilityBoundingSet=\nCapabilityBoundingSet=~A\nCapabilityBoundingSet=B",
                &["Service.CapabilityBoundingSet=B"],
            ),
            ("AmbientCapabilities=A\nAmbientCapabilities=~", &["Service.AmbientCapabilities=~"]),
            ("Delegate=cpu\nDelegate=", &["Service.Delegate="]),
            ("RestrictNamespaces=net\nRestrictNamespaces=yes", &["Service.RestrictNamespaces=yes"]),
            ("StandardInputText=a\nStandardInputData=", &[]),
            ("TimeoutStopSec=3\nTimeoutSec=4\nTimeoutSec=", &["Service.TimeoutStartSec=4", "Service.TimeoutStopSec=4"]),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(&[&format!("[Service]\n{text}\n")]), *expected, "{text}");
        }
    }

    #[test]
    fn the_last_of_a_single_value_and_all_of_an_unknown_key_count() {
        assert_eq!(shown(&["[Service]\nUser=a\nUser=b\nFancy=1\nFancy=2\n"]), ["Service.Fancy=1|2", "Service.User=b"]);
    }
}
