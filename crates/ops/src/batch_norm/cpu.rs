//! Batch norm on the CPU: the kernels on dfdx's tape.

use dfdx::shapes::HasShape;
use dfdx::tensor::{Cpu, Tape};

use super::kernel::{self, InputGradient};
use super::{BatchNorm, BatchNormKernel, Running};
use crate::buffers::{give, read, take, take_gradient, tensor, write};
use crate::{Error, Feature, Vector};

const NAME: &str = "batch_norm";

/// What normalising takes and what its gradient needs, one number a channel.
pub(crate) struct Statistics {
    /// The mean that is taken from the input.
    pub(crate) mean: Vec<f32>,
    /// One over the root of variance plus epsilon.
    pub(crate) inverse: Vec<f32>,
    /// `x * factor + offset` is the output before the ReLU.
    pub(crate) factor: Vec<f32>,
    /// See `factor`.
    pub(crate) offset: Vec<f32>,
}

impl Statistics {
    /// From mean and biased variance, and scale and shift if there are any.
    pub(crate) fn new(
        mean: &[f64],
        variance: &[f64],
        epsilon: f64,
        scale: Option<&[f32]>,
        shift: Option<&[f32]>,
    ) -> Self {
        let channels = mean.len();
        let number = |v: Option<&[f32]>, c: usize, or: f64| v.map_or(or, |v| f64::from(v[c]));
        let inverse: Vec<f64> = variance
            .iter()
            .map(|v| 1.0 / (v + epsilon).sqrt())
            .collect();
        let factor: Vec<f64> = (0..channels)
            .map(|c| number(scale, c, 1.0) * inverse[c])
            .collect();
        let offset = (0..channels).map(|c| (number(shift, c, 0.0) - mean[c] * factor[c]) as f32);
        Self {
            offset: offset.collect(),
            mean: mean.iter().map(|&v| v as f32).collect(),
            inverse: inverse.iter().map(|&v| v as f32).collect(),
            factor: factor.iter().map(|&v| v as f32).collect(),
        }
    }
}

/// Mean and biased variance of a batch of `rows` values a channel; moves the running statistics.
pub(crate) fn adopt(
    moments: kernel::Moments,
    rows: usize,
    running: &mut Running<Cpu>,
    momentum: f64,
) -> Result<[Vec<f64>; 2], Error> {
    let mean = write(NAME, &mut running.mean)?;
    let variance = write(NAME, &mut running.variance)?;
    Ok(adopt_slices(moments, rows, (mean, variance), momentum))
}

/// [`adopt`] with running mean and variance as slices.
pub(crate) fn adopt_slices(
    moments: kernel::Moments,
    rows: usize,
    running: (&mut [f32], &mut [f32]),
    momentum: f64,
) -> [Vec<f64>; 2] {
    let kernel::Moments { mean, squares } = moments;
    let rows = rows as f64;
    let blend = |old: &mut f32, new: f64| {
        *old = ((1.0 - momentum) * f64::from(*old) + momentum * new) as f32;
    };
    for (old, &new) in running.0.iter_mut().zip(&mean) {
        blend(old, new);
    }
    for (old, &new) in running.1.iter_mut().zip(&squares) {
        blend(old, new / (rows - 1.0));
    }
    [mean, squares.iter().map(|s| s / rows).collect()]
}

pub(crate) fn widened(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

impl BatchNormKernel for Cpu {
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
        let values = read(NAME, x)?;
        let [mean, variance] = if training {
            let channels = running.mean.shape().0;
            let moments = kernel::moments(values, channels);
            adopt(moments, values.len() / channels, running, options.momentum)?
        } else {
            [
                widened(read(NAME, &running.mean)?),
                widened(read(NAME, &running.variance)?),
            ]
        };
        let scale_values = scale.map(|s| read(NAME, s)).transpose()?;
        let shift_values = shift.map(|s| read(NAME, s)).transpose()?;
        let statistics = Statistics::new(
            &mean,
            &variance,
            options.epsilon,
            scale_values,
            shift_values,
        );
        let mut y = take(values.len());
        kernel::affine(values, &statistics.factor, &statistics.offset, relu, &mut y);
        let y = tensor(x.device(), y, *x.shape())?;
        if T::OWNS_TAPE {
            let (x, output) = (x.clone(), y.ghost());
            let (scale, shift) = (scale.map(|s| s.ghost()), shift.map(|s| s.ghost()));
            tape.add_backward_op(move |gradients| {
                let dy = take_gradient(gradients.get_or_alloc_mut(&output)?);
                // The forward pass has read `x`, so reading it again cannot fail.
                let values = read(NAME, &x).unwrap_or_default();
                let channels = statistics.mean.len();
                let mask = relu.then_some((&statistics.factor[..], &statistics.offset[..]));
                let (sums, products) = kernel::gradient_sums(values, &dy, &statistics.mean, mask);
                if let Some(scale) = &scale {
                    let dscale = gradients.get_or_alloc_mut(scale)?;
                    for c in 0..channels {
                        dscale[c] += (products[c] * f64::from(statistics.inverse[c])) as f32;
                    }
                }
                if let Some(shift) = &shift {
                    let dshift = gradients.get_or_alloc_mut(shift)?;
                    for c in 0..channels {
                        dshift[c] += sums[c] as f32;
                    }
                }
                let terms = input_gradient(&statistics, &sums, &products, values.len(), training);
                let dx = gradients.get_or_alloc_mut(&x)?;
                kernel::add_input_gradient(values, &dy, &terms, mask, dx);
                give(dy);
                Ok(())
            });
        }
        Ok(y)
    }
}

/// The terms of the input's gradient. In evaluation the statistics do not depend on the input.
pub(crate) fn input_gradient(
    statistics: &Statistics,
    sums: &[f64],
    products: &[f64],
    length: usize,
    training: bool,
) -> InputGradient {
    let channels = sums.len();
    let share = if training {
        channels as f64 / length as f64
    } else {
        0.0
    };
    let factor = |c: usize| f64::from(statistics.factor[c]);
    let inverse = |c: usize| f64::from(statistics.inverse[c]);
    InputGradient {
        centre: statistics.mean.clone(),
        gradient: statistics.factor.clone(),
        slope: (0..channels)
            .map(|c| (-factor(c) * inverse(c) * inverse(c) * products[c] * share) as f32)
            .collect(),
        constant: (0..channels)
            .map(|c| (-factor(c) * sums[c] * share) as f32)
            .collect(),
    }
}
