//! The core of upswap: what eight small tools share to upgrade a systemd service on the host where it runs.
//!
//! Four floors; imports go down only (`tests/cli/house.rs` compares this list with the `use` lines):
//!
//! - [`report`]: the start and the end of every `main`: arguments, the answer on stdout, the error on stderr, the exit code.
//! - [`steps`]: one arrow of the chain each: artifact, generation, service, and the way back that joins the last two.
//! - [`sys`]: every effect on the machine, below a host root. Knows bytes, paths and descriptors, no step.
//! - [`words`]: pure: digests, releases, capabilities, units, exit codes. No file, no process, no clock.

pub mod report;
pub mod steps;
pub mod sys;
pub mod words;
