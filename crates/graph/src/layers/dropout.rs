//! Regularisation by leaving things out during training.

use serde::{Deserialize, Serialize};

use super::{Describe, check_rate, only};
use crate::{Mismatch, Shape};

/// Each value is zeroed with probability `rate` during training, and the others scaled by
/// `1 / (1 - rate)` (Srivastava et al. 2014).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dropout {
    /// Probability of a zero, in 0..1.
    pub rate: f64,
}

/// The whole tensor of an image is zeroed with probability `rate` during training, and the others
/// scaled by `1 / (1 - rate)` (Huang et al. 2016, stochastic depth; Zoph et al. 2018, ScheduledDropPath).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DropPath {
    /// Probability of a zero, in 0..1; of a scheduled one, at the end of training.
    pub rate: f64,
    /// Whether the probability grows linearly from 0 over the training, as it does in what was written
    /// before there was a choice.
    #[serde(default = "always")]
    pub scheduled: bool,
}

fn always() -> bool {
    true
}

impl DropPath {
    /// The probability of a zero when so much of the training is done, 0 to 1.
    #[must_use]
    pub fn rate_at(&self, progress: f64) -> f64 {
        match self.scheduled {
            true => self.rate * progress.clamp(0.0, 1.0),
            false => self.rate,
        }
    }
}

impl Describe for Dropout {
    fn infer(&self, inputs: &[Shape]) -> Result<Shape, Mismatch> {
        check_rate(self.rate)?;
        only(inputs)
    }
}

impl Describe for DropPath {
    fn infer(&self, inputs: &[Shape]) -> Result<Shape, Mismatch> {
        check_rate(self.rate)?;
        only(inputs)
    }
}
