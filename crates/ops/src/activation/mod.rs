//! Activation functions, element by element.

mod cpu;
pub(crate) mod kernel;
pub mod reference;
#[cfg(test)]
mod tests;

use dfdx::tensor::Tape;

use crate::{Base, Error, Feature, Kernels};

/// An activation function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// max(x, 0).
    Relu,
    /// min(max(x, 0), 6). Howard et al. 2017, arXiv 1704.04861.
    Relu6,
    /// x · σ(x), also called SiLU. Ramachandran et al. 2017, arXiv 1710.05941.
    Swish,
    /// x · min(max(x + 3, 0), 6)/6. Howard et al. 2019, arXiv 1905.02244.
    HardSwish,
    /// σ(x) = 1/(1 + exp(−x)).
    Sigmoid,
    /// min(max(x + 3, 0), 6)/6. Howard et al. 2019, arXiv 1905.02244.
    HardSigmoid,
}

impl Activation {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Relu,
        Self::Relu6,
        Self::Swish,
        Self::HardSwish,
        Self::Sigmoid,
        Self::HardSigmoid,
    ];
}

/// The kernel behind [`activation`].
pub trait ActivationKernel: Base {
    /// See [`activation`].
    ///
    /// # Errors
    /// [`Error::Device`] if the device fails.
    fn activation<T: Tape<f32, Self>>(
        tape: &mut T,
        x: &Feature<Self>,
        kind: Activation,
    ) -> Result<Feature<Self>, Error> {
        reference::activation(tape, x, kind)
    }
}

#[cfg(feature = "cuda")]
impl ActivationKernel for dfdx::tensor::Cuda {}

/// y = f(x) for every number of `x`.
///
/// - `x`: any N×H×W×C; the answer has the same shape.
/// - Gradient: dx = f'(x) · dy. At the corners of the piecewise linear ones f' is the slope of the
///   flat side, as in PyTorch.
/// - Papers: see [`Activation`].
/// - PyTorch: `F.relu`, `F.relu6`, `F.silu`, `F.hardswish`, `torch.sigmoid`, `F.hardsigmoid`.
///
/// # Errors
/// [`Error::Shape`] if `x` is a permuted or broadcast view.
pub fn activation<D: Kernels, T: Tape<f32, D>>(
    tape: &mut T,
    x: &Feature<D>,
    kind: Activation,
) -> Result<Feature<D>, Error> {
    D::activation(tape, x, kind)
}
