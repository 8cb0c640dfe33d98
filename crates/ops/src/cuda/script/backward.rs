//! Backward calls as device work.

use super::forward::{shape, sizes};
use super::order::Touches;
use super::pairs::ConvGradient;
use super::writer::Place;
use super::{Product, Writer};
use crate::Error;
use crate::cuda::Pointer;
use crate::cuda::kernels::batch_norm::{self, Backward};
use crate::cuda::kernels::combine;
use crate::cuda::kernels::convolution::{self, Convolution, Gate};
use crate::cuda::kernels::{affine, columns, depthwise, elementwise, pointwise, pool, product};
use crate::program::{Buffer, Call, Prologue, Target};

impl Writer<'_> {
    /// Writes a backward call's work, perhaps with some of the next one's.
    pub(super) fn backward(&mut self, call: &Call, next: Option<&Call>) -> Result<(), Error> {
        match call {
            Call::ConvGradient { .. } => self.conv_gradient(call, next)?,
            Call::BiasGradient { dy, dbias } => {
                let columns = self.len(*dbias);
                let rows = self.len(*dy) / columns.max(1);
                let (dy, dbias) = (self.at(*dy), self.at(*dbias));
                let scratch = self.scratch(columns::column_sums_scratch(rows, columns))?;
                self.push(columns::column_sums(
                    dy, rows, columns, scratch, dbias, false,
                )?);
            }
            Call::LinearGradient {
                size: [rows, inputs, units],
                x,
                w,
                dy,
                dx,
                dw,
            } => {
                // The forward pass has widened x.
                let tensors = [self.wide(*x), self.place(*w), self.place(*dy)];
                let to = dx.map(|dx| {
                    let add = dx.add && !self.script.is_narrow(dx.buffer);
                    (self.wide(dx.buffer), add)
                });
                self.matrix_gradient([*rows, *units, *inputs], tensors, to, *dw)?;
                if let Some(dx) = dx {
                    self.narrow(*dx)?;
                }
            }
            Call::NormGradient { .. } => self.norm_gradient(call)?,
            Call::ActivationGradient { kind, x, dy, dx } => {
                let count = self.len(*x);
                let (x, dy, to) = (self.at(*x), self.at(*dy), self.at(dx.buffer));
                let launch = affine::activation_gradient(*kind, x, dy, to, count, dx.add)?;
                self.push(launch);
            }
            Call::PoolGradient {
                pool,
                dims: [n, height, width, channels],
                dy,
                places,
                dx,
            } => {
                let pool = pool::Pool::new((*n, *height, *width, *channels), *pool)?;
                let (dy, stride) = self.spaced(*dy, *channels);
                let (places, to) = (self.maybe(*places), self.at(dx.buffer));
                self.push(pool::gradient(
                    &pool.within(stride),
                    dy,
                    places,
                    to,
                    dx.add,
                )?);
            }
            Call::GlobalAveragePoolGradient { dims, dy, dx } => {
                let (dy, to) = (self.at(*dy), self.at(dx.buffer));
                let (null, scale) = (Pointer::NULL, 1.0 / dims.pixels as f32);
                let launch = elementwise::spread(null, dy, scale, to, shape(dims), dx.add)?;
                self.push(launch);
            }
            Call::CombineGradient {
                dims,
                dy,
                y,
                targets,
            } => {
                let targets = targets.iter();
                let targets: Vec<_> = targets
                    .map(|(target, share)| (self.target(*target), self.share(share)))
                    .collect();
                let from = (self.spaced(*dy, dims.channels), self.maybe(*y));
                self.extend(combine::combine_gradient(&targets, from, shape(dims))?);
            }
            Call::ConcatGradient { rows, dy, targets } => {
                let pieces = targets
                    .iter()
                    .map(|(target, width)| (target.buffer, *width));
                let (pieces, dy) = self.apart(*dy, &pieces.collect::<Vec<_>>(), true);
                let targets = targets.iter().zip(pieces);
                let targets: Vec<_> = targets
                    .map(|((target, _), (dx, width))| {
                        let add = target.add;
                        (combine::Target { dx, add }, width)
                    })
                    .collect();
                self.extend(combine::concat_gradient(&targets, dy, *rows)?);
            }
            Call::ProductGradient {
                count,
                other,
                dy,
                dx,
            } => {
                let (dy, other, to) = (self.at(*dy), self.at(*other), self.at(dx.buffer));
                self.push(elementwise::product(dy, other, to, *count, dx.add)?);
            }
            Call::MultiplyGradient { dims, gate, dy, dx } => {
                let (dy, gate, to) = (self.at(*dy), self.at(*gate), self.at(dx.buffer));
                let launch = elementwise::spread(dy, gate, 1.0, to, shape(dims), dx.add)?;
                self.push(launch);
            }
            Call::GateGradient { dims, x, dy, dgate } => {
                let (x, dy, to) = (self.at(*x), self.at(*dy), self.at(dgate.buffer));
                let launch = elementwise::image_sums(x, dy, 1.0, to, shape(dims), dgate.add)?;
                self.push(launch);
            }
            Call::SubsampleGradient { subsample, dy, dx } => {
                let (dy, to) = (self.at(*dy), self.at(dx.buffer));
                let of = sizes(subsample);
                self.push(elementwise::subsample_gradient(of, dy, to, dx.add)?);
            }
            Call::TruncateGradient {
                rows,
                of,
                width,
                dy,
                dx,
            } => {
                let (dy, to) = (self.at(*dy), self.at(dx.buffer));
                let channels = [*width, *of];
                self.push(elementwise::truncate(dy, to, *rows, channels, dx.add)?);
            }
            _ => {
                let detail = format!("no device work for {call:?}");
                return Err(Error::shape("program", detail));
            }
        }
        Ok(())
    }

    fn target(&self, target: Target) -> combine::Target {
        combine::Target {
            dx: self.at(target.buffer),
            add: target.add,
        }
    }

    /// A convolution's gradients; the next call may be that of a norm whose sums can be taken with them.
    fn conv_gradient(&mut self, call: &Call, next: Option<&Call>) -> Result<(), Error> {
        let Some(of) = ConvGradient::of(call) else {
            return Ok(());
        };
        let geometry = of.geometry;
        let plain = of.prologue == Prologue::default();
        if let Some(size) = geometry.product() {
            if self.tf32 && pointwise::suits_gradient(size) {
                self.touches = Touches::default();
                return self.pointwise_gradient(&of, size, None);
            }
            if plain && !self.bf16 {
                let [rows, channels, filters] = size;
                let tensors = [of.x, of.w, of.dy].map(|it| self.place(it));
                let dx = of.dx.map(|dx| (self.place(dx.buffer), dx.add));
                return self.matrix_gradient([rows, filters, channels], tensors, dx, of.dw);
            }
            let suits = self.bf16 || product::suits_weight_gradient(size);
            if self.tf32 && product::is_tall(size) && suits {
                return self.gated_gradient(&of, size);
            }
        }
        if self.is_narrow_convolution(&geometry) {
            return self.narrow_gradient(&of);
        }
        if plain && self.by_library(&geometry) {
            return self.dense_gradient(&of);
        }
        let conv = Convolution::of(geometry).with_tf32(self.tf32);
        if self.depthwise_gradient((call, &of), &conv, next)? {
            return Ok(());
        }
        let norm = of.prologue.norm;
        let prologue = self.prologue(&of.prologue);
        let [x, w, dy, dw] = [of.x, of.w, of.dy, of.dw].map(|it| self.at(it));
        let gate = of.prologue.relu.then_some(Gate { x, prologue });
        let depthwise = geometry.is_depthwise();
        if let Some(dx) = of.dx {
            let to = self.at(dx.buffer);
            self.touching(&[of.x, of.w, of.dy], &[dx.buffer]);
            self.touches.reads.extend(self.ranges(norm.as_slice()));
            self.push(if depthwise {
                depthwise::input_gradient(&conv, dy, w, gate, to, dx.add)?
            } else {
                convolution::input_gradient(&conv, dy, w, gate, to, dx.add)?
            });
        }
        if depthwise {
            self.touching(&[of.x, of.dy], &[of.dw]);
            self.touches.reads.extend(self.ranges(norm.as_slice()));
            let scratch = self.scratch(depthwise::weight_gradient_scratch(&conv))?;
            self.push(depthwise::weight_gradient(
                &conv, x, prologue, dy, scratch, dw, false,
            )?);
            return Ok(());
        }
        self.touching(&[of.x, of.dy], &[]);
        self.touches.reads.extend(self.ranges(norm.as_slice()));
        let scratch = self.scratch(convolution::weight_gradient_scratch(&conv))?;
        let parts = convolution::weight_gradient(&conv, x, prologue, dy, scratch, dw, false)?;
        self.push_parts(parts)
    }

    /// dx = dy · wᵀ, where the prologue's ReLU let x through, and dw = prologue(x)ᵀ · dy.
    fn gated_gradient(&mut self, of: &ConvGradient, all: [usize; 3]) -> Result<(), Error> {
        let [rows, k, n] = all;
        let [x, w, dy, dw] = [of.x, of.w, of.dy, of.dw].map(|it| self.at(it));
        let norm = self.ranges(of.prologue.norm.as_slice());
        let prologue = self.prologue(&of.prologue);
        if let Some(dx) = of.dx {
            let to = self.at(dx.buffer);
            self.touching(&[of.x, of.w, of.dy], &[dx.buffer]);
            self.touches.reads.extend(norm.clone());
            let size = [rows, n, k];
            if prologue.relu {
                let launch = product::gated_product(size, [dy, w, x, to], prologue, dx.add)?;
                self.push(launch);
            } else if self.bf16 {
                let plain = affine::Prologue::default();
                let launch = product::product(size, [dy, w, to], plain, true, dx.add)?;
                self.push(launch);
            } else {
                self.times(size, [dy, w, to], true, dx.add)?;
            }
        }
        self.touching(&[of.x, of.dy], &[]);
        self.touches.reads.extend(norm);
        let scratch = self.scratch(product::weight_gradient_scratch(all))?;
        let given = (x, prologue);
        self.push_parts(product::weight_gradient(
            all, given, dy, scratch, dw, false,
        )?)
    }

    /// dx = dy · wᵀ and dw = xᵀ · dy, for sizes rows, units, inputs.
    fn matrix_gradient(
        &mut self,
        [rows, units, inputs]: [usize; 3],
        [x, w, dy]: [Place; 3],
        dx: Option<(Place, bool)>,
        dw: Buffer,
    ) -> Result<(), Error> {
        if let Some((dx, add)) = dx {
            self.touches = Touches {
                reads: vec![w.words, dy.words.clone()],
                writes: vec![dx.words],
            };
            self.times([rows, units, inputs], [dy.at, w.at, dx.at], true, add)?;
        }
        self.touches = Touches {
            reads: vec![x.words, dy.words],
            writes: vec![self.range(dw)],
        };
        let size = [rows, inputs, units];
        let (x, dy, to) = (x.at, dy.at, self.at(dw));
        if self.tf32 && product::suits_weight_gradient(size) {
            self.touches.writes.clear();
            let scratch = self.scratch(product::weight_gradient_scratch(size))?;
            let given = (x, affine::Prologue::default());
            let parts = product::weight_gradient(size, given, dy, scratch, to, false)?;
            return self.push_parts(parts);
        }
        self.product(Product {
            size: [inputs, units, rows],
            a: x,
            b: dy,
            transposed: [true, false],
            c: to,
            add: false,
            lane: 0,
        });
        Ok(())
    }

    fn norm_gradient(&mut self, call: &Call) -> Result<(), Error> {
        let of = self.norm_sums(call)?;
        if let (Some(of), Call::NormGradient { dx: Some(dx), .. }) = (of, call) {
            let to = self.at(dx.buffer);
            self.push(batch_norm::input_gradient(of, to, dx.add)?);
        }
        Ok(())
    }

    /// The sums of a norm's gradient, unless they are taken already, and what its input's needs; none for
    /// another call.
    pub(super) fn norm_sums(&mut self, call: &Call) -> Result<Option<Backward>, Error> {
        let Some((of, [dscale, dshift])) = self.norm_backward(call) else {
            return Ok(None);
        };
        if self.summed.take() == Some(of.slope) {
            return Ok(Some(of));
        }
        let scratch = self.scratch(batch_norm::scratch(of.rows, of.channels))?;
        self.push(batch_norm::sums(of, true, scratch, dscale, dshift)?);
        Ok(Some(of))
    }

    /// What a norm's gradient reads, and where those of scale and shift go; none for another call.
    pub(super) fn norm_backward(&self, call: &Call) -> Option<(Backward, [Pointer; 2])> {
        let Call::NormGradient {
            x,
            dy,
            share,
            coefficients,
            relu,
            terms,
            dscale,
            dshift,
            ..
        } = call
        else {
            return None;
        };
        let channels = self.len(*coefficients) / 4;
        let start = self.script.program.span(*terms).start;
        let (dy, stride) = self.spaced(*dy, channels);
        let of = Backward {
            x: self.at(*x),
            dy,
            stride,
            share: (self.share(share), self.script.program.batch()),
            normaliser: self.normaliser(*coefficients),
            relu: *relu,
            rows: self.len(*x) / channels.max(1),
            channels,
            slope: self.word(start),
            constant: self.word(start + channels),
        };
        Some((of, [*dscale, *dshift].map(|it| self.maybe(it))))
    }
}
