//! The first channels of a feature map.

use dfdx::prelude::*;

use super::concat::{add_rows, copy_rows};
use crate::buffers::{give, read, take, take_gradient, tensor};
use crate::parts::{Parts, Shared};
use crate::reference::on_tape;
use crate::{Base, Error, Feature, Kernels};

/// The kernel behind [`truncate`]; arguments have been checked.
pub trait TruncateKernel: Base {
    /// See [`truncate`].
    ///
    /// # Errors
    /// [`Error::Device`] if the device fails.
    fn truncate<T: Tape<f32, Self>>(
        tape: &mut T,
        x: &Feature<Self>,
        channels: usize,
    ) -> Result<Feature<Self>, Error> {
        reference(tape, x, channels)
    }
}

#[cfg(feature = "cuda")]
impl TruncateKernel for Cuda {}

/// Truncation composed of dfdx's own slice.
///
/// # Errors
/// [`Error::Device`] if the device fails.
pub fn reference<D: Base, T: Tape<f32, D>>(
    tape: &mut T,
    x: &Feature<D>,
    channels: usize,
) -> Result<Feature<D>, Error> {
    let (n, h, w, _) = *x.shape();
    on_tape(tape, x, |x| {
        x.try_slice((0..n, 0..h, 0..w, 0..channels))
            .map_err(Error::device)
    })
}

/// The first channels: y[n, h, w, c] = x[n, h, w, c] for c below `channels`.
///
/// - `x`: N×H×W×C; the answer is N×H×W×`channels`.
/// - Gradient: dy in the channels taken, nothing in the others.
/// - Paper: Ying et al. 2019, arXiv 1902.09635, section 2.3.
/// - PyTorch: `x[:, :channels]`
///
/// # Errors
/// [`Error::Shape`] if `channels` is 0 or more than C.
pub fn truncate<D: Kernels, T: Tape<f32, D>>(
    tape: &mut T,
    x: &Feature<D>,
    channels: usize,
) -> Result<Feature<D>, Error> {
    let c = x.shape().3;
    if !(1..=c).contains(&channels) {
        let detail = format!("{channels} of {c} channels cannot be taken");
        return Err(Error::shape("truncate", detail));
    }
    D::truncate(tape, x, channels)
}

/// Writes the first `width` numbers of the rows of `x`, which are `of` long.
pub(crate) fn forward(rows: usize, x: &[f32], of: usize, width: usize, y: &mut [f32]) {
    let parts = Parts::new(rows, of);
    let y = Shared::new(y);
    parts.for_each(|part| {
        // SAFETY: the ranges of different parts are apart.
        let y = unsafe { y.slice(parts.range(part, width)) };
        copy_rows(&x[parts.range(part, of)], of, y, width, width);
    });
}

/// Adds the rows of `dy`, which are `width` long, to the first numbers of the rows of `dx`.
pub(crate) fn backward(rows: usize, dy: &[f32], width: usize, of: usize, dx: &mut [f32]) {
    let parts = Parts::new(rows, of);
    let dx = Shared::new(dx);
    parts.for_each(|part| {
        // SAFETY: the ranges of different parts are apart.
        let dx = unsafe { dx.slice(parts.range(part, of)) };
        add_rows(&dy[parts.range(part, width)], width, dx, of, width);
    });
}

impl TruncateKernel for Cpu {
    fn truncate<T: Tape<f32, Self>>(
        tape: &mut T,
        x: &Feature<Self>,
        channels: usize,
    ) -> Result<Feature<Self>, Error> {
        let (n, h, w, of) = *x.shape();
        let rows = n * h * w;
        let mut y = take(rows * channels);
        forward(rows, read("truncate", x)?, of, channels, &mut y);
        let y = tensor(x.device(), y, (n, h, w, channels))?;
        if T::OWNS_TAPE {
            let (input, output) = (x.ghost(), y.ghost());
            tape.add_backward_op(move |gradients| {
                let dy = take_gradient(gradients.get_or_alloc_mut(&output)?);
                let dx = gradients.get_or_alloc_mut(&input)?;
                backward(rows, &dy, channels, of, dx);
                give(dy);
                Ok(())
            });
        }
        Ok(y)
    }
}
