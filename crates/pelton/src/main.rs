//! pelton
fn main() {}
