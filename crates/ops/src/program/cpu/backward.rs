//! Backward calls on the CPU.

use std::borrow::Cow;

use super::super::Call;
use super::Context;
use super::forward::{affine, plan};
use crate::batch_norm::cpu::{Statistics, input_gradient};
use crate::batch_norm::kernel as norm_kernel;
use crate::conv2d::backward::{Given, Plan, Sink};
use crate::conv2d::cpu::add_columns;
use crate::conv2d::window::Incoming;
use crate::elementwise::{combine, concat, gate, global_avg_pool, subsample, truncate};
use crate::linear::kernel::{View, add_product};
use crate::pool2d::{average, max};
use crate::{Activation, Error, activation};

impl Context<'_> {
    /// Runs a backward call.
    pub fn backward(&mut self, call: &Call) -> Result<(), Error> {
        match call {
            Call::ConvGradient {
                geometry,
                prologue,
                x,
                w,
                dy,
                dx,
                dw,
            } => {
                let prologue = self.prologue(prologue, geometry.width);
                let plan = Plan::new(*geometry, self.get(*w));
                let x = self.get(*x);
                let given = Given {
                    x,
                    prologue: &prologue,
                    incoming: &Incoming::Plain(self.get(*dy)),
                };
                let sink = match dx {
                    Some(dx) if dx.add => Sink::Add(self.put(dx.buffer)),
                    Some(dx) => Sink::Set(self.put(dx.buffer)),
                    None => Sink::Nowhere,
                };
                let dw = self.put(*dw);
                dw.fill(0.0);
                plan.run(&given, sink, [dw, &mut []]);
            }
            Call::BiasGradient { dy, dbias } => {
                let dbias = self.put(*dbias);
                dbias.fill(0.0);
                if !dbias.is_empty() {
                    add_columns(self.get(*dy), dbias);
                }
            }
            Call::LinearGradient {
                size: [rows, inputs, units],
                x,
                w,
                dy,
                dx,
                dw,
            } => {
                let dy = View::new(self.get(*dy), *rows, *units);
                if let Some(dx) = dx {
                    let w = View::new(self.get(*w), *inputs, *units);
                    add_product(dy, w.transposed(), self.sum(*dx));
                }
                let x = View::new(self.get(*x), *rows, *inputs);
                let dw = self.put(*dw);
                dw.fill(0.0);
                add_product(x.transposed(), dy, dw);
            }
            Call::NormGradient { .. } => self.norm_gradient(call),
            Call::ActivationGradient { kind, x, dy, dx } => {
                let (x, dy) = (self.get(*x), self.get(*dy));
                activation::kernel::backward(*kind, x, dy, self.sum(*dx));
            }
            Call::PoolGradient {
                pool,
                dims: [n, height, width, channels],
                dy,
                places,
                dx,
            } => {
                let geometry = pool.geometry((*n, *height, *width, *channels))?;
                let (dy, dx) = (self.get(*dy), self.sum(*dx));
                match self.maybe(*places) {
                    None => average::backward(&geometry, dy, dx),
                    Some(places) => {
                        let places = &bytes(places)[..geometry.output_len()];
                        max::backward(&geometry, dy, places, dx);
                    }
                }
            }
            Call::GlobalAveragePoolGradient { dims, dy, dx } => {
                let shape = (dims.images, dims.pixels, dims.channels);
                global_avg_pool::backward(shape, self.get(*dy), self.sum(*dx));
            }
            Call::CombineGradient {
                dims,
                dy,
                y,
                targets,
            } => {
                let shape = (dims.images, dims.pixels, dims.channels);
                let mut dy = Cow::Borrowed(self.get(*dy));
                if let Some(y) = y {
                    let mut passed = vec![0.0; dy.len()];
                    // A ReLU's output is positive where its input is.
                    activation::kernel::backward(Activation::Relu, self.get(*y), &dy, &mut passed);
                    dy = Cow::Owned(passed);
                }
                for (dx, share) in targets {
                    let share = self.share(share, dims.images);
                    combine::backward(shape, &dy, &share, self.sum(*dx));
                }
            }
            Call::ConcatGradient { rows, dy, targets } => {
                let total = targets.iter().map(|(_, width)| width).sum();
                let mut offset = 0;
                for &(dx, width) in targets {
                    concat::backward(*rows, self.get(*dy), total, offset, width, self.sum(dx));
                    offset += width;
                }
            }
            Call::ProductGradient { other, dy, dx, .. } => {
                gate::each::<true>(self.get(*dy), self.get(*other), self.sum(*dx));
            }
            Call::MultiplyGradient { dims, gate, dy, dx } => {
                let shape = (dims.images, dims.pixels, dims.channels);
                gate::apply::<true>(shape, self.get(*dy), self.get(*gate), self.sum(*dx));
            }
            Call::GateGradient { dims, x, dy, dgate } => {
                let shape = (dims.images, dims.pixels, dims.channels);
                gate::gate_gradient(shape, self.get(*x), self.get(*dy), self.sum(*dgate));
            }
            Call::SubsampleGradient { subsample, dy, dx } => {
                subsample::backward(&plan(subsample), self.get(*dy), self.sum(*dx));
            }
            Call::TruncateGradient {
                rows,
                of,
                width,
                dy,
                dx,
            } => truncate::backward(*rows, self.get(*dy), *width, *of, self.sum(*dx)),
            _ => {
                let detail = format!("no kernel for {call:?}");
                return Err(Error::shape("program", detail));
            }
        }
        Ok(())
    }

    fn norm_gradient(&mut self, call: &Call) {
        let Call::NormGradient {
            x,
            dy,
            share,
            coefficients,
            relu,
            dscale,
            dshift,
            dx,
            ..
        } = call
        else {
            return;
        };
        let x = self.get(*x);
        let images = self.program.batch();
        let mut own = vec![0.0; x.len()];
        let share = self.share(share, images);
        combine::backward(
            (images, x.len() / images.max(1), 1),
            self.get(*dy),
            &share,
            &mut own,
        );
        let dy = &own[..];
        let numbers = self.get(*coefficients);
        let (factor, offset) = affine(numbers);
        let (mean, inverse) = numbers[..2 * factor.len()].split_at(factor.len());
        let mask = relu.then_some((factor, offset));
        let (sums, products) = norm_kernel::gradient_sums(x, dy, mean, mask);
        if let Some(dscale) = dscale {
            let terms = products.iter().zip(inverse);
            for (to, (product, inverse)) in self.put(*dscale).iter_mut().zip(terms) {
                *to = (product * f64::from(*inverse)) as f32;
            }
        }
        if let Some(dshift) = dshift {
            let to = self.put(*dshift).iter_mut();
            to.zip(&sums).for_each(|(to, sum)| *to = *sum as f32);
        }
        if let Some(dx) = dx {
            let statistics = Statistics {
                mean: mean.to_vec(),
                inverse: inverse.to_vec(),
                factor: factor.to_vec(),
                offset: offset.to_vec(),
            };
            let terms = input_gradient(&statistics, &sums, &products, x.len(), true);
            norm_kernel::add_input_gradient(x, dy, &terms, mask, self.sum(*dx));
        }
    }
}

/// Numbers as bytes.
fn bytes(numbers: &[f32]) -> &[u8] {
    // SAFETY: bytes need no alignment and have no forbidden values.
    unsafe { numbers.align_to().1 }
}
