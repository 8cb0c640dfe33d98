//! What the controller descends: the clipped surrogate of PPO (Schulman et al. 2017, arXiv 1707.06347)
//! or the plain policy gradient (Williams 1992), minus the weighted entropy, over all decisions of a
//! batch at once: the softmaxes and the loss are one operation on dfdx's tape.

use cellwright_ops::buffers::{read, tensor};
use dfdx::prelude::*;

use super::layout::{Place, Sequence};
use super::lstm::{Matrix, failed};
use super::policy::Policy;
use crate::Error;

const NAME: &str = "policy objective";

/// What to descend.
#[derive(Clone, Copy, Debug)]
pub(super) struct Goal<'a> {
    /// One for each sequence.
    pub advantages: &'a [f32],
    /// The logarithms of the choices' probabilities when they were sampled; none: as they are now.
    pub sampled: Option<&'a [f32]>,
    /// How far a ratio of probabilities may be from 1.
    pub clip: f32,
    /// Weight of the entropy.
    pub entropy: f32,
}

/// What is worth knowing, means over the decisions that were open.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured {
    /// The policy's part of the loss.
    pub policy: f64,
    /// Entropy, nats.
    pub entropy: f64,
    /// Kullback-Leibler divergence from the policy that sampled, nats, estimated at the choices.
    pub kl: f64,
    /// Fraction of clipped ratios.
    pub clipped: f64,
    /// The logarithms of the choices' probabilities: steps × sequences.
    pub logs: Vec<f32>,
}

/// The logarithms of a decision's probabilities; of an illegal option it has no meaning.
pub(super) fn softmax(
    place: Place,
    heads: &[f32],
    biases: &[f32],
    hidden: &[f32],
    legal: &[bool],
) -> Vec<f32> {
    let units = hidden.len();
    let mut logs: Vec<f32> = (0..place.count)
        .map(|option| {
            let weights = &heads[(place.kind + option) * units..][..units];
            dot(weights, hidden) + biases[place.first + option]
        })
        .collect();
    let allowed = || logs.iter().zip(legal).filter(|it| *it.1).map(|it| *it.0);
    let largest = allowed().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = allowed().map(|log| (log - largest).exp()).sum();
    let shift = largest + sum.ln();
    logs.iter_mut().for_each(|log| *log -= shift);
    logs
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    let (a_body, a_tail) = a.as_chunks::<LANES>();
    let (b_body, b_tail) = b.as_chunks::<LANES>();
    for (a, b) in a_body.iter().zip(b_body) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let tail: f32 = a_tail.iter().zip(b_tail).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + tail
}

/// The gradient of the loss by the logits of one open decision.
struct Slope {
    row: usize,
    place: Place,
    by_logits: Vec<f32>,
}

/// The loss of a batch, and what is worth knowing. `hidden`: (steps·sequences) × units.
pub(super) fn objective<T: Tape<f32, Cpu>>(
    tape: &mut T,
    policy: &Policy,
    hidden: &Matrix,
    sequences: &[Sequence],
    goal: &Goal<'_>,
) -> Result<(Tensor<Rank0, f32, Cpu>, Measured), Error> {
    let states = read(NAME, hidden).map_err(failed)?;
    let heads = read(NAME, &policy.heads).map_err(failed)?;
    let biases = read(NAME, &policy.biases).map_err(failed)?;
    let units = hidden.shape().1;
    let mut measured = Measured::default();
    let mut slopes = Vec::new();
    for (step, place) in policy.layout.decisions().iter().enumerate() {
        for (index, sequence) in sequences.iter().enumerate() {
            let row = step * sequences.len() + index;
            let legal = &sequence.legal[step];
            if legal.iter().filter(|it| **it).count() < 2 {
                measured.logs.push(0.0);
                continue;
            }
            let logs = softmax(
                *place,
                heads,
                biases,
                &states[row * units..][..units],
                legal,
            );
            let choice = sequence.choices.0[step] as usize;
            let by_logits = decision(
                logs,
                legal,
                choice,
                row,
                goal,
                goal.advantages[index],
                &mut measured,
            );
            slopes.push(Slope {
                row,
                place: *place,
                by_logits,
            });
        }
    }
    let count = slopes.len().max(1) as f64;
    for sum in [
        &mut measured.policy,
        &mut measured.entropy,
        &mut measured.kl,
        &mut measured.clipped,
    ] {
        *sum /= count;
    }
    let value = measured.policy - f64::from(goal.entropy) * measured.entropy;
    let loss = tensor(&Cpu::default(), vec![value as f32], ()).map_err(failed)?;
    if T::OWNS_TAPE {
        let (hidden, result) = (hidden.clone(), loss.clone());
        let (heads, biases) = (policy.heads.clone(), policy.biases.clone());
        tape.add_backward_op(move |gradients| {
            let scale = gradients.get_or_alloc_mut(&result)?[0] / count as f32;
            backward(scale, &slopes, &hidden, &heads, &biases, gradients)
        });
    }
    Ok((loss, measured))
}

