//! The backward calls of a program: each forward call's, from the last to the first.
//!
//! The first call that writes a buffer's gradient stores it, later ones add. A call whose output no
//! loss depends on has no gradient, and neither has what does not depend on a parameter.

use std::collections::{HashMap, HashSet};

use super::builder::{Builder, wrong};
use super::{Buffer, Call, Share, Target, Term};
use crate::Error;

/// A normalised tensor's gradient, of which it has a share, and whether a ReLU is still before it.
type Pending = HashMap<Buffer, (Buffer, Share, bool)>;

impl Builder {
    /// Adds the losses of all outputs.
    pub(super) fn losses(&mut self, losses: Buffer, ranks: Buffer) {
        let wanted = self.wanted();
        for (index, (logits, weight)) in self.outputs.clone().into_iter().enumerate() {
            let own = index == 0;
            let gradient = self.training.then(|| self.sink(logits.buffer, &wanted));
            self.calls.push(Call::Loss {
                classes: logits.dims[3],
                smoothing: self.smoothing,
                weight,
                logits: logits.buffer,
                losses: own.then_some(losses),
                ranks: own.then_some(ranks),
                gradient: gradient.flatten(),
            });
        }
    }

    /// Buffers that depend on a parameter; a normalisation's coefficients stand for its output.
    fn wanted(&self) -> HashSet<Buffer> {
        let mut wanted: HashSet<Buffer> = self.parameters.iter().map(|it| it.value).collect();
        for call in &self.calls {
            let accesses = call.accesses();
            if accesses.reads.iter().any(|it| wanted.contains(it)) {
                wanted.extend(accesses.writes);
            }
        }
        wanted
    }

    /// Where the next gradient of a buffer goes, if it is wanted.
    fn sink(&mut self, buffer: Buffer, wanted: &HashSet<Buffer>) -> Option<Target> {
        if !wanted.contains(&buffer) {
            return None;
        }
        if let Some(&gradient) = self.gradients.get(&buffer) {
            return Some(Target {
                buffer: gradient,
                add: true,
            });
        }
        let parameter = self.parameters.iter().find(|it| it.value == buffer);
        let gradient = match parameter.and_then(|it| it.gradient) {
            Some(gradient) => gradient,
            None => self.buffer(self.len(buffer)),
        };
        self.gradients.insert(buffer, gradient);
        Some(Target {
            buffer: gradient,
            add: false,
        })
    }

    /// The gradient buffer of a parameter that only one call reads.
    fn own(&mut self, parameter: Buffer, wanted: &HashSet<Buffer>) -> Result<Buffer, Error> {
        match self.sink(parameter, wanted) {
            Some(target) if !target.add => Ok(target.buffer),
            _ => Err(wrong("a weight that two operations share".to_owned())),
        }
    }

    /// Adds the gradients of the first `forward` calls.
    pub(super) fn differentiate(&mut self, forward: usize) -> Result<(), Error> {
        let wanted = self.wanted();
        let mut pending = Pending::new();
        let mut readers: HashMap<Buffer, usize> = HashMap::new();
        for call in &self.calls[..forward] {
            for buffer in call.accesses().reads {
                *readers.entry(buffer).or_default() += 1;
            }
        }
        for index in (0..forward).rev() {
            let call = self.calls[index].clone();
            if let Call::Combine { .. } = call {
                self.sum_gradient(&call, &wanted, &readers, &mut pending)?;
            } else {
                self.gradient(&call, &wanted, &mut pending)?;
            }
        }
        Ok(())
    }

    /// Notes the gradient of a normalised tensor, which one call alone may take.
    fn note(
        pending: &mut Pending,
        norm: Buffer,
        gradient: (Buffer, Share, bool),
    ) -> Result<(), Error> {
        match pending.insert(norm, gradient) {
            None => Ok(()),
            Some(_) => Err(wrong(
                "a normalised tensor that two operations take".to_owned(),
            )),
        }
    }

