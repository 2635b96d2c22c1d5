//! Generations: a set's files at one time, the swap that makes a new one, and the way back to an old one.
//!
//! Knows files, links and the record; knows no verdict's meaning and starts nothing: the service is `service`'s.

mod change;
pub mod error;
pub mod exchange;
pub mod record;
pub mod refuse;
mod room;
pub mod set;
pub mod stage;
pub mod swap;
pub mod upkeep;

pub use error::GenerationError;