/// One open decision: adds to the sums; the answer is the gradient by its logits.
fn decision(
    logs: Vec<f32>,
    legal: &[bool],
    choice: usize,
    row: usize,
    goal: &Goal<'_>,
    advantage: f32,
    sums: &mut Measured,
) -> Vec<f32> {
    let log = logs[choice];
    let distance = goal.sampled.map_or(0.0, |sampled| log - sampled[row]);
    let ratio = distance.exp();
    let bounded = ratio.clamp(1.0 - goal.clip, 1.0 + goal.clip);
    let clipped = bounded * advantage < ratio * advantage;
    let probability = |option: usize| {
        if legal[option] {
            logs[option].exp()
        } else {
            0.0
        }
    };
    let entropy: f32 = (0..logs.len())
        .filter(|option| legal[*option])
        .map(|option| -probability(option) * logs[option])
        .sum();
    sums.policy -= f64::from((ratio * advantage).min(bounded * advantage));
    sums.entropy += f64::from(entropy);
    sums.kl += f64::from(ratio - 1.0 - distance);
    sums.clipped += f64::from(u8::from(clipped));
    sums.logs.push(log);
    let by_log = if clipped { 0.0 } else { -ratio * advantage };
    (0..logs.len())
        .map(|option| {
            let p = probability(option);
            if p == 0.0 {
                return 0.0;
            }
            let chosen = f32::from(u8::from(option == choice));
            by_log * (chosen - p) + goal.entropy * p * (logs[option] + entropy)
        })
        .collect()
}

fn backward(
    scale: f32,
    slopes: &[Slope],
    hidden: &Matrix,
    heads: &Matrix,
    biases: &Matrix,
    gradients: &mut Gradients<f32, Cpu>,
) -> Result<(), CpuError> {
    let units = hidden.shape().1;
    let d_biases = gradients.get_or_alloc_mut(biases)?;
    for slope in slopes {
        let d = &mut d_biases[slope.place.first..];
        d.iter_mut()
            .zip(&slope.by_logits)
            .for_each(|(d, by)| *d += scale * by);
    }
    let (Ok(states), Ok(weights)) = (read(NAME, hidden), read(NAME, heads)) else {
        return Err(CpuError::OutOfMemory);
    };
    let d_heads = gradients.get_or_alloc_mut(heads)?;
    for slope in slopes {
        let state = &states[slope.row * units..][..units];
        for (option, by) in slope.by_logits.iter().enumerate() {
            let d = &mut d_heads[(slope.place.kind + option) * units..][..units];
            d.iter_mut()
                .zip(state)
                .for_each(|(d, h)| *d += scale * by * h);
        }
    }
    let d_hidden = gradients.get_or_alloc_mut(hidden)?;
    for slope in slopes {
        let d = &mut d_hidden[slope.row * units..][..units];
        for (option, by) in slope.by_logits.iter().enumerate() {
            let weights = &weights[(slope.place.kind + option) * units..][..units];
            d.iter_mut()
                .zip(weights)
                .for_each(|(d, w)| *d += scale * by * w);
        }
    }
    Ok(())
}
