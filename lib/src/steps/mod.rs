//! The steps of an upgrade, one arrow of the chain each.

pub mod artifact;
pub mod unit;
