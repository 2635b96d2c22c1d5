//! The crash tests: every system call of a change is killed, failed, or is the last before the power goes.
//!
//! `make test` runs the short form of each sweep; `UPSWAP_SWEEP=full` (make crash) and `UPSWAP_SOAK=N` (make soak) the long one.
// A sweep tells on stderr what it found.
#![allow(clippy::print_stderr)]

#[path = "../support/material.rs"]
#[allow(dead_code)]
mod material;
mod disk;
mod managed;
mod power;
mod replay;
mod soak;
