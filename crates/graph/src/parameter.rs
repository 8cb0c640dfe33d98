//! The learnable tensors of a layer: the single source for counting and for building networks.

use serde::{Deserialize, Serialize};

/// One learnable tensor of a layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Parameter {
    /// Its name within the layer: `weight`, `bias`, `scale` or `shift`.
    pub name: &'static str,
    /// Its dimensions. Convolution: kernel height, kernel width, input channels per group, filters
    /// (HWIO; depthwise is `[kh, kw, 1, filters]`). Linear: inputs, units. All others: channels.
    pub dims: Vec<usize>,
    /// How it starts.
    pub init: Init,
    /// What it is to an optimiser.
    pub role: Role,
}

impl Parameter {
    /// The number of values, saturating.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.dims
            .iter()
            .fold(1, |product: u64, &dim| product.saturating_mul(dim as u64))
    }

    /// Whether it holds no value at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The distribution a parameter is drawn from at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Init {
    /// Normal with variance `2 / (kernel height * kernel width * filters / groups)`
    /// (He et al. 2015, fan-out mode).
    HeNormalFanOut,
    /// Uniform within `±1 / sqrt(inputs)` of a linear layer.
    LinearUniform,
    /// All zero.
    Zeros,
    /// All one.
    Ones,
}

/// What a parameter is to an optimiser: weight decay is for weights alone, by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A weight of a convolution or linear layer.
    Weight,
    /// An additive bias of a convolution or linear layer.
    Bias,
    /// Scale or shift of a normalisation.
    Norm,
}
