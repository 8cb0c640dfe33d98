//! Forward calls on the CPU.

use std::borrow::Cow;

use super::super::{Call, Norm, Prologue, Share};
use super::Context;
use crate::batch_norm::cpu::{Statistics, adopt_slices, widened};
use crate::batch_norm::kernel as norm_kernel;
use crate::conv2d::forward::Plan;
use crate::conv2d::product::Finish;
use crate::conv2d::window;
use crate::elementwise::{
    combine, concat, dropout, gate, global_avg_pool, random, subsample, truncate,
};
use crate::linear::kernel::{View, add_product};
use crate::pool2d::{PoolKind, average, max};
use crate::softmax_cross_entropy::{cpu as loss, rank};
use crate::{Activation, Error, activation};

impl Context<'_> {
    /// Runs a forward call; false where it is none.
    pub fn forward(&mut self, call: &Call) -> Result<bool, Error> {
        match call {
            Call::Zero { y } => self.put(*y).fill(0.0),
            Call::Conv {
                geometry,
                prologue,
                x,
                w,
                bias,
                y,
            } => {
                let prologue = self.prologue(prologue, geometry.width);
                let finish = Finish {
                    shift: self.maybe(*bias),
                    relu: false,
                    add: false,
                };
                let plan = Plan::new(*geometry, self.get(*w));
                plan.run(self.get(*x), &prologue, finish, None, false, self.put(*y));
            }
            Call::Linear {
                size: [rows, inputs, units],
                x,
                w,
                bias,
                y,
            } => {
                let y = self.put(*y);
                match self.maybe(*bias) {
                    Some(bias) if *units > 0 => y
                        .chunks_exact_mut(*units)
                        .for_each(|y| y.copy_from_slice(bias)),
                    _ => y.fill(0.0),
                }
                let x = View::new(self.get(*x), *rows, *inputs);
                add_product(x, View::new(self.get(*w), *inputs, *units), y);
            }
            Call::Statistics {
                channels,
                x,
                norm,
                coefficients,
            } => {
                let x = self.get(*x);
                let moments = norm_kernel::moments(x, *channels);
                let running = self.put(norm.running).split_at_mut(*channels);
                let rows = x.len() / channels;
                let [mean, variance] = adopt_slices(moments, rows, running, norm.momentum);
                self.coefficients(norm, &mean, &variance, *coefficients);
            }
            Call::RunningStatistics {
                channels,
                norm,
                coefficients,
            } => {
                let (mean, variance) = self.get(norm.running).split_at(*channels);
                let (mean, variance) = (widened(mean), widened(variance));
                self.coefficients(norm, &mean, &variance, *coefficients);
            }
            Call::Normalise {
                x,
                coefficients,
                relu,
                y,
            } => {
                let (factor, offset) = affine(self.get(*coefficients));
                norm_kernel::affine(self.get(*x), factor, offset, *relu, self.put(*y));
            }
            Call::Activation { kind, x, y } => {
                activation::kernel::forward(*kind, self.get(*x), self.put(*y));
            }
            Call::Pool {
                pool,
                dims: [n, height, width, channels],
                x,
                y,
                places,
            } => {
                let geometry = pool.geometry((*n, *height, *width, *channels))?;
                let (x, y) = (self.get(*x), self.put(*y));
                match (pool.kind, places) {
                    (PoolKind::Average, _) => average::forward(&geometry, x, y),
                    (PoolKind::Max, None) => max::forward(&geometry, x, y, &mut []),
                    (PoolKind::Max, Some(places)) => {
                        let places = bytes_mut(self.put(*places));
                        max::forward(&geometry, x, y, &mut places[..geometry.output_len()]);
                    }
                }
            }
            Call::GlobalAveragePool { dims, x, y } => {
                let shape = (dims.images, dims.pixels, dims.channels);
                global_avg_pool::forward(shape, self.get(*x), self.put(*y));
            }
            Call::Combine {
                dims,
                terms,
                relu,
                y,
            } => {
                let inputs = terms.iter().map(|term| {
                    let x = self.get(term.x);
                    let Some(norm) = term.norm else {
                        return Cow::Borrowed(x);
                    };
                    let (factor, offset) = affine(self.get(norm));
                    let mut normalised = vec![0.0; x.len()];
                    norm_kernel::affine(x, factor, offset, false, &mut normalised);
                    Cow::Owned(normalised)
                });
                let inputs: Vec<Cow<[f32]>> = inputs.collect();
                let inputs: Vec<&[f32]> = inputs.iter().map(|it| &**it).collect();
                let shares = terms.iter().map(|it| self.share(&it.share, dims.images));
                let shares: Vec<_> = shares.collect();
                let shape = (dims.images, dims.pixels, dims.channels);
                let y = self.put(*y);
                combine::forward(shape, &inputs, &shares, y);
                if *relu {
                    let sum = y.to_vec();
                    activation::kernel::forward(Activation::Relu, &sum, y);
                }
            }
            Call::Concat { rows, inputs, y } => {
                let inputs: Vec<_> = inputs.iter().map(|(x, c)| (self.get(*x), *c)).collect();
                let total = inputs.iter().map(|(_, width)| width).sum();
                concat::forward(*rows, &inputs, total, self.put(*y));
            }
            Call::Product { a, b, y, .. } => {
                gate::each::<false>(self.get(*a), self.get(*b), self.put(*y));
            }
            Call::Multiply { dims, x, gate, y } => {
                let shape = (dims.images, dims.pixels, dims.channels);
                gate::apply::<false>(shape, self.get(*x), self.get(*gate), self.put(*y));
            }
            Call::Subsample { subsample, x, y } => {
                subsample::forward(&plan(subsample), self.get(*x), self.put(*y));
            }
            Call::Truncate {
                rows,
                of,
                width,
                x,
                y,
            } => truncate::forward(*rows, self.get(*x), *of, *width, self.put(*y)),
            Call::Dropout { rate, salt, x, y } => {
                let seed = random::mix(self.control.seed, *salt);
                let x = self.get(*x);
                if y.add {
                    dropout::apply::<true>(*rate, seed, x, self.put(y.buffer));
                } else {
                    dropout::apply::<false>(*rate, seed, x, self.put(y.buffer));
                }
            }
            Call::DropPaths {
                paths,
                images,
                factors,
            } => {
                let rows = self.put(*factors).chunks_exact_mut((*images).max(1));
                for (path, row) in paths.iter().zip(rows) {
                    let rate = path.rate * self.control.grown(path.scheduled);
                    let seed = random::mix(self.control.seed, path.salt);
                    row.copy_from_slice(&random::factors(seed, rate, *images));
                }
            }
            Call::Loss {
                classes,
                smoothing,
                weight,
                logits,
                losses,
                ranks,
                gradient,
            } => {
                let (logits, labels) = (self.get(*logits), self.labels);
                let mut probabilities = vec![0.0; logits.len()];
                let each = loss::losses(logits, labels, *smoothing, &mut probabilities);
                if let Some(losses) = losses {
                    self.put(*losses).copy_from_slice(&each);
                }
                if let Some(ranks) = ranks {
                    let rows = logits.chunks_exact(*classes).zip(labels);
                    for ((row, label), to) in rows.zip(self.put(*ranks)) {
                        *to = rank(row, *label as usize) as f32;
                    }
                }
                if let Some(gradient) = gradient {
                    let weight = *weight as f32 / labels.len() as f32;
                    let to = self.sum(*gradient);
                    loss::add_gradient(&probabilities, labels, *smoothing, weight, to);
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(super) fn prologue(&self, prologue: &Prologue, width: usize) -> window::Prologue {
        match prologue.norm {
            None => window::Prologue::relu(prologue.relu),
            Some(norm) => {
                let (factor, offset) = affine(self.get(norm));
                window::Prologue::affine(factor, offset, prologue.relu, width)
            }
        }
    }

    pub(super) fn share(&self, share: &Share, images: usize) -> combine::Share {
        match share {
            Share::All(factor) => combine::Share::All(*factor),
            Share::Images { factors, row } => {
                combine::Share::Images(self.get(*factors)[row * images..][..images].to_vec())
            }
        }
    }

    fn coefficients(
        &mut self,
        norm: &Norm,
        mean: &[f64],
        variance: &[f64],
        coefficients: super::Buffer,
    ) {
        let (scale, shift) = (self.maybe(norm.scale), self.maybe(norm.shift));
        let found = Statistics::new(mean, variance, norm.epsilon, scale, shift);
        let rows = [&found.mean, &found.inverse, &found.factor, &found.offset];
        let to = self.put(coefficients).chunks_exact_mut(mean.len().max(1));
        to.zip(rows).for_each(|(to, row)| to.copy_from_slice(row));
    }
}

/// Factor and offset of a normalisation's coefficients.
pub(super) fn affine(coefficients: &[f32]) -> (&[f32], &[f32]) {
    coefficients[coefficients.len() / 2..].split_at(coefficients.len() / 4)
}

pub(super) fn plan(subsample: &super::super::Subsample) -> subsample::Plan {
    let [images, height, width, channels] = subsample.dims;
    subsample::Plan {
        images,
        height,
        width,
        channels,
        stride: subsample.stride,
        offset: subsample.offset,
    }
}

/// Numbers as bytes.
fn bytes_mut(numbers: &mut [f32]) -> &mut [u8] {
    // SAFETY: bytes need no alignment and have no forbidden values.
    unsafe { numbers.align_to_mut().1 }
}
