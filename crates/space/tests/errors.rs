//! Wrong files, each with what its author is told in the `.txt` beside it.
//!
//! `CELLWRIGHT_BLESS=1` writes the texts anew; read them as someone would who made that mistake.

mod common;
mod golden;

use cellwright_space::Space;

#[test]
fn wrong_files_are_told_what_is_wrong() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/errors");
    golden::check(folder, 25, |text, name| {
        match Space::parse(text, name, &[], &common::vocabulary()) {
            Ok(_) => panic!("{} is not wrong", name.display()),
            Err(errors) => format!("{errors}\n"),
        }
    });
}
