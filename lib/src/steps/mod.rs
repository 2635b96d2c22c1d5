//! The steps of an upgrade, one arrow of the chain each.

pub mod artifact;
pub mod generation;
pub mod keep_caps;
pub mod service;
pub mod way_back;
pub mod unit;
