//! One pass over all parameters: each number of parameter, gradient and moments is touched once.

use std::ops::Range;

use super::parameter::Slot;
use super::{Rule, Settings, State, WeightDecay};
use crate::parts::Shared;
use crate::simd::vectorised;
use crate::threads;

/// Numbers in a task. Smaller than elsewhere: a small network has few parameters, and a step over
/// them should still use all threads.
const PART: usize = 8 * 1024;

/// The tasks: runs of numbers of one parameter.
fn tasks(slots: &[Slot<'_>]) -> Vec<(usize, Range<usize>)> {
    let mut tasks = Vec::new();
    for (place, slot) in slots.iter().enumerate() {
        let length = slot.values.len();
        for start in (0..length).step_by(PART) {
            tasks.push((place, start..(start + PART).min(length)));
        }
    }
    tasks
}

/// Partial sums of a sum of squares, so that its loop vectorises.
const LANES: usize = 32;

vectorised! {
    fn add_squares(x: &[f32], sums: &mut [f32; LANES]) {
        let mut blocks = x.chunks_exact(LANES);
        for block in &mut blocks {
            for i in 0..LANES {
                sums[i] += block[i] * block[i];
            }
        }
        for (x, sum) in blocks.remainder().iter().zip(sums) {
            *sum += x * x;
        }
    }
}

/// The norm of all gradients together.
pub(super) fn norm(slots: &[Slot<'_>]) -> f64 {
    let tasks = tasks(slots);
    let squares = threads::map(tasks.len(), |task| {
        let (place, range) = tasks[task].clone();
        let mut sums = [0.0; LANES];
        add_squares(&slots[place].gradient[range], &mut sums);
        sums.iter().map(|&s| f64::from(s)).sum::<f64>()
    });
    squares.iter().sum::<f64>().sqrt()
}

/// One step over all parameters. `scale` is what clipping leaves of the gradients.
pub(super) fn update(
    settings: &Settings,
    learning_rate: f64,
    scale: f64,
    slots: &mut [Slot<'_>],
    decays: &[bool],
    state: &mut State,
) {
    let tasks = tasks(slots);
    let gradients: Vec<&[f32]> = slots.iter().map(|slot| slot.gradient).collect();
    let values = slots.iter_mut().map(|slot| Shared::new(&mut *slot.values));
    let values: Vec<_> = values.collect();
    let steps = state.steps;
    let moments = state.moments.iter_mut();
    let moments: Vec<_> = moments.map(|moment| shared(moment)).collect();
    threads::for_each(tasks.len(), |task| {
        let (place, range) = tasks[task].clone();
        let step = Numbers::new(settings, learning_rate, scale, steps, decays[place]);
        let gradient = &gradients[place][range.clone()];
        // SAFETY: tasks are different runs of different parameters, so no two ranges overlap.
        let (values, moments) = unsafe {
            let moments = moments.iter().map(|m| m[place].slice(range.clone()));
            (
                values[place].slice(range.clone()),
                moments.collect::<Vec<_>>(),
            )
        };
        step.apply(settings.rule, values, gradient, moments);
    });
}

/// The numbers of all parameters of one moment, each to be written in parts.
fn shared(moment: &mut [Vec<f32>]) -> Vec<Shared<'_, f32>> {
    moment.iter_mut().map(|m| Shared::new(m)).collect()
}

/// The numbers of one step for one parameter.
#[derive(Clone, Copy)]
pub(crate) struct Numbers {
    /// Factor of the gradient, from clipping.
    pub(crate) scale: f32,
    /// What the gradient gets of the parameter (coupled decay).
    pub(crate) coupled: f32,
    /// What is left of the parameter (decoupled decay).
    pub(crate) left: f32,
    /// SGD: the learning rate. Adam: the learning rate over the first moment's correction.
    pub(crate) rate: f32,
    /// Adam: one over the root of the second moment's correction.
    pub(crate) correction: f32,
}

impl Numbers {
    pub(crate) fn new(
        settings: &Settings,
        rate: f64,
        scale: f64,
        steps: u64,
        decays: bool,
    ) -> Self {
        let decay = if decays { settings.weight_decay } else { 0.0 };
        let (coupled, left) = match settings.decay {
            WeightDecay::Coupled => (decay, 1.0),
            WeightDecay::Decoupled => (0.0, 1.0 - rate * decay),
        };
        let (rate, correction) = match settings.rule {
            Rule::Sgd { .. } => (rate, 1.0),
            Rule::Adam { beta1, beta2, .. } => {
                let power = |beta: f64| 1.0 - beta.powf(steps as f64);
                (rate / power(beta1), 1.0 / power(beta2).sqrt())
            }
        };
        Self {
            scale: scale as f32,
            coupled: coupled as f32,
            left: left as f32,
            rate: rate as f32,
            correction: correction as f32,
        }
    }

    fn apply(self, rule: Rule, values: &mut [f32], gradient: &[f32], moments: Vec<&mut [f32]>) {
        let mut moments = moments.into_iter();
        match (rule, moments.next(), moments.next()) {
            (Rule::Sgd { momentum, nesterov }, Some(velocity), _) => {
                let momentum = momentum as f32;
                if nesterov {
                    sgd::<true>(self, momentum, values, gradient, velocity);
                } else {
                    sgd::<false>(self, momentum, values, gradient, velocity);
                }
            }
            (
                Rule::Adam {
                    beta1,
                    beta2,
                    epsilon,
                },
                Some(first),
                Some(second),
            ) => {
                let betas = [beta1 as f32, beta2 as f32];
                adam(self, betas, epsilon as f32, values, gradient, first, second);
            }
            _ => plain(self, values, gradient),
        }
    }
}

vectorised! {
    fn plain(step: Numbers, values: &mut [f32], gradient: &[f32]) {
        for (w, g) in values.iter_mut().zip(gradient) {
            let g = *g * step.scale + *w * step.coupled;
            *w = *w * step.left - step.rate * g;
        }
    }
}

vectorised! {
    fn sgd<const NESTEROV: bool>(
        step: Numbers,
        momentum: f32,
        values: &mut [f32],
        gradient: &[f32],
        velocity: &mut [f32],
    ) {
        for ((w, g), v) in values.iter_mut().zip(gradient).zip(velocity) {
            let g = *g * step.scale + *w * step.coupled;
            *v = momentum * *v + g;
            let move_by = if NESTEROV { g + momentum * *v } else { *v };
            *w = *w * step.left - step.rate * move_by;
        }
    }
}

vectorised! {
    fn adam(
        step: Numbers,
        betas: [f32; 2],
        epsilon: f32,
        values: &mut [f32],
        gradient: &[f32],
        first: &mut [f32],
        second: &mut [f32],
    ) {
        let [beta1, beta2] = betas;
        let moments = first.iter_mut().zip(second);
        for ((w, g), (m, v)) in values.iter_mut().zip(gradient).zip(moments) {
            let g = *g * step.scale + *w * step.coupled;
            *m = beta1 * *m + (1.0 - beta1) * g;
            *v = beta2 * *v + (1.0 - beta2) * g * g;
            let root = v.sqrt() * step.correction + epsilon;
            *w = *w * step.left - step.rate * (*m / root);
        }
    }
}
