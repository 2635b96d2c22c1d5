//! The steps of an upgrade, one arrow of the chain each.

pub mod artifact;
pub mod generation;
pub mod keep_caps;
pub mod service;
pub mod unit;
pub mod way_back;

/// Paths as text for JSON; bytes that are no UTF-8 must not stop a tool after its deed.
fn as_text<S: serde::Serializer>(paths: &[std::path::PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(paths.iter().map(|path| path.to_string_lossy()))
}
