//! Pairs of calls that one piece of work does: a pointwise or narrow convolution with the batch norm after it, whose
//! statistics are taken of the product while it is at hand, and, of a pointwise one, whose gradient goes into both of
//! the convolution's without having been in memory; and a depthwise convolution, whose gradients are made at once, with
//! the batch norm before it, whose gradient's sums are taken of what the convolution passes on.

use super::Writer;
use super::order::Touches;
use crate::Error;
use crate::conv2d::geometry::Geometry;
use crate::cuda::Pointer;
use crate::cuda::kernels::batch_norm::Backward;
use crate::cuda::kernels::convolution::Convolution;
use crate::cuda::kernels::depthwise::{self, Depthwise};
use crate::cuda::kernels::pointwise::{self, Pointwise};
use crate::cuda::kernels::product;
use crate::program::{Buffer, Call, Prologue, Share, Target};

/// The size of a convolution whose statistics are taken with it.
pub(super) fn suits_statistics(geometry: &Geometry) -> Option<[usize; 3]> {
    let size = geometry.product();
    size.filter(|size| size[2] <= product::COLUMNS && product::is_tall(*size))
}

/// The gradient of a convolution, as a call has it.
pub(super) struct ConvGradient {
    pub geometry: Geometry,
    pub prologue: Prologue,
    pub x: Buffer,
    pub w: Buffer,
    pub dy: Buffer,
    pub dx: Option<Target>,
    pub dw: Buffer,
}

impl ConvGradient {
    /// What a call says of it; none for another call.
    pub fn of(call: &Call) -> Option<Self> {
        match *call {
            Call::ConvGradient {
                geometry,
                prologue,
                x,
                w,
                dy,
                dx,
                dw,
            } => Some(Self {
                geometry,
                prologue,
                x,
                w,
                dy,
                dx,
                dw,
            }),
            _ => None,
        }
    }
}

