//! A row type and its table: one declaration gives the struct, its JSON form and its Parquet columns.

use std::path::PathBuf;

use polars::prelude::*;

use crate::Error;
use crate::schema::VERSION;

/// The name of the column that carries the schema's version in every file.
pub(crate) const VERSION_COLUMN: &str = "schema_version";

/// One column of a table, as its declaration says.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnSpec {
    /// The column's name, with its unit where it has one.
    pub name: &'static str,
    /// The column's type.
    pub dtype: DataType,
    /// Whether a row may lack it.
    pub optional: bool,
    /// What it means.
    pub about: &'static str,
}

/// A row of one of the ledger's tables.
pub trait Record: Sized + Clone {
    /// The folder of the run that holds the table's files.
    const FOLDER: &'static str;

    /// The table's columns in order, without the schema's version.
    fn columns() -> Vec<ColumnSpec>;

    /// The rows as Polars columns, in the same order.
    fn to_columns(rows: &[Self]) -> Vec<Column>;

    /// The rows of a frame; its other columns are left alone. An error says which column is wrong and how.
    fn from_frame(frame: &DataFrame) -> Result<Vec<Self>, String>;

    /// The rows as a frame, the schema's version first.
    ///
    /// # Errors
    /// Says what Polars refuses; with columns of equal length it refuses nothing.
    fn to_frame(rows: &[Self]) -> Result<DataFrame, String> {
        let mut columns = vec![Column::new(
            VERSION_COLUMN.into(),
            vec![VERSION; rows.len()],
        )];
        columns.extend(Self::to_columns(rows));
        DataFrame::new(rows.len(), columns).map_err(|error| error.to_string())
    }
}

/// What a table's files hold: all rows, and the files that could not be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows<R> {
    /// The rows, in order.
    pub rows: Vec<R>,
    /// Damaged or foreign files, which are worth a warning each.
    pub skipped: Vec<Skipped>,
}

/// A file that is no part of the table, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The file.
    pub path: PathBuf,
    /// Why it was left out.
    pub reason: String,
    /// Whether it is no readable Parquet file, as one that was cut short.
    pub damaged: bool,
}

impl Skipped {
    /// A file that cannot be read.
    pub(crate) fn new(path: PathBuf, error: Error) -> Self {
        let damaged = matches!(error, Error::Parquet { .. });
        // Without its path, which stands beside it.
        let reason = match error {
            Error::Parquet { reason, .. } => format!("not a readable Parquet file: {reason}"),
            Error::Read { source, .. } => format!("cannot be read: {source}"),
            other => other.to_string(),
        };
        Self {
            path,
            reason,
            damaged,
        }
    }
}

impl std::fmt::Display for Skipped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "skipped {}: {}", self.path.display(), self.reason)
    }
}

/// Whether a frame's rows were written by a version that this one understands.
pub(crate) fn check_version(frame: &DataFrame) -> Result<(), String> {
    let column = frame
        .column(VERSION_COLUMN)
        .map_err(|_| format!("not a table of cellwright: it has no column `{VERSION_COLUMN}`"))?;
    let versions: Vec<u32> = crate::value::Value::values(column)?;
    match versions.iter().find(|&&version| version > VERSION) {
        Some(version) => Err(format!(
            "written by a newer cellwright (schema version {version}, this one knows {VERSION}); update cellwright"
        )),
        None => Ok(()),
    }
}

/// A column's values; a column that may be empty may also be missing, as in files of an older version.
pub(crate) fn read_column<V: crate::value::Value>(
    frame: &DataFrame,
    name: &str,
) -> Result<Vec<V>, String> {
    match frame.column(name) {
        Ok(column) => V::values(column),
        Err(_) if V::OPTIONAL => {
            V::values(&Column::full_null(name.into(), frame.height(), &V::TYPE))
        }
        Err(_) => Err(format!("column `{name}` is missing")),
    }
}

/// Declares a row type: a field is a column, its docs are the column's description.
macro_rules! record {
    (
        $(#[$about:meta])+
        pub struct $name:ident in $folder:literal {
            $( $(#[doc = $doc:literal])+ pub $field:ident: $type:ty, )+
        }
    ) => {
        $(#[$about])+
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        pub struct $name { $( $(#[doc = $doc])+ pub $field: $type, )+ }

        impl $crate::record::Record for $name {
            const FOLDER: &'static str = $folder;

            fn columns() -> Vec<$crate::record::ColumnSpec> {
                use $crate::value::Value;
                vec![$( $crate::record::ColumnSpec {
                    name: stringify!($field),
                    dtype: <$type as Value>::TYPE,
                    optional: <$type as Value>::OPTIONAL,
                    about: concat!($($doc),+).trim_ascii(),
                } ),+]
            }

            fn to_columns(rows: &[Self]) -> Vec<polars::prelude::Column> {
                use $crate::value::Value;
                vec![$( {
                    let values: Vec<$type> = rows.iter().map(|row| row.$field.clone()).collect();
                    <$type as Value>::column(stringify!($field), &values)
                } ),+]
            }

            fn from_frame(frame: &polars::prelude::DataFrame) -> Result<Vec<Self>, String> {
                $crate::record::check_version(frame)?;
                $( let mut $field =
                    $crate::record::read_column::<$type>(frame, stringify!($field))?.into_iter(); )+
                Ok(std::iter::from_fn(|| Some(Self { $( $field: $field.next()? ),+ })).collect())
            }
        }
    };
}
pub(crate) use record;
