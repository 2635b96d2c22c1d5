//! rollback: the way back.

mod back;
mod guard;
mod last_resort;
mod locks;
mod pending;
mod upkeep;
