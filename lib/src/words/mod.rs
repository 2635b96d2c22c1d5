//! The words of the trade, pure: no file, no process, no clock.

pub mod digest;
pub mod elf;
pub mod exit;
pub mod filecaps;
pub mod member;
pub mod minisign;
pub mod proof;
pub mod sums;
