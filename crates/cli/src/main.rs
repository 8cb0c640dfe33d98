//! The cellwright command.
fn main() {}
