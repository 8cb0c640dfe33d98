//! How many images have their label among the k largest logits.

use dfdx::prelude::*;

use super::check;
use crate::{Base, Error, Feature};

/// For each of `ks`: the number of images whose label is among the `k` largest logits.
///
/// Of equal logits the one of the lower class counts as larger; a NaN counts as larger than all, and
/// an image whose own logit is NaN as wrong, so that a network that has diverged is never right.
///
/// - `logits`: N×1×1×K; `labels`: N numbers below K.
/// - PyTorch: `logits.topk(k).indices.eq(labels[:, None]).any(1).sum()`
///
/// # Errors
/// [`Error::Shape`] if `logits` is not N×1×1×K, there is not one label for each image or a label is
/// not below K.
pub fn top_k_correct<D: Base>(
    logits: &Feature<D>,
    labels: &[u32],
    ks: &[usize],
) -> Result<Vec<usize>, Error> {
    check("top_k_correct", logits, labels)?;
    let values = logits.as_vec();
    let mut correct = vec![0; ks.len()];
    for (row, &label) in values.chunks(logits.shape().3.max(1)).zip(labels) {
        let rank = rank(row, label as usize);
        for (correct, &k) in correct.iter_mut().zip(ks) {
            *correct += usize::from(rank < k);
        }
    }
    Ok(correct)
}

/// How many classes come before `label`.
pub(crate) fn rank(logits: &[f32], label: usize) -> usize {
    let own = logits[label];
    if own.is_nan() {
        return usize::MAX;
    }
    let before = |(class, &x): (usize, &f32)| x > own || x.is_nan() || (x == own && class < label);
    logits.iter().enumerate().filter(|&c| before(c)).count()
}
