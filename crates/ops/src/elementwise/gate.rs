//! The product of two feature maps, or of one and a gate as in squeeze and excitation.

use dfdx::prelude::*;

use super::combine::add_scaled;
use crate::batch_norm::kernel::folded;
use crate::buffers::{give, read, take, take_gradient, tensor};
use crate::parts::{Bands, Parts, Shared};
use crate::reference::on_tape;
use crate::simd::vectorised;
use crate::threads;
use crate::{Base, Error, Feature, Kernels};

/// The kernel behind [`multiply`]; arguments have been checked.
pub trait GateKernel: Base {
    /// See [`multiply`].
    ///
    /// # Errors
    /// [`Error::Device`] if the device fails.
    fn multiply<T: Tape<f32, Self>>(
        tape: &mut T,
        x: &Feature<Self>,
        gate: &Feature<Self>,
    ) -> Result<Feature<Self>, Error> {
        reference(tape, x, gate)
    }
}

#[cfg(feature = "cuda")]
impl GateKernel for Cuda {}

/// The product composed of a broadcast and dfdx's product.
///
/// # Errors
/// [`Error::Device`] if the device fails.
pub fn reference<D: Base, T: Tape<f32, D>>(
    tape: &mut T,
    x: &Feature<D>,
    gate: &Feature<D>,
) -> Result<Feature<D>, Error> {
    let shape = *x.shape();
    let is_map = *gate.shape() == shape;
    on_tape(tape, x, |x| {
        // A product with a number makes a new tensor, so that one may be multiplied by itself.
        let gate = gate.retaped::<T>().try_mul(1.0).map_err(Error::device)?;
        if is_map {
            return x.try_mul(gate).map_err(Error::device);
        }
        let gate: Tensor<(usize, usize), f32, D, T> = gate
            .try_reshape_like(&(shape.0, shape.3))
            .map_err(Error::device)?;
        let gate = gate.try_broadcast_like::<_, Axes2<1, 2>>(&shape);
        x.try_mul(gate.map_err(Error::device)?)
            .map_err(Error::device)
    })
}

/// The product with a feature map of the same shape, y[n, h, w, c] = x[n, h, w, c] · gate[n, h, w, c], or with a gate,
/// y[n, h, w, c] = x[n, h, w, c] · gate[n, 0, 0, c].
///
/// - `x`: N×H×W×C; `gate`: the same, or N×1×1×C; the answer has the shape of `x`.
/// - Gradient: dx = dy · gate; dgate = dy · x, of a gate Σ over h and w of it.
/// - Paper: Hu et al. 2018, arXiv 1709.01507.
/// - PyTorch: `x * gate`
///
/// # Errors
/// [`Error::Shape`] if `gate` is neither.
pub fn multiply<D: Kernels, T: Tape<f32, D>>(
    tape: &mut T,
    x: &Feature<D>,
    gate: &Feature<D>,
) -> Result<Feature<D>, Error> {
    let (n, _, _, c) = *x.shape();
    if gate.shape() != x.shape() && *gate.shape() != (n, 1, 1, c) {
        return Err(Error::shape(
            "multiply",
            format!(
                "the input is {:?}, so what it is multiplied by must be the same or ({n}, 1, 1, {c}), not {:?}",
                x.shape(),
                gate.shape()
            ),
        ));
    }
    D::multiply(tape, x, gate)
}

vectorised! {
    /// `y = x * gate`, or `y += x * gate`, row by row; the last row may be shorter.
    fn product<const ADD: bool>(x: &[f32], gate: &[f32], y: &mut [f32]) {
        for (x, y) in x.chunks(gate.len()).zip(y.chunks_mut(gate.len())) {
            for ((x, gate), y) in x.iter().zip(gate).zip(y) {
                *y = if ADD { *y + *x * *gate } else { *x * *gate };
            }
        }
    }
}

