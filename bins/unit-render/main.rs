//! unit-render: not built yet.

fn main() {}
