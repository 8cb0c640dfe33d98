//! Concatenation along the channels.

use super::Describe;
use crate::{Mismatch, Shape};

pub(super) struct Concat;

impl Describe for Concat {
    fn infer(&self, inputs: &[Shape]) -> Result<Shape, Mismatch> {
        let Some((first, rest)) = inputs.split_first() else {
            return Err(Mismatch::arity("at least one input", 0));
        };
        let mut channels = first.channels;
        for shape in rest {
            if (shape.height, shape.width) != (first.height, first.width) {
                return Err(Mismatch::new(
                    format!("cannot put {first} and {shape} side by side"),
                    "give them one height and width (a stride on the larger one, say)",
                ));
            }
            channels = channels.saturating_add(shape.channels);
        }
        Ok(Shape { channels, ..*first })
    }
}
