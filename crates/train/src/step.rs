//! One training step: forward, backward, update.

use std::time::Instant;

use cellwright_graph::Role;
use cellwright_net::{Mode, Network};
use cellwright_ops::{Feature, Kernels, Optimiser, softmax_cross_entropy, top_k_correct};
use dfdx::shapes::Rank0;
use dfdx::tensor::{Gradients, OwnedTape, PutTape, Tensor};
use dfdx::tensor_ops::{Backward, TryAdd};

use crate::Error;

/// What a step gives.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stepped {
    /// The mean loss of the batch.
    pub loss: f64,
    /// Images of the batch that were classified rightly.
    pub correct: usize,
    /// Seconds of forward, backward and update.
    pub seconds: [f64; 3],
}

/// Runs a whole step or evaluation of a network; see [`Kernels::together`].
pub(crate) fn together<D: Kernels, R>(work: impl FnOnce() -> R) -> R {
    // SAFETY: networks, batches and optimisers hold tensors, numbers and names, nothing of a thread.
    unsafe { D::together(work) }
}

/// Which parameters decay.
pub(crate) fn decays<D: Kernels>(network: &Network<D>, norms_too: bool) -> Vec<bool> {
    network
        .parameters()
        .iter()
        .map(|it| norms_too || it.role == Role::Weight)
        .collect()
}

/// What stays the same from step to step.
pub(crate) struct Stepper {
    pub optimiser: Optimiser,
    pub decays: Vec<bool>,
    pub label_smoothing: f64,
}

impl Stepper {
    /// Makes one step. Where the loss is no number the network is left as it was.
    pub fn step<D: Kernels>(
        &mut self,
        network: &mut Network<D>,
        images: Feature<D>,
        labels: &[u32],
        mode: Mode,
        learning_rate: f64,
    ) -> Result<Stepped, Error> {
        together::<D, _>(|| {
            let begin = Instant::now();
            let mut tape = OwnedTape::<f32, D>::default();
            let outputs = network.run(images, mode, &mut tape)?;
            let correct = top_k_correct(&outputs.logits, labels, &[1])?[0];
            let (mean, each) =
                softmax_cross_entropy(&mut tape, &outputs.logits, labels, self.label_smoothing)?;
            let loss = each.iter().map(|it| f64::from(*it)).sum::<f64>() / each.len().max(1) as f64;
            let mut total = mean.put_tape(tape);
            for (logits, weight) in &outputs.auxiliary {
                total = self.add_auxiliary(total, logits, *weight, labels)?;
            }
            drop(outputs);
            let forward = begin.elapsed().as_secs_f64();
            if !loss.is_finite() {
                return Ok(Stepped {
                    loss,
                    correct,
                    seconds: [forward, 0.0, 0.0],
                });
            }
            let mut gradients: Gradients<f32, D> = total
                .try_backward()
                .map_err(cellwright_ops::Error::device)?;
            let backward = begin.elapsed().as_secs_f64();
            let mut parameters = network.parameters_mut();
            self.optimiser
                .step(learning_rate, &mut parameters, &self.decays, &mut gradients)?;
            let end = begin.elapsed().as_secs_f64();
            Ok(Stepped {
                loss,
                correct,
                seconds: [forward, backward - forward, end - backward],
            })
        })
    }

    fn add_auxiliary<D: Kernels>(
        &self,
        total: Tensor<Rank0, f32, D, OwnedTape<f32, D>>,
        logits: &Feature<D>,
        weight: f64,
        labels: &[u32],
    ) -> Result<Tensor<Rank0, f32, D, OwnedTape<f32, D>>, Error> {
        let device = cellwright_ops::Error::device;
        let mut tape = OwnedTape::<f32, D>::default();
        let (loss, _) = softmax_cross_entropy(&mut tape, logits, labels, self.label_smoothing)?;
        let loss = loss.put_tape(tape);
        let loss = dfdx::tensor_ops::TryMul::try_mul(loss, weight as f32).map_err(device)?;
        Ok(total.try_add(loss).map_err(device)?)
    }
}
