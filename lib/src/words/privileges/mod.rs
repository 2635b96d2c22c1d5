//! The capabilities of a process, as capabilities(7) describes them: its five sets, and what decides about them.
//!
//! [`setting`] is what systemd makes of a unit before it executes the program, [`execve`] what the kernel makes of that and
//! of the program's file, [`loss`] what a process would hold no more, and why.

pub mod execve;
pub mod loss;
pub mod setting;

use std::fmt;

use super::filecaps;

/// A set of capabilities: bit n is capability number n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapSet(u64);

impl CapSet {
    /// No capability.
    pub const NONE: Self = Self(0);

    /// The set with these bits.
    #[must_use]
    pub const fn of(bits: u64) -> Self {
        Self(bits)
    }

    /// Every capability there is: a new user namespace begins with them (`user_namespaces(7)`).
    #[must_use]
    pub fn every() -> Self {
        Self(caps::all().into_iter().map(|c| 1 << c.index()).sum())
    }

    /// The capability of this name alone, in capital or small letters.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        name.to_uppercase().parse::<caps::Capability>().ok().map(|c| Self(1 << c.index()))
    }

    /// What is in either set.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both sets.
    #[must_use]
    pub const fn within(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in this set and not in the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether all of `other` is in this set.
    #[must_use]
    pub const fn holds(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// Whether nothing is in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its capabilities, a set of one each.
    pub fn each(self) -> impl Iterator<Item = Self> {
        (0..64).map(|n| Self(1 << n)).filter(move |one| self.holds(*one))
    }

    /// Their names, in the order of their numbers.
    #[must_use]
    pub fn names(self) -> Vec<String> {
        (0..64).filter(|n| self.0 & (1 << n) != 0).map(filecaps::name).collect()
    }

    /// The set for people: `none`, `all`, or names; of a set with most of `all`, what is missing.
    #[must_use]
    pub fn told(self, all: Self) -> String {
        let missing = all.without(self);
        match (self.names(), missing.names()) {
            (names, _) if names.is_empty() => "none".to_owned(),
            (_, missing) if missing.is_empty() => "all".to_owned(),
            (names, missing) if names.len() > missing.len() && missing.len() < 8 => {
                format!("all but {}", missing.join(","))
            }
            (names, _) => names.join(","),
        }
    }
}

impl fmt::Display for CapSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(","))
    }
}

/// The capability sets of a process, and its no-new-privileges flag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sets {
    /// What it may make effective.
    pub permitted: CapSet,
    /// What the kernel checks.
    pub effective: CapSet,
    /// What survives an execve(2) of a file that has it inheritable too.
    pub inheritable: CapSet,
    /// What it can get from a file at most.
    pub bounding: CapSet,
    /// What survives an execve(2) of a file without capabilities.
    pub ambient: CapSet,
    /// execve(2) gives it nothing that it does not hold (`PR_SET_NO_NEW_PRIVS`).
    pub no_new_privs: bool,
}

impl Sets {
    /// Reads the text of `/proc/PID/status` (proc(5)); `None` when a line is missing.
    #[must_use]
    pub fn read(status: &str) -> Option<Self> {
        let value =
            |key: &str| status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim);
        let set = |key: &str| value(key).and_then(|hex| u64::from_str_radix(hex, 16).ok()).map(CapSet);
        Some(Self {
            permitted: set("CapPrm")?,
            effective: set("CapEff")?,
            inheritable: set("CapInh")?,
            bounding: set("CapBnd")?,
            // Kernels before 4.3 have no ambient set, those before 4.10 don't tell of the flag.
            ambient: set("CapAmb").unwrap_or_default(),
            no_new_privs: value("NoNewPrivs").is_some_and(|flag| flag != "0"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sets_are_read_as_proc_writes_them() {
        let text = "Name:\tx\nCapInh:\t0000000000000001\nCapPrm:\t0000000000000400\nCapEff:\t0000000000000400\n\
                    CapBnd:\t000001ffffffffff\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\n";
        let sets = Sets::read(text).unwrap();
        assert_eq!((sets.permitted, sets.inheritable), (CapSet(1 << 10), CapSet(1)));
        assert_eq!((sets.bounding, sets.no_new_privs), (CapSet::every(), true));
        assert_eq!(Sets::read("CapInh:\t0\n"), None);
        assert_eq!(Sets::read("CapPrm:\tx\n"), None);
    }

    #[test]
    fn a_set_is_told_by_what_is_shorter() {
        let all = CapSet::every();
        let bind = CapSet::named("cap_net_bind_service").unwrap();
        assert_eq!(CapSet::NONE.told(all), "none");
        assert_eq!(all.told(all), "all");
        assert_eq!(bind.told(all), "cap_net_bind_service");
        assert_eq!(all.without(bind).told(all), "all but cap_net_bind_service");
        assert_eq!(CapSet::named("cap_nothing"), None);
    }
}
