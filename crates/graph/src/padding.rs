//! How a window layer treats the border of its input.

use serde::{Deserialize, Serialize};

/// Zeros (for max pooling: nothing) put around an input before a window slides over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// Symmetric: `dilation * (kernel - 1) / 2` on each side, so that the output has
    /// `ceil(input / stride)` rows. Where that number is odd (an even kernel), the extra row goes to
    /// the bottom and the right.
    Same,
    /// None: the window stays inside the input.
    Valid,
    /// Rows and columns given one by one: top, bottom, left, right.
    Explicit([usize; 4]),
}

impl Padding {
    /// The rows and columns added (top, bottom, left, right) for a window of this kernel and dilation.
    #[must_use]
    pub fn sides(self, kernel: [usize; 2], dilation: [usize; 2]) -> [usize; 4] {
        match self {
            Self::Valid => [0; 4],
            Self::Explicit(sides) => sides,
            Self::Same => {
                let total = |axis: usize| (kernel[axis] - 1) * dilation[axis];
                let (rows, columns) = (total(0), total(1));
                [
                    rows / 2,
                    rows - rows / 2,
                    columns / 2,
                    columns - columns / 2,
                ]
            }
        }
    }
}

/// How many positions a window takes along one axis of `extent` values with `before` and `after`
/// padded ones; `None` where the window does not fit once.
pub(crate) fn positions(
    extent: usize,
    padding: [usize; 2],
    kernel: usize,
    dilation: usize,
    stride: usize,
) -> Option<usize> {
    let padded = extent.checked_add(padding[0])?.checked_add(padding[1])?;
    let reach = (kernel - 1).checked_mul(dilation)?.checked_add(1)?;
    Some(padded.checked_sub(reach)? / stride + 1)
}
