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
    left_out: Vec<(usize, String)>,
}

impl KnownResults {
    /// Reads the columns of a table. The rows' architectures are in the column `architectures`, in the
    /// space's notation; where none is named, in the first column of texts that holds one. Of several rows with
    /// one architecture the first counts.
    ///
    /// Rows that are no architectures of this space, that are trials which are not done, or that lack a reward or what
    /// is to be reported (NaN and infinity are no values), are left out and counted.
    ///
    /// # Errors
    /// [`Error::Ledger`] for a column that is not there or holds something else; [`Error::NoArchitectures`]
    /// where no row is an architecture of the space; [`Error::NoResults`] where none of those has the values.
    pub fn new(
        table: &Table,
        space: &Space,
        architectures: Option<&str>,
        reward: &str,
        reports: &[String],
    ) -> Result<Self, Error> {
        let parsed = match architectures {
            Some(column) => parsed(space, &table.known_strings(column)?),
            None => find(table, space),
        };
        let architectures = parsed.iter().flatten().count();
        if architectures == 0 {
            return Err(Error::NoArchitectures {
                path: table.path().to_owned(),
                space: space.name().to_owned(),
                example: space.notation(&space.first()),
            });
        }
        let names = || std::iter::once(reward).chain(reports.iter().map(String::as_str));
        let columns = names()
            .map(|column| table.known_numbers(column))
            .collect::<Result<Vec<_>, _>>()?;
        let is_known = |value: Option<f64>| value.is_some_and(f64::is_finite);
        let results = table.results();
        let without = |row: usize| -> Option<String> {
            if !results[row] {
                return Some("whose trial is not done".to_owned());
            }
            let mut columns = names().zip(&columns);
            let lacking = columns.find(|(_, values)| !is_known(values[row]));
            lacking.map(|(name, _)| format!("without {name}"))
        };
        let mut rows = HashMap::new();
        let mut left_out: Vec<(usize, String)> = Vec::new();
        for (row, choices) in parsed.into_iter().enumerate() {
            let choices = choices.ok_or_else(|| format!("no architecture of {}", space.name()));
            match choices.and_then(|it| without(row).map_or(Ok(it), Err)) {
                Ok(choices) => drop(rows.entry(choices).or_insert(row)),
                Err(reason) => match left_out.iter_mut().find(|(_, it)| *it == reason) {
                    Some((count, _)) => *count += 1,
                    None => left_out.push((1, reason)),
                },
            }
        }
        if rows.is_empty() {
            return Err(Error::NoResults {
                path: table.path().to_owned(),
                space: space.name().to_owned(),
                architectures,
                columns: names().collect::<Vec<_>>().join(", "),
            });
        }
        // What a row that is left out lacks is not looked at.
        let mut columns = columns.into_iter().map(|column| {
            let values = column.into_iter().map(|it| it.unwrap_or(f64::NAN));
            values.collect::<Vec<f64>>()
        });
        Ok(KnownResults {
            rows,
            rewards: columns.next().unwrap_or_default(),
            reports: reports.iter().cloned().zip(columns).collect(),
            left_out,
        })
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

    /// The largest of a column's values (one for each row of the table) among the architectures of the space.
    pub(super) fn largest(&self, values: &[f64]) -> f64 {
        let known = self.rows.values().map(|row| values[*row]);
        known.fold(f64::NEG_INFINITY, f64::max)
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

    /// The reasons for which rows of the table are left out, in words, each with the number of rows.
    #[must_use]
    pub fn left_out(&self) -> &[(usize, String)] {
        &self.left_out
    }
}

/// The architecture of each row, if it is one of the space.
fn parsed(space: &Space, texts: &[Option<String>]) -> Vec<Option<Choices>> {
    let parse = |text: &Option<String>| space.parse_notation(text.as_ref()?).ok();
    texts.iter().map(parse).collect()
}

/// The architectures by the first column of texts that holds one.
fn find(table: &Table, space: &Space) -> Vec<Option<Choices>> {
    let columns = table.columns().into_iter();
    columns
        .filter_map(|column| table.known_strings(&column).ok())
        .map(|texts| parsed(space, &texts))
        .find(|rows| rows.iter().any(Option::is_some))
        .unwrap_or_default()
}
