//! A table of known results: any Parquet file or a folder of them, its columns by name.

use std::path::{Path, PathBuf};

use polars::prelude::*;

use crate::error::nearest;
use crate::record::{Record, Skipped, VERSION_COLUMN};
use crate::schema::{Status, Trial};
use crate::value::Value;
use crate::{Error, Run, files, parquet};

/// The column of a table of trials that says how each ended.
const STATUS: &str = "status";

/// The column of a table of trials that says for how long each was trained.
const EPOCHS: &str = "epochs";

/// A table of known results, read from any Parquet files.
#[derive(Clone, Debug)]
pub struct Table {
    path: PathBuf,
    frame: DataFrame,
    skipped: Vec<Skipped>,
}

impl Table {
    /// Reads a file; of a folder all its Parquet files one after the other, with the columns that all of them
    /// have; of a run its trials. A damaged file of several is no error, but in [`Table::skipped`].
    ///
    /// # Errors
    /// [`Error::Read`] where there is no such file, [`Error::Parquet`] where it is not a Parquet file,
    /// [`Error::Schema`] where a folder holds none, or a column is of different types in them.
    pub fn read(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let (frame, skipped) = if !path.is_dir() {
            (parquet::read(&path, None)?, Vec::new())
        } else if let Ok(run) = Run::open(&path) {
            trials(&run)?
        } else {
            joined(&path)?
        };
        Ok(Self {
            path,
            frame,
            skipped,
        })
    }

    /// Where the table was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Files that could not be used, which are worth a warning each.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// Whether each row is a result. Of a table of trials those are that are done: the others have numbers, such as
    /// the defined reward of a failure, that were never measured. Of any other table all are.
    pub fn results(&self) -> Vec<bool> {
        let is_of_trials = self.frame.column(VERSION_COLUMN).is_ok();
        match self.known_strings(STATUS) {
            Ok(statuses) if is_of_trials => statuses
                .iter()
                .map(|it| it.as_deref() == Some(Status::Done.as_str()))
                .collect(),
            _ => vec![true; self.rows()],
        }
    }

    /// For how many epochs each row of a table of trials was trained; none for any other table.
    pub fn epochs(&self) -> Option<Vec<f64>> {
        self.frame.column(VERSION_COLUMN).ok()?;
        self.numbers(EPOCHS).ok()
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.frame.height()
    }

    /// The names of its columns, in order.
    pub fn columns(&self) -> Vec<String> {
        self.frame
            .get_column_names_owned()
            .into_iter()
            .map(|name| name.to_string())
            .collect()
    }

    /// A column of text, one value for each row, or none.
    ///
    /// # Errors
    /// [`Error::NoColumn`] with the nearest names; [`Error::Column`] where it is no text.
    pub fn known_strings(&self, name: &str) -> Result<Vec<Option<String>>, Error> {
        Option::values(self.column(name)?).map_err(|reason| self.column_error(name, reason))
    }

    /// A column of text, one value for each row.
    ///
    /// # Errors
    /// [`Error::NoColumn`] with the nearest names; [`Error::Column`] where it is no text, or a row has no value.
    pub fn strings(&self, name: &str) -> Result<Vec<String>, Error> {
        String::values(self.column(name)?).map_err(|reason| self.column_error(name, reason))
    }

    /// A column of numbers of any kind (booleans are 0 and 1), one value for each row.
    ///
    /// # Errors
    /// [`Error::NoColumn`] with the nearest names; [`Error::Column`] where it holds no numbers, or a row has no
    /// value.
    pub fn numbers(&self, name: &str) -> Result<Vec<f64>, Error> {
        self.numbers_as(name)
    }

    /// As [`Table::numbers`], with none where a row has no value.
    ///
    /// # Errors
    /// [`Error::NoColumn`] with the nearest names; [`Error::Column`] where it holds no numbers.
    pub fn known_numbers(&self, name: &str) -> Result<Vec<Option<f64>>, Error> {
        self.numbers_as(name)
    }

    fn numbers_as<V: Value>(&self, name: &str) -> Result<Vec<V>, Error> {
        let column = self.column(name)?;
        let numeric = column.dtype().is_primitive_numeric() || column.dtype().is_bool();
        // A column without a value has no type of its own.
        if !numeric && *column.dtype() != DataType::Null {
            let reason = format!("holds {} where numbers were expected", column.dtype());
            return Err(self.column_error(name, reason));
        }
        column
            .cast(&DataType::Float64)
            .map_err(|error| error.to_string())
            .and_then(|column| V::values(&column))
            .map_err(|reason| self.column_error(name, reason))
    }

    fn column(&self, name: &str) -> Result<&Column, Error> {
        self.frame.column(name).map_err(|_| {
            let columns = self.columns();
            let nearest = nearest(name, columns.iter().map(String::as_str));
            Error::NoColumn {
                path: self.path.clone(),
                column: name.to_owned(),
                nearest,
                columns,
            }
        })
    }

    fn column_error(&self, column: &str, reason: String) -> Error {
        Error::Column {
            path: self.path.clone(),
            column: column.to_owned(),
            reason,
        }
    }
}

/// The trials of a run.
fn trials(run: &Run) -> Result<(DataFrame, Vec<Skipped>), Error> {
    let found = run.trials()?;
    let path = run.folder().join(Trial::FOLDER);
    if found.rows.is_empty() {
        return Err(none_in(path, &found.skipped));
    }
    let frame = Trial::to_frame(&found.rows);
    let frame = frame.map_err(|reason| Error::Schema { path, reason })?;
    Ok((frame, found.skipped))
}

/// The rows of all Parquet files of a folder, with the columns that all of them have.
fn joined(folder: &Path) -> Result<(DataFrame, Vec<Skipped>), Error> {
    let wrong = |path: &Path, reason: String| Error::Schema {
        path: path.to_owned(),
        reason,
    };
    let (mut frames, mut skipped) = (Vec::new(), Vec::new());
    for path in files::list(folder)? {
        match parquet::read(&path, None) {
            Ok(frame) => frames.push((path, frame)),
            Err(error) => skipped.push(Skipped::new(path, error)),
        }
    }
    let Some(((path, first), others)) = frames.split_first() else {
        return Err(none_in(folder.to_owned(), &skipped));
    };
    let mut common = first.get_column_names_owned();
    common.retain(|name| others.iter().all(|(_, it)| it.column(name).is_ok()));
    let select = |path: &Path, frame: &DataFrame| {
        let selected = frame.select(common.iter().cloned());
        selected.map_err(|error| wrong(path, error.to_string()))
    };
    let mut rows = select(path, first)?;
    for (path, frame) in others {
        rows.vstack_mut(&select(path, frame)?)
            .map_err(|error| wrong(path, error.to_string()))?;
    }
    Ok((rows, skipped))
}

/// A folder without a file that can be used.
fn none_in(folder: PathBuf, skipped: &[Skipped]) -> Error {
    let reason = match skipped {
        [] => "holds no Parquet files".to_owned(),
        [first, ..] => format!("holds no Parquet files that can be used; {first}"),
    };
    Error::Schema {
        path: folder,
        reason,
    }
}
