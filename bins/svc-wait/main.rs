//! svc-wait: not built yet.

fn main() {}
