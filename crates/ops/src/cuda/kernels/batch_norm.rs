//! Batch norm: the statistics of a batch, their use, and the gradients.
//!
//! Training: [`statistics`], then [`super::affine::affine`] with the factor and the offset found; backward: [`sums`], then
//! [`input_gradient`]. Evaluation: [`evaluation`], then the same `affine`.

use super::columns::{Cut, Scratch, ScratchSize};
use super::combine::Share;
use super::{by_four, flat, flat_in_eights};
use crate::cuda::launch::Builder;
use crate::cuda::{Launch, Pointer};
use crate::{BatchNorm, Error};

/// What normalising takes of the channels, one number each: y = x · factor + offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Normaliser {
    /// The mean that is taken from the input.
    pub mean: Pointer,
    /// One over the root of variance plus epsilon.
    pub inverse: Pointer,
    /// scale · inverse
    pub factor: Pointer,
    /// shift − mean · factor
    pub offset: Pointer,
}

impl Normaliser {
    /// Of mean, inverse, factor and offset.
    pub fn of([mean, inverse, factor, offset]: [Pointer; 4]) -> Self {
        Self {
            mean,
            inverse,
            factor,
            offset,
        }
    }
}

/// The parameters of a norm, one number a channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    /// Learned factor, or null for 1.
    pub scale: Pointer,
    /// Learned addend, or null for 0.
    pub shift: Pointer,
    /// Running mean.
    pub running_mean: Pointer,
    /// Running variance, unbiased.
    pub running_variance: Pointer,
    /// Momentum and epsilon.
    pub options: BatchNorm,
}

impl Norm {
    /// Of scale, shift, running mean and running variance.
    pub fn of(vectors: [Pointer; 4], options: BatchNorm) -> Self {
        let [scale, shift, running_mean, running_variance] = vectors;
        Self {
            scale,
            shift,
            running_mean,
            running_variance,
            options,
        }
    }

    /// What a kernel that takes statistics ends with.
    pub(super) fn arguments(self, builder: Builder, scratch: Scratch, to: Normaliser) -> Builder {
        builder
            .pointers([scratch.parts, scratch.counters, self.scale, self.shift])
            .pointers([self.running_mean, self.running_variance])
            .doubles([self.options.momentum, self.options.epsilon])
            .pointers([to.mean, to.inverse, to.factor, to.offset])
    }
}

/// What [`statistics`] and [`sums`] need.
pub fn scratch(rows: usize, channels: usize) -> ScratchSize {
    ScratchSize::of(&Cut::new(rows, channels), 2 * channels)
}

/// Takes the statistics of `x`, `rows` × `channels` with at least 2 rows: fills `to` and moves the running ones.
///
/// # Errors
/// [`Error::Shape`] if a size does not fit a kernel's argument.
pub fn statistics(
    x: Pointer,
    rows: usize,
    channels: usize,
    norm: Norm,
    scratch: Scratch,
    to: Normaliser,
) -> Result<Launch, Error> {
    let cut = Cut::new(rows, channels);
    let builder = cut
        .launch("batch_norm_statistics_4", "batch_norm_statistics_1")
        .pointers([x])
        .long(rows)
        .ints([channels, cut.rows_per_block]);
    norm.arguments(builder, scratch, to).build()
}

/// Fills `to` from the running statistics.
///
/// # Errors
/// As [`statistics`].
pub fn evaluation(channels: usize, norm: Norm, to: Normaliser) -> Result<Launch, Error> {
    flat("batch_norm_evaluation", channels)
        .pointers([norm.running_mean, norm.running_variance])
        .pointers([norm.scale, norm.shift])
        .ints([channels])
        .doubles([norm.options.epsilon])
        .pointers([to.mean, to.inverse, to.factor, to.offset])
        .build()
}

/// What the gradient of a norm reads, of `rows` × `channels` numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backward {
    /// The norm's input.
    pub x: Pointer,
    /// What has a share in the gradient of the output, after the ReLU if there is one.
    pub dy: Pointer,
    /// Numbers from a row of that to the next.
    pub stride: usize,
    /// That share; of an image, rows / images of these.
    pub share: (Share, usize),
    /// What the forward pass normalised with.
    pub normaliser: Normaliser,
    /// Whether a ReLU follows the norm.
    pub relu: bool,
    /// Images × height × width.
    pub rows: usize,
    /// Channels.
    pub channels: usize,
    /// Between [`sums`] and [`input_gradient`], a number a channel: factor of x − mean.
    pub slope: Pointer,
    /// The same: addend.
    pub constant: Pointer,
}

impl Backward {
    /// Rows of an image.
    pub(super) fn pixels(&self) -> usize {
        (self.rows / self.share.1.max(1)).max(1)
    }
}

/// The sums of the gradient: adds to `dscale` and `dshift`, unless they are null, and fills slope and constant. In
/// evaluation (`training` false) the statistics do not depend on the input.
///
/// # Errors
/// As [`statistics`].
pub fn sums(
    of: Backward,
    training: bool,
    scratch: Scratch,
    dscale: Pointer,
    dshift: Pointer,
) -> Result<Launch, Error> {
    let cut = Cut::new(of.rows, of.channels);
    let n = of.normaliser;
    let (shares, share) = of.share.0.parts();
    cut.launch("batch_norm_sums_4", "batch_norm_sums_1")
        .pointers([of.x, of.dy, shares])
        .floats([share])
        .ints([of.pixels()])
        .pointers([n.mean, n.inverse, n.factor, n.offset])
        .flag(of.relu)
        .long(of.rows)
        .ints([of.channels, of.stride, cut.rows_per_block])
        .pointers([scratch.parts, scratch.counters])
        .flag(training)
        .pointers([of.slope, of.constant, dscale, dshift])
        .build()
}

/// `dx` ←, or +=, the gradient of the input, after [`sums`]. `dx` may be `of.dy`, where it is stored and has no gaps.
///
/// # Errors
/// As [`statistics`].
pub fn input_gradient(of: Backward, dx: Pointer, add: bool) -> Result<Launch, Error> {
    let (kernel, lanes) = by_four(of.channels, "batch_norm_input_4", "batch_norm_input_1");
    let n = of.normaliser;
    let (shares, share) = of.share.0.parts();
    flat_in_eights(kernel, of.rows * of.channels / lanes)
        .pointers([of.x, of.dy, shares])
        .floats([share])
        .ints([of.pixels()])
        .pointers([n.mean, n.factor, n.offset, of.slope])
        .pointers([of.constant])
        .flag(of.relu)
        .pointers([dx])
        .ints([of.rows, of.channels, of.stride])
        .flag(add)
        .build()
}
