//! A table of known results: any Parquet file or a folder of them, its columns by name.

use std::path::{Path, PathBuf};

use polars::prelude::*;

use crate::error::nearest;
use crate::record::Record;
use crate::schema::Trial;
use crate::value::Value;
use crate::{Error, Run, files, parquet};

/// A table of known results, read from any Parquet files.
#[derive(Clone, Debug)]
pub struct Table {
    path: PathBuf,
    frame: DataFrame,
}

impl Table {
    /// Reads a file; of a folder all its Parquet files one after the other, with the columns that all of them
    /// have; of a run its trials.
    ///
    /// # Errors
    /// [`Error::Read`] where there is no such file, [`Error::Parquet`] where it is not a Parquet file,
    /// [`Error::Schema`] where a folder holds none, or a column is of different types in them.
    pub fn read(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let frame = if !path.is_dir() {
            parquet::read(&path, None)?
        } else if Run::open(&path).is_ok() {
            joined(&path.join(Trial::FOLDER))?
        } else {
            joined(&path)?
        };
        Ok(Self { path, frame })
    }

    /// Where the table was read from.
    pub fn path(&self) -> &Path {
        &self.path
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

/// The rows of all Parquet files of a folder, with the columns that all of them have.
fn joined(folder: &Path) -> Result<DataFrame, Error> {
    let wrong = |path: &Path, reason: String| Error::Schema {
        path: path.to_owned(),
        reason,
    };
    let paths = files::list(folder)?;
    let read = |path: &PathBuf| parquet::read(path, None);
    let frames: Vec<DataFrame> = paths.iter().map(read).collect::<Result<_, _>>()?;
    let Some((first, others)) = frames.split_first() else {
        return Err(wrong(folder, "holds no Parquet files".to_owned()));
    };
    let mut common = first.get_column_names_owned();
    common.retain(|name| others.iter().all(|it| it.column(name).is_ok()));
    let select = |path: &Path, frame: &DataFrame| {
        let selected = frame.select(common.iter().cloned());
        selected.map_err(|error| wrong(path, error.to_string()))
    };
    let mut rows = select(folder, first)?;
    for (path, frame) in paths[1..].iter().zip(others) {
        rows.vstack_mut(&select(path, frame)?)
            .map_err(|error| wrong(path, error.to_string()))?;
    }
    Ok(rows)
}
