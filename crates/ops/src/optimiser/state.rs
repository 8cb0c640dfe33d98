//! What an optimiser remembers from step to step.

use super::Rule;
use crate::Error;

/// The memory of an optimiser, as plain numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Steps made.
    pub steps: u64,
    /// For each moment of the rule (SGD: velocity; Adam: first and second moment), for each
    /// parameter in order, one number for each of its own. Empty before the first step.
    pub moments: Vec<Vec<Vec<f32>>>,
}

/// How many moments a rule keeps.
pub(crate) fn moments(rule: Rule) -> usize {
    match rule {
        Rule::Sgd { momentum, .. } => usize::from(momentum != 0.0),
        Rule::Adam { .. } => 2,
    }
}

impl State {
    /// Refuses the state of another rule.
    pub(super) fn check(&self, rule: Rule) -> Result<(), Error> {
        let fresh = self.steps == 0 && self.moments.is_empty();
        if fresh || self.moments.len() == moments(rule) {
            return Ok(());
        }
        Err(Error::shape(
            "optimiser",
            format!(
                "the state has {} moments, {rule:?} keeps {}",
                self.moments.len(),
                moments(rule)
            ),
        ))
    }

    /// Makes the moments at the first step, and later refuses another list of parameters.
    pub(super) fn prepare(&mut self, rule: Rule, lengths: &[usize]) -> Result<(), Error> {
        if self.steps == 0 && self.moments.is_empty() {
            let zeros = || lengths.iter().map(|&length| vec![0.0; length]).collect();
            self.moments = (0..moments(rule)).map(|_| zeros()).collect();
        }
        for moment in &self.moments {
            if moment.len() != lengths.len() {
                return Err(Error::shape(
                    "optimiser",
                    format!(
                        "{} parameters, the state has {}",
                        lengths.len(),
                        moment.len()
                    ),
                ));
            }
            for (place, (kept, &length)) in moment.iter().zip(lengths).enumerate() {
                if kept.len() != length {
                    return Err(Error::shape(
                        "optimiser",
                        format!(
                            "parameter {place} has {length} numbers, the state has {} for it",
                            kept.len()
                        ),
                    ));
                }
            }
        }
        Ok(())
    }
}
