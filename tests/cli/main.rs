//! The cli tests: every tool as a process of its own, on a host of its own in a temporary folder.

mod bench;
mod corpora;
mod docs;
mod fetch;
mod house;
mod install;
mod rollback;
mod setcap_keep;
mod streams;
mod svc_wait;
mod swapbin;
mod tuf;
mod unit_diff;
mod unit_limits;
mod unit_render;
mod upgrade;
mod verify;

#[path = "../support/host.rs"]
mod host;
#[path = "../support/http.rs"]
mod http;
#[allow(dead_code)] // The benchmarks need some of it.
#[path = "../support/material.rs"]
mod material;
#[path = "../support/parsers.rs"]
mod parsers;
