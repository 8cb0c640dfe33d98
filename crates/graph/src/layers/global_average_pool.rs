//! The mean over height and width (Lin et al. 2014).

use super::{Describe, Reach, only};
use crate::{Mismatch, Shape};

pub(super) struct GlobalAveragePool;

impl Describe for GlobalAveragePool {
    fn infer(&self, inputs: &[Shape]) -> Result<Shape, Mismatch> {
        Ok(Shape {
            height: 1,
            width: 1,
            ..only(inputs)?
        })
    }

    fn reach(&self) -> Reach {
        Reach::Everything
    }
}
