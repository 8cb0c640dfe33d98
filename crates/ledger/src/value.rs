//! What a column can hold: the bridge between a Rust type and a Polars column.

use polars::prelude::*;

/// A type that a column of the ledger can hold.
pub trait Value: Sized + Clone {
    /// The column's type as Polars stores it.
    const TYPE: DataType;
    /// Whether a row may lack it.
    const OPTIONAL: bool;

    /// The values as a column.
    fn column(name: &str, values: &[Self]) -> Column;

    /// The column as values; an error says what was expected and what is there.
    fn values(column: &Column) -> Result<Vec<Self>, String>;
}

/// The column in the wanted type; only widening without loss is done silently (strict casts).
fn cast(column: &Column, wanted: &DataType) -> Result<Column, String> {
    if column.dtype() == wanted {
        return Ok(column.clone());
    }
    let numbers = column.dtype().is_primitive_numeric() && wanted.is_primitive_numeric();
    if !numbers && !matches!(column.dtype(), DataType::Null) {
        return Err(format!(
            "column `{}` holds {} where {wanted} was expected",
            column.name(),
            column.dtype()
        ));
    }
    column
        .strict_cast(wanted)
        .map_err(|error| format!("column `{}`: {error}", column.name()))
}

/// Values that must all be there.
fn required<T>(name: &str, values: impl Iterator<Item = Option<T>>) -> Result<Vec<T>, String> {
    values
        .enumerate()
        .map(|(row, value)| {
            value.ok_or_else(|| format!("column `{name}` has no value in row {row}"))
        })
        .collect()
}

macro_rules! plain {
    ($type:ty, $polars:expr, $array:ident) => {
        impl Value for $type {
            const TYPE: DataType = $polars;
            const OPTIONAL: bool = false;

            fn column(name: &str, values: &[Self]) -> Column {
                Column::new(name.into(), values)
            }

            fn values(column: &Column) -> Result<Vec<Self>, String> {
                let column = cast(column, &$polars)?;
                let array = column.$array().map_err(|error| error.to_string())?;
                required(
                    column.name(),
                    array.iter().map(|value| value.map(Into::into)),
                )
            }
        }
    };
}

plain!(u32, DataType::UInt32, u32);
plain!(u64, DataType::UInt64, u64);
plain!(f64, DataType::Float64, f64);
plain!(String, DataType::String, str);

macro_rules! optional {
    ($type:ty, $polars:expr, $array:ident, $keep:expr) => {
        impl Value for Option<$type> {
            const TYPE: DataType = $polars;
            const OPTIONAL: bool = true;

            fn column(name: &str, values: &[Self]) -> Column {
                let values: Vec<Self> = values
                    .iter()
                    .cloned()
                    .map(|value| value.filter($keep))
                    .collect();
                Column::new(name.into(), values)
            }

            fn values(column: &Column) -> Result<Vec<Self>, String> {
                let column = cast(column, &$polars)?;
                let array = column.$array().map_err(|error| error.to_string())?;
                Ok(array.iter().map(|value| value.map(Into::into)).collect())
            }
        }
    };
}

optional!(u32, DataType::UInt32, u32, |_| true);
optional!(u64, DataType::UInt64, u64, |_| true);
// JSON knows no NaN and no infinity either, so both ways of travelling agree.
optional!(f64, DataType::Float64, f64, |value: &f64| value.is_finite());
optional!(String, DataType::String, str, |_| true);

/// Declares an enum whose values are stored as words.
macro_rules! words {
    ($(#[$about:meta])* pub enum $name:ident { $($(#[$doc:meta])+ $variant:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[$doc])+ #[serde(rename = $word)] $variant,)+ }

        impl $name {
            /// All values.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word that stands for it in the table.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl crate::value::Value for $name {
            const TYPE: polars::prelude::DataType = polars::prelude::DataType::String;
            const OPTIONAL: bool = false;

            fn column(name: &str, values: &[Self]) -> polars::prelude::Column {
                let words: Vec<String> = values.iter().map(|value| value.as_str().to_owned()).collect();
                crate::value::Value::column(name, &words)
            }

            fn values(column: &polars::prelude::Column) -> Result<Vec<Self>, String> {
                let words: Vec<String> = crate::value::Value::values(column)?;
                words
                    .iter()
                    .map(|word| match word.as_str() {
                        $($word => Ok(Self::$variant),)+
                        other => Err(format!(
                            "column `{}` holds `{other}`, which is none of {}",
                            column.name(),
                            [$($word),+].join(", ")
                        )),
                    })
                    .collect()
            }
        }
    };
}
pub(crate) use words;