    fn gradient(
        &mut self,
        call: &Call,
        wanted: &HashSet<Buffer>,
        pending: &mut Pending,
    ) -> Result<(), Error> {
        match *call {
            Call::Conv {
                geometry,
                prologue,
                x,
                w,
                bias,
                y,
            } => {
                let Some(&dy) = self.gradients.get(&y) else {
                    return Ok(());
                };
                if let Some(bias) = bias {
                    let dbias = self.own(bias, wanted)?;
                    self.calls.push(Call::BiasGradient { dy, dbias });
                }
                let dx = match prologue.norm {
                    None => self.sink(x, wanted),
                    Some(norm) => {
                        let buffer = self.buffer(self.len(x));
                        Self::note(pending, norm, (buffer, Share::WHOLE, false))?;
                        Some(Target { buffer, add: false })
                    }
                };
                let dw = self.own(w, wanted)?;
                self.calls.push(Call::ConvGradient {
                    geometry,
                    prologue,
                    x,
                    w,
                    dy,
                    dx,
                    dw,
                });
            }
            Call::Linear {
                size,
                x,
                w,
                bias,
                y,
            } => {
                let Some(&dy) = self.gradients.get(&y) else {
                    return Ok(());
                };
                if let Some(bias) = bias {
                    let dbias = self.own(bias, wanted)?;
                    self.calls.push(Call::BiasGradient { dy, dbias });
                }
                let dx = self.sink(x, wanted);
                let dw = self.own(w, wanted)?;
                self.calls.push(Call::LinearGradient {
                    size,
                    x,
                    w,
                    dy,
                    dx,
                    dw,
                });
            }
            Call::Normalise {
                coefficients,
                relu,
                y,
                ..
            } => {
                if let Some(&dy) = self.gradients.get(&y) {
                    Self::note(pending, coefficients, (dy, Share::WHOLE, relu))?;
                }
            }
            Call::Statistics {
                channels,
                x,
                norm,
                coefficients,
            } => {
                let Some(&(dy, share, relu)) = pending.get(&coefficients) else {
                    return Ok(());
                };
                let own = |it: &mut Self, vector: Option<Buffer>| {
                    vector.map(|vector| it.own(vector, wanted)).transpose()
                };
                let (dscale, dshift) = (own(self, norm.scale)?, own(self, norm.shift)?);
                let terms = self.buffer(2 * channels);
                let dx = self.sink(x, wanted);
                self.calls.push(Call::NormGradient {
                    x,
                    dy,
                    share,
                    coefficients,
                    relu,
                    terms,
                    dscale,
                    dshift,
                    dx,
                });
            }
            _ => self.plain_gradient(call, wanted),
        }
        Ok(())
    }

    /// The gradients of a sum's terms. A normalised term, and one that nothing else reads and that has
    /// the whole sum, take the sum's own gradient, without a copy; where a ReLU ended the sum, what it
    /// let through.
    fn sum_gradient(
        &mut self,
        call: &Call,
        wanted: &HashSet<Buffer>,
        readers: &HashMap<Buffer, usize>,
        pending: &mut Pending,
    ) -> Result<(), Error> {
        let Call::Combine {
            dims,
            terms,
            relu,
            y,
        } = call
        else {
            return Ok(());
        };
        let Some(&dy) = self.gradients.get(y) else {
            return Ok(());
        };
        let mut targets = Vec::new();
        let mut passed = (!relu).then_some(dy);
        let mut pass = |it: &mut Self, targets: &mut Vec<(Target, Share)>| {
            *passed.get_or_insert_with(|| {
                let buffer = it.buffer(it.len(dy));
                targets.push((Target { buffer, add: false }, Share::WHOLE));
                buffer
            })
        };
        for &Term { x, norm, share } in terms {
            let alone = readers.get(&x) == Some(&1) && !self.gradients.contains_key(&x);
            if let Some(norm) = norm {
                let gradient = pass(self, &mut targets);
                Self::note(pending, norm, (gradient, share, false))?;
            } else if share == Share::WHOLE && alone && wanted.contains(&x) {
                let gradient = pass(self, &mut targets);
                self.gradients.insert(x, gradient);
            } else if let Some(target) = self.sink(x, wanted) {
                targets.push((target, share));
            }
        }
        if !targets.is_empty() {
            self.calls.push(Call::CombineGradient {
                dims: *dims,
                dy,
                y: relu.then_some(*y),
                targets,
            });
        }
        Ok(())
    }

