//! The exit codes, one table for all tools, and the error every tool ends with.
//!
//! The table stands in upswap(7) too; `tests/cli/docs.rs` compares the two.

use std::fmt;

/// What a tool's exit code says. The numbers are documented in upswap(7) and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, or the answer is yes.
    Done = 0,
    /// The answer is no: checked and refused; nothing was changed.
    No = 1,
    /// The command line is wrong.
    Usage = 2,
    /// Could not (I/O, permission, malformed input, systemd not answering); nothing was changed.
    CouldNot = 3,
    /// Could not, and the host was changed: the message ends with the one command that mends it.
    Changed = 4,
    /// Tried and taken back: the old generation is proven to run.
    TakenBack = 5,
    /// Not now, try again later (`EX_TEMPFAIL` of sysexits.h): lock held, rate limit, network down.
    NotNow = 75,
    /// systemd or /proc never let us judge before the deadline (as timeout(1) has it).
    Deadline = 124,
}

impl Exit {
    /// Every code, in the order of the documented table.
    pub const ALL: [Self; 8] = [
        Self::Done,
        Self::No,
        Self::Usage,
        Self::CouldNot,
        Self::Changed,
        Self::TakenBack,
        Self::NotNow,
        Self::Deadline,
    ];

    /// The number the process exits with.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// What the documented table says of the code, word for word.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done, or the answer is yes",
            Self::No => "the answer is no: checked and refused; nothing was changed",
            Self::Usage => "the command line is wrong",
            Self::CouldNot => {
                "could not (I/O, permission, malformed input, systemd not answering); nothing was changed"
            }
            Self::Changed => "could not, and the host was changed: the message ends with the one command that mends it",
            Self::TakenBack => "tried and taken back: the old generation is proven to run",
            Self::NotNow => "not now, try again later: lock held, rate limit, network down",
            Self::Deadline => "systemd or /proc never let us judge before the deadline",
        }
    }
}

/// An error that knows which exit code it means.
///
/// Its `Display` is one line: what was tried, on which path, why, and what to do.
pub trait Coded: std::error::Error {
    /// The exit code of a tool that ends with this error.
    fn exit(&self) -> Exit;
}

/// Why a tool stops: the line for people and the code for programs.
#[derive(Debug)]
pub struct Stop {
    /// The exit code.
    pub exit: Exit,
    /// One line: what was tried, why it failed, what to do.
    pub message: String,
}

impl Stop {
    /// A stop with its code and its line.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

// `Stop` does not implement `Error` itself, so that every `Coded` error converts by `?`.
impl<E: Coded> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::new(error.exit(), error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_documented_numbers() {
        assert_eq!(Exit::ALL.map(Exit::code), [0, 1, 2, 3, 4, 5, 75, 124]);
    }
}
