//! Layers that join tensors value by value: add, mean, multiply.

use super::Describe;
use crate::{Mismatch, Shape};

/// Add and mean: any number of inputs, all of one shape.
pub(super) struct SameShape;

impl Describe for SameShape {
    fn infer(&self, inputs: &[Shape]) -> Result<Shape, Mismatch> {
        let Some((first, rest)) = inputs.split_first() else {
            return Err(Mismatch::arity("at least one input", 0));
        };
        match rest.iter().find(|shape| *shape != first) {
            Some(other) => Err(Mismatch::new(
                format!("cannot join {first} and {other} value by value"),
                same_shape_remedy(*first, *other),
            )),
            None => Ok(*first),
        }
    }
}

fn same_shape_remedy(a: Shape, b: Shape) -> &'static str {
    if a.channels != b.channels && (a.height, a.width) == (b.height, b.width) {
        "give both the same number of channels (a 1x1 `conv` on one of them, say)"
    } else {
        "give both the same height, width and channels (a `conv` with a stride on one, say)"
    }
}

/// Multiply: two inputs of one shape, or the second one a gate of `1 x 1 x C`.
pub(super) struct Gate;

impl Describe for Gate {
    fn infer(&self, inputs: &[Shape]) -> Result<Shape, Mismatch> {
        let [input, gate] = inputs else {
            return Err(Mismatch::arity("two inputs", inputs.len()));
        };
        let is_gate = (gate.height, gate.width, gate.channels) == (1, 1, input.channels);
        if gate == input || is_gate {
            return Ok(*input);
        }
        Err(Mismatch::new(
            format!("cannot multiply {input} by {gate}"),
            format!("the second input must be {input} or 1x1x{}", input.channels),
        ))
    }
}
