//! All values of an image as one vector.

use super::{Describe, Reach, only};
use crate::{Mismatch, Shape};

pub(super) struct Flatten;

impl Describe for Flatten {
    fn infer(&self, inputs: &[Shape]) -> Result<Shape, Mismatch> {
        let channels = usize::try_from(only(inputs)?.len()).unwrap_or(usize::MAX);
        Ok(Shape {
            height: 1,
            width: 1,
            channels,
        })
    }

    fn reach(&self) -> Reach {
        Reach::Everything
    }
}
