//! The loss of a classifier, and how many answers are right.

pub(crate) mod cpu;
#[cfg(test)]
mod tests;
mod top_k;

use dfdx::prelude::*;

use crate::{Base, Error, Feature, Kernels};
pub(crate) use top_k::rank;
pub use top_k::top_k_correct;

/// The mean loss, and the loss of each image.
pub type Loss<D> = (Tensor<Rank0, f32, D>, Vec<f32>);

/// The kernel behind [`softmax_cross_entropy`]; arguments have been checked.
pub trait SoftmaxCrossEntropyKernel: Base {
    /// See [`softmax_cross_entropy`].
    ///
    /// # Errors
    /// [`Error::Device`] if the device fails.
    fn softmax_cross_entropy<T: Tape<f32, Self>>(
        tape: &mut T,
        logits: &Feature<Self>,
        labels: &[u32],
        label_smoothing: f64,
    ) -> Result<Loss<Self>, Error> {
        reference(tape, logits, labels, label_smoothing)
    }
}

#[cfg(feature = "cuda")]
impl SoftmaxCrossEntropyKernel for Cuda {}

/// The loss composed of dfdx's log-softmax, a product with the target distribution, and sums.
///
/// # Errors
/// [`Error::Device`] if the device fails.
pub fn reference<D: Base, T: Tape<f32, D>>(
    tape: &mut T,
    logits: &Feature<D>,
    labels: &[u32],
    label_smoothing: f64,
) -> Result<Loss<D>, Error> {
    let (n, _, _, classes) = *logits.shape();
    let share = (label_smoothing / classes as f64) as f32;
    let mut targets = vec![share; n * classes];
    for (row, &label) in targets.chunks_exact_mut(classes).zip(labels) {
        row[label as usize] += (1.0 - label_smoothing) as f32;
    }
    let device = logits.device().clone();
    let targets = device
        .try_tensor_from_vec(targets, (n, classes))
        .map_err(Error::device)?;
    let x = logits.clone().put_tape(std::mem::take(tape));
    let compose = || -> Result<_, D::Err> {
        let x = x.try_reshape_like(&(n, classes))?;
        let products = x.try_log_softmax::<Axis<1>>()?.try_mul(targets)?;
        let each: Tensor<(usize,), f32, D, T> = products.try_sum::<_, Axis<1>>()?.try_negate()?;
        let values = each.as_vec();
        let (mean, used) = each.try_mean::<Rank0, Axis<0>>()?.split_tape();
        Ok((mean, values, used))
    };
    let (mean, each, used) = compose().map_err(Error::device)?;
    *tape = used;
    Ok((mean, each))
}

/// Softmax cross-entropy with label smoothing: the mean over the batch, and the loss of each image.
///
/// lossₙ = −Σₖ qₖ log pₖ, with p = softmax(logitsₙ) and qₖ = (1 − s)·[k = labelₙ] + s/K
///
/// - `logits`: N×1×1×K; `labels`: N numbers below K; `label_smoothing` s in 0..1. The mean is a
///   tensor without dimensions, to call dfdx's backward on once it has the tape.
/// - Gradient of the mean: dlogitsₙ = (p − q)/N.
/// - Paper: Szegedy et al. 2016, arXiv 1512.00567 (label smoothing).
/// - PyTorch: `F.cross_entropy(logits, labels, label_smoothing=s)`
///
/// # Errors
/// [`Error::Shape`] if the batch is empty, `logits` is not N×1×1×K, there is not one label for each
/// image, a label is not below K, or the smoothing is not in 0..1.
pub fn softmax_cross_entropy<D: Kernels, T: Tape<f32, D>>(
    tape: &mut T,
    logits: &Feature<D>,
    labels: &[u32],
    label_smoothing: f64,
) -> Result<Loss<D>, Error> {
    check("softmax_cross_entropy", logits, labels)?;
    if labels.is_empty() {
        return Err(Error::shape(
            "softmax_cross_entropy",
            "the batch is empty, so its mean loss is not defined",
        ));
    }
    if !(0.0..1.0).contains(&label_smoothing) {
        return Err(Error::shape(
            "softmax_cross_entropy",
            format!("the label smoothing {label_smoothing} is not in 0..1"),
        ));
    }
    D::softmax_cross_entropy(tape, logits, labels, label_smoothing)
}

/// Refuses logits and labels that do not go together.
fn check<D: Base>(
    operation: &'static str,
    logits: &Feature<D>,
    labels: &[u32],
) -> Result<(), Error> {
    let (n, h, w, classes) = *logits.shape();
    if (h, w) != (1, 1) || labels.len() != n {
        return Err(Error::shape(
            operation,
            format!(
                "the logits are {n}x{h}x{w}x{classes}, with {} labels; {}x1x1xK was expected",
                labels.len(),
                labels.len()
            ),
        ));
    }
    match labels.iter().find(|&&label| label as usize >= classes) {
        Some(label) => Err(Error::shape(
            operation,
            format!("label {label} is not below the number of classes, {classes}"),
        )),
        None => Ok(()),
    }
}
