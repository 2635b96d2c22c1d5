//! From a release to trusted files: sources, evidence, and the store.

pub mod origin;
pub mod store;
