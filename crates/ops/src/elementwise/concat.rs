//! Concatenation of feature maps on their channels.

use dfdx::prelude::*;

use crate::buffers::{give, read, take, take_gradient, tensor};
use crate::parts::{Parts, Shared};
use crate::reference::on_tape;
use crate::simd::vectorised;
use crate::{Base, Error, Feature, Kernels};

/// The kernel behind `concat`; arguments have been checked.
pub trait ConcatKernel: Base {
    /// See `concat`.
    ///
    /// # Errors
    /// [`Error::Device`] if the device fails.
    fn concat<T: Tape<f32, Self>>(
        tape: &mut T,
        inputs: &[&Feature<Self>],
    ) -> Result<Feature<Self>, Error> {
        reference(tape, inputs)
    }
}

#[cfg(feature = "cuda")]
impl ConcatKernel for Cuda {}

/// Concatenation composed of dfdx's own, two tensors at a time.
///
/// # Errors
/// [`Error::Device`] if the device fails.
pub fn reference<D: Base, T: Tape<f32, D>>(
    tape: &mut T,
    inputs: &[&Feature<D>],
) -> Result<Feature<D>, Error> {
    let (first, rest) = inputs
        .split_first()
        .ok_or_else(|| Error::shape("concat", "there are no inputs"))?;
    on_tape(tape, first, |x| {
        // A product with a number makes a new tensor, so that an input may occur twice.
        let mut all = x.try_mul(1.0).map_err(Error::device)?;
        for x in rest {
            let x = x.retaped::<T>().try_mul(1.0).map_err(Error::device)?;
            all = (all, x)
                .try_concat_along(Axis::<3>)
                .map_err(Error::device)?;
        }
        Ok(all)
    })
}

/// Concatenation on channels: y[n, h, w] = [x₀[n, h, w], x₁[n, h, w], …].
///
/// - `inputs`: each N×H×W×Cᵢ; the answer is N×H×W×ΣCᵢ. An input may occur more than once.
/// - Gradient: dxᵢ = the part of dy that came from xᵢ.
/// - PyTorch: `torch.cat([x0, x1, …], dim=1)` (channels are dimension 1 there).
///
/// # Errors
/// [`Error::Shape`] if there is no input or N, H or W differ.
pub fn concat<D: Kernels, T: Tape<f32, D>>(
    tape: &mut T,
    inputs: &[&Feature<D>],
) -> Result<Feature<D>, Error> {
    let Some(first) = inputs.first() else {
        return Err(Error::shape("concat", "there are no inputs"));
    };
    let (n, h, w, _) = *first.shape();
    for (place, x) in inputs.iter().enumerate() {
        let shape = *x.shape();
        if (shape.0, shape.1, shape.2) != (n, h, w) {
            return Err(Error::shape(
                "concat",
                format!(
                    "input 0 is {:?}, input {place} is {shape:?}; they may differ in channels only",
                    first.shape()
                ),
            ));
        }
    }
    D::concat(tape, inputs)
}

/// Numbers copied at once; feature maps mostly have a multiple of it.
const BLOCK: usize = 8;

vectorised! {
    /// Copies rows of `width` numbers from every `from_step`th to every `to_step`th place.
    pub(super) fn copy_rows(from: &[f32], from_step: usize, to: &mut [f32], to_step: usize, width: usize) {
        for (from, to) in from.chunks(from_step).zip(to.chunks_mut(to_step)) {
            let (from, to) = (&from[..width], &mut to[..width]);
            let mut blocks = to.chunks_exact_mut(BLOCK);
            let mut sources = from.chunks_exact(BLOCK);
            for (to, from) in (&mut blocks).zip(&mut sources) {
                to[..BLOCK].copy_from_slice(&from[..BLOCK]);
            }
            for (to, from) in blocks.into_remainder().iter_mut().zip(sources.remainder()) {
                *to = *from;
            }
        }
    }
}

vectorised! {
    /// [`copy_rows`], but adding.
    pub(super) fn add_rows(from: &[f32], from_step: usize, to: &mut [f32], to_step: usize, width: usize) {
        for (from, to) in from.chunks(from_step).zip(to.chunks_mut(to_step)) {
            for (to, from) in to[..width].iter_mut().zip(&from[..width]) {
                *to += *from;
            }
        }
    }
}

/// Writes the rows of each input at its offset in the rows of `y`, which are `total` long.
pub(crate) fn forward(rows: usize, inputs: &[(&[f32], usize)], total: usize, y: &mut [f32]) {
    let parts = Parts::new(rows, total);
    let y = Shared::new(y);
    parts.for_each(|part| {
        // SAFETY: the ranges of different parts are apart.
        let y = unsafe { y.slice(parts.range(part, total)) };
        let mut offset = 0;
        for &(x, width) in inputs {
            if width > 0 {
                let x = &x[parts.range(part, width)];
                copy_rows(x, width, &mut y[offset..], total, width);
                offset += width;
            }
        }
    });
}

/// Adds the part of `dy`'s rows from `offset` on into the rows of `dx`.
pub(crate) fn backward(
    rows: usize,
    dy: &[f32],
    total: usize,
    offset: usize,
    width: usize,
    dx: &mut [f32],
) {
    if width == 0 {
        return;
    }
    let parts = Parts::new(rows, total);
    let dx = Shared::new(dx);
    parts.for_each(|part| {
        // SAFETY: the ranges of different parts are apart.
        let dx = unsafe { dx.slice(parts.range(part, width)) };
        let dy = &dy[parts.range(part, total)];
        add_rows(&dy[offset..], total, dx, width, width);
    });
}

impl ConcatKernel for Cpu {
    fn concat<T: Tape<f32, Self>>(
        tape: &mut T,
        inputs: &[&Feature<Self>],
    ) -> Result<Feature<Self>, Error> {
        let (n, h, w, _) = *inputs[0].shape();
        let rows = n * h * w;
        let values = inputs.iter().map(|x| Ok((read("concat", x)?, x.shape().3)));
        let values = values.collect::<Result<Vec<_>, Error>>()?;
        let total = values.iter().map(|(_, width)| width).sum();
        let mut y = take(rows * total);
        forward(rows, &values, total, &mut y);
        let y = tensor(inputs[0].device(), y, (n, h, w, total))?;
        if T::OWNS_TAPE {
            let output = y.ghost();
            let inputs: Vec<_> = inputs.iter().map(|x| x.ghost()).collect();
            tape.add_backward_op(move |gradients| {
                let dy = take_gradient(gradients.get_or_alloc_mut(&output)?);
                let mut offset = 0;
                for input in &inputs {
                    let width = input.shape().3;
                    let dx = gradients.get_or_alloc_mut(input)?;
                    backward(rows, &dy, total, offset, width, dx);
                    offset += width;
                }
                give(dy);
                Ok(())
            });
        }
        Ok(y)
    }
}
