//! Max and average pooling.

use serde::{Deserialize, Serialize};

use super::conv::window_positions;
use super::{Describe, Reach, check_window, only};
use crate::{Mismatch, Padding, Shape};

/// The largest or the mean value of each window; padding counts for neither.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Max or average.
    pub kind: PoolKind,
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Step in rows and columns.
    pub stride: [usize; 2],
    /// The border.
    pub padding: Padding,
}

/// What a pooling window is reduced to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolKind {
    /// Its largest value.
    Max,
    /// The mean of those of its values that lie inside the input.
    Average,
}

impl PoolKind {
    /// As it is called in space files and tables.
    #[must_use]
    pub fn op(self) -> &'static str {
        match self {
            Self::Max => "max_pool",
            Self::Average => "avg_pool",
        }
    }
}

impl Describe for Pool {
    fn infer(&self, inputs: &[Shape]) -> Result<Shape, Mismatch> {
        let input = only(inputs)?;
        check_window("the kernel", &self.kernel, 1)?;
        check_window("the stride", &self.stride, 1)?;
        self.check_padding()?;
        let [height, width] =
            window_positions(input, self.kernel, self.stride, [1, 1], self.padding)?;
        self.check_size()?;
        Ok(Shape {
            height,
            width,
            ..input
        })
    }

    fn reach(&self) -> Reach {
        Reach::Window {
            extent: self.kernel,
            stride: self.stride,
        }
    }
}

/// A max pooling's window has at most so many pixels, since its gradient notes in a byte which of them was the
/// largest.
pub const LARGEST_MAX_POOL: usize = 256;

impl Pool {
    fn check_size(&self) -> Result<(), Mismatch> {
        let [height, width] = self.kernel;
        if self.kind == PoolKind::Average || height * width <= LARGEST_MAX_POOL {
            return Ok(());
        }
        Err(Mismatch::new(
            format!("takes the largest of {height}x{width} pixels, more than {LARGEST_MAX_POOL}"),
            "use a smaller kernel, or several poolings",
        ))
    }

    /// A window that sees nothing but padding has no value, so padding must stay below the kernel.
    fn check_padding(&self) -> Result<(), Mismatch> {
        let Padding::Explicit([top, bottom, left, right]) = self.padding else {
            return Ok(());
        };
        let [height, width] = self.kernel;
        if top < height && bottom < height && left < width && right < width {
            return Ok(());
        }
        Err(Mismatch::new(
            format!(
                "padding {:?} is as large as the {height}x{width} window",
                [top, bottom, left, right]
            ),
            "keep the padding below the kernel",
        ))
    }
}
