//! The crash tests: every system call of a change is killed, failed, or is the last before the power goes.
//!
//! `make test` runs the short form of each sweep; `UPSWAP_SWEEP=full` (make crash) and `UPSWAP_SOAK=N` (make soak) the long one.
// A sweep tells on stderr what it found.
#![allow(clippy::print_stderr)]

mod bed;
mod canary;
mod cases;
mod environment;
mod errno;
mod fetch;
mod kill;
mod metadata;
mod odd;
mod refusals;

mod disk;
#[path = "../support/host.rs"]
#[allow(dead_code)]
mod host;
#[path = "../support/http.rs"]
#[allow(dead_code)]
mod http;
mod managed;
#[path = "../support/material.rs"]
#[allow(dead_code)]
mod material;
mod power;
mod replay;
mod setcap;
mod soak;
