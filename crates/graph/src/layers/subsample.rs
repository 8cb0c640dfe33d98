//! Every n-th value: the strided half of a factorised reduction.

use serde::{Deserialize, Serialize};

use super::{Describe, Reach, check_window, only};
use crate::{Mismatch, Shape};

/// `y = x[offset::stride]` in both axes, with zeros beyond the edge, so that every offset gives
/// `ceil(extent / stride)` values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subsample {
    /// Step in rows and columns.
    pub stride: usize,
    /// First row and column taken.
    pub offset: usize,
}

impl Describe for Subsample {
    fn infer(&self, inputs: &[Shape]) -> Result<Shape, Mismatch> {
        let input = only(inputs)?;
        check_window("the stride", &[self.stride], 1)?;
        if self.offset >= self.stride {
            return Err(Mismatch::new(
                format!(
                    "the offset {} is not below the stride {}",
                    self.offset, self.stride
                ),
                "choose an offset below the stride",
            ));
        }
        Ok(strided(input, self.stride))
    }

    fn reach(&self) -> Reach {
        Reach::Window {
            extent: [1, 1],
            stride: [self.stride; 2],
        }
    }
}

/// The shape left when every `stride`-th row and column stays.
pub(super) fn strided(input: Shape, stride: usize) -> Shape {
    Shape {
        height: input.height.div_ceil(stride),
        width: input.width.div_ceil(stride),
        channels: input.channels,
    }
}
