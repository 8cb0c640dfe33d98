//! Files whose networks cannot be built, each with what its author is told in the `.txt` beside it.
//!
//! What is wrong in the text alone is tested in the crate `space`. `CELLWRIGHT_BLESS=1` writes the texts
//! anew; read them as someone would who made that mistake.

mod common;

use std::path::{Path, PathBuf};

use cellwright_graph::{Graph, vocabulary};
use cellwright_space::Space;

#[test]
fn networks_that_cannot_be_built_are_told_why() {
    let bless = std::env::var_os("CELLWRIGHT_BLESS").is_some();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/errors");
    let entries = std::fs::read_dir(folder).expect("the folder is part of the repository");
    let mut files: Vec<PathBuf> = entries.flatten().map(|it| it.path()).collect();
    files.retain(|it| it.extension().is_some_and(|it| it == "toml"));
    files.sort();
    assert!(files.len() >= 8, "{} files", files.len());
    let mut different = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("it was listed");
        let name = file.file_name().map(PathBuf::from).unwrap_or_default();
        let space = Space::parse(&text, &name, &[], vocabulary())
            .unwrap_or_else(|errors| panic!("the text alone is wrong: {errors}"));
        let got = match Graph::build(&space, &space.first(), common::image(32, 3), 10) {
            Ok(_) => panic!("{} is not wrong", name.display()),
            Err(error) => format!("{error}\n"),
        };
        let golden = file.with_extension("txt");
        if bless {
            std::fs::write(&golden, &got).expect("the folder can be written");
        } else if std::fs::read_to_string(&golden).ok().as_deref() != Some(&got) {
            different.push(got);
        }
    }
    assert!(
        different.is_empty(),
        "told otherwise:\n\n{}",
        different.join("\n")
    );
}
