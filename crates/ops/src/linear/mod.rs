//! The linear layer.

mod cpu;
pub(crate) mod kernel;
#[cfg(test)]
mod tests;

use dfdx::prelude::*;

use crate::reference::on_tape;
use crate::{Base, Error, Feature, Kernels, Matrix, Vector};

/// The kernel behind [`linear`]; arguments have been checked.
pub trait LinearKernel: Base {
    /// See [`linear`].
    ///
    /// # Errors
    /// [`Error::Device`] if the device fails.
    fn linear<T: Tape<f32, Self>>(
        tape: &mut T,
        x: &Feature<Self>,
        weight: &Matrix<Self>,
        bias: Option<&Vector<Self>>,
    ) -> Result<Feature<Self>, Error> {
        reference(tape, x, weight, bias)
    }
}

#[cfg(feature = "cuda")]
impl LinearKernel for Cuda {}

/// The linear layer composed of dfdx's matrix product and sum.
///
/// # Errors
/// [`Error::Device`] if the device fails.
pub fn reference<D: Base, T: Tape<f32, D>>(
    tape: &mut T,
    x: &Feature<D>,
    weight: &Matrix<D>,
    bias: Option<&Vector<D>>,
) -> Result<Feature<D>, Error> {
    let (n, h, w, inputs) = *x.shape();
    let units = weight.shape().1;
    let rows = (n * h * w, units);
    on_tape(tape, x, |x| {
        let x = x
            .try_reshape_like(&(rows.0, inputs))
            .map_err(Error::device)?;
        let mut y = x.try_matmul(weight.retaped::<T>()).map_err(Error::device)?;
        if let Some(bias) = bias {
            let bias = bias.retaped::<T>().try_broadcast_like::<_, Axis<0>>(&rows);
            y = y
                .try_add(bias.map_err(Error::device)?)
                .map_err(Error::device)?;
        }
        y.try_reshape_like(&(n, h, w, units)).map_err(Error::device)
    })
}

/// The linear layer on the channels of every pixel: y = x · weight + bias.
///
/// - `x`: N×H×W×I, mostly N×1×1×I; `weight`: I×U (PyTorch stores it transposed); `bias`: U; the
///   answer is N×H×W×U.
/// - Gradient: dx = dy · weightᵀ, dweight = xᵀ · dy, dbias = Σ dy over images and pixels.
/// - PyTorch: `F.linear(x, weight.T, bias)` with channels last
///
/// # Errors
/// [`Error::Shape`] if the weight's rows are not the channels of `x`, or the bias is not as long as
/// the weight has columns.
pub fn linear<D: Kernels, T: Tape<f32, D>>(
    tape: &mut T,
    x: &Feature<D>,
    weight: &Matrix<D>,
    bias: Option<&Vector<D>>,
) -> Result<Feature<D>, Error> {
    let (inputs, units) = *weight.shape();
    if x.shape().3 != inputs {
        return Err(Error::shape(
            "linear",
            format!(
                "the input {:?} has {} channels, the weight {inputs}x{units} takes {inputs}",
                x.shape(),
                x.shape().3
            ),
        ));
    }
    if let Some(length) = bias.map(|b| b.shape().0).filter(|&length| length != units) {
        return Err(Error::shape(
            "linear",
            format!("the bias has {length} numbers, the weight {inputs}x{units} has {units} units"),
        ));
    }
    D::linear(tape, x, weight, bias)
}
