//! The calls of a program: what each reads and writes.

use super::Buffer;
use crate::conv2d::geometry::Geometry;
use crate::{Activation, Pool2d};

/// Where a result goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The buffer.
    pub buffer: Buffer,
    /// Whether the result is added to what is there; else it replaces it.
    pub add: bool,
}

/// A term of a sum: its share of a tensor, or of what a normalisation makes of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Term {
    /// The tensor.
    pub x: Buffer,
    /// The coefficients it is normalised with (see [`Call::Statistics`]), if it is.
    pub norm: Option<Buffer>,
    /// Its share.
    pub share: Share,
}

/// What is done to a convolution's input as it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Prologue {
    /// A normalisation's coefficients (see [`Call::Statistics`]): `x · factor + offset`.
    pub norm: Option<Buffer>,
    /// Then the larger of it and zero.
    pub relu: bool,
}

/// One factor for all images, or one for each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Share {
    /// Every image has this factor.
    All(f32),
    /// Row `row` of a [`Call::DropPaths`], one factor an image.
    Images {
        /// The factors of all drop paths.
        factors: Buffer,
        /// Which of them.
        row: usize,
    },
}

impl Share {
    /// All of it, for every image.
    pub const WHOLE: Self = Self::All(1.0);
}

/// What a normalisation is told beside its buffers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Norm {
    /// Learned factor of each channel, 1 without.
    pub scale: Option<Buffer>,
    /// Learned addend of each channel, 0 without.
    pub shift: Option<Buffer>,
    /// Running mean, then running variance.
    pub running: Buffer,
    /// Weight of the new batch in the running statistics.
    pub momentum: f64,
    /// Added to the variance.
    pub epsilon: f64,
}

/// The dims of a tensor as images, pixels of an image, channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dims {
    /// Images of the batch.
    pub images: usize,
    /// Pixels of one image.
    pub pixels: usize,
    /// Channels of a pixel.
    pub channels: usize,
}

/// A subsampling: every `stride`th pixel from `offset` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subsample {
    /// Images, height, width, channels of the input.
    pub dims: [usize; 4],
    /// Step between the pixels taken.
    pub stride: usize,
    /// The first row and column taken.
    pub offset: usize,
}

/// A drop path: its rate, and the number that tells its masks from others'.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DropPath {
    /// Probability that an image loses the branch; of a scheduled one, at the end of training.
    pub rate: f64,
    /// Whether the probability grows linearly from 0 over the training.
    pub scheduled: bool,
    /// Mixed with the step's seed.
    pub salt: u64,
}

