//! The end of a residual block in one pass: batch norm, sum and ReLU; and its gradient.

use crate::parts::{Parts, Shared};
use crate::simd::vectorised;

/// `y = x * factor + offset + residual` per channel, then the larger of that and zero if `relu`.
pub(super) fn forward(
    x: &[f32],
    factor: &[f32],
    offset: &[f32],
    residual: &[f32],
    relu: bool,
    y: &mut [f32],
) {
    let channels = factor.len();
    let parts = Parts::new(x.len() / channels, channels);
    let y = Shared::new(y);
    parts.for_each(|part| {
        let range = parts.range(part, channels);
        // SAFETY: the ranges of different parts are apart.
        let y = unsafe { y.slice(range.clone()) };
        let (x, residual) = (&x[range.clone()], &residual[range]);
        if relu {
            forward_rows::<true>(x, factor, offset, residual, y);
        } else {
            forward_rows::<false>(x, factor, offset, residual, y);
        }
    });
}

vectorised! {
    fn forward_rows<const RELU: bool>(
        x: &[f32],
        factor: &[f32],
        offset: &[f32],
        residual: &[f32],
        y: &mut [f32],
    ) {
        let n = factor.len();
        let offset = &offset[..n];
        let rows = x.chunks_exact(n).zip(residual.chunks_exact(n));
        for ((x, residual), y) in rows.zip(y.chunks_exact_mut(n)) {
            for i in 0..n {
                let value = x[i] * factor[i] + offset[i] + residual[i];
                y[i] = if RELU && value < 0.0 { 0.0 } else { value };
            }
        }
    }
}

/// Sets `dy` to zero where the ReLU after the sum, whose output was `y`, let nothing through, and
/// adds what is left to the residual's gradient. Without `y` there is no ReLU.
pub(super) fn backward(dy: &mut [f32], y: Option<&[f32]>, residual: &mut [f32]) {
    let parts = Parts::new(dy.len(), 1);
    let (dy, residual) = (Shared::new(dy), Shared::new(residual));
    parts.for_each(|part| {
        let range = parts.range(part, 1);
        // SAFETY: the ranges of different parts are apart.
        let (dy, residual) = unsafe { (dy.slice(range.clone()), residual.slice(range.clone())) };
        match y {
            Some(y) => gate(dy, &y[range], residual),
            None => crate::conv2d::window::add_row(dy, residual),
        }
    });
}

vectorised! {
    fn gate(dy: &mut [f32], y: &[f32], residual: &mut [f32]) {
        for ((g, y), r) in dy.iter_mut().zip(y).zip(residual) {
            let kept = if *y > 0.0 { *g } else { 0.0 };
            *g = kept;
            *r += kept;
        }
    }
}
