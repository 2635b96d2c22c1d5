//! swapbin: not built yet.

fn main() {}
