//! setcap-keep: not built yet.

fn main() {}
