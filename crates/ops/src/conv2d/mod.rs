//! Two-dimensional convolution: any kernel, stride, dilation, padding and groups.
//!
//! How it is computed: a tile of the input is copied into a window with its border of zeros
//! (`window`), small enough for a core's cache. A dense or grouped convolution is then a product of
//! rows gathered from the window with packed weights (`product`), a depthwise one a sum over taps
//! vectorised over channels (`depthwise`). The gradient of the input is again a convolution, one
//! for each phase of the stride (`tables`); that of the weights a sum of outer products
//! (`outer`), or, where they are large, one product over the whole batch (`batch`).

pub(crate) mod backward;
pub(crate) mod batch;
pub(crate) mod cpu;
pub(crate) mod depthwise;
pub(crate) mod forward;
pub mod geometry;
pub(crate) mod layer;
pub(crate) mod outer;
pub(crate) mod panels;
pub(crate) mod product;
pub mod reference;
pub(crate) mod statistics;
pub(crate) mod tables;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod window;

use dfdx::shapes::HasShape;
use dfdx::tensor::Tape;

pub use geometry::Conv2d;
use geometry::Geometry;

use crate::{Base, Error, Feature, Kernels, Vector};

/// The kernel behind [`conv2d`]; shapes have been checked.
pub trait Conv2dKernel: Base {
    /// See [`conv2d`].
    ///
    /// # Errors
    /// [`Error::Device`] if the device fails.
    fn conv2d<T: Tape<f32, Self>>(
        tape: &mut T,
        x: &Feature<Self>,
        w: &Feature<Self>,
        bias: Option<&Vector<Self>>,
        conv: Conv2d,
    ) -> Result<Feature<Self>, Error> {
        reference::conv2d(tape, x, w, bias, conv)
    }
}

#[cfg(feature = "cuda")]
impl Conv2dKernel for dfdx::tensor::Cuda {}

/// Convolution (cross-correlation, as the field has it).
///
/// y\[n, i, j, f\] = bias\[f\] + Σ_{a, b, c} x\[n, i·s₀ + a·d₀ − top, j·s₁ + b·d₁ − left, c\] · w\[a, b, c, f\],
/// where x is zero beyond its edges, and c runs over the channels of f's group.
///
/// - `x`: N×H×W×C; `w`: kh×kw×(C/groups)×F; `bias`: F; the answer: N×H'×W'×F with
///   H' = (H + top + bottom − d₀·(kh − 1) − 1)/s₀ + 1, and W' likewise.
/// - `groups == C` with F = C is a depthwise convolution.
/// - Gradient: dw sums x times g over pixels; dx is the transposed convolution of g; dbias sums g.
/// - PyTorch: `F.conv2d(F.pad(x, (left, right, top, bottom)), w, bias, stride, 0, dilation, groups)`,
///   there with x as N×C×H×W and w as F×(C/groups)×kh×kw.
///
/// # Errors
/// [`Error::Shape`] if the shapes do not go together, or if an input is a permuted view.
pub fn conv2d<D: Kernels, T: Tape<f32, D>>(
    tape: &mut T,
    x: &Feature<D>,
    w: &Feature<D>,
    bias: Option<&Vector<D>>,
    conv: Conv2d,
) -> Result<Feature<D>, Error> {
    let g = Geometry::new("conv2d", *x.shape(), *w.shape(), conv)?;
    if let Some(length) = bias
        .map(|b| b.shape().0)
        .filter(|&length| length != g.filters)
    {
        return Err(Error::shape(
            "conv2d",
            format!("a bias of {length} numbers for {} filters", g.filters),
        ));
    }
    D::conv2d(tape, x, w, bias, conv)
}
