//! crates/whimbrel
fn main() {}
