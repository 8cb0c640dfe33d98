//! NAS-Bench-201's published table, where it is at hand: which of its cells the benchmark takes for one.

use std::collections::HashMap;
use std::path::Path;

use cellwright_graph::{class, vocabulary};
use cellwright_ledger::Table;
use cellwright_space::Space;

#[test]
fn the_same_cells_are_one_as_in_the_published_table() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join("../shared/data/nasbench201-cifar10.parquet");
    if !path.exists() {
        eprintln!("skipped: {} is missing", path.display());
        return;
    }
    let table = Table::read(&path).unwrap();
    let (cells, texts) = (
        table.strings("arch").unwrap(),
        table.strings("canonical").unwrap(),
    );
    let file = root.join("search-spaces/nasbench201.toml");
    let with = Space::load(&file, &[], vocabulary())
        .unwrap()
        .distinct()
        .with
        .clone();
    let space = Space::load(&file, &with, vocabulary()).unwrap();
    let (input, classes) = (
        space.default_input().unwrap(),
        space.default_classes().unwrap(),
    );
    let (mut ours, mut theirs) = (HashMap::new(), HashMap::new());
    for (cell, text) in cells.iter().zip(&texts) {
        let choices = space.parse_notation(cell).unwrap();
        let class = class(&space, &choices, input, classes, space.distinct().by).unwrap();
        assert_eq!(ours.entry(text).or_insert(class), &class, "{cell}");
        assert_eq!(theirs.entry(class).or_insert(text), &text, "{cell}");
    }
    assert_eq!((cells.len(), ours.len()), (15_625, 6_466));
}
