//! Depthwise convolution and its gradients.

use super::affine::Prologue;
use super::batch_norm::Backward;
use super::columns::{BLOCKS, Scratch, ScratchSize, lanes};
use super::convolution::{Convolution, Gate};
use super::join::Join;
use super::{BLOCK, flat};
use crate::Error;
use crate::cuda::launch::Builder;
use crate::cuda::{Launch, Pointer};

/// The kernels for one kind of convolution, and how many outputs side by side a thread takes.
struct Variant {
    forward: &'static str,
    input: &'static str,
    weights: &'static str,
    strip: usize,
    vector: usize,
    /// Whether a block of the weight gradient takes a row of the kernel, not a tap.
    by_rows: bool,
}

impl Variant {
    /// Kernel, stride and dilation, 0 where the axes differ.
    fn size(conv: &Convolution) -> [usize; 3] {
        let square = |[a, b]: [usize; 2]| if a == b { a } else { 0 };
        let g = &conv.geometry;
        [g.kernel, g.conv.stride, g.conv.dilation].map(square)
    }

    fn of(conv: &Convolution) -> Self {
        if !conv.geometry.channels.is_multiple_of(4) {
            return Self {
                forward: "depthwise_any_1",
                input: "depthwise_input_any_1",
                weights: "depthwise_weights_any_1",
                strip: 1,
                vector: 1,
                by_rows: false,
            };
        }
        let any = Self {
            forward: "depthwise_any_4",
            input: "depthwise_input_any_4",
            weights: "depthwise_weights_any_4",
            strip: 1,
            vector: 4,
            by_rows: false,
        };
        // Of these both gradients are made at once.
        let at_once = |forward| Self {
            forward,
            strip: 4,
            ..any
        };
        let stride_2 = |forward, input, weights| Self {
            forward,
            input,
            weights,
            strip: 2,
            vector: 4,
            by_rows: true,
        };
        match Self::size(conv) {
            [3, 1, 1] => at_once("depthwise_k3"),
            [5, 1, 1] => at_once("depthwise_k5"),
            [7, 1, 1] => at_once("depthwise_k7"),
            [3, 1, 2] => at_once("depthwise_k3_dilated"),
            [5, 1, 2] => at_once("depthwise_k5_dilated"),
            [3, 2, 1] => stride_2(
                "depthwise_k3_stride2",
                "depthwise_input_k3_stride2",
                "depthwise_weights_k3_stride2",
            ),
            [5, 2, 1] => stride_2(
                "depthwise_k5_stride2",
                "depthwise_input_k5_stride2",
                "depthwise_weights_k5_stride2",
            ),
            [7, 2, 1] => stride_2(
                "depthwise_k7_stride2",
                "depthwise_input_k7_stride2",
                "depthwise_weights_k7_stride2",
            ),
            _ => any,
        }
    }
}

/// `y` ← the convolution of what the prologue makes of `x`; `weight` is kh×kw×1×C.
///
/// # Errors
/// [`Error::Shape`] if the convolution is not depthwise or a size does not fit a kernel's argument.
pub fn forward(
    conv: &Convolution,
    x: Pointer,
    prologue: Prologue,
    weight: Pointer,
    y: Pointer,
) -> Result<Launch, Error> {
    check(conv)?;
    let (g, v) = (&conv.geometry, Variant::of(conv));
    let strips = g.out_width.div_ceil(v.strip);
    flat(
        v.forward,
        g.images * g.out_height * strips * (g.channels / v.vector),
    )
    .pointers([x, prologue.factor, prologue.offset])
    .flag(prologue.relu)
    .pointers([weight, y])
    .argument(conv.window())
    .build()
}

/// `dx` ←, or +=, the gradient of what the convolution read; with a gate, of what stood before its ReLU.
///
/// # Errors
/// As [`forward`].
pub fn input_gradient(
    conv: &Convolution,
    dy: Pointer,
    weight: Pointer,
    gate: Option<Gate>,
    dx: Pointer,
    add: bool,
) -> Result<Launch, Error> {
    check(conv)?;
    let (g, v) = (&conv.geometry, Variant::of(conv));
    let (x, prologue) = gate.map_or_else(Default::default, |gate| (gate.x, gate.prologue));
    flat(
        v.input,
        g.images * g.height * g.width * (g.channels / v.vector),
    )
    .pointers([dy, weight, x, prologue.factor, prologue.offset, dx])
    .flag(add)
    .argument(conv.window())
    .build()
}

/// The kernel for both gradients at once, and how it is cut; none for other convolutions.
struct Both {
    kernel: &'static str,
    grid: [usize; 3],
    /// Rows of a piece of a warp's work.
    band: usize,
    pieces: usize,
}

/// Channels and columns of a warp of it: `TAP_CHANNELS` and `TAP_COLUMNS` of depthwise_gradient.cu.
const CHANNELS: usize = 16;
const COLUMNS: usize = 8;
/// Warps of a block.
const WARPS: usize = BLOCK / 32;

