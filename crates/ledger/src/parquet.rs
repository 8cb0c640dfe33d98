//! Frames as the bytes of a Parquet file, and back.

use std::fs;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use polars::prelude::*;

use crate::Error;
use crate::durable::read_error;

/// The frame as a whole Parquet file.
pub(crate) fn encode(path: &Path, frame: &mut DataFrame) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes)
        .with_compression(ParquetCompression::Zstd(None))
        .finish(frame)
        .map_err(parquet_error(path))?;
    Ok(bytes)
}

/// The frame of a Parquet file, all columns of it or those named.
pub(crate) fn read(path: &Path, columns: Option<Vec<String>>) -> Result<DataFrame, Error> {
    let bytes = fs::read(path).map_err(read_error(path))?;
    let parse = || {
        ParquetReader::new(Cursor::new(bytes))
            .with_columns(columns)
            .finish()
    };
    // Polars trusts the numbers in a file's footer, and panics on some that cannot be.
    match catch_unwind(AssertUnwindSafe(parse)) {
        Ok(frame) => frame.map_err(parquet_error(path)),
        Err(_) => Err(Error::Parquet {
            path: path.to_owned(),
            reason: "the file is damaged".to_owned(),
        }),
    }
}

fn parquet_error(path: &Path) -> impl FnOnce(PolarsError) -> Error {
    move |error| Error::Parquet {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}
