//! How long each architecture of a search is trained: for all epochs, or by successive halving.
//!
//! It stands between a strategy, which asks for architectures and is told one reward for each, and the
//! evaluator, which trains one architecture for so many epochs. Every strategy works with it.
//!
//! **Successive halving** is ASHA (Li et al. 2020, "A System for Massively Parallel Hyperparameter
//! Tuning", arXiv 1810.05934, algorithm 2) with epochs as the resource. Each architecture begins on
//! the lowest rung, with few epochs. Whatever is in the top 1/η of a rung, over all that the search
//! has trained on it, is promoted: trained on the next rung with about η times as many epochs. One
//! that was passed over may still be promoted later, when the rung has grown. A training that failed
//! counts among all, with the worst; what was refused, because it is beyond a limit, was not trained
//! and does not count.
//!
//! - *Order.* The paper promotes when a worker falls free, which makes the search depend on timing.
//!   Here promotions are made when all that was asked for is done, in the order of requests (highest
//!   rung first, best first), and repeated until none is left; then the strategy is told. So the
//!   search is the same with any number of workers.
//! - *A promoted architecture is trained again from the start.* The learning rate falls to 0 at the
//!   end of a training, so one cannot go on from a shorter one's end. Accuracies of one rung are of
//!   one schedule and compare. With η = 3 this costs at most half as much again.
//! - *What the strategy is told* is on the scale of the lowest rung: the reward on the highest rung
//!   that the architecture has reached, less what promotion to that rung and to each below it has
//!   gained on average so far. A longer training raises the accuracy of every network; told as it is,
//!   it would say that the few that were promoted early are far better than the others, and the
//!   same architecture would be worth more or less by the moment at which it was tried. What
//!   remains is how much better than the other promoted ones it turned out to be. A training that
//!   failed or was refused is told as failed, on whatever rung.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// The `[search.halving]` table of run.toml: successive halving over epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Halving {
    /// η: one of so many is promoted, to so many times the epochs; at least 2.
    pub reduction: u32,
    /// Epochs on the lowest rung; at least 1.
    pub least_epochs: usize,
}

impl Halving {
    /// The epochs of each rung, the lowest first: the least, times η from rung to rung, and on the
    /// highest all `epochs` (the paper's R; where it is no power of η times the least, the highest
    /// rung is so much further from the one below).
    ///
    /// # Errors
    /// In words, where a number is out of range or the epochs are too few for two rungs.
    pub fn rungs(&self, epochs: usize) -> Result<Vec<usize>, String> {
        let (reduction, least) = (self.reduction as usize, self.least_epochs);
        if reduction < 2 || least < 1 {
            return Err(format!(
                "successive halving needs a reduction of at least 2 and at least 1 epoch, not {reduction} and {least}"
            ));
        }
        let mut rungs: Vec<usize> =
            std::iter::successors(Some(least), |it| it.checked_mul(reduction))
                .take_while(|it| *it <= epochs)
                .collect();
        match rungs[..] {
            [_, _, ..] => {
                rungs.pop();
                rungs.push(epochs);
                Ok(rungs)
            }
            _ => Err(format!(
                "successive halving by {reduction} from {least} epochs needs at least {} epochs, and there are {epochs}",
                least.saturating_mul(reduction)
            )),
        }
    }
}

/// What is to be trained: an architecture by its number in the order of the search, and its rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Job {
    pub architecture: usize,
    pub rung: usize,
}

/// What came of a job.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Outcome {
    /// It was trained, to this reward.
    Reward(f64),
    /// Its training failed.
    Failed,
    /// It is beyond a limit, and was not trained.
    Refused,
}

impl Outcome {
    fn reward(self) -> Option<f64> {
        match self {
            Outcome::Reward(reward) => Some(reward),
            Outcome::Failed | Outcome::Refused => None,
        }
    }
}

/// The rungs and what came of the jobs on each.
#[derive(Debug)]
pub(crate) struct Schedule {
    reduction: usize,
    rungs: Vec<Rung>,
}

