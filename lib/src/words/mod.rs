//! The words of the trade, pure: no file, no process, no clock.

pub mod digest;
pub mod duration;
pub mod elf;
pub mod exit;
pub mod filecaps;
pub mod name;
pub mod member;
pub mod proof;
pub mod sums;
pub mod verdict;
pub mod pattern;
pub mod release;
pub mod size;
pub mod target;
pub mod minisign;
pub mod unit;
