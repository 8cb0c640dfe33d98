//! Activation functions on the CPU: the kernels on dfdx's tape.

use dfdx::shapes::HasShape;
use dfdx::tensor::{Cpu, Tape};

use super::{Activation, ActivationKernel, kernel};
use crate::buffers::{give, read, take, take_gradient, tensor};
use crate::{Error, Feature};

const NAME: &str = "activation";

impl ActivationKernel for Cpu {
    fn activation<T: Tape<f32, Self>>(
        tape: &mut T,
        x: &Feature<Self>,
        kind: Activation,
    ) -> Result<Feature<Self>, Error> {
        let values = read(NAME, x)?;
        let mut y = take(values.len());
        kernel::forward(kind, values, &mut y);
        let y = tensor(x.device(), y, *x.shape())?;
        if T::OWNS_TAPE {
            let (x, output) = (x.clone(), y.ghost());
            tape.add_backward_op(move |gradients| {
                let dy = take_gradient(gradients.get_or_alloc_mut(&output)?);
                // The forward pass has read `x`, so reading it again cannot fail.
                let values = read(NAME, &x).unwrap_or_default();
                kernel::backward(kind, values, &dy, gradients.get_or_alloc_mut(&x)?);
                give(dy);
                Ok(())
            });
        }
        Ok(y)
    }
}