#[derive(Debug)]
struct Rung {
    epochs: usize,
    /// In the order of requests.
    results: Vec<Ended>,
    /// The place of each architecture among the results.
    places: HashMap<usize, usize>,
}

#[derive(Debug)]
struct Ended {
    architecture: usize,
    outcome: Outcome,
    promoted: bool,
}

impl Schedule {
    /// Every architecture for all epochs, or by halving.
    ///
    /// # Errors
    /// As [`Halving::rungs`].
    pub fn new(epochs: usize, halving: Option<Halving>) -> Result<Self, String> {
        let rungs = halving.map_or(Ok(vec![epochs]), |it| it.rungs(epochs))?;
        let rung = |epochs| Rung {
            epochs,
            results: Vec::new(),
            places: HashMap::new(),
        };
        Ok(Schedule {
            reduction: halving.map_or(2, |it| it.reduction as usize),
            rungs: rungs.into_iter().map(rung).collect(),
        })
    }

    /// The epochs of a rung.
    pub fn epochs(&self, rung: usize) -> usize {
        self.rungs[rung].epochs
    }

    /// Whether a rung is the highest.
    pub fn is_highest(&self, rung: usize) -> bool {
        rung + 1 == self.rungs.len()
    }

    /// Takes the outcome of a job in; to be called in the order of requests.
    pub fn record(&mut self, job: Job, outcome: Outcome) {
        let rung = &mut self.rungs[job.rung];
        rung.places.insert(job.architecture, rung.results.len());
        rung.results.push(Ended {
            architecture: job.architecture,
            outcome,
            promoted: false,
        });
    }

    /// All that is due for promotion, which counts as promoted from now on.
    pub fn promotions(&mut self) -> Vec<Job> {
        let below_highest = 0..self.rungs.len() - 1;
        let mut jobs = Vec::new();
        for rung in below_highest.rev() {
            let due = self.rungs[rung].trained() / self.reduction;
            let results = &mut self.rungs[rung].results;
            let mut ranked: Vec<(usize, f64)> = (0..results.len())
                .filter_map(|index| Some((index, results[index].outcome.reward()?)))
                .collect();
            // The sort keeps the order of requests among equals.
            ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
            for (index, _) in ranked.into_iter().take(due) {
                let ended = &mut results[index];
                if !std::mem::replace(&mut ended.promoted, true) {
                    jobs.push(Job {
                        architecture: ended.architecture,
                        rung: rung + 1,
                    });
                }
            }
        }
        jobs
    }

    /// What the strategy is told of an architecture; none where its last training failed or was
    /// refused, or there was none.
    pub fn told(&self, architecture: usize) -> Option<f64> {
        let knows = |rung: &Rung| rung.places.contains_key(&architecture);
        let reached = self.rungs.iter().rposition(knows)?;
        let gains: f64 = (1..=reached).filter_map(|rung| self.gain(rung)).sum();
        Some(self.rungs[reached].reward(architecture)? - gains)
    }

    /// What promotion to a rung has gained on average; none where nothing was promoted yet.
    fn gain(&self, rung: usize) -> Option<f64> {
        let below = &self.rungs[rung - 1];
        let gain = |it: &Ended| Some(it.outcome.reward()? - below.reward(it.architecture)?);
        let gains: Vec<f64> = self.rungs[rung].results.iter().filter_map(gain).collect();
        (!gains.is_empty()).then(|| gains.iter().sum::<f64>() / gains.len() as f64)
    }
}

impl Rung {
    /// How many were trained on it.
    fn trained(&self) -> usize {
        let trained = |it: &&Ended| it.outcome != Outcome::Refused;
        self.results.iter().filter(trained).count()
    }

    fn reward(&self, architecture: usize) -> Option<f64> {
        let place = *self.places.get(&architecture)?;
        self.results[place].outcome.reward()
    }
}