impl Both {
    fn new(conv: &Convolution) -> Option<Self> {
        let g = &conv.geometry;
        let size = Variant::size(conv);
        // With the blocks that a multiprocessor has at once.
        let (kernel, at_once) = match size {
            [3, 1, 1] => ("depthwise_gradient_k3", 2),
            [5, 1, 1] => ("depthwise_gradient_k5", 2),
            [7, 1, 1] => ("depthwise_gradient_k7", 1),
            [3, 1, 2] => ("depthwise_gradient_k3_dilated", 2),
            [5, 1, 2] => ("depthwise_gradient_k5_dilated", 2),
            _ => return None,
        };
        let [taps, _, dilation] = size;
        let rows = g.height.div_ceil(dilation);
        let tiles = g.width.div_ceil(dilation).div_ceil(COLUMNS);
        let across = g.channels.div_ceil(CHANNELS).max(1);
        let blocks = (BLOCKS * at_once / 2 / across).max(1);
        let pieces = |band: usize| g.images * dilation * dilation * tiles * rows.div_ceil(band);
        // Each piece first reads the rows that its first row needs above; the fewer rows the longest walk has, the better.
        let walk = |band: &usize| pieces(*band).div_ceil(blocks * WARPS) * (band + taps - 1);
        let band = (1..=rows).rev().min_by_key(walk).unwrap_or(1);
        let pieces = pieces(band);
        Some(Self {
            kernel,
            grid: [across, pieces.div_ceil(WARPS).clamp(1, blocks), 1],
            band,
            pieces,
        })
    }
}

/// What [`gradient`] needs; none where there is no such kernel.
pub fn gradient_scratch(conv: &Convolution) -> Option<ScratchSize> {
    let cut = Both::new(conv)?;
    let g = &conv.geometry;
    Some(ScratchSize {
        parts: cut.grid[1] * (g.weights() + 2 * g.channels),
        counters: cut.grid[0],
    })
}

/// A depthwise convolution whose gradients are wanted, and what is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Depthwise {
    /// What it reads.
    pub x: Pointer,
    /// How it reads that.
    pub prologue: Prologue,
    /// Its weight.
    pub w: Pointer,
    /// The gradient of what it makes.
    pub dy: Pointer,
    /// The norm that it reads, and where the gradients of scale and shift go, if [`super::batch_norm::sums`] in training
    /// are to be taken of dx: it is that norm's `dy`, the whole of it, and stored.
    pub sums: Option<(Backward, [Pointer; 2])>,
}

/// `dx`, unless it is null, ←, or +=, the gradient of what the prologue's ReLU reads, and that of the weight in parts that
/// are then to be joined in `dw`.
///
/// # Errors
/// As [`forward`], and for a convolution without [`gradient_scratch`].
pub fn gradient(
    conv: &Convolution,
    of: &Depthwise,
    (dx, add): (Pointer, bool),
    scratch: Scratch,
    dw: Pointer,
) -> Result<(Launch, Join), Error> {
    check(conv)?;
    let Some(cut) = Both::new(conv) else {
        let detail = "no kernel makes both gradients of this";
        return Err(Error::shape("conv2d", detail));
    };
    let prologue = of.prologue;
    let [mean, inverse, slope, constant, dscale, dshift] = match of.sums {
        Some((norm, [dscale, dshift])) => {
            let n = norm.normaliser;
            [n.mean, n.inverse, norm.slope, norm.constant, dscale, dshift]
        }
        None => [Pointer::NULL; 6],
    };
    let gradients = Builder::new(
        cut.kernel,
        cut.grid,
        [CHANNELS as u32, (BLOCK / CHANNELS) as u32, 1],
    )
    .counted(conv.geometry.out_len())
    .pointers([of.dy, of.w, of.x, mean, inverse])
    .pointers([prologue.factor, prologue.offset])
    .flag(prologue.relu)
    .pointers([dx])
    .flag(add)
    .ints([cut.band, cut.pieces])
    .pointers([scratch.parts, scratch.counters, slope, constant])
    .pointers([dscale, dshift])
    .argument(conv.window())
    .build()?;
    let job = Join {
        parts: scratch.parts,
        count: cut.grid[1],
        size: conv.geometry.weights(),
        to: dw,
        add: false,
    };
    Ok((gradients, job))
}

/// How the weight gradient is cut.
struct Cut {
    block: [u32; 3],
    grid: [usize; 3],
    strips_per_block: usize,
}

impl Cut {
    fn new(conv: &Convolution, v: &Variant) -> Self {
        let g = &conv.geometry;
        let (block, across) = lanes(g.channels / v.vector);
        let (taps, strip) = match v.by_rows {
            true => (g.kernel[0], v.strip),
            false => (g.taps(), 1),
        };
        let strips = g.images * g.out_height * g.out_width.div_ceil(strip);
        let parts = (BLOCKS / (across * taps)).max(1);
        let strips_per_block = strips.div_ceil(parts).max(2 * block[1] as usize);
        Self {
            block,
            grid: [across, taps, strips.div_ceil(strips_per_block)],
            strips_per_block,
        }
    }
}

/// What [`weight_gradient`] needs.
pub fn weight_gradient_scratch(conv: &Convolution) -> ScratchSize {
    let cut = Cut::new(conv, &Variant::of(conv));
    ScratchSize {
        parts: cut.grid[2] * conv.geometry.weights(),
        counters: cut.grid[0] * cut.grid[1],
    }
}

/// `dw` ←, or +=, the gradient of the weight.
///
/// # Errors
/// As [`forward`].
pub fn weight_gradient(
    conv: &Convolution,
    x: Pointer,
    prologue: Prologue,
    dy: Pointer,
    scratch: Scratch,
    dw: Pointer,
    add: bool,
) -> Result<Launch, Error> {
    check(conv)?;
    let v = Variant::of(conv);
    let cut = Cut::new(conv, &v);
    Builder::new(v.weights, cut.grid, cut.block)
        .counted(conv.geometry.out_len())
        .pointers([x, prologue.factor, prologue.offset])
        .flag(prologue.relu)
        .pointers([dy])
        .ints([cut.strips_per_block])
        .pointers([scratch.parts, scratch.counters, dw])
        .flag(add)
        .argument(conv.window())
        .build()
}

fn check(conv: &Convolution) -> Result<(), Error> {
    if conv.is_depthwise() {
        return Ok(());
    }
    Err(Error::shape(
        "conv2d",
        "the depthwise kernels take one filter for each channel",
    ))
}
