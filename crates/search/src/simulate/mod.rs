//! Searches on a table of known results, where an evaluation costs nothing: what a strategy is worth,
//! over many runs.
//!
//! Every evaluation that a strategy asks for counts, repeats of an architecture too.

mod known;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use cellwright_space::Choices;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use crate::Error;
use crate::strategy::Strategy;

pub use known::KnownResults;

/// How a strategy is simulated.
#[derive(Debug, Clone, Copy)]
pub struct Simulation {
    /// Evaluations of a run.
    pub budget: usize,
    /// Runs, each with a seed of its own.
    pub runs: usize,
    /// The seed of all of them.
    pub seed: u64,
    /// Standard deviation of normal noise on every reward that is told, in the reward's unit.
    pub noise: f64,
    /// Runs at a time; 0: one a core.
    pub threads: usize,
}

/// What came of a strategy's runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Of each reported column, in the table's order of reports.
    pub columns: Vec<Curve>,
    /// Evaluations of architectures that the table does not hold, over all runs; told as failed.
    pub missing: u64,
}

/// A column's value at the architecture that the strategy recommends, over the evaluations of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// The column.
    pub column: String,
    /// The largest value of the column in the table, over the architectures of the space.
    pub best: f64,
    /// From the first evaluation after which every run recommends something, to the budget.
    pub points: Vec<Point>,
}

/// Mean and spread over the runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Evaluations so far.
    pub evaluations: usize,
    /// The mean over the runs.
    pub mean: f64,
    /// The standard deviation over the runs (n − 1); none for one run.
    pub std: Option<f64>,
}

/// Which place in the table a run's strategy recommended after each evaluation; none before the first it was told of.
type Recommended = Vec<Option<usize>>;

/// Makes the strategy of one run from its seed.
pub type Make<'a> = dyn Fn(u64) -> Result<Box<dyn Strategy>, Error> + Sync + 'a;

/// Runs a strategy against known results. The runs are parallel; the outcome does not depend on how many
/// threads there are. `run_is_over` is called after each, by any thread.
///
/// # Errors
/// Those of `make`; [`Error::Controller`] when a strategy's model fails; [`Error::Threads`] when no threads
/// can be started.
pub fn simulate(
    make: &Make<'_>,
    results: &KnownResults,
    simulation: &Simulation,
    run_is_over: &(dyn Fn() + Sync),
) -> Result<Outcome, Error> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(simulation.threads)
        .build()
        .map_err(|error| Error::Threads(error.to_string()))?;
    let runs: Vec<(Recommended, u64)> = pool.install(|| {
        (0..simulation.runs as u64)
            .into_par_iter()
            .map(|run| {
                let ended = one_run(make, results, simulation, run);
                run_is_over();
                ended
            })
            .collect::<Result<_, _>>()
    })?;
    let columns = results.reports().map(|(column, values)| Curve {
        column: column.to_owned(),
        best: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        points: points(&runs, values),
    });
    Ok(Outcome {
        columns: columns.collect(),
        missing: runs.iter().map(|(_, missing)| missing).sum(),
    })
}

/// One run: the places that the strategy recommended, and how many architectures were not in the table.
///
/// Within a batch, which it is told as a whole, the architecture counts that has the best reward of those evaluated since
/// and the one that was recommended before, so that no strategy looks worse for the size of its batches.
fn one_run(
    make: &Make<'_>,
    results: &KnownResults,
    simulation: &Simulation,
    run: u64,
) -> Result<(Recommended, u64), Error> {
    let seed = simulation
        .seed
        .wrapping_add(run.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mut strategy = make(seed)?;
    // Far from the strategy's own numbers, which are of the same seed.
    let mut noise = ChaCha8Rng::seed_from_u64(!seed);
    let normal = StandardNormal;
    let mut recommended = Vec::with_capacity(simulation.budget);
    let mut missing = 0;
    let mut incumbent = None;
    // The best that was told of each place.
    let mut rewards = HashMap::new();
    while recommended.len() < simulation.budget {
        let mut batch = strategy.ask();
        batch.truncate(simulation.budget - recommended.len());
        let mut reward = |choices: Choices| {
            let error: f64 = normal.sample(&mut noise);
            let noisy = |place| results.reward(place) + simulation.noise * error;
            let reward = results.place(&choices).map(noisy);
            (choices, reward)
        };
        let told: Vec<_> = batch.into_iter().map(&mut reward).collect();
        missing += told.iter().filter(|it| it.1.is_none()).count() as u64;
        for (choices, reward) in &told {
            if let (Some(place), Some(reward)) = (results.place(choices), *reward) {
                let recommended = incumbent.and_then(|it| rewards.get(&it));
                if recommended.is_none_or(|best| reward > *best) {
                    incumbent = Some(place);
                }
                let best = rewards.entry(place).or_insert(reward);
                *best = best.max(reward);
            }
            recommended.push(incumbent);
        }
        strategy.tell(&told)?;
        incumbent = told_place(&*strategy, results);
        if let Some(last) = recommended.last_mut() {
            *last = incumbent;
        }
    }
    Ok((recommended, missing))
}

/// The place of what the strategy recommends now.
fn told_place(strategy: &dyn Strategy, results: &KnownResults) -> Option<usize> {
    strategy.recommend().and_then(|it| results.place(&it))
}

/// Mean and deviation of a column at the recommended places, from where every run has one.
fn points(runs: &[(Recommended, u64)], values: &[f64]) -> Vec<Point> {
    let budget = runs.iter().map(|(it, _)| it.len()).min().unwrap_or(0);
    let point = |index: usize| {
        let of_runs = runs
            .iter()
            .map(|(places, _)| places[index].map(|place| values[place]));
        let (mean, std) = mean_and_std(&of_runs.collect::<Option<Vec<f64>>>()?);
        Some(Point {
            evaluations: index + 1,
            mean,
            std,
        })
    };
    (0..budget).filter_map(point).collect()
}

/// The mean, and the standard deviation of a sample, which one value alone has not.
fn mean_and_std(values: &[f64]) -> (f64, Option<f64>) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|it| (it - mean).powi(2)).sum();
    (mean, (n > 1.0).then(|| (squares / (n - 1.0)).sqrt()))
}
