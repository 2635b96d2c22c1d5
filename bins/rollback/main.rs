//! rollback: not built yet.

fn main() {}
