//! The cli tests.

mod docs;
mod house;
mod install;
mod fetch;

#[path = "../support/http.rs"]
mod http;
mod verify;
mod unit_diff;
mod unit_render;
