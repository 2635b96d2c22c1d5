//! From a release to trusted files: sources, evidence, and the store.

pub mod evidence;
pub mod extract;
pub mod machine;
pub mod origin;
pub mod store;
pub mod verify;
