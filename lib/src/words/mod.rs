//! The words of the trade, pure: no file, no process, no clock.

pub mod digest;
pub mod duration;
pub mod exit;
pub mod filecaps;
pub mod pattern;
pub mod proof;
pub mod release;
pub mod size;
pub mod target;
