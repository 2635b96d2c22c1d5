//! Unit files as systemd reads them: the lossless file, command lines, the effective reading, the difference of two
//! with what it does to the sandbox and what to know besides, the carry of edits, templates, units of our own.

pub mod absent;
pub mod builtin;
pub mod carry;
pub mod diff;
pub mod element;
pub mod exec;
pub mod file;
pub mod flags;
pub mod keys;
pub mod notes;
pub mod reading;
pub mod render;
pub mod sandbox;
pub mod shown;

/// The largest unit file that is read, in bytes; systemd itself takes no longer line (systemd.syntax(7)).
pub const LIMIT: usize = 1 << 20;
