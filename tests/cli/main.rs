//! The cli tests: every tool as a process of its own, on a host of its own in a temporary folder.

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
mod unit_diff;
mod unit_render;
mod upgrade;
mod verify;

#[path = "../support/host.rs"]
mod host;
#[path = "../support/http.rs"]
mod http;
#[path = "../support/parsers.rs"]
mod parsers;
