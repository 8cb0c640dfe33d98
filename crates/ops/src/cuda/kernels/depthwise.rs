//! Depthwise convolution and its gradients.

use super::affine::Prologue;
use super::batch_norm::Backward;
use super::columns::{BLOCKS, Scratch, ScratchSize, lanes};
use super::convolution::{Convolution, Gate};
use super::flat;
use crate::Error;
use crate::cuda::launch::Builder;
use crate::cuda::{Launch, Pointer};

/// The kernels for one kind of convolution, and how many outputs side by side a thread takes.
struct Variant {
    forward: &'static str,
    input: &'static str,
    weights: &'static str,
    forward_strip: usize,
    input_strip: usize,
    vector: usize,
    /// Whether a block of the weight gradient takes a row of the kernel, not a tap.
    by_rows: bool,
}

impl Variant {
    fn of(conv: &Convolution) -> Self {
        let g = &conv.geometry;
        let square = |[a, b]: [usize; 2]| if a == b { a } else { 0 };
        let size = [g.kernel, g.conv.stride, g.conv.dilation].map(square);
        if !g.channels.is_multiple_of(4) {
            return Self {
                vector: 1,
                ..Self::general(
                    "depthwise_any_1",
                    "depthwise_input_any_1",
                    "depthwise_weights_any_1",
                )
            };
        }
        let strips = |forward, input, weights, forward_strip, input_strip| Self {
            forward,
            input,
            weights,
            forward_strip,
            input_strip,
            vector: 4,
            by_rows: true,
        };
        macro_rules! made_for {
            ($suffix:literal, $forward:literal, $input:literal) => {
                strips(
                    concat!("depthwise_", $suffix),
                    concat!("depthwise_input_", $suffix),
                    concat!("depthwise_weights_", $suffix),
                    $forward,
                    $input,
                )
            };
        }
        match size {
            [3, 1, 1] => made_for!("k3", 4, 4),
            [5, 1, 1] => made_for!("k5", 4, 4),
            [7, 1, 1] => made_for!("k7", 4, 4),
            [3, 1, 2] => made_for!("k3_dilated", 4, 4),
            [5, 1, 2] => made_for!("k5_dilated", 4, 4),
            [3, 2, 1] => made_for!("k3_stride2", 2, 1),
            [5, 2, 1] => made_for!("k5_stride2", 2, 1),
            [7, 2, 1] => made_for!("k7_stride2", 2, 1),
            _ => Self::general(
                "depthwise_any_4",
                "depthwise_input_any_4",
                "depthwise_weights_any_4",
            ),
        }
    }

    fn general(forward: &'static str, input: &'static str, weights: &'static str) -> Self {
        Self {
            forward,
            input,
            weights,
            forward_strip: 1,
            input_strip: 1,
            vector: 4,
            by_rows: false,
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
    let strips = g.out_width.div_ceil(v.forward_strip);
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
    let strips = g.width.div_ceil(v.input_strip);
    let (x, prologue) = gate.map_or_else(Default::default, |gate| (gate.x, gate.prologue));
    flat(
        v.input,
        g.images * g.height * strips * (g.channels / v.vector),
    )
    .pointers([dy, weight, x, prologue.factor, prologue.offset, dx])
    .flag(add)
    .argument(conv.window())
    .build()
}

/// How a strip kernel's work is cut for the sums of a norm, and the kernel; none for other convolutions.
struct SumsCut {
    kernel: &'static str,
    block: [u32; 3],
    grid: [usize; 3],
    strips: usize,
    strips_per_block: usize,
}

impl SumsCut {
    fn new(conv: &Convolution) -> Option<Self> {
        let (g, v) = (&conv.geometry, Variant::of(conv));
        let kernel = match v.input {
            "depthwise_input_k3" => "depthwise_input_sums_k3",
            "depthwise_input_k5" => "depthwise_input_sums_k5",
            "depthwise_input_k7" => "depthwise_input_sums_k7",
            _ => return None,
        };
        let (block, across) = lanes(g.channels / v.vector);
        let strips = g.images * g.height * g.width.div_ceil(v.input_strip);
        let parts = (2 * BLOCKS / across).max(1);
        let strips_per_block = strips.div_ceil(parts).max(block[1] as usize);
        Some(Self {
            kernel,
            block,
            grid: [across, strips.div_ceil(strips_per_block), 1],
            strips,
            strips_per_block,
        })
    }
}

/// What [`input_gradient_and_sums`] needs; none where there is no such kernel.
pub fn sums_scratch(conv: &Convolution) -> Option<ScratchSize> {
    let cut = SumsCut::new(conv)?;
    Some(ScratchSize {
        parts: cut.grid[1] * 2 * conv.geometry.channels,
        counters: cut.grid[0],
    })
}

/// [`input_gradient`] stored in `norm.dy` of a convolution that reads `norm.x` normalised, with a ReLU or without, and
/// [`super::batch_norm::sums`] in training of what it stores. `norm` has the whole of it, and no ReLU of its own.
///
/// # Errors
/// As [`forward`], and for a convolution without [`sums_scratch`].
pub fn input_gradient_and_sums(
    conv: &Convolution,
    [dy, weight]: [Pointer; 2],
    relu: bool,
    norm: &Backward,
    scratch: Scratch,
    [dscale, dshift]: [Pointer; 2],
) -> Result<Launch, Error> {
    check(conv)?;
    let Some(cut) = SumsCut::new(conv) else {
        return Err(Error::shape("conv2d", "no kernel takes a norm's sums here"));
    };
    let n = norm.normaliser;
    Builder::new(cut.kernel, cut.grid, cut.block)
        .counted(cut.strips)
        .pointers([dy, weight, norm.x, n.mean, n.inverse, n.factor, n.offset])
        .flag(relu)
        .pointers([norm.dy])
        .ints([cut.strips_per_block])
        .pointers([scratch.parts, scratch.counters, norm.slope, norm.constant])
        .pointers([dscale, dshift])
        .argument(conv.window())
        .build()
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
            true => (g.kernel[0], v.forward_strip),
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
