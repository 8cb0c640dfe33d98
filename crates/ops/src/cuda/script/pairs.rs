//! Pairs of calls that one piece of work does: a pointwise convolution with the batch norm after it, whose
//! statistics are taken of the product while it is at hand, and whose gradient goes into both of the
//! convolution's without having been in memory; and a depthwise convolution with the batch norm before it,
//! whose gradient's sums are taken of what the convolution passes on.

use super::Writer;
use super::order::Touches;
use crate::Error;
use crate::conv2d::geometry::Geometry;
use crate::cuda::Pointer;
use crate::cuda::kernels::convolution::Convolution;
use crate::cuda::kernels::pointwise::{self, Pointwise};
use crate::cuda::kernels::{batch_norm, depthwise, product};
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
                let Some(size) = suits_statistics(geometry) else {
                    return Ok(false);
                };
                let [first, second] = [self.of(call), self.of(next)];
                self.touches = first.and(second);
                let (norm, to) = (self.norm(norm, *channels), self.normaliser(*coefficients));
                let prologue = self.prologue(prologue);
                let tensors = [*x, *w, *y].map(|it| self.at(it));
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
                if !sums.is_apart(&later.writes) {
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

    /// The input's gradient of a depthwise convolution that reads a normalised tensor, and the sums of that
    /// norm's gradient, which is the next call; false if it is not so.
    pub(super) fn depthwise_and_sums(
        &mut self,
        (call, own): (&Call, &ConvGradient),
        conv: &Convolution,
        next: &Call,
    ) -> Result<bool, Error> {
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
            return Ok(false);
        };
        let reads = own.prologue.norm == Some(*coefficients);
        if *incoming != buffer || !reads || !own.geometry.is_depthwise() {
            return Ok(false);
        }
        let (Some(size), Some((of, to))) =
            (depthwise::sums_scratch(conv), self.norm_backward(next))
        else {
            return Ok(false);
        };
        // Of both what this launch does not touch: the weight's gradient and the norm's input's.
        let mut first = self.of(call);
        first.writes.retain(|it| *it != self.range(own.dw));
        let mut sums = self.of(next);
        sums.reads.retain(|it| *it != self.range(buffer));
        if let Some(dx) = dx {
            sums.writes.retain(|it| *it != self.range(dx.buffer));
        }
        // They are written earlier than the calls have it.
        if !first.is_apart(&sums.writes) {
            return Ok(false);
        }
        self.touches = first.and(sums);
        let scratch = self.scratch(size)?;
        let given = [self.at(own.dy), self.at(own.w)];
        self.push(depthwise::input_gradient_and_sums(
            conv,
            given,
            own.prologue.relu,
            &of,
            scratch,
            to,
        )?);
        self.summed = Some(of.slope);
        Ok(true)
    }

    /// Both gradients of a pointwise convolution of this size, of which `touches` says what else is read; with a norm
    /// between it and its `dy`.
    pub(super) fn pointwise_gradient(
        &mut self,
        of: &ConvGradient,
        size: [usize; 3],
        norm: Option<batch_norm::Backward>,
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
            (dx, add),
            scratch,
            self.at(of.dw),
        )?)
    }
}
