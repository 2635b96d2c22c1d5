//! Test material, never shipped: what the tests upgrade, and where they get it from.
//!
//! - [`marker`]: the place in an executable that says which version it is and what is wrong with it.
//! - [`elf`]: faults that are made in the ELF file itself.
//! - [`releases`]: makes releases, signed by the real `minisign`.
//! - [`github`]: tells of them as the GitHub releases API does.
//! - [`server`]: serves that over HTTPS with a CA of its own.
//! - [`units`]: the units of the daemon.
//! - [`http`], [`notify`]: the few lines of HTTP/1.1 and of `sd_notify(3)` that the programs need.

pub mod elf;
pub mod github;
pub mod http;
pub mod marker;
pub mod notify;
pub mod releases;
pub mod server;
pub mod units;
