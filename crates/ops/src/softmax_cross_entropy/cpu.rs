//! Softmax cross-entropy on the CPU. Forward reads the logits once and leaves the probabilities,
//! from which the gradient is made in place.

use dfdx::prelude::*;

use super::{Loss, SoftmaxCrossEntropyKernel};
use crate::activation::kernel::exp;
use crate::buffers::{give, read, take, take_gradient, tensor};
use crate::parts::{Parts, Shared};
use crate::simd::vectorised;
use crate::{Error, Feature};

const NAME: &str = "softmax_cross_entropy";

vectorised! {
    /// Writes `exp(x - shift)`.
    fn exponentials(x: &[f32], shift: f32, y: &mut [f32]) {
        for (x, y) in x.iter().zip(y) {
            *y = exp(*x - shift);
        }
    }
}

/// Writes the probabilities of one image; its loss is the answer.
fn image_loss(logits: &[f32], label: usize, smoothing: f64, probabilities: &mut [f32]) -> f32 {
    // A NaN must not be lost in the maximum: the loss is to be NaN then.
    let largest = logits.iter().fold(f32::NEG_INFINITY, |best, &x| {
        if x > best || x.is_nan() { x } else { best }
    });
    exponentials(logits, largest, probabilities);
    let sum: f64 = probabilities.iter().map(|&p| f64::from(p)).sum();
    let factor = (1.0 / sum) as f32;
    probabilities.iter_mut().for_each(|p| *p *= factor);
    // The logarithm of the sum of all exponentials, relative to the largest logit.
    let below = |x: f32| sum.ln() - (f64::from(x) - f64::from(largest));
    let mut loss = (1.0 - smoothing) * below(logits[label]);
    if smoothing > 0.0 {
        let all: f64 = logits.iter().map(|&x| below(x)).sum();
        loss += smoothing / logits.len() as f64 * all;
    }
    loss as f32
}

/// Writes the probabilities of every image and gives the losses.
pub(crate) fn losses(
    logits: &[f32],
    labels: &[u32],
    smoothing: f64,
    probabilities: &mut [f32],
) -> Vec<f32> {
    let classes = logits.len() / labels.len();
    let parts = Parts::new(labels.len(), classes);
    let probabilities = Shared::new(probabilities);
    let found = parts.map(|part| {
        let rows = parts.rows(part).map(|row| {
            let range = row * classes..(row + 1) * classes;
            // SAFETY: the ranges of different images are apart.
            let probabilities = unsafe { probabilities.slice(range.clone()) };
            image_loss(
                &logits[range],
                labels[row] as usize,
                smoothing,
                probabilities,
            )
        });
        rows.collect::<Vec<f32>>()
    });
    found.concat()
}

/// `dlogits += (p - q) * weight`.
pub(crate) fn add_gradient(
    probabilities: &[f32],
    labels: &[u32],
    smoothing: f64,
    weight: f32,
    dlogits: &mut [f32],
) {
    let classes = probabilities.len() / labels.len();
    let share = (smoothing / classes as f64) as f32;
    let rows = dlogits
        .chunks_exact_mut(classes)
        .zip(probabilities.chunks_exact(classes));
    for ((dlogits, probabilities), &label) in rows.zip(labels) {
        for (dlogit, p) in dlogits.iter_mut().zip(probabilities) {
            *dlogit += (p - share) * weight;
        }
        dlogits[label as usize] -= (1.0 - smoothing) as f32 * weight;
    }
}

impl SoftmaxCrossEntropyKernel for Cpu {
    fn softmax_cross_entropy<T: Tape<f32, Self>>(
        tape: &mut T,
        logits: &Feature<Self>,
        labels: &[u32],
        label_smoothing: f64,
    ) -> Result<Loss<Self>, Error> {
        let values = read(NAME, logits)?;
        let mut probabilities = take(values.len());
        let each = losses(values, labels, label_smoothing, &mut probabilities);
        let mean = each.iter().map(|&loss| f64::from(loss)).sum::<f64>() / each.len() as f64;
        let mean = tensor(logits.device(), vec![mean as f32], ())?;
        if T::OWNS_TAPE {
            let (input, output, labels) = (logits.ghost(), mean.ghost(), labels.to_vec());
            tape.add_backward_op(move |gradients| {
                let dmean = take_gradient(gradients.get_or_alloc_mut(&output)?);
                let weight = dmean.first().copied().unwrap_or_default() / labels.len() as f32;
                let dlogits = gradients.get_or_alloc_mut(&input)?;
                add_gradient(&probabilities, &labels, label_smoothing, weight, dlogits);
                give(probabilities);
                Ok(())
            });
        }
        Ok((mean, each))
    }
}
