//! Activation functions composed of dfdx's operations.

use dfdx::prelude::*;

use super::Activation;
use crate::reference::on_tape;
use crate::{Base, Error, Feature};

/// [`super::activation`] composed of clamps, products and dfdx's own ReLU and sigmoid.
///
/// # Errors
/// [`Error::Device`] if the device fails.
pub fn activation<D: Base, T: Tape<f32, D>>(
    tape: &mut T,
    x: &Feature<D>,
    kind: Activation,
) -> Result<Feature<D>, Error> {
    on_tape(tape, x, |x| apply(x, kind).map_err(Error::device))
}

type Taped<D, T> = Tensor<(usize, usize, usize, usize), f32, D, T>;

fn apply<D: Base, T: Tape<f32, D>>(
    x: Taped<D, T>,
    kind: Activation,
) -> Result<Taped<D, T>, D::Err> {
    match kind {
        Activation::Relu => x.try_relu(),
        Activation::Relu6 => x.try_clamp(0.0, 6.0),
        Activation::Swish => {
            let gate = x.retaped::<T>().try_sigmoid()?;
            x.try_mul(gate)
        }
        Activation::HardSwish => {
            let gate = hard_sigmoid(x.retaped::<T>())?;
            x.try_mul(gate)
        }
        Activation::Sigmoid => x.try_sigmoid(),
        Activation::HardSigmoid => hard_sigmoid(x),
    }
}

fn hard_sigmoid<D: Base, T: Tape<f32, D>>(x: Taped<D, T>) -> Result<Taped<D, T>, D::Err> {
    x.try_add(3.0)?.try_clamp(0.0, 6.0)?.try_div(6.0)
}
