//! The files of one table: a folder of Parquet files, each whole or not there.

use std::fs;
use std::path::{Path, PathBuf};

use crate::durable::{self, Existing, read_error};
use crate::record::{Record, Rows, Skipped};
use crate::{Error, parquet};

/// Writes rows as the file `path`.
pub(crate) fn write<R: Record>(path: &Path, rows: &[R], existing: Existing) -> Result<(), Error> {
    let mut frame = R::to_frame(rows).map_err(|reason| Error::Schema {
        path: path.to_owned(),
        reason,
    })?;
    let bytes = parquet::encode(path, &mut frame)?;
    durable::write(path, &bytes, existing)
}

/// The rows of all files in a folder, in the order of their names; `refuse` may give a reason to leave a file out.
pub(crate) fn read<R: Record>(
    folder: &Path,
    mut refuse: impl FnMut(&[R]) -> Option<String>,
) -> Result<Rows<R>, Error> {
    let mut found = Rows {
        rows: Vec::new(),
        skipped: Vec::new(),
    };
    for path in list(folder)? {
        let frame = match parquet::read(&path, None) {
            Ok(frame) => frame,
            Err(error) => {
                found.skipped.push(Skipped::new(path, error));
                continue;
            }
        };
        match R::from_frame(&frame).and_then(|rows| refuse(&rows).map_or(Ok(rows), Err)) {
            Ok(mut rows) => found.rows.append(&mut rows),
            Err(reason) => found.skipped.push(Skipped {
                path,
                reason,
                damaged: false,
            }),
        }
    }
    Ok(found)
}

/// The Parquet files of a folder by name; a folder that is not there has none.
pub(crate) fn list(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(read_error(folder))? {
        let path = entry.map_err(read_error(folder))?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !hidden
            && path
                .extension()
                .is_some_and(|extension| extension == "parquet")
        {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
