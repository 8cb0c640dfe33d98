//! A chain as the operations that it stands for.

use dfdx::tensor::Tape;

use super::Unit;
use crate::activation::{Activation, activation};
use crate::batch_norm::batch_norm;
use crate::conv2d::{Conv2d, conv2d};
use crate::{Error, Feature, Kernels};

/// [`super::chain`], operation by operation.
///
/// # Errors
/// As [`super::chain`].
pub fn chain<D: Kernels, T: Tape<f32, D>>(
    tape: &mut T,
    x: &Feature<D>,
    units: Vec<Unit<'_, D>>,
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
    Ok(x)
}
