//! Batch norm composed of dfdx's operations.

use dfdx::prelude::*;

use super::{BatchNorm, Running};
use crate::reference::on_tape;
use crate::{Base, Error, Feature, Vector};

/// [`super::batch_norm`] composed of means, squares and products.
///
/// # Errors
/// [`Error::Device`] if the device fails.
#[allow(clippy::too_many_arguments)]
pub fn batch_norm<D: Base, T: Tape<f32, D>>(
    tape: &mut T,
    x: &Feature<D>,
    scale: Option<&Vector<D>>,
    shift: Option<&Vector<D>>,
    running: &mut Running<D>,
    options: BatchNorm,
    relu: bool,
    training: bool,
) -> Result<Feature<D>, Error> {
    on_tape(tape, x, |x| {
        normalise(x, scale, shift, running, options, relu, training).map_err(Error::device)
    })
}

type Taped<D, T> = Tensor<(usize, usize, usize, usize), f32, D, T>;

fn normalise<D: Base, T: Tape<f32, D>>(
    x: Taped<D, T>,
    scale: Option<&Vector<D>>,
    shift: Option<&Vector<D>>,
    running: &mut Running<D>,
    options: BatchNorm,
    relu: bool,
    training: bool,
) -> Result<Taped<D, T>, D::Err> {
    let shape = *x.shape();
    let (centred, variance) = if training {
        let mean: Tensor<(usize,), f32, D, T> = x.retaped::<T>().try_mean::<_, Axes3<0, 1, 2>>()?;
        let batch_mean = mean.retaped::<NoneTape>();
        let centred = x.try_sub(mean.try_broadcast_like::<_, Axes3<0, 1, 2>>(&shape)?)?;
        let variance: Tensor<(usize,), f32, D, T> = centred
            .retaped::<T>()
            .try_square()?
            .try_mean::<_, Axes3<0, 1, 2>>()?;
        let rows = (shape.0 * shape.1 * shape.2) as f32;
        let unbiased = variance
            .retaped::<NoneTape>()
            .try_mul(rows / (rows - 1.0))?;
        let momentum = options.momentum as f32;
        running.mean = blend(&running.mean, batch_mean, momentum)?;
        running.variance = blend(&running.variance, unbiased, momentum)?;
        (centred, variance)
    } else {
        let mean = running.mean.retaped::<T>();
        let centred = x.try_sub(mean.try_broadcast_like::<_, Axes3<0, 1, 2>>(&shape)?)?;
        (centred, running.variance.retaped::<T>())
    };
    let deviation = variance.try_add(options.epsilon as f32)?.try_sqrt()?;
    let mut y = centred.try_div(deviation.try_broadcast_like::<_, Axes3<0, 1, 2>>(&shape)?)?;
    if let Some(scale) = scale {
        let scale = scale.retaped::<T>();
        y = y.try_mul(scale.try_broadcast_like::<_, Axes3<0, 1, 2>>(&shape)?)?;
    }
    if let Some(shift) = shift {
        let shift = shift.retaped::<T>();
        y = y.try_add(shift.try_broadcast_like::<_, Axes3<0, 1, 2>>(&shape)?)?;
    }
    if relu { y.try_relu() } else { Ok(y) }
}

/// `(1 - weight) * old + weight * new`.
fn blend<D: Base>(old: &Vector<D>, new: Vector<D>, weight: f32) -> Result<Vector<D>, D::Err> {
    old.clone()
        .try_mul(1.0 - weight)?
        .try_add(new.try_mul(weight)?)
}
