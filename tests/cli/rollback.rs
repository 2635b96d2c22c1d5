//! rollback: the way back.

mod back;
mod guard;
mod locks;
mod pending;
mod upkeep;
