//! Tables of known results, from any Parquet file.

use std::fs::File;

use cellwright_ledger::{Error, Table};
use polars::prelude::*;

fn table(columns: Vec<Column>) -> (tempfile::TempDir, Result<Table, Error>) {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("known.parquet");
    let mut frame = DataFrame::new(columns[0].len(), columns).unwrap();
    ParquetWriter::new(File::create(&path).unwrap())
        .finish(&mut frame)
        .unwrap();
    let table = Table::read(&path);
    (scratch, table)
}

#[test]
fn columns_by_name() {
    let (_scratch, table) = table(vec![
        Column::new("arch".into(), ["a", "b"]),
        Column::new("valid_12ep".into(), [91.5f32, 92.0]),
        Column::new("params".into(), [3_328_234i64, 7]),
        Column::new("skip".into(), [true, false]),
    ]);
    let table = table.unwrap();
    assert_eq!(table.rows(), 2);
    assert_eq!(table.columns(), ["arch", "valid_12ep", "params", "skip"]);
    assert_eq!(table.strings("arch").unwrap(), ["a", "b"]);
    assert_eq!(table.numbers("valid_12ep").unwrap(), [91.5, 92.0]);
    assert_eq!(table.numbers("params").unwrap(), [3_328_234.0, 7.0]);
    assert_eq!(table.numbers("skip").unwrap(), [1.0, 0.0]);
}

#[test]
fn errors_name_the_column_and_the_nearest() {
    let (_scratch, table) = table(vec![
        Column::new("arch".into(), [Some("a"), None]),
        Column::new("valid_12ep".into(), [Some(91.5), None]),
    ]);
    let table = table.unwrap();
    let text = |error: Result<_, Error>| error.map(|_: ()| ()).unwrap_err().to_string();
    let missing = text(table.numbers("valid_12").map(|_| ()));
    assert!(
        missing.contains("did you mean `valid_12ep`?") && missing.contains("arch"),
        "{missing}"
    );
    let wrong = text(table.numbers("arch").map(|_| ()));
    assert!(
        wrong.contains("holds str where numbers were expected"),
        "{wrong}"
    );
    let wrong = text(table.strings("valid_12ep").map(|_| ()));
    assert!(
        wrong.contains("holds f64 where str was expected"),
        "{wrong}"
    );
    let hole = text(table.numbers("valid_12ep").map(|_| ()));
    assert!(hole.contains("no value in row 1"), "{hole}");
}

#[test]
fn no_file_and_no_parquet() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("known.csv");
    assert!(matches!(
        Table::read(&path).unwrap_err(),
        Error::Read { .. }
    ));
    std::fs::write(&path, "arch,valid\na,1\n").unwrap();
    assert!(matches!(
        Table::read(&path).unwrap_err(),
        Error::Parquet { .. }
    ));
}