    /// The gradients of calls without parameters.
    fn plain_gradient(&mut self, call: &Call, wanted: &HashSet<Buffer>) {
        let output = call.accesses().writes.first().copied();
        let Some(dy) = output.and_then(|y| self.gradients.get(&y).copied()) else {
            return;
        };
        match call {
            Call::Activation { kind, x, .. } => {
                let (kind, x) = (*kind, *x);
                let sink = self.sink(x, wanted);
                self.calls
                    .extend(sink.map(|dx| Call::ActivationGradient { kind, x, dy, dx }));
            }
            Call::Pool {
                pool,
                dims,
                x,
                places,
                ..
            } => {
                let (pool, dims, places) = (*pool, *dims, *places);
                let sink = self.sink(*x, wanted);
                self.calls.extend(sink.map(|dx| Call::PoolGradient {
                    pool,
                    dims,
                    dy,
                    places,
                    dx,
                }));
            }
            Call::GlobalAveragePool { dims, x, .. } => {
                let dims = *dims;
                let sink = self.sink(*x, wanted);
                self.calls
                    .extend(sink.map(|dx| Call::GlobalAveragePoolGradient { dims, dy, dx }));
            }
            Call::Concat { rows, inputs, .. } => {
                let rows = *rows;
                let targets = inputs.iter().map(|&(x, width)| {
                    // What nobody wants goes to a buffer that nobody reads.
                    let target = self.sink(x, wanted).unwrap_or_else(|| Target {
                        buffer: self.buffer(self.len(x)),
                        add: false,
                    });
                    (target, width)
                });
                let targets = targets.collect();
                self.calls.push(Call::ConcatGradient { rows, dy, targets });
            }
            Call::Product { count, a, b, .. } => {
                let count = *count;
                for (x, other) in [(*a, *b), (*b, *a)] {
                    let sink = self.sink(x, wanted);
                    let gradient = |dx| Call::ProductGradient {
                        count,
                        other,
                        dy,
                        dx,
                    };
                    self.calls.extend(sink.map(gradient));
                }
            }
            Call::Multiply { dims, x, gate, .. } => {
                let (dims, x, gate) = (*dims, *x, *gate);
                let sink = self.sink(x, wanted);
                self.calls
                    .extend(sink.map(|dx| Call::MultiplyGradient { dims, gate, dy, dx }));
                let sink = self.sink(gate, wanted);
                self.calls
                    .extend(sink.map(|dgate| Call::GateGradient { dims, x, dy, dgate }));
            }
            Call::Subsample { subsample, x, .. } => {
                let subsample = *subsample;
                let sink = self.sink(*x, wanted);
                self.calls
                    .extend(sink.map(|dx| Call::SubsampleGradient { subsample, dy, dx }));
            }
            Call::Truncate {
                rows, of, width, x, ..
            } => {
                let (rows, of, width) = (*rows, *of, *width);
                let sink = self.sink(*x, wanted);
                self.calls.extend(sink.map(|dx| Call::TruncateGradient {
                    rows,
                    of,
                    width,
                    dy,
                    dx,
                }));
            }
            Call::Dropout { rate, salt, x, .. } => {
                let (rate, salt) = (*rate, *salt);
                let sink = self.sink(*x, wanted);
                self.calls.extend(sink.map(|y| Call::Dropout {
                    rate,
                    salt,
                    x: dy,
                    y,
                }));
            }
            _ => {}
        }
    }
}
