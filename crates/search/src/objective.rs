//! The reward of a trial.

use cellwright_ledger::{Status, Trial};

/// What a strategy is told of a trial.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Objective {}

impl Objective {
    /// The reward: the validation accuracy. None for a trial that failed; each strategy has a defined
    /// way to take that.
    #[must_use]
    pub fn reward(&self, trial: &Trial) -> Option<f64> {
        trial.valid_top1.filter(|_| trial.status == Status::Done)
    }
}
