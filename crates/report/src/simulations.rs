//! The report of simulations: strategies on a table of known results, laid over each other.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use cellwright_ledger::{SimulationPoint, Simulations};

use crate::charts::regret;
use crate::numbers::tick;
use crate::{Error, Written, draw_error, page, remove_images, save, write_images};

/// The simulations of one reported column.
pub(crate) struct Column<'a> {
    pub(crate) name: &'a str,
    /// A curve a strategy, in the order of their names.
    pub(crate) curves: Vec<Curve<'a>>,
}

/// One strategy's points of a column, in the order of the evaluations.
pub(crate) struct Curve<'a> {
    pub(crate) strategy: &'a str,
    pub(crate) points: Vec<&'a SimulationPoint>,
}

/// How accuracies are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accuracy {
    /// From 0 to 1.
    Fraction,
    /// From 0 to 100.
    Percentage,
}

impl<'a> Column<'a> {
    fn of(name: &'a str, strategies: &BTreeSet<&'a str>, points: &'a [SimulationPoint]) -> Self {
        let curve = |strategy: &&'a str| {
            let fits = |it: &&SimulationPoint| {
                let finite = (it.best - it.mean).is_finite() && it.std.is_none_or(f64::is_finite);
                it.column == name && it.strategy == *strategy && finite
            };
            let mut points: Vec<&SimulationPoint> = points.iter().filter(fits).collect();
            points.sort_by_key(|point| point.evaluations);
            Curve { strategy, points }
        };
        Self {
            name,
            curves: strategies.iter().map(curve).collect(),
        }
    }

    /// All points of all strategies.
    pub(crate) fn points(&self) -> impl Iterator<Item = &'a SimulationPoint> {
        self.curves
            .iter()
            .flat_map(|curve| curve.points.iter().copied())
    }

    /// The largest value of the table.
    pub(crate) fn best(&self) -> f64 {
        self.points()
            .map(|point| point.best)
            .fold(f64::NEG_INFINITY, f64::max)
    }

    /// What the numbers of an accuracy are, where the column is one; of anything else it is not known whether more is
    /// better.
    pub(crate) fn accuracy(&self) -> Option<Accuracy> {
        let name = self.name.to_lowercase();
        let any = |words: &[&str]| words.iter().any(|word| name.contains(word));
        let part = |word: &str| ["val", "valid", "validation", "test"].contains(&word);
        let of_part = name.split(|it: char| !it.is_alphanumeric()).any(part);
        let named = (of_part || any(&["acc", "top1"]))
            && !any(&["loss", "err", "time", "second", "latency", "cost"]);
        let best = self.best();
        let within = |most: f64| {
            let mut means = self.points().map(|point| point.mean);
            best <= most && means.all(|mean| (0.0..=most).contains(&mean))
        };
        match named {
            true if within(1.0) => Some(Accuracy::Fraction),
            true if within(100.0) => Some(Accuracy::Percentage),
            _ => None,
        }
    }

    /// What was simulated: space, table, reward with its noise, runs.
    pub(crate) fn setting(&self) -> String {
        let all = |text: fn(&SimulationPoint) -> String| {
            let texts: BTreeSet<String> = self.points().map(text).collect();
            texts.into_iter().collect::<Vec<_>>().join(", ")
        };
        let runs: BTreeSet<u32> = self.points().map(|point| point.runs).collect();
        let runs: Vec<String> = runs.iter().map(u32::to_string).collect();
        format!(
            "{}, {} architectures of {}; reward {}; {} {} a strategy",
            all(|it| it.space.clone()),
            all(|it| it.architectures.to_string()),
            all(|it| {
                let name = Path::new(&it.table).file_name();
                name.map_or(it.table.clone(), |name| name.to_string_lossy().into_owned())
            }),
            all(|it| match it.noise {
                0.0 => it.reward.clone(),
                noise => format!("{} with noise of {}", it.reward, tick(noise)),
            }),
            runs.join(" or "),
            if runs == ["1"] { "run" } else { "runs" }
        )
    }
}

/// Draws the report of simulations into `folder`, which is made if it is not there: a figure for each reported
/// column as SVG and PNG, and the page. Files of an earlier report are replaced, and its other charts are removed.
///
/// # Errors
/// [`Error::NoSimulation`] where there is no point to draw, [`Error::Ledger`] where the folder cannot be read,
/// [`Error::Write`], [`Error::Draw`].
pub fn write_simulations(simulations: &Simulations, folder: &Path) -> Result<Written, Error> {
    let found = simulations.points()?;
    let points = &found.rows;
    if points.is_empty() {
        return Err(Error::NoSimulation {
            folder: simulations.folder().to_owned(),
        });
    }
    fs::create_dir_all(folder).map_err(|source| Error::Write {
        path: folder.to_owned(),
        source,
    })?;
    remove_images(folder, |stem| stem.starts_with("regret-"))?;
    let strategies: BTreeSet<&str> = points.iter().map(|point| point.strategy.as_str()).collect();
    let names: BTreeSet<&str> = points.iter().map(|point| point.column.as_str()).collect();
    let mut files: Vec<PathBuf> = vec![folder.join("index.html")];
    let mut figures = Vec::new();
    let mut setting = String::new();
    for (index, name) in names.iter().enumerate() {
        let column = Column::of(name, &strategies, points);
        let stem = stem(name, index, &names);
        let svg = regret::draw(&column).map_err(draw_error(&stem))?;
        files.extend(write_images(folder, &stem, &svg)?);
        setting = column.setting();
        figures.push((column.name.to_owned(), svg));
    }
    let warnings: Vec<String> = found.skipped.iter().map(ToString::to_string).collect();
    let html = page::simulations::html(simulations.folder(), &setting, &warnings, &figures);
    save(&files[0], html.as_bytes())?;
    Ok(Written {
        page: files[0].clone(),
        files,
        warnings,
    })
}

/// The name of a column's files: `regret` and what of its name may stand in a file's, numbered where two are alike.
fn stem(column: &str, index: usize, columns: &BTreeSet<&str>) -> String {
    let plain = |name: &str| -> String {
        let keep = |c: char| {
            if c.is_alphanumeric() || c == '_' {
                c
            } else {
                '-'
            }
        };
        name.chars().map(keep).collect()
    };
    let alike = columns.iter().filter(|other| plain(other) == plain(column));
    match alike.count() {
        1 => format!("regret-{}", plain(column)),
        _ => format!("regret-{}-{index}", plain(column)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column<'a>(name: &'a str, point: &'a SimulationPoint) -> Column<'a> {
        let curves = vec![Curve {
            strategy: "random",
            points: vec![point],
        }];
        Column { name, curves }
    }

    #[test]
    fn an_accuracy_is_known_by_its_name_and_its_values() {
        let of = |name, mean, best| {
            let point = SimulationPoint {
                mean,
                best,
                ..SimulationPoint::default()
            };
            column(name, &point).accuracy()
        };
        for name in [
            "valid_12ep",
            "test_200ep",
            "Acc",
            "test_top1",
            "cifar10-test",
        ] {
            assert_eq!(of(name, 70.0, 94.0), Some(Accuracy::Percentage), "{name}");
            assert_eq!(of(name, 0.7, 0.94), Some(Accuracy::Fraction), "{name}");
            assert_eq!(of(name, 700.0, 940.0), None, "{name}");
        }
        for name in [
            "latency_ms",
            "params",
            "valid_loss",
            "test_seconds",
            "latest",
        ] {
            assert_eq!(of(name, 70.0, 76.6), None, "{name}");
        }
    }
}
