//! The cli tests.

mod docs;
mod fetch;
mod house;
mod install;
mod streams;
mod svc_wait;

#[path = "../support/http.rs"]
mod http;
mod unit_diff;
mod unit_render;
mod upgrade;
mod verify;
