//! From a release to trusted files: sources, evidence, and the store.

pub mod fetch;
pub mod origin;
pub mod source;
pub mod store;
