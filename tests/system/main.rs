//! The system tests: real upgrades on hosts with a real systemd.
// A failing test tells on stderr what its host last said.
#![allow(clippy::print_stderr)]

mod carry;
mod chain;
mod chain_kill;
mod env;
mod examples;
mod explain;
mod faults;
mod guard;
mod harness;
mod install;
mod locks;
#[path = "../support/material.rs"]
mod material;
mod matrix;
mod probes;
mod proxy;
mod reboot;
mod recovery;
mod refresh;
mod refresh_refused;
mod registry;
mod rune;
mod setcap_keep;
mod syncthing;
mod unit_diff;
mod unit_oracle;
mod unit_render;
