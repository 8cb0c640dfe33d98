//! Fully connected layer.

use serde::{Deserialize, Serialize};

use super::{Describe, only};
use crate::{Init, Mismatch, Parameter, Role, Shape};

/// `y = x * weight + bias` on a vector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Linear {
    /// Number of outputs.
    pub units: usize,
    /// Whether a learnt bias is added.
    pub bias: bool,
}

impl Describe for Linear {
    fn infer(&self, inputs: &[Shape]) -> Result<Shape, Mismatch> {
        let input = only(inputs)?;
        if (input.height, input.width) != (1, 1) {
            return Err(Mismatch::new(
                format!("takes a vector, and got {input}"),
                "put `flatten` or `global_avg_pool` before it",
            ));
        }
        if self.units == 0 {
            return Err(Mismatch::new("it has 0 units", "give it at least 1"));
        }
        Ok(Shape {
            height: 1,
            width: 1,
            channels: self.units,
        })
    }

    fn parameters(&self, input: Shape) -> Vec<Parameter> {
        let weight = Parameter {
            name: "weight",
            dims: vec![input.channels, self.units],
            init: Init::LinearUniform,
            role: Role::Weight,
        };
        let bias = Parameter {
            name: "bias",
            dims: vec![self.units],
            init: Init::Zeros,
            role: Role::Bias,
        };
        if self.bias {
            vec![weight, bias]
        } else {
            vec![weight]
        }
    }

    fn macs(&self, input: Shape, output: Shape) -> u64 {
        input.len().saturating_mul(output.len())
    }
}
