//! Batch normalisation (Ioffe & Szegedy 2015).

use serde::{Deserialize, Serialize};

use super::{Describe, only};
use crate::{Init, Mismatch, Parameter, Role, Shape};

/// Each channel brought to mean 0 and variance 1 over the batch, then scaled and shifted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchNorm {
    /// Weight of a batch in the running statistics: `running = (1 - momentum) * running + momentum * batch`.
    pub momentum: f64,
    /// Added to the variance.
    pub epsilon: f64,
    /// Whether a learnt scale and shift follow for each channel.
    pub scale_and_shift: bool,
}

impl Default for BatchNorm {
    fn default() -> Self {
        Self {
            momentum: 0.1,
            epsilon: 1e-5,
            scale_and_shift: true,
        }
    }
}

impl Describe for BatchNorm {
    fn infer(&self, inputs: &[Shape]) -> Result<Shape, Mismatch> {
        let input = only(inputs)?;
        if !(self.momentum > 0.0 && self.momentum <= 1.0) {
            return Err(Mismatch::new(
                format!("momentum is {}", self.momentum),
                "it must be above 0 and at most 1",
            ));
        }
        if !(self.epsilon > 0.0 && self.epsilon < 1.0) {
            return Err(Mismatch::new(
                format!("epsilon is {}", self.epsilon),
                "it must be above 0 and below 1",
            ));
        }
        Ok(input)
    }

    fn parameters(&self, input: Shape) -> Vec<Parameter> {
        if !self.scale_and_shift {
            return Vec::new();
        }
        let per_channel = |name, init| Parameter {
            name,
            dims: vec![input.channels],
            init,
            role: Role::Norm,
        };
        vec![
            per_channel("scale", Init::Ones),
            per_channel("shift", Init::Zeros),
        ]
    }
}
