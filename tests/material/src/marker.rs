//! The marker: a slot of fixed size in the executables of `runed` and `rune` that holds their version and their fault.
//!
//! The release maker writes other text into it, so that one compilation gives all releases, each a different ELF file.

use std::fmt;
use std::hint::black_box;
use std::str::FromStr;

/// How many bytes the slot has.
const SIZE: usize = 128;
/// How many of them find it again.
const MAGIC: usize = 21;

/// Magic first, then `version NUL fault NUL`. Nothing else in the program may spell the magic: it is searched for.
#[used]
static SLOT: [u8; SIZE] = {
    let text = b"\x7fupswap-material-slotv0.0.0-unreleased\0none";
    let mut slot = [0; SIZE];
    let mut at = 0;
    while at < text.len() {
        slot[at] = text[at];
        at += 1;
    }
    slot
};

/// What is wrong with a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The daemon exits with status 3 as soon as it is started.
    ExitAtOnce,
    /// The daemon is healthy for three seconds, then exits with status 1.
    CrashAfter,
    /// The daemon runs, but never listens and never sends READY=1.
    NeverReady,
    /// The programs report another version than the one released.
    WrongVersion,
    /// The ELF file asks for a glibc that no host has.
    NeedsNewerGlibc,
    /// The ELF file is for another machine.
    OtherMachine,
}

impl Fault {
    /// Every fault, for tables of tests.
    pub const ALL: [Self; 7] = [
        Self::None,
        Self::ExitAtOnce,
        Self::CrashAfter,
        Self::NeverReady,
        Self::WrongVersion,
        Self::NeedsNewerGlibc,
        Self::OtherMachine,
    ];

    /// Its name in commands and in the slot.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ExitAtOnce => "exit-at-once",
            Self::CrashAfter => "crash-after",
            Self::NeverReady => "never-ready",
            Self::WrongVersion => "wrong-version",
            Self::NeedsNewerGlibc => "needs-newer-glibc",
            Self::OtherMachine => "other-machine",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        Self::ALL.into_iter().find(|f| f.name() == text).ok_or_else(|| format!("'{text}' is no fault; {}", names()))
    }
}

/// What the slot of the running program says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The version as released, `v1.2.3`.
    pub version: String,
    /// What is wrong with this release.
    pub fault: Fault,
}

impl Marker {
    /// The marker of the program that runs.
    #[must_use]
    pub fn of_this_program() -> Self {
        // Without black_box the compiler puts the text it knows in place of the load, and patching would do nothing.
        Self::parse(black_box(&SLOT))
    }

    /// The version number before the first dot: 2 of `v2.1.0`.
    #[must_use]
    pub fn major(&self) -> u32 {
        let digits = self.version.trim_start_matches('v').split('.').next().unwrap_or_default();
        digits.parse().unwrap_or(0)
    }

    /// Writes this marker into `image`, an executable that has a slot. Fails when it has none or several.
    pub fn patch(&self, image: &mut [u8]) -> Result<(), String> {
        let magic = &black_box(&SLOT)[..MAGIC];
        let mut places = image.windows(MAGIC).enumerate().filter(|(_, w)| *w == magic).map(|(at, _)| at);
        let (Some(at), None) = (places.next(), places.next()) else {
            return Err("the executable does not have exactly one marker slot".to_owned());
        };
        let text = format!("{}\0{}\0", self.version, self.fault);
        let slot = image.get_mut(at + MAGIC..at + SIZE).ok_or("the marker slot is cut off")?;
        if text.len() > slot.len() {
            return Err(format!("'{}' is too long for the marker slot", self.version));
        }
        slot.fill(0);
        slot[..text.len()].copy_from_slice(text.as_bytes());
        Ok(())
    }

    fn parse(slot: &[u8; SIZE]) -> Self {
        let mut texts = slot[MAGIC..].split(|b| *b == 0).map(String::from_utf8_lossy);
        let version = texts.next().unwrap_or_default().into_owned();
        let fault = texts.next().unwrap_or_default().parse().unwrap_or(Fault::None);
        Self { version, fault }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patched_slot_reads_back() {
        let marker = Marker { version: "v2.0.1-dev.45".into(), fault: Fault::CrashAfter };
        let mut image = [b"before".as_slice(), &SLOT, b"after"].concat();
        marker.patch(&mut image).unwrap();
        assert_eq!(Marker::parse(image[6..6 + SIZE].try_into().unwrap()), marker);
        assert_eq!((&image[..6], &image[6 + SIZE..]), (b"before".as_slice(), b"after".as_slice()));
        assert_eq!(marker.major(), 2);
    }

    #[test]
    fn an_unpatched_program_says_that_it_is_none() {
        assert_eq!(Marker::of_this_program(), Marker { version: "v0.0.0-unreleased".into(), fault: Fault::None });
    }

    #[test]
    fn none_or_two_slots_are_refused() {
        let marker = Marker { version: "v1".into(), fault: Fault::None };
        assert!(marker.patch(&mut [0; 400]).is_err());
        assert!(marker.patch(&mut [SLOT, SLOT].concat()).is_err());
        let long = Marker { version: "v".repeat(120), fault: Fault::None };
        assert!(long.patch(&mut SLOT.to_vec()).is_err());
    }

    #[test]
    fn every_fault_is_spelled_one_way() {
        for fault in Fault::ALL {
            assert_eq!(fault.name().parse(), Ok(fault));
        }
    }
}
