//! A table of known results, its rows found by their architectures.

use std::collections::HashMap;

use cellwright_ledger::Table;
use cellwright_space::{Choices, Space};

use crate::Error;

/// What is known of the architectures of a space: a reward, and what is to be reported.
#[derive(Debug, Clone)]
pub struct KnownResults {
    /// The place of each architecture among the values.
    places: HashMap<Choices, usize>,
    rewards: Vec<f64>,
    reports: Vec<(String, Vec<f64>)>,
    left_out: Vec<(usize, String)>,
    repeated: usize,
}

impl KnownResults {
    /// Reads the columns of a table. The rows' architectures are in the column `architectures`, in the
    /// space's notation; where none is named, in the first column of texts that holds one. Of several rows with
    /// one architecture (a row a seed) the mean counts; of trials that of the trainings of most epochs.
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
        let mut places = HashMap::new();
        // The rows of each architecture.
        let mut rows: Vec<Vec<usize>> = Vec::new();
        let mut left_out: Vec<(usize, String)> = Vec::new();
        for (row, choices) in parsed.into_iter().enumerate() {
            let choices = choices.ok_or_else(|| format!("no architecture of {}", space.name()));
            match choices.and_then(|it| without(row).map_or(Ok(it), Err)) {
                Ok(choices) => {
                    let place = *places.entry(choices).or_insert(rows.len());
                    match rows.get_mut(place) {
                        Some(rows) => rows.push(row),
                        None => rows.push(vec![row]),
                    }
                }
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
        let repeated = rows.iter().filter(|rows| rows.len() > 1).count();
        if let Some(epochs) = table.epochs() {
            for rows in &mut rows {
                let most = rows.iter().map(|row| epochs[*row]).fold(0.0, f64::max);
                rows.retain(|row| epochs[*row] >= most);
            }
        }
        // The rows that are left have all values.
        let mut columns = columns.iter().map(|column| {
            let mean = |rows: &Vec<usize>| {
                let sum: f64 = rows.iter().filter_map(|row| column[*row]).sum();
                sum / rows.len() as f64
            };
            rows.iter().map(mean).collect::<Vec<f64>>()
        });
        Ok(KnownResults {
            places,
            rewards: columns.next().unwrap_or_default(),
            reports: reports.iter().cloned().zip(columns).collect(),
            left_out,
            repeated,
        })
    }

    /// The place of an architecture among the values.
    #[must_use]
    pub fn place(&self, choices: &Choices) -> Option<usize> {
        self.places.get(choices).copied()
    }

    /// The reward at a place.
    #[must_use]
    pub fn reward(&self, place: usize) -> f64 {
        self.rewards[place]
    }

    /// The names and values of the reported columns, a value for each architecture.
    pub fn reports(&self) -> impl Iterator<Item = (&str, &[f64])> {
        let reports = self.reports.iter();
        reports.map(|(name, values)| (name.as_str(), values.as_slice()))
    }

    /// How many architectures the table knows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether it knows none; it never does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How many architectures have several rows.
    #[must_use]
    pub fn repeated(&self) -> usize {
        self.repeated
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
