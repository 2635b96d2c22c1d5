//! The system tests: real upgrades on hosts with a real systemd.
// A failing test tells on stderr what its host last said.
#![allow(clippy::print_stderr)]

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
mod proxy;
mod reboot;
mod recovery;
mod registry;
mod rune;
mod setcap_keep;
mod syncthing;
mod unit_render;