vectorised! {
    /// Adds the rows of `a * b` into `sums`; the last row may be shorter.
    fn product_sums(a: &[f32], b: &[f32], sums: &mut [f32]) {
        let width = sums.len();
        for (a, b) in a.chunks(width).zip(b.chunks(width)) {
            for ((a, b), sum) in a.iter().zip(b).zip(&mut *sums) {
                *sum += *a * *b;
            }
        }
    }
}

/// Rows of few channels are taken as wide ones of about this many numbers.
const WIDE: usize = 64;

pub(crate) fn apply<const ADD: bool>(
    shape: (usize, usize, usize),
    x: &[f32],
    gate: &[f32],
    y: &mut [f32],
) {
    let (images, rows, width) = shape;
    let y = Shared::new(y);
    Bands::new(images, rows, width).for_each(|image, band| {
        let range = (image * rows + band.start) * width..(image * rows + band.end) * width;
        let gate = gate[image * width..][..width].repeat(WIDE.div_ceil(width));
        // SAFETY: the ranges of different bands are apart.
        let y = unsafe { y.slice(range.clone()) };
        product::<ADD>(&x[range], &gate, y);
    });
}

/// `y = a * b`, or `y += a * b`, number by number.
pub(crate) fn each<const ADD: bool>(a: &[f32], b: &[f32], y: &mut [f32]) {
    let parts = Parts::new(a.len(), 1);
    let y = Shared::new(y);
    parts.for_each(|part| {
        let range = parts.rows(part);
        // SAFETY: the ranges of different parts are apart.
        let y = unsafe { y.slice(range.clone()) };
        product::<ADD>(&a[range.clone()], &b[range], y);
    });
}

/// `dgate[n, c] += Σ dy · x`, an image at a time.
pub(crate) fn gate_gradient(
    shape: (usize, usize, usize),
    x: &[f32],
    dy: &[f32],
    dgate: &mut [f32],
) {
    let (images, rows, width) = shape;
    let dgate = Shared::new(dgate);
    threads::for_each(images, |image| {
        let range = image * rows * width..(image + 1) * rows * width;
        let mut sums = vec![0.0; WIDE.div_ceil(width) * width];
        product_sums(&x[range.clone()], &dy[range], &mut sums);
        // SAFETY: the ranges of different images are apart.
        let dgate = unsafe { dgate.slice(image * width..(image + 1) * width) };
        add_scaled(&folded(&sums, width), 1.0, dgate);
    });
}

impl GateKernel for Cpu {
    fn multiply<T: Tape<f32, Self>>(
        tape: &mut T,
        x: &Feature<Self>,
        gate: &Feature<Self>,
    ) -> Result<Feature<Self>, Error> {
        let (n, h, w, c) = *x.shape();
        let shape = (n, h * w, c);
        let is_map = gate.shape() == x.shape();
        let (values, gate_values) = (read("multiply", x)?, read("multiply", gate)?);
        let mut y = take(values.len());
        if is_map {
            each::<false>(values, gate_values, &mut y);
        } else if c > 0 {
            apply::<false>(shape, values, gate_values, &mut y);
        }
        let y = tensor(x.device(), y, (n, h, w, c))?;
        if T::OWNS_TAPE && c > 0 {
            let (x, gate, output) = (x.clone(), gate.clone(), y.ghost());
            tape.add_backward_op(move |gradients| {
                let dy = take_gradient(gradients.get_or_alloc_mut(&output)?);
                // The forward pass has read both, so reading them again cannot fail.
                let values = read("multiply", &x).unwrap_or_default();
                let gate_values = read("multiply", &gate).unwrap_or_default();
                let dx = gradients.get_or_alloc_mut(&x)?;
                if is_map {
                    each::<true>(&dy, gate_values, dx);
                    each::<true>(&dy, values, gradients.get_or_alloc_mut(&gate)?);
                } else {
                    apply::<true>(shape, &dy, gate_values, dx);
                    gate_gradient(shape, values, &dy, gradients.get_or_alloc_mut(&gate)?);
                }
                give(dy);
                Ok(())
            });
        }
        Ok(y)
    }
}
