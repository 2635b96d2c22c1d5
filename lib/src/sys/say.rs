//! What people read: lines on stderr, each with the tool's name in front. Data never comes here.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write as _};

/// How much is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Errors alone (`-q`).
    Quiet,
    /// What a person should know.
    Normal,
    /// Each step (`-v`).
    Verbose,
}

/// The voice of one tool.
#[derive(Clone, Copy, Debug)]
pub struct Say {
    tool: &'static str,
    level: Level,
}

impl Say {
    /// The voice of `tool` at `level`.
    #[must_use]
    pub fn new(tool: &'static str, level: Level) -> Self {
        Self { tool, level }
    }

    /// Says nothing but errors; for steps that run inside another tool's answer.
    #[must_use]
    pub fn quiet(tool: &'static str) -> Self {
        Self::new(tool, Level::Quiet)
    }

    /// The tool's name.
    #[must_use]
    pub fn tool(&self) -> &'static str {
        self.tool
    }

    /// Why the tool stops; said at every level.
    pub fn error(&self, message: impl fmt::Display) {
        self.line(Level::Quiet, &message);
    }

    /// What a person should know; not said with `-q`.
    pub fn note(&self, message: impl fmt::Display) {
        self.line(Level::Normal, &message);
    }

    /// A step of the work; said with `-v`.
    pub fn detail(&self, message: impl fmt::Display) {
        self.line(Level::Verbose, &message);
    }

    /// True when progress may be drawn: stderr is a terminal and nobody asked for quiet.
    #[must_use]
    pub fn draws_progress(&self) -> bool {
        self.level >= Level::Normal && io::stderr().is_terminal()
    }

    fn line(&self, level: Level, message: &dyn fmt::Display) {
        if level <= self.level {
            let line = format!("{}: {}\n", self.tool, printable(&message.to_string()));
            // Nobody is left to tell when stderr itself fails.
            let _ = io::stderr().lock().write_all(line.as_bytes());
        }
    }
}

/// `text` with control characters escaped, so that a name sent by a server or an archive can't drive a terminal or fake a line.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\t' {
            let _ = write!(out, "{}", c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(printable("a\x1b[2J\nb\té"), "a\\u{1b}[2J\\nb\té");
    }
}
