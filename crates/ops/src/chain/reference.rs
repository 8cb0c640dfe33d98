//! A chain as the operations that it stands for.

use dfdx::tensor::Tape;

use super::{Residual, Unit};
use crate::activation::{Activation, activation};
use crate::batch_norm::batch_norm;
use crate::conv2d::{Conv2d, conv2d};
use crate::elementwise::combine::add;
use crate::{Error, Feature, Kernels};

/// [`super::residual_chain`], operation by operation.
///
/// # Errors
/// As [`super::residual_chain`].
pub fn chain<D: Kernels, T: Tape<f32, D>>(
    tape: &mut T,
    x: &Feature<D>,
    units: Vec<Unit<'_, D>>,
    residual: Option<Residual<'_, D>>,
) -> Result<Feature<D>, Error> {
    let mut x = x.clone();
    for unit in units {
        if unit.relu_before {
            x = activation(tape, &x, Activation::Relu)?;
        }
        x = conv2d(tape, &x, unit.weight, None, unit.conv)?;
        if let Some(pointwise) = unit.pointwise {
            x = conv2d(tape, &x, pointwise, None, Conv2d::default())?;
        }
        if let Some(norm) = unit.norm {
            x = batch_norm(
                tape,
                &x,
                norm.scale,
                norm.shift,
                norm.running,
                norm.options,
                norm.relu,
                norm.training,
            )?;
        }
    }
    if let Some(residual) = residual {
        x = add(tape, &[&x, residual.x])?;
        if residual.relu {
            x = activation(tape, &x, Activation::Relu)?;
        }
    }
    Ok(x)
}
