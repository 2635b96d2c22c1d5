//! The words of the trade, pure: no file, no process, no clock.

pub mod digest;
pub mod exit;
pub mod filecaps;
pub mod proof;
pub mod unit;
