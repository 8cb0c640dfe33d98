//! Wrong files in `tests/errors` of a crate, each with what its author is told in the `.txt` beside it.

use std::path::{Path, PathBuf};

/// Compares what each of at least `fewest` files of the folder is told, by its text and name, with its `.txt`;
/// `CELLWRIGHT_BLESS=1` writes these anew instead.
pub fn check(folder: &str, fewest: usize, told: impl Fn(&str, &Path) -> String) {
    let bless = std::env::var_os("CELLWRIGHT_BLESS").is_some();
    let entries = std::fs::read_dir(folder).expect("the folder is part of the repository");
    let mut files: Vec<PathBuf> = entries.flatten().map(|it| it.path()).collect();
    files.retain(|it| it.extension().is_some_and(|it| it == "toml"));
    files.sort();
    assert!(files.len() >= fewest, "{} files", files.len());
    let mut different = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("it was listed");
        let name = file.file_name().map(PathBuf::from).unwrap_or_default();
        let got = told(&text, &name);
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
