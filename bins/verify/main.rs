//! verify: not built yet.

fn main() {}
