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
/// scaled by `1 / (1 - rate)` (FractalNet; NASNet's ScheduledDropPath).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DropPath {
    /// Probability of a zero at the end of training, in 0..1; training scales it with its progress.
    pub rate: f64,
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
