//! `crashpoint`: to be written by the first who comes.
fn main() {}
