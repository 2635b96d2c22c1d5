//! From a release to trusted files: sources, evidence, and the store.

pub mod demands;
pub mod evidence;
pub mod extract;
pub mod fetch;
pub mod floor;
pub mod machine;
pub mod origin;
pub mod source;
pub mod store;
pub mod verify;
