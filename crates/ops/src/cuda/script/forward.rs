//! Forward calls as device work.

use super::{Work, Writer};
use crate::Error;
use crate::cuda::Pointer;
use crate::cuda::kernels::batch_norm::{self, Normaliser};
use crate::cuda::kernels::columns::ScratchSize;
use crate::cuda::kernels::combine;
use crate::cuda::kernels::convolution::{self, Convolution};
use crate::cuda::kernels::{affine, depthwise, elementwise, loss, pool, product};
use crate::program::{self, Buffer, Call, Prologue, Share, Target};

impl Writer<'_> {
    /// Writes a forward call's work; false where it is none.
    pub(super) fn forward(&mut self, call: &Call) -> Result<bool, Error> {
        match call {
            Call::Zero { y } => {
                let (y, words) = (self.at(*y), self.script.program.span(*y).words);
                self.write(Work::Clear(y, words));
            }
            Call::Conv { .. } => self.conv(call)?,
            Call::Linear {
                size: [rows, inputs, units],
                x,
                w,
                bias,
                y,
            } => {
                let tensors = [self.widen(*x)?, self.at(*w), self.at(*y)];
                self.matrix([*rows, *units, *inputs], tensors, *bias)?;
            }
            Call::Statistics {
                channels,
                x,
                norm,
                coefficients,
            } => {
                let rows = self.len(*x) / (*channels).max(1);
                let (norm, to) = (self.norm(norm, *channels), self.normaliser(*coefficients));
                let scratch = self.scratch(batch_norm::scratch(rows, *channels))?;
                let x = self.at(*x);
                self.push(batch_norm::statistics(
                    x, rows, *channels, norm, scratch, to,
                )?);
            }
            Call::RunningStatistics {
                channels,
                norm,
                coefficients,
            } => {
                let (norm, to) = (self.norm(norm, *channels), self.normaliser(*coefficients));
                self.push(batch_norm::evaluation(*channels, norm, to)?);
            }
            Call::Normalise {
                x,
                coefficients,
                relu,
                y,
            } => {
                let channels = self.len(*coefficients) / 4;
                let rows = self.len(*x) / channels.max(1);
                let prologue = self.prologue(&Prologue {
                    norm: Some(*coefficients),
                    relu: *relu,
                });
                let (x, y) = (self.at(*x), self.spaced(*y, channels));
                self.push(affine::affine(x, prologue, y, rows, channels)?);
            }
            Call::Activation { kind, x, y } => {
                let count = self.len(*x);
                let (x, y) = (self.at(*x), self.at(*y));
                self.push(affine::activation(*kind, x, y, count)?);
            }
            Call::Pool {
                pool,
                dims: [n, height, width, channels],
                x,
                y,
                places,
            } => {
                let pool = pool::Pool::new((*n, *height, *width, *channels), *pool)?;
                let (y, stride) = self.spaced(*y, *channels);
                let (x, places) = (self.at(*x), self.maybe(*places));
                self.push(pool::forward(&pool.within(stride), x, y, places)?);
            }
            Call::GlobalAveragePool { dims, x, y } => {
                let (x, y) = (self.at(*x), self.at(*y));
                let scale = 1.0 / dims.pixels as f32;
                let null = Pointer::NULL;
                self.push(elementwise::image_sums(
                    x,
                    null,
                    scale,
                    y,
                    shape(dims),
                    false,
                )?);
            }
            Call::Combine {
                dims,
                terms,
                relu,
                y,
            } => {
                let terms = terms.iter().map(|it| combine::Term {
                    x: self.at(it.x),
                    norm: it.norm.map(|norm| {
                        let norm = Some(norm);
                        self.prologue(&Prologue { norm, relu: false })
                    }),
                    share: self.share(&it.share),
                });
                let terms: Vec<_> = terms.collect();
                let y = self.spaced(*y, dims.channels);
                self.extend(combine::combine(&terms, *relu, y, shape(dims))?);
            }
            Call::Concat { rows, inputs, y } => {
                let (inputs, y) = self.apart(*y, inputs, false);
                self.extend(combine::concat(&inputs, y, *rows)?);
            }
            Call::Product { count, a, b, y } => {
                let (a, b, y) = (self.at(*a), self.at(*b), self.at(*y));
                self.push(elementwise::product(a, b, y, *count, false)?);
            }
            Call::Multiply { dims, x, gate, y } => {
                let (x, gate, y) = (self.at(*x), self.at(*gate), self.at(*y));
                self.push(elementwise::spread(x, gate, 1.0, y, shape(dims), false)?);
            }
            Call::Subsample { subsample, x, y } => {
                let (x, y) = (self.at(*x), self.at(*y));
                self.push(elementwise::subsample(sizes(subsample), x, y)?);
            }
            Call::Truncate {
                rows,
                of,
                width,
                x,
                y,
            } => {
                let (x, y) = (self.at(*x), self.at(*y));
                self.push(elementwise::truncate(x, y, *rows, [*of, *width], false)?);
            }
            Call::Dropout { salt, x, y, .. } => {
                let mask = self.script.layout.mask(self.base, *salt);
                let count = self.len(*x);
                let (x, to) = (self.at(*x), self.at(y.buffer));
                self.push(elementwise::dropout(mask, x, to, count, y.add)?);
            }
            Call::DropPaths {
                paths,
                images,
                factors,
            } => {
                // Their masks lie side by side, in the order of the paths.
                let masks = paths.first().map(|path| path.salt);
                let masks = masks.map(|salt| self.script.layout.mask(self.base, salt));
                let to = self.at(*factors);
                let masks = masks.unwrap_or_default();
                self.push(elementwise::drop_paths(masks, to, paths.len(), *images)?);
            }
            Call::Loss { .. } => self.loss(call)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn conv(&mut self, call: &Call) -> Result<(), Error> {
        let Call::Conv {
            geometry,
            prologue,
            x,
            w,
            bias,
            y,
        } = call
        else {
            return Ok(());
        };
        let plain = *prologue == Prologue::default();
        if let Some([rows, channels, filters]) = geometry.product() {
            let size = [rows, channels, filters];
            let tensors = [*x, *w, *y].map(|it| self.at(it));
            if plain && !self.bf16 {
                return self.matrix([rows, filters, channels], tensors, *bias);
            }
            if self.tf32 && product::is_tall(size) {
                let prologue = self.prologue(prologue);
                self.push(product::product(size, tensors, prologue, false, false)?);
                return self.bias(*bias, self.at(*y), filters, self.len(*y));
            }
        }
        if self.is_narrow_convolution(geometry) {
            return self.narrow_convolution(geometry, prologue, [*x, *w, *y], *bias, None);
        }
        if plain && self.by_library(geometry) {
            self.dense(*geometry, [*x, *w, *y])?;
            if let Some(bias) = bias {
                self.touching(&[*bias, *y], &[*y]);
            }
            return self.bias(*bias, self.at(*y), geometry.filters, self.len(*y));
        }
        let conv = Convolution::of(*geometry).with_tf32(self.tf32);
        let prologue = self.prologue(prologue);
        let (x, w, y) = (self.at(*x), self.at(*w), self.at(*y));
        if geometry.is_depthwise() && bias.is_none() {
            self.push(depthwise::forward(&conv, x, prologue, w, y)?);
        } else {
            let bias = self.maybe(*bias);
            self.push(convolution::forward(&conv, x, prologue, w, bias, y)?);
        }
        Ok(())
    }

    /// y = x · w + bias.
    fn matrix(
        &mut self,
        [rows, units, inputs]: [usize; 3],
        tensors: [Pointer; 3],
        bias: Option<Buffer>,
    ) -> Result<(), Error> {
        self.times([rows, inputs, units], tensors, false, false)?;
        self.bias(bias, tensors[2], units, rows * units)
    }

    /// Adds a bias, if there is one, to so many numbers.
    fn bias(
        &mut self,
        bias: Option<Buffer>,
        y: Pointer,
        channels: usize,
        len: usize,
    ) -> Result<(), Error> {
        if let Some(bias) = bias {
            let bias = self.at(bias);
            self.push(affine::add_bias(bias, y, len / channels.max(1), channels)?);
        }
        Ok(())
    }

    fn loss(&mut self, call: &Call) -> Result<(), Error> {
        let Call::Loss {
            classes,
            smoothing,
            weight,
            logits,
            losses,
            ranks,
            gradient,
        } = call
        else {
            return Ok(());
        };
        let read = self.widen(*logits)?;
        let to = gradient.map(|it| self.wide(it.buffer));
        self.touches
            .writes
            .extend(to.as_ref().map(|it| it.words.clone()));
        let layout = &self.script.layout;
        let batch = self.script.program.batch();
        let unread = |place: usize| self.word(layout.unread + place * batch);
        let own = losses.is_some();
        let of_own = |word: usize| if own { self.word(word) } else { Pointer::NULL };
        let of = loss::Loss {
            logits: read,
            labels: self.word(layout.labels),
            images: batch,
            classes: *classes,
            smoothing: *smoothing as f32,
            losses: losses.map_or_else(|| unread(0), |it| self.at(it)),
            ranks: ranks.map_or_else(|| unread(1), |it| self.at(it)),
            mean: of_own(layout.mean),
            totals: of_own(layout.totals),
            top: [1, 5],
        };
        let weight = *weight as f32 / batch as f32;
        let dlogits = to.map_or(Pointer::NULL, |it| it.at);
        let narrow = |it: &Target| self.script.is_narrow(it.buffer);
        let add = gradient.as_ref().is_some_and(|it| it.add && !narrow(it));
        let scratch = self.scratch(ScratchSize {
            parts: 0,
            counters: 1,
        })?;
        let launch = loss::softmax_cross_entropy(of, weight, dlogits, add, scratch)?;
        self.push(launch);
        match gradient {
            Some(gradient) => self.narrow(*gradient),
            None => Ok(()),
        }
    }

    pub(super) fn prologue(&self, prologue: &Prologue) -> affine::Prologue {
        let Some(norm) = prologue.norm else {
            return affine::Prologue {
                relu: prologue.relu,
                ..Default::default()
            };
        };
        let Normaliser { factor, offset, .. } = self.normaliser(norm);
        affine::Prologue {
            factor,
            offset,
            relu: prologue.relu,
        }
    }

    /// The four rows of a normalisation's coefficients.
    pub(super) fn normaliser(&self, coefficients: Buffer) -> Normaliser {
        let span = self.script.program.span(coefficients);
        let row = |row: usize| self.word(span.start + row * (span.len / 4));
        Normaliser {
            mean: row(0),
            inverse: row(1),
            factor: row(2),
            offset: row(3),
        }
    }

    pub(super) fn norm(&self, norm: &program::Norm, channels: usize) -> batch_norm::Norm {
        let running = self.script.program.span(norm.running).start;
        batch_norm::Norm {
            scale: self.maybe(norm.scale),
            shift: self.maybe(norm.shift),
            running_mean: self.word(running),
            running_variance: self.word(running + channels),
            options: crate::BatchNorm {
                momentum: norm.momentum,
                epsilon: norm.epsilon,
            },
        }
    }

    pub(super) fn share(&self, share: &Share) -> combine::Share {
        match share {
            Share::All(factor) => combine::Share::All(*factor),
            Share::Images { factors, row } => {
                let start = self.script.program.span(*factors).start;
                let batch = self.script.program.batch();
                combine::Share::Images(self.word(start + row * batch))
            }
        }
    }
}

pub(super) fn shape(dims: &program::Dims) -> elementwise::Shape {
    (dims.images, dims.pixels, dims.channels)
}

pub(super) fn sizes(subsample: &program::Subsample) -> elementwise::Subsample {
    let [n, height, width, channels] = subsample.dims;
    elementwise::Subsample {
        x: (n, height, width, channels),
        stride: subsample.stride,
        offset: subsample.offset,
    }
}
