//! Files whose networks cannot be built, each with what its author is told in the `.txt` beside it.
//!
//! What is wrong in the text alone is tested in the crate `space`. `CELLWRIGHT_BLESS=1` writes the texts
//! anew; read them as someone would who made that mistake.

mod common;
#[path = "../../space/tests/golden/mod.rs"]
mod golden;

use cellwright_graph::{Graph, vocabulary};
use cellwright_space::Space;

#[test]
fn networks_that_cannot_be_built_are_told_why() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/errors");
    golden::check(folder, 8, |text, name| {
        let space = Space::parse(text, name, &[], vocabulary())
            .unwrap_or_else(|errors| panic!("the text alone is wrong: {errors}"));
        match Graph::build(&space, &space.first(), common::image(32, 3), 10) {
            Ok(_) => panic!("{} is not wrong", name.display()),
            Err(error) => format!("{error}\n"),
        }
    });
}
