//! Pages that are generated from the code are as the code would generate them now.

use std::path::Path;

use assert_cmd::Command;

fn is_current(flag: &str, file: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new(env!("CARGO_BIN_EXE_cellwright"))
        .args(["spaces", flag])
        .assert()
        .success();
    let now = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    let there = std::fs::read_to_string(root.join(file)).unwrap_or_default();
    assert!(
        now == there,
        "{file} is stale: run `cellwright spaces {flag} > {file}`"
    );
}

#[test]
fn the_reference_of_the_space_language() {
    is_current("--reference", "search-spaces/REFERENCE.md");
}

#[test]
fn the_schema_of_space_files() {
    is_current("--schema", "search-spaces/space.schema.json");
}