/// One call. `x` is an input, `y` an output, `w` a weight, `dx` the gradient of `x`; channels are last.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Call {
    /// `y` = 0.
    Zero { y: Buffer },
    /// y = conv(prologue(x), w) + bias.
    Conv {
        geometry: Geometry,
        prologue: Prologue,
        x: Buffer,
        w: Buffer,
        bias: Option<Buffer>,
        y: Buffer,
    },
    /// The gradients of [`Call::Conv`]: of what its prologue's ReLU reads, and of its weight.
    ConvGradient {
        geometry: Geometry,
        prologue: Prologue,
        x: Buffer,
        w: Buffer,
        dy: Buffer,
        dx: Option<Target>,
        dw: Buffer,
    },
    /// dbias = Σ over images and pixels of dy.
    BiasGradient { dy: Buffer, dbias: Buffer },
    /// y = x · w + bias, `rows × inputs` times `inputs × units`.
    Linear {
        size: [usize; 3],
        x: Buffer,
        w: Buffer,
        bias: Option<Buffer>,
        y: Buffer,
    },
    /// The gradients of [`Call::Linear`].
    LinearGradient {
        size: [usize; 3],
        x: Buffer,
        w: Buffer,
        dy: Buffer,
        dx: Option<Target>,
        dw: Buffer,
    },
    /// Coefficients of a normalisation by the statistics of the batch, which move the running ones:
    /// mean, 1/√(variance + ε), factor, offset, each one number a channel, in this order. The
    /// normalised value is x · factor + offset.
    Statistics {
        channels: usize,
        x: Buffer,
        norm: Norm,
        coefficients: Buffer,
    },
    /// The same coefficients from the running statistics.
    RunningStatistics {
        channels: usize,
        norm: Norm,
        coefficients: Buffer,
    },
    /// y = x · factor + offset, then ReLU if `relu`.
    Normalise {
        x: Buffer,
        coefficients: Buffer,
        relu: bool,
        y: Buffer,
    },
    /// The gradient of a normalisation by the batch's statistics, whose output's gradient is
    /// share · dy. `relu` as in [`Call::Normalise`]; false where that is already the gradient before
    /// the ReLU. `terms` is room for two numbers a channel.
    NormGradient {
        x: Buffer,
        dy: Buffer,
        share: Share,
        coefficients: Buffer,
        relu: bool,
        terms: Buffer,
        dscale: Option<Buffer>,
        dshift: Option<Buffer>,
        dx: Option<Target>,
    },
    /// y = kind(x).
    Activation {
        kind: Activation,
        x: Buffer,
        y: Buffer,
    },
    /// dx of [`Call::Activation`].
    ActivationGradient {
        kind: Activation,
        x: Buffer,
        dy: Buffer,
        dx: Target,
    },
    /// Pooling of `dims` (images, height, width, channels). `places`: for max pooling in training,
    /// one byte an output, which tap it came from.
    Pool {
        pool: Pool2d,
        dims: [usize; 4],
        x: Buffer,
        y: Buffer,
        places: Option<Buffer>,
    },
    /// dx of [`Call::Pool`].
    PoolGradient {
        pool: Pool2d,
        dims: [usize; 4],
        dy: Buffer,
        places: Option<Buffer>,
        dx: Target,
    },
    /// y = the mean over the pixels of each image.
    GlobalAveragePool { dims: Dims, x: Buffer, y: Buffer },
    /// dx of [`Call::GlobalAveragePool`].
    GlobalAveragePoolGradient { dims: Dims, dy: Buffer, dx: Target },
    /// y = Σ shareᵢ · xᵢ, xᵢ normalised where the term says so, then ReLU if `relu`.
    Combine {
        dims: Dims,
        terms: Vec<Term>,
        relu: bool,
        y: Buffer,
    },
    /// dxᵢ = shareᵢ · dy; where a ReLU ended the sum `y`, nothing where it is not positive. A buffer may
    /// occur more than once.
    CombineGradient {
        dims: Dims,
        dy: Buffer,
        y: Option<Buffer>,
        targets: Vec<(Target, Share)>,
    },
    /// The channels of each input, beside each other.
    Concat {
        rows: usize,
        inputs: Vec<(Buffer, usize)>,
        y: Buffer,
    },
    /// dxᵢ = the channels of dy that came from input i, so many each. A buffer may occur more than once.
    ConcatGradient {
        rows: usize,
        dy: Buffer,
        targets: Vec<(Target, usize)>,
    },
    /// y = a · b, number by number.
    Product {
        count: usize,
        a: Buffer,
        b: Buffer,
        y: Buffer,
    },
    /// da of [`Call::Product`], with `other` = b, or db, with a.
    ProductGradient {
        count: usize,
        other: Buffer,
        dy: Buffer,
        dx: Target,
    },
    /// y\[n, p, c\] = x\[n, p, c\] · gate\[n, c\].
    Multiply {
        dims: Dims,
        x: Buffer,
        gate: Buffer,
        y: Buffer,
    },
    /// dx of [`Call::Multiply`].
    MultiplyGradient {
        dims: Dims,
        gate: Buffer,
        dy: Buffer,
        dx: Target,
    },
    /// dgate of [`Call::Multiply`].
    GateGradient {
        dims: Dims,
        x: Buffer,
        dy: Buffer,
        dgate: Target,
    },
    /// Every stride-th pixel.
    Subsample {
        subsample: Subsample,
        x: Buffer,
        y: Buffer,
    },
    /// The first `width` channels of `of`.
    Truncate {
        rows: usize,
        of: usize,
        width: usize,
        x: Buffer,
        y: Buffer,
    },
    /// dx of [`Call::Truncate`]: dy in the first channels, nothing in the others.
    TruncateGradient {
        rows: usize,
        of: usize,
        width: usize,
        dy: Buffer,
        dx: Target,
    },
    /// dx of [`Call::Subsample`].
    SubsampleGradient {
        subsample: Subsample,
        dy: Buffer,
        dx: Target,
    },
    /// y = x · mask, the mask from the step's seed; also dx from dy.
    Dropout {
        rate: f64,
        salt: u64,
        x: Buffer,
        y: Target,
    },
    /// For each drop path a row of one factor an image: 0 or 1/(1 − rate).
    DropPaths {
        paths: Vec<DropPath>,
        images: usize,
        factors: Buffer,
    },
    /// Softmax cross-entropy of each image and the rank of its label; `gradient` is what the mean of
    /// the losses times `weight` gives.
    Loss {
        classes: usize,
        smoothing: f64,
        weight: f64,
        logits: Buffer,
        losses: Option<Buffer>,
        ranks: Option<Buffer>,
        gradient: Option<Target>,
    },
    /// Moves all parameters by their gradients; nothing where the loss is no number.
    Update,
}
