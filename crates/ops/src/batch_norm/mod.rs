//! Batch normalisation over images and pixels, with running statistics and an optional ReLU.

pub(crate) mod cpu;
pub(crate) mod kernel;
pub mod reference;
#[cfg(test)]
mod tests;

use dfdx::shapes::HasShape;
use dfdx::tensor::Tape;

use crate::{Base, Error, Feature, Kernels, Vector};

/// What batch norm is told beside its tensors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNorm {
    /// Weight of the new batch in the running statistics, in 0..=1 (PyTorch's meaning, 0.1 there).
    pub momentum: f64,
    /// Added to the variance before the root is taken.
    pub epsilon: f64,
}

impl Default for BatchNorm {
    fn default() -> Self {
        Self {
            momentum: 0.1,
            epsilon: 1e-5,
        }
    }
}

/// Running statistics of one batch norm, one number a channel; evaluation normalises with these.
#[derive(Clone, Debug)]
pub struct Running<D: Base> {
    /// Running mean.
    pub mean: Vector<D>,
    /// Running variance, unbiased (divided by the number of values less one) as in PyTorch.
    pub variance: Vector<D>,
}

impl<D: Base> Running<D> {
    /// Mean 0 and variance 1 for `channels` channels: the state before any training.
    ///
    /// # Errors
    /// [`Error::Device`] if memory runs out.
    pub fn new(device: &D, channels: usize) -> Result<Self, Error> {
        Ok(Self {
            mean: device.try_zeros_like(&(channels,)).map_err(Error::device)?,
            variance: device.try_ones_like(&(channels,)).map_err(Error::device)?,
        })
    }
}

/// The kernel behind [`batch_norm`]; arguments have been checked.
pub trait BatchNormKernel: Base {
    /// See [`batch_norm`].
    ///
    /// # Errors
    /// [`Error::Device`] if the device fails.
    #[allow(clippy::too_many_arguments)]
    fn batch_norm<T: Tape<f32, Self>>(
        tape: &mut T,
        x: &Feature<Self>,
        scale: Option<&Vector<Self>>,
        shift: Option<&Vector<Self>>,
        running: &mut Running<Self>,
        options: BatchNorm,
        relu: bool,
        training: bool,
    ) -> Result<Feature<Self>, Error> {
        reference::batch_norm(tape, x, scale, shift, running, options, relu, training)
    }
}

#[cfg(feature = "cuda")]
impl BatchNormKernel for dfdx::tensor::Cuda {}

/// Batch normalisation, then ReLU if `relu`.
///
/// For every channel c, with the mean μ and the (biased) variance σ² over all images and pixels of
/// the batch when `training`, and the running ones otherwise:
///
/// y = (x − μ) / √(σ² + ε) · scale + shift, and then max(y, 0) if `relu`
///
/// Training also moves the running statistics: running ← (1 − momentum) · running + momentum ·
/// batch, where the variance is the unbiased one.
///
/// - `x`: N×H×W×C; `scale`, `shift`, running statistics: C; the answer has the shape of `x`.
/// - Gradient, with g the output's gradient (where the ReLU let it through), m = N·H·W and
///   x̂ = (x − μ)/√(σ² + ε): dscale = Σ g·x̂, dshift = Σ g, and
///   dx = scale/√(σ² + ε) · (g − Σg/m − x̂ · Σ(g·x̂)/m); in evaluation dx = scale/√(σ² + ε) · g.
/// - Paper: Ioffe and Szegedy 2015, arXiv 1502.03167.
/// - PyTorch: `F.batch_norm(x, mean, var, scale, shift, training, momentum, eps)`, then `F.relu`.
///
/// # Errors
/// [`Error::Shape`] if a vector's length is not C, if the batch is empty, or if `training` has a
/// single value a channel, whose variance is not defined.
#[allow(clippy::too_many_arguments)]
pub fn batch_norm<D: Kernels, T: Tape<f32, D>>(
    tape: &mut T,
    x: &Feature<D>,
    scale: Option<&Vector<D>>,
    shift: Option<&Vector<D>>,
    running: &mut Running<D>,
    options: BatchNorm,
    relu: bool,
    training: bool,
) -> Result<Feature<D>, Error> {
    let (n, h, w, c) = *x.shape();
    let vectors = [
        ("scale", scale),
        ("shift", shift),
        ("running mean", Some(&running.mean)),
        ("running variance", Some(&running.variance)),
    ];
    for (name, vector) in vectors {
        if let Some(length) = vector.map(|v| v.shape().0).filter(|&length| length != c) {
            return Err(Error::shape(
                "batch_norm",
                format!(
                    "the {name} has {length} numbers, the input {n}x{h}x{w}x{c} has {c} channels"
                ),
            ));
        }
    }
    let rows = n * h * w;
    if rows == 0 || c == 0 || (training && rows < 2) {
        return Err(Error::shape(
            "batch_norm",
            format!(
                "the input {n}x{h}x{w}x{c} has {rows} values a channel; {}",
                if training {
                    "training needs at least 2"
                } else {
                    "at least 1 is needed"
                }
            ),
        ));
    }
    D::batch_norm(tape, x, scale, shift, running, options, relu, training)
}
