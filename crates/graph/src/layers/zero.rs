//! The operation that passes nothing on.

use serde::{Deserialize, Serialize};

use super::subsample::strided;
use super::{Describe, Reach, check_window, only};
use crate::{Mismatch, Shape};

/// Zeros in the shape of its input, reduced by a stride.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zero {
    /// Step in rows and columns.
    pub stride: usize,
}

impl Describe for Zero {
    fn infer(&self, inputs: &[Shape]) -> Result<Shape, Mismatch> {
        check_window("the stride", &[self.stride], 1)?;
        Ok(strided(only(inputs)?, self.stride))
    }

    fn reach(&self) -> Reach {
        Reach::Window {
            extent: [1, 1],
            stride: [self.stride; 2],
        }
    }
}
