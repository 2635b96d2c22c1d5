//! The cli tests.

mod fetch;

#[path = "../support/http.rs"]
mod http;
