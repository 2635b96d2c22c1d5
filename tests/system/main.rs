//! The system tests: real upgrades on hosts with a real systemd.

mod env;
mod harness;
#[path = "../support/material.rs"]
mod material;
mod rune;
mod syncthing;