impl Writer<'_> {
    /// Writes the work of a call and the next one, if there is such a piece; false if not.
    pub(super) fn pair(&mut self, call: &Call, next: &Call) -> Result<bool, Error> {
        if !self.tf32 {
            return Ok(false);
        }
        match (call, next) {
            (
                Call::Conv {
                    geometry,
                    prologue,
                    x,
                    w,
                    bias: None,
                    y,
                },
                Call::Statistics {
                    channels,
                    x: of,
                    norm,
                    coefficients,
                },
            ) if of == y => {
                let size = suits_statistics(geometry);
                if size.is_none() && !self.is_narrow_convolution(geometry) {
                    return Ok(false);
                }
                let [first, second] = [self.of(call), self.of(next)];
                self.touches = first.and(second);
                let (norm, to) = (self.norm(norm, *channels), self.normaliser(*coefficients));
                let tensors = [*x, *w, *y];
                let Some(size) = size else {
                    let statistics = Some((norm, to));
                    self.narrow_convolution(geometry, prologue, tensors, None, statistics)?;
                    return Ok(true);
                };
                let prologue = self.prologue(prologue);
                let tensors = tensors.map(|it| self.at(it));
                let scratch = self.scratch(product::statistics_scratch(size))?;
                self.push(product::product_statistics(
                    size, tensors, prologue, norm, scratch, to,
                )?);
                Ok(true)
            }
            (
                Call::NormGradient {
                    dx: Some(between), ..
                },
                Call::ConvGradient { dy, .. },
            ) if between.buffer == *dy && !between.add => {
                let Some(of) = ConvGradient::of(next) else {
                    return Ok(false);
                };
                let size = of.geometry.product();
                let Some(size) = size.filter(|it| pointwise::suits_gradient(*it)) else {
                    return Ok(false);
                };
                let mut sums = self.of(call);
                sums.writes.retain(|it| *it != self.range(*dy));
                // It is read later than the calls have it, so nothing may have taken its place.
                let later = self.of(next);
                if !self.is_apart(&sums, &later.writes) {
                    return Ok(false);
                }
                self.touches = sums.clone();
                let norm = self.norm_sums(call)?;
                // What the sums read and write is read.
                self.touches = Touches {
                    reads: [sums.reads, sums.writes].concat(),
                    writes: Vec::new(),
                };
                self.pointwise_gradient(&of, size, norm)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Both gradients of a depthwise convolution by one launch, if there is such a kernel; false if not. If the next call is
    /// the gradient of the norm that it reads, that one's sums are taken with them.
    pub(super) fn depthwise_gradient(
        &mut self,
        (call, own): (&Call, &ConvGradient),
        conv: &Convolution,
        next: Option<&Call>,
    ) -> Result<bool, Error> {
        let Some(size) = depthwise::gradient_scratch(conv).filter(|_| conv.is_depthwise()) else {
            return Ok(false);
        };
        // The weight's gradient is written where its parts are joined.
        self.touches = self.of(call);
        let dw = self.range(own.dw);
        self.touches.writes.retain(|it| *it != dw);
        let sums = match next {
            Some(next) => self.sums_with(own, next),
            None => None,
        };
        if let Some((of, _)) = sums {
            self.summed = Some(of.slope);
        }
        let scratch = self.scratch(size)?;
        let work = Depthwise {
            x: self.at(own.x),
            prologue: self.prologue(&own.prologue),
            w: self.at(own.w),
            dy: self.at(own.dy),
            sums,
        };
        let dx = self.maybe(own.dx.map(|it| it.buffer));
        let add = own.dx.is_some_and(|it| it.add);
        let dw = self.at(own.dw);
        self.push_parts(depthwise::gradient(conv, &work, (dx, add), scratch, dw)?)?;
        Ok(true)
    }

    /// The sums of the gradient of the norm that a convolution reads, if the next call is that and they can be taken of what
    /// the convolution's gradient stores; `touches` says what that touches, and then of these too.
    fn sums_with(&mut self, own: &ConvGradient, next: &Call) -> Option<(Backward, [Pointer; 2])> {
        let (
            Some(Target { buffer, add: false }),
            Call::NormGradient {
                dy: incoming,
                share: Share::WHOLE,
                coefficients,
                relu: false,
                dx,
                ..
            },
        ) = (own.dx, next)
        else {
            return None;
        };
        if *incoming != buffer || own.prologue.norm != Some(*coefficients) {
            return None;
        }
        // What this launch does not touch: the norm's input's gradient.
        let mut sums = self.of(next);
        sums.reads.retain(|it| *it != self.range(buffer));
        if let Some(dx) = dx {
            sums.writes.retain(|it| *it != self.range(dx.buffer));
        }
        // They are written earlier than the calls have it.
        if !self.is_apart(&self.touches, &sums.writes) {
            return None;
        }
        self.touches = std::mem::take(&mut self.touches).and(sums);
        self.norm_backward(next)
    }

    /// Both gradients of a pointwise convolution of this size, of which `touches` says what else is read; with a norm
    /// between it and its `dy`.
    pub(super) fn pointwise_gradient(
        &mut self,
        of: &ConvGradient,
        size: [usize; 3],
        norm: Option<Backward>,
    ) -> Result<(), Error> {
        let work = Pointwise {
            size,
            x: self.at(of.x),
            prologue: self.prologue(&of.prologue),
            w: self.at(of.w),
            dy: norm.map_or_else(|| self.at(of.dy), |norm| norm.dy),
            norm,
        };
        let mut reads = vec![of.x, of.w];
        reads.extend(of.prologue.norm);
        reads.extend(norm.is_none().then_some(of.dy));
        let reads = self.ranges(&reads);
        self.touches.reads.extend(reads);
        let dx = of.dx.map(|it| it.buffer);
        let scratch = self.scratch(pointwise::gradient_scratch(size))?;
        let to = self.ranges(dx.as_slice());
        self.touches.writes.extend(to);
        let add = of.dx.is_some_and(|it| it.add);
        let dx = dx.map_or(Pointer::NULL, |it| self.at(it));
        self.push_parts(pointwise::gradient(
            &work,
            self.bf16,
            (dx, add),
            scratch,
            self.at(of.dw),
        )?)
    }
}
