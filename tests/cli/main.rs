//! The cli tests.

mod verify;
