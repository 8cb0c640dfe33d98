//! The sizes of a convolution, as the kernels take them.

use crate::Conv2d;
use crate::Error;
use crate::conv2d::geometry::Geometry;
use crate::cuda::{Argument, Pointer};

use super::affine::Prologue;
use super::sizes_of;

/// A convolution's sizes; see [`crate::conv2d()`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convolution {
    pub(super) geometry: Geometry,
}

impl Convolution {
    /// Of an input N×H×W×C and a weight kh×kw×(C/groups)×F.
    ///
    /// # Errors
    /// [`Error::Shape`] if they do not go together.
    pub fn new(
        x: (usize, usize, usize, usize),
        w: (usize, usize, usize, usize),
        conv: Conv2d,
    ) -> Result<Self, Error> {
        let geometry = Geometry::new("conv2d", x, w, conv)?;
        Ok(Self { geometry })
    }

    /// The output's N×H×W×C.
    pub fn out(&self) -> (usize, usize, usize, usize) {
        self.geometry.out()
    }

    /// Whether every channel has a filter of its own, and no more: what [`super::depthwise`] is for.
    pub fn is_depthwise(&self) -> bool {
        let g = &self.geometry;
        g.conv.groups == g.channels && g.filters == g.channels
    }

    /// The structure `Window` of depthwise.cu: sixteen ints.
    pub(super) fn window(&self) -> Argument {
        let g = &self.geometry;
        let [top, _, left, _] = g.conv.padding;
        let sizes = [
            [g.images, g.height, g.width, g.channels],
            [g.out_height, g.out_width, g.filters, g.conv.groups],
            [g.kernel[0], g.kernel[1], g.conv.stride[0], g.conv.stride[1]],
            [g.conv.dilation[0], g.conv.dilation[1], top, left],
        ];
        Argument::Struct(sizes_of(sizes.into_iter().flatten()))
    }
}

/// What the gradient of a convolution's input goes through before it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate {
    /// What the convolution read, before its prologue.
    pub x: Pointer,
    /// The prologue; its ReLU is taken to be there.
    pub prologue: Prologue,
}
