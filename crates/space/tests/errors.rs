//! Wrong files, each with what its author is told in the `.txt` beside it.
//!
//! `CELLWRIGHT_BLESS=1` writes the texts anew; read them as someone would who made that mistake.

mod common;

use std::path::{Path, PathBuf};

use cellwright_space::Space;

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/errors");
    let files = std::fs::read_dir(folder).expect("the folder is part of the repository");
    let mut files: Vec<PathBuf> = files.flatten().map(|it| it.path()).collect();
    files.retain(|it| it.extension().is_some_and(|it| it == "toml"));
    files.sort();
    files
}

#[test]
fn wrong_files_are_told_what_is_wrong() {
    let bless = std::env::var_os("CELLWRIGHT_BLESS").is_some();
    let files = files();
    assert!(files.len() >= 25, "{} files", files.len());
    let mut different = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("it was listed");
        let name = file.file_name().map(PathBuf::from).unwrap_or_default();
        let got = match Space::parse(&text, &name, &[], &common::vocabulary()) {
            Ok(_) => panic!("{} is not wrong", name.display()),
            Err(errors) => format!("{errors}\n"),
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
