//! The cli tests.

mod docs;
mod house;
mod install;
mod fetch;
mod svc_wait;

#[path = "../support/http.rs"]
mod http;
mod verify;
