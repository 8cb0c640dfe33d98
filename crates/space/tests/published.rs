//! The spaces of the repository, read with the vocabulary of `graph`: each loads, and those whose size
//! is published have that size.

use std::path::Path;

use cellwright_graph::vocabulary;
use cellwright_space::Space;

fn count(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../search-spaces")
        .join(file);
    match Space::load(&path, &[], vocabulary()) {
        Ok(space) => space
            .count()
            .map_or("unknown".to_owned(), |it| it.to_string()),
        Err(errors) => panic!("{errors}"),
    }
}

#[test]
fn spaces_have_their_published_sizes() {
    assert_eq!(count("nasbench201.toml"), "15625");
    assert_eq!(count("nasbench-macro.toml"), "6561");
    // (338^5 * 720^2)^2, see the file.
    assert_eq!(
        count("nasnet.toml"),
        "5229943396058757337940161399357440000"
    );
}

#[test]
fn every_space_loads_and_can_be_counted() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../search-spaces");
    let files = std::fs::read_dir(folder).expect("the folder is part of the repository");
    for file in files.flatten() {
        let name = file.file_name();
        if let Some(name) = name.to_str().filter(|it| it.ends_with(".toml")) {
            assert_ne!(count(name), "unknown", "{name}");
        }
    }
}
