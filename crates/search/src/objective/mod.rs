//! The objective of a search: accuracy alone, or accuracy against costs.
//!
//! Costs enter in two ways. A [`Target`] is a factor of the reward, after Tan et al. (2019), "MnasNet",
//! arXiv 1807.11626, equations 2 and 3: reward = accuracy × (cost / target)^w. A [`Limit`] is a bound:
//! an architecture beyond it is not trained.

mod parse;
#[cfg(test)]
mod tests;

use cellwright_ledger::{Status, Trial};
use serde::{Deserialize, Serialize};

/// What a strategy is told of a trial, and what is not even tried. The default: accuracy alone.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objective {
    /// The factors of the reward beside the accuracy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
    /// The bounds of what is trained.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Limit>,
}

/// What a network costs. MACs and parameters are counted before it is trained; latency is measured, so a
/// search that uses it does not repeat bit for bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cost {
    /// Multiply-accumulates of one image's forward pass; FLOPs are twice as many.
    Macs,
    /// Learnable parameters.
    Params,
    /// Milliseconds of one image's forward pass on the run's device, as the table's `latency_ms`.
    LatencyMs,
}

/// A factor (cost / at)^w of the reward, where w is `below` or `above` depending on the side of `at`.
///
/// MnasNet's soft constraint has w = -0.07 on both sides: doubling the cost is worth it for about 5 % more
/// accuracy, relative. Its hard variant has 0 below and -1 above.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// What is counted.
    pub cost: Cost,
    /// The cost at which the factor is 1, in the cost's unit; above 0.
    #[serde(deserialize_with = "parse::amount")]
    pub at: f64,
    /// The exponent where the cost is at most `at` (the paper's alpha); at most 0.
    #[serde(deserialize_with = "parse::exponent")]
    pub below: f64,
    /// The exponent where the cost is more (the paper's beta); at most 0.
    #[serde(deserialize_with = "parse::exponent")]
    pub above: f64,
}

/// A bound on a cost. A limit on MACs or parameters is checked before anything is run, one on latency after
/// a short measurement, both before training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// What is counted.
    pub cost: Cost,
    /// The most that is trained, in the cost's unit; above 0.
    #[serde(deserialize_with = "parse::amount")]
    pub at_most: f64,
}

impl Cost {
    /// The cost in a trial's row, in its unit. None where it was not measured.
    #[must_use]
    pub fn of(self, trial: &Trial) -> Option<f64> {
        match self {
            Cost::Macs => Some(trial.macs as f64),
            Cost::Params => Some(trial.params as f64),
            Cost::LatencyMs => trial.latency_ms,
        }
    }
}

impl Target {
    /// The factor for a cost.
    fn factor(&self, cost: f64) -> f64 {
        let exponent = if cost <= self.at {
            self.below
        } else {
            self.above
        };
        (cost / self.at).powf(exponent)
    }
}

impl Objective {
    /// The reward: the validation accuracy (a fraction) times the factor of each target. A network without
    /// cost has the reward of one that costs the least that is counted, 1.
    ///
    /// None for a trial that failed, or whose row lacks a target's cost: each strategy has a defined way to
    /// take that.
    #[must_use]
    pub fn reward(&self, trial: &Trial) -> Option<f64> {
        let accuracy = trial.valid_top1.filter(|_| trial.status == Status::Done)?;
        self.targets.iter().try_fold(accuracy, |reward, target| {
            let cost = match target.cost {
                Cost::LatencyMs => target.cost.of(trial)?,
                Cost::Macs | Cost::Params => target.cost.of(trial)?.max(1.0),
            };
            Some(reward * target.factor(cost)).filter(|it| it.is_finite())
        })
    }

    /// Whether nothing but the accuracy counts.
    #[must_use]
    pub fn is_accuracy(&self) -> bool {
        *self == Objective::default()
    }
}

/// Which limit a network is beyond, in words, as far as the row's costs are known. None: within all.
#[must_use]
pub fn beyond(limits: &[Limit], trial: &Trial) -> Option<String> {
    limits.iter().find_map(|limit| {
        let cost = limit.cost.of(trial).filter(|cost| *cost > limit.at_most)?;
        Some(format!(
            "beyond a limit: {}, at most {}",
            limit.cost.amount(cost),
            limit.cost.amount(limit.at_most)
        ))
    })
}
