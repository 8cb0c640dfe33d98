//! The mean of each image's pixels.

use dfdx::prelude::*;

use crate::batch_norm::kernel::{add_rows, folded};
use crate::buffers::{give, read, take, take_gradient, tensor};
use crate::parts::{Bands, Shared};
use crate::reference::on_tape;
use crate::simd::vectorised;
use crate::threads;
use crate::{Base, Error, Feature, Kernels};

/// The kernel behind [`global_avg_pool`]; arguments have been checked.
pub trait GlobalAvgPoolKernel: Base {
    /// See [`global_avg_pool`].
    ///
    /// # Errors
    /// [`Error::Device`] if the device fails.
    fn global_avg_pool<T: Tape<f32, Self>>(
        tape: &mut T,
        x: &Feature<Self>,
    ) -> Result<Feature<Self>, Error> {
        reference(tape, x)
    }
}

#[cfg(feature = "cuda")]
impl GlobalAvgPoolKernel for Cuda {}

/// The mean composed of dfdx's own.
///
/// # Errors
/// [`Error::Device`] if the device fails.
pub fn reference<D: Base, T: Tape<f32, D>>(
    tape: &mut T,
    x: &Feature<D>,
) -> Result<Feature<D>, Error> {
    let (n, _, _, c) = *x.shape();
    on_tape(tape, x, |x| {
        let y: Tensor<(usize, usize), f32, D, T> =
            x.try_mean::<_, Axes2<1, 2>>().map_err(Error::device)?;
        y.try_reshape_like(&(n, 1, 1, c)).map_err(Error::device)
    })
}

/// The mean of each image and channel over all pixels: y[n, 0, 0, c] = Σ x[n, h, w, c] / (H·W).
///
/// - `x`: N×H×W×C; the answer is N×1×1×C.
/// - Gradient: dx[n, h, w, c] = dy[n, 0, 0, c] / (H·W).
/// - Paper: Lin, Chen and Yan 2013, arXiv 1312.4400.
/// - PyTorch: `F.adaptive_avg_pool2d(x, 1)`
///
/// # Errors
/// [`Error::Shape`] if there are no pixels or no channels.
pub fn global_avg_pool<D: Kernels, T: Tape<f32, D>>(
    tape: &mut T,
    x: &Feature<D>,
) -> Result<Feature<D>, Error> {
    let (n, h, w, c) = *x.shape();
    if h * w * c == 0 {
        return Err(Error::shape(
            "global_avg_pool",
            format!("the input {n}x{h}x{w}x{c} has nothing to take the mean of"),
        ));
    }
    D::global_avg_pool(tape, x)
}

/// Rows of few channels are taken as wide ones of about this many numbers.
const WIDE: usize = 64;

pub(crate) fn forward(shape: (usize, usize, usize), x: &[f32], y: &mut [f32]) {
    let (images, rows, width) = shape;
    let y = Shared::new(y);
    let wide = WIDE.div_ceil(width) * width;
    threads::for_each(images, |image| {
        let x = &x[image * rows * width..][..rows * width];
        let (body, tail) = x.split_at(x.len() / wide * wide);
        let mut sums = vec![0.0; wide];
        add_rows(&mut sums, body);
        add_rows(&mut sums[..width], tail);
        // SAFETY: the ranges of different images are apart.
        let y = unsafe { y.slice(image * width..(image + 1) * width) };
        for (y, sum) in y.iter_mut().zip(folded(&sums, width)) {
            *y = sum / rows as f32;
        }
    });
}

vectorised! {
    /// Adds `row` to every row of `dx`; the last row may be shorter.
    fn add_row(row: &[f32], dx: &mut [f32]) {
        for dx in dx.chunks_mut(row.len()) {
            for (dx, row) in dx.iter_mut().zip(row) {
                *dx += *row;
            }
        }
    }
}

pub(crate) fn backward(shape: (usize, usize, usize), dy: &[f32], dx: &mut [f32]) {
    let (images, rows, width) = shape;
    let dx = Shared::new(dx);
    Bands::new(images, rows, width).for_each(|image, band| {
        let dy = &dy[image * width..][..width];
        let share: Vec<f32> = dy.iter().map(|dy| dy / rows as f32).collect();
        let range = (image * rows + band.start) * width..(image * rows + band.end) * width;
        // SAFETY: the ranges of different bands are apart.
        let dx = unsafe { dx.slice(range) };
        add_row(&share.repeat(WIDE.div_ceil(width)), dx);
    });
}

impl GlobalAvgPoolKernel for Cpu {
    fn global_avg_pool<T: Tape<f32, Self>>(
        tape: &mut T,
        x: &Feature<Self>,
    ) -> Result<Feature<Self>, Error> {
        let (n, h, w, c) = *x.shape();
        let shape = (n, h * w, c);
        let mut y = take(n * c);
        forward(shape, read("global_avg_pool", x)?, &mut y);
        let y = tensor(x.device(), y, (n, 1, 1, c))?;
        if T::OWNS_TAPE {
            let (input, output) = (x.ghost(), y.ghost());
            tape.add_backward_op(move |gradients| {
                let dy = take_gradient(gradients.get_or_alloc_mut(&output)?);
                backward(shape, &dy, gradients.get_or_alloc_mut(&input)?);
                give(dy);
                Ok(())
            });
        }
        Ok(y)
    }
}
