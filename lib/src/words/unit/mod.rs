//! Unit files as systemd reads them: the lossless file, command lines, the effective reading, the difference of two, templates, units of our own.

pub mod builtin;
pub mod diff;
pub mod exec;
pub mod file;
pub mod flags;
pub mod keys;
pub mod reading;
pub mod render;

/// The largest unit file that is read, in bytes; systemd itself takes no longer line (systemd.syntax(7)).
pub const LIMIT: usize = 1 << 20;
