//! The system tests: real upgrades on hosts with a real systemd.
// A failing test tells on stderr what its host last said.
#![allow(clippy::print_stderr)]

mod chain;
mod env;
mod examples;
mod explain;
mod harness;
mod install;
#[path = "../support/material.rs"]
mod material;
mod rune;
mod setcap_keep;
mod syncthing;
