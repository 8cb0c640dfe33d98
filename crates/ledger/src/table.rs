//! A table of known results: any Parquet file, its columns by name.

use std::path::{Path, PathBuf};

use polars::prelude::*;

use crate::error::nearest;
use crate::value::Value;
use crate::{Error, parquet};

/// A table of known results, read from any Parquet file.
#[derive(Clone, Debug)]
pub struct Table {
    path: PathBuf,
    frame: DataFrame,
}

impl Table {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// [`Error::Read`] where there is no such file, [`Error::Parquet`] where it is not a Parquet file.
    pub fn read(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let frame = parquet::read(&path, None)?;
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
        let column = self.column(name)?;
        let numeric = column.dtype().is_primitive_numeric() || column.dtype().is_bool();
        if !numeric {
            let reason = format!("holds {} where numbers were expected", column.dtype());
            return Err(self.column_error(name, reason));
        }
        column
            .cast(&DataType::Float64)
            .map_err(|error| error.to_string())
            .and_then(|column| f64::values(&column))
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
