//! The cli tests.

mod docs;
mod house;
mod install;
