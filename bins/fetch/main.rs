//! fetch: not built yet.

fn main() {}
