//! Dropout of single numbers.

use dfdx::prelude::*;

use super::random;
use crate::buffers::{give, read, take, take_gradient, tensor};
use crate::parts::{Parts, Shared};
use crate::reference::on_tape;
use crate::simd::vectorised;
use crate::{Base, Error, Feature, Kernels};

/// The kernel behind [`dropout`]; arguments have been checked.
pub trait DropoutMaskKernel: Base {
    /// See [`dropout`].
    ///
    /// # Errors
    /// [`Error::Device`] if the device fails.
    fn dropout<T: Tape<f32, Self>>(
        tape: &mut T,
        x: &Feature<Self>,
        rate: f64,
        seed: u64,
    ) -> Result<Feature<Self>, Error> {
        reference(tape, x, rate, seed)
    }
}

#[cfg(feature = "cuda")]
impl DropoutMaskKernel for Cuda {}

/// Dropout composed of a product with the mask.
///
/// # Errors
/// [`Error::Device`] if the device fails.
pub fn reference<D: Base, T: Tape<f32, D>>(
    tape: &mut T,
    x: &Feature<D>,
    rate: f64,
    seed: u64,
) -> Result<Feature<D>, Error> {
    let shape = *x.shape();
    let mask = random::factors(seed, rate, shape.0 * shape.1 * shape.2 * shape.3);
    let mask = x
        .device()
        .try_tensor_from_vec(mask, shape)
        .map_err(Error::device)?;
    on_tape(tape, x, |x| x.try_mul(mask).map_err(Error::device))
}

/// Dropout: each number is set to zero with probability `rate`; what is kept is scaled so that the
/// expectation stays.
///
/// y = x · b / (1 − rate), with b = 0 with probability rate and else 1, a function of `seed` and the
/// number's index alone.
///
/// - `x`: any N×H×W×C; the answer has the same shape.
/// - Gradient: dx = dy · b / (1 − rate); the mask is made again, not stored.
/// - Paper: Srivastava et al. 2014, JMLR 15.
/// - PyTorch: `F.dropout(x, rate)`
///
/// # Errors
/// [`Error::Shape`] if `rate` is not in 0..1.
pub fn dropout<D: Kernels, T: Tape<f32, D>>(
    tape: &mut T,
    x: &Feature<D>,
    rate: f64,
    seed: u64,
) -> Result<Feature<D>, Error> {
    if !(0.0..1.0).contains(&rate) {
        return Err(Error::shape(
            "dropout",
            format!("the rate {rate} is not in 0..1"),
        ));
    }
    D::dropout(tape, x, rate, seed)
}

vectorised! {
    /// `y = x * mask`, or `y += x * mask`, for the numbers from `first` on.
    fn mask<const ADD: bool>(
        start: u64,
        threshold: u64,
        kept: f32,
        first: usize,
        x: &[f32],
        y: &mut [f32],
    ) {
        for (i, (x, y)) in x.iter().zip(y).enumerate() {
            let keep = random::draw(start, (first + i) as u64) < threshold;
            let value = if keep { *x * kept } else { 0.0 };
            *y = if ADD { *y + value } else { value };
        }
    }
}

pub(crate) fn apply<const ADD: bool>(rate: f64, seed: u64, x: &[f32], y: &mut [f32]) {
    let (start, threshold) = (random::start(seed), random::threshold(rate));
    let kept = (1.0 / (1.0 - rate)) as f32;
    let parts = Parts::new(x.len(), 1);
    let y = Shared::new(y);
    parts.for_each(|part| {
        let range = parts.rows(part);
        // SAFETY: the ranges of different parts are apart.
        let y = unsafe { y.slice(range.clone()) };
        mask::<ADD>(start, threshold, kept, range.start, &x[range], y);
    });
}

impl DropoutMaskKernel for Cpu {
    fn dropout<T: Tape<f32, Self>>(
        tape: &mut T,
        x: &Feature<Self>,
        rate: f64,
        seed: u64,
    ) -> Result<Feature<Self>, Error> {
        let values = read("dropout", x)?;
        let mut y = take(values.len());
        apply::<false>(rate, seed, values, &mut y);
        let y = tensor(x.device(), y, *x.shape())?;
        if T::OWNS_TAPE {
            let (input, output) = (x.ghost(), y.ghost());
            tape.add_backward_op(move |gradients| {
                let dy = take_gradient(gradients.get_or_alloc_mut(&output)?);
                apply::<true>(rate, seed, &dy, gradients.get_or_alloc_mut(&input)?);
                give(dy);
                Ok(())
            });
        }
        Ok(y)
    }
}
