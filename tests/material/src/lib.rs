//! Test material, never shipped: what the tests upgrade, and where they get it from.
//!
//! - [`marker`]: the place in an executable that says which version it is and what is wrong with it.
//! - [`elf`]: faults that are made in the ELF file itself.
//! - [`releases`]: makes releases, signed by the real `minisign`.
//! - [`server`]: serves them as the GitHub releases API does, over HTTPS with its own CA.
//! - [`http`]: the few lines of HTTP/1.1 that daemon, client, server and prober need.

pub mod elf;
pub mod http;
pub mod marker;
pub mod releases;
pub mod server;
