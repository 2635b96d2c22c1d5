//! unit-diff: not built yet.

fn main() {}
