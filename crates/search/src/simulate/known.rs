//! A table of known results, its rows found by their architectures.

use std::collections::HashMap;

use cellwright_ledger::Table;
use cellwright_space::{Choices, Space};

use crate::Error;

/// What is known of the architectures of a space: a reward, and what is to be reported.
#[derive(Debug, Clone)]
pub struct KnownResults {
    rows: HashMap<Choices, usize>,
    rewards: Vec<f64>,
    reports: Vec<(String, Vec<f64>)>,
    foreign: usize,
}

impl KnownResults {
    /// Reads the columns of a table. The rows' architectures are in the column `architectures`, in the
    /// space's notation; where none is named, in the first column of texts that holds one.
    ///
    /// Rows that are no architectures of this space are left out and counted.
    ///
    /// # Errors
    /// [`Error::Ledger`] for a column that is not there or holds something else; [`Error::NoArchitectures`]
    /// where no row is an architecture of the space.
    pub fn new(
        table: &Table,
        space: &Space,
        architectures: Option<&str>,
        reward: &str,
        reports: &[String],
    ) -> Result<Self, Error> {
        let (rows, foreign) = match architectures {
            Some(column) => Self::rows(space, &table.strings(column)?),
            None => Self::find_rows(table, space),
        };
        if rows.is_empty() {
            return Err(Error::NoArchitectures {
                path: table.path().to_owned(),
                space: space.name().to_owned(),
                example: space.notation(&space.first()),
            });
        }
        let report = |column: &String| Ok((column.clone(), table.numbers(column)?));
        Ok(KnownResults {
            rows,
            rewards: table.numbers(reward)?,
            reports: reports.iter().map(report).collect::<Result<_, Error>>()?,
            foreign,
        })
    }

    /// Rows by architecture, and how many are none; of several with one architecture the first counts.
    fn rows(space: &Space, texts: &[String]) -> (HashMap<Choices, usize>, usize) {
        let mut rows = HashMap::with_capacity(texts.len());
        let mut foreign = 0;
        for (row, text) in texts.iter().enumerate() {
            match space.parse_notation(text) {
                Ok(choices) => {
                    rows.entry(choices).or_insert(row);
                }
                Err(_) => foreign += 1,
            }
        }
        (rows, foreign)
    }

    /// The rows by the first column of texts that holds an architecture.
    fn find_rows(table: &Table, space: &Space) -> (HashMap<Choices, usize>, usize) {
        let columns = table.columns().into_iter();
        columns
            .filter_map(|column| table.strings(&column).ok())
            .map(|texts| Self::rows(space, &texts))
            .find(|(rows, _)| !rows.is_empty())
            .unwrap_or_default()
    }

    /// The row of an architecture.
    #[must_use]
    pub fn row(&self, choices: &Choices) -> Option<usize> {
        self.rows.get(choices).copied()
    }

    /// The reward of a row.
    #[must_use]
    pub fn reward(&self, row: usize) -> f64 {
        self.rewards[row]
    }

    /// The names and values of the reported columns, a value for each row.
    pub fn reports(&self) -> impl Iterator<Item = (&str, &[f64])> {
        let reports = self.reports.iter();
        reports.map(|(name, values)| (name.as_str(), values.as_slice()))
    }

    /// The largest of a column's values (one for each row of the table) among the architectures of the space; none
    /// where no value is a number.
    pub(super) fn largest(&self, values: &[f64]) -> Option<f64> {
        let known = self.rows.values().map(|row| values[*row]);
        known
            .filter(|value| value.is_finite())
            .max_by(f64::total_cmp)
    }

    /// How many architectures the table knows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it knows none; it never does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Rows of the table that are no architectures of the space.
    #[must_use]
    pub fn foreign(&self) -> usize {
        self.foreign
    }
}
