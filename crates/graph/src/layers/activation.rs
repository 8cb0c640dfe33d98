//! Functions of each value.

use serde::{Deserialize, Serialize};

use super::{Describe, only};
use crate::{Mismatch, Shape};

/// A function of each value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `max(x, 0)`
    Relu,
    /// `min(max(x, 0), 6)` (MobileNetV2)
    Relu6,
    /// `x * sigmoid(x)`
    Swish,
    /// `x * min(max(x + 3, 0), 6) / 6` (MobileNetV3)
    HardSwish,
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// `min(max(x + 3, 0), 6) / 6` (MobileNetV3)
    HardSigmoid,
}

impl Activation {
    /// Every activation, in the order of their documentation.
    pub const ALL: [Self; 6] = [
        Self::Relu,
        Self::Relu6,
        Self::Swish,
        Self::HardSwish,
        Self::Sigmoid,
        Self::HardSigmoid,
    ];

    /// As it is called in space files and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Relu => "relu",
            Self::Relu6 => "relu6",
            Self::Swish => "swish",
            Self::HardSwish => "hard_swish",
            Self::Sigmoid => "sigmoid",
            Self::HardSigmoid => "hard_sigmoid",
        }
    }
}

impl Describe for Activation {
    fn infer(&self, inputs: &[Shape]) -> Result<Shape, Mismatch> {
        only(inputs)
    }
}
