//! The cli tests.

mod docs;
mod fetch;
mod house;
mod install;
mod rollback;
mod setcap_keep;
mod streams;
mod svc_wait;
mod swapbin;
mod verify;

#[path = "../support/host.rs"]
mod host;
#[path = "../support/http.rs"]
mod http;
mod unit_diff;
mod unit_render;
