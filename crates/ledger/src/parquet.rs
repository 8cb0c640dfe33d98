//! Frames as the bytes of a Parquet file, and back.
//!
//! Polars trusts the numbers in a file, and a damaged one makes it panic or ask for more memory than there is. So
//! a file has a seal before its footer, where readers of Parquet pass over it: the SHA-256 of all the rest.

use std::fs;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use polars::prelude::*;
use sha2::{Digest, Sha256};

use crate::Error;
use crate::durable::read_error;

/// What a seal begins with; its digest follows.
const SEAL: &[u8; 8] = b"CWSHA256";
const DIGEST: usize = 32;
/// What a Parquet file ends with, after the four bytes of its footer's length.
const END: &[u8; 4] = b"PAR1";

/// Puts a seal before the footer of a Parquet file.
fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    let footer = bytes.len().checked_sub(8).and_then(|end| {
        let length = bytes[end..end + 4].try_into().map(u32::from_le_bytes);
        end.checked_sub(length.ok()? as usize)
    });
    if let Some(footer) = footer.filter(|_| bytes.ends_with(END)) {
        let digest = Sha256::digest(&bytes);
        let seal = SEAL.iter().copied().chain(digest);
        bytes.splice(footer..footer, seal);
    }
    bytes
}

/// Whether a file has no seal, as others' have not, or one that is right.
fn is_whole(bytes: &[u8]) -> bool {
    let Some(at) = bytes.windows(SEAL.len()).rposition(|it| it == SEAL) else {
        return true;
    };
    let (before, rest) = (&bytes[..at], &bytes[at + SEAL.len()..]);
    rest.split_at_checked(DIGEST)
        .is_some_and(|(digest, after)| {
            Sha256::new()
                .chain_update(before)
                .chain_update(after)
                .finalize()[..]
                == *digest
        })
}

/// The frame as a whole Parquet file.
pub(crate) fn encode(path: &Path, frame: &mut DataFrame) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes)
        .with_compression(ParquetCompression::Zstd(None))
        .finish(frame)
        .map_err(parquet_error(path))?;
    Ok(seal(bytes))
}

/// The frame of a Parquet file, all columns of it or those named.
pub(crate) fn read(path: &Path, columns: Option<Vec<String>>) -> Result<DataFrame, Error> {
    let bytes = fs::read(path).map_err(read_error(path))?;
    let damaged = || Error::Parquet {
        path: path.to_owned(),
        reason: "the file is damaged".to_owned(),
    };
    if !is_whole(&bytes) {
        return Err(damaged());
    }
    let parse = || {
        ParquetReader::new(Cursor::new(bytes))
            .with_columns(columns)
            .finish()
    };
    match catch_unwind(AssertUnwindSafe(parse)) {
        Ok(frame) => frame.map_err(parquet_error(path)),
        Err(_) => Err(damaged()),
    }
}

fn parquet_error(path: &Path) -> impl FnOnce(PolarsError) -> Error {
    move |error| Error::Parquet {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}
