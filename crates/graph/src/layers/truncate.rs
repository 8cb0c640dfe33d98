//! The first channels of a tensor.

use serde::{Deserialize, Serialize};

use super::{Describe, only};
use crate::{Mismatch, Shape};

/// `y = x[.., .., ..channels]`: NAS-Bench-101 adds tensors of differing widths so (Ying et al. 2019,
/// arXiv 1902.09635, section 2.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truncate {
    /// How many channels are taken, at least 1 and at most those of the input.
    pub channels: usize,
}

impl Describe for Truncate {
    fn infer(&self, inputs: &[Shape]) -> Result<Shape, Mismatch> {
        let input = only(inputs)?;
        if !(1..=input.channels).contains(&self.channels) {
            return Err(Mismatch::range(
                "the number of channels taken",
                self.channels,
                1,
                input.channels,
            ));
        }
        Ok(Shape {
            channels: self.channels,
            ..input
        })
    }
}
