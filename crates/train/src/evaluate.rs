//! Accuracy and loss of a network on images, without gradients.

use std::sync::Arc;

use cellwright_data::{Dataset, Loader, Part, Plan};
use cellwright_net::Network;
use cellwright_ops::{Kernels, softmax_cross_entropy, top_k_correct};
use dfdx::tensor::NoneTape;

use crate::pace::End;
use crate::step::together;

/// Images of an evaluation step.
pub(crate) const BATCH: usize = 250;

/// How well a network does on some images.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Accuracy {
    /// Fraction classified rightly.
    pub top1: f64,
    /// Fraction whose class is among the five best guesses.
    pub top5: f64,
    /// Mean cross-entropy, nats.
    pub loss: f64,
}

/// Evaluates a network on the images of a part with these indices; none where there are no images. After each batch
/// `look` says whether to go on.
pub(crate) fn evaluate<D: Kernels>(
    network: &Network<D>,
    dataset: &Arc<Dataset>,
    part: Part,
    indices: Vec<u32>,
    look: &mut dyn FnMut() -> Result<(), End>,
) -> Result<Option<Accuracy>, End> {
    let count = indices.len();
    if count == 0 {
        return Ok(None);
    }
    let (mut right, mut loss) = ([0, 0], 0.0);
    for batch in
        Plan::evaluate(Arc::clone(dataset), part, indices, BATCH).and_then(Loader::start)?
    {
        let images = crate::trainer::images(network, batch.pixels, batch.labels.len())?;
        let logits = together::<D, _>(|| network.evaluate(images, &mut NoneTape))?;
        let correct = top_k_correct(&logits, &batch.labels, &[1, 5])?;
        right[0] += correct[0];
        right[1] += correct[1];
        let (_, each) = softmax_cross_entropy(&mut NoneTape, &logits, &batch.labels, 0.0)?;
        loss += each.iter().map(|it| f64::from(*it)).sum::<f64>();
        look()?;
    }
    let count = count as f64;
    Ok(Some(Accuracy {
        top1: right[0] as f64 / count,
        top5: right[1] as f64 / count,
        loss: loss / count,
    }))
}
