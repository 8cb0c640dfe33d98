//! Depthwise convolution and its gradients.

use super::affine::Prologue;
use super::batch_norm::Backward;
use super::columns::{BLOCKS, Scratch, ScratchSize, lanes};
use super::convolution::{Convolution, Gate};
use super::join::Join;
use super::{BLOCK, flat, sizes_of};
use crate::Error;
use crate::cuda::launch::{Builder, MOST_ACROSS};
use crate::cuda::{Launch, Pointer};

/// Kernel, stride and dilation, 0 where the axes differ.
fn size(conv: &Convolution) -> [usize; 3] {
    let square = |[a, b]: [usize; 2]| if a == b { a } else { 0 };
    let g = &conv.geometry;
    [g.kernel, g.conv.stride, g.conv.dilation].map(square)
}

/// The kernels for any kernel, stride and dilation.
struct Any {
    forward: &'static str,
    input: &'static str,
    weights: &'static str,
    vector: usize,
}

impl Any {
    fn of(conv: &Convolution) -> Self {
        match conv.geometry.channels.is_multiple_of(4) {
            true => Self {
                forward: "depthwise_any_4",
                input: "depthwise_input_any_4",
                weights: "depthwise_weights_any_4",
                vector: 4,
            },
            false => Self {
                forward: "depthwise_any_1",
                input: "depthwise_input_any_1",
                weights: "depthwise_weights_any_1",
                vector: 1,
            },
        }
    }
}

/// What depthwise.cu calls `TILE_CHANNELS`, `TILE_THREADS` and `STRIP`.
const TILE_CHANNELS: usize = 16;
const TILE_THREADS: usize = 128;
const STRIP: usize = 4;

/// A kernel made for its size: how its output is cut into tiles.
struct Tiles {
    kernel: &'static str,
    grid: [usize; 3],
    /// What depthwise.cu calls `TileCut`.
    cut: [usize; 6],
}

impl Tiles {
    fn new(conv: &Convolution) -> Option<Self> {
        let g = &conv.geometry;
        let [k, s, d] = size(conv);
        // With the channels and the rows of a thread, and the pixels that a block has room for.
        let (kernel, vector, rows, room) = match [k, s, d] {
            [3, 1, 1] => ("depthwise_k3", 2, 4, 480),
            [5, 1, 1] => ("depthwise_k5", 2, 4, 672),
            [7, 1, 1] => ("depthwise_k7", 1, 4, 480),
            [3, 2, 1] => ("depthwise_k3_stride2", 1, 2, 336),
            [5, 2, 1] => ("depthwise_k5_stride2", 1, 2, 432),
            [7, 2, 1] => ("depthwise_k7_stride2", 1, 2, 536),
            [3, 1, 2] => ("depthwise_k3_dilated", 2, 4, 672),
            [5, 1, 2] => ("depthwise_k5_dilated", 2, 4, 696),
            _ => return None,
        };
        if !g.channels.is_multiple_of(4) {
            return None;
        }
        let most = TILE_THREADS / (TILE_CHANNELS / vector);
        // Of all shapes that fit, that with the least to bring and to make.
        let shapes =
            (1..=most).flat_map(|across| (1..=most / across).map(move |down| (across, down)));
        let cuts = shapes.filter_map(|(across, down)| {
            let reach = (k - 1) * d + 1;
            let height = (down * rows - 1) * s + reach;
            let columns = (across * STRIP - 1) * s + reach;
            let pixels = height * (columns + (columns - 1) / (STRIP * s));
            let images = (most / (across * down)).min(room / pixels).min(g.images);
            if images == 0 {
                return None;
            }
            let wide = g.out_width.div_ceil(across * STRIP);
            let tiles = wide * g.out_height.div_ceil(down * rows);
            let groups = g.images.div_ceil(images);
            if tiles.max(groups) > MOST_ACROSS {
                return None;
            }
            let cost = tiles * groups * (images * pixels + most * STRIP * rows);
            // Rounded up: pixels are few, so that the quotient is right.
            let [by_columns, by_rows] = [columns, height].map(|size| (1 << 16) / size + 1);
            let grid = [g.channels.div_ceil(TILE_CHANNELS), tiles, groups];
            Some((
                cost,
                grid,
                [across, down, images, wide, by_columns, by_rows],
            ))
        });
        let (_, grid, cut) = cuts.min()?;
        Some(Self { kernel, grid, cut })
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
    let g = &conv.geometry;
    let any = Any::of(conv);
    let tiles = Tiles::new(conv);
    let launch = match &tiles {
        Some(tiles) => {
            let block = [TILE_THREADS as u32, 1, 1];
            Builder::new(tiles.kernel, tiles.grid, block)
                .counted(g.images * g.height * g.width)
                .counted(g.images * g.out_height * g.out_width)
        }
        None => flat(any.forward, g.out_len() / any.vector),
    };
    let launch = launch
        .pointers([x, prologue.factor, prologue.offset])
        .flag(prologue.relu)
        .pointers([weight, y]);
    let launch = match tiles {
        Some(tiles) => launch.structure(sizes_of(tiles.cut.into_iter())),
        None => launch,
    };
    launch.argument(conv.window()).build()
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
    let (g, any) = (&conv.geometry, Any::of(conv));
    let (x, prologue) = gate.map_or_else(Default::default, |gate| (gate.x, gate.prologue));
    flat(
        any.input,
        g.images * g.height * g.width * (g.channels / any.vector),
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
    block: [u32; 3],
    /// At stride 1 the rows of a piece of a warp's work, and the pieces; at stride 2 the tiles of a block.
    cut: Vec<usize>,
}

/// A side of a tile in squares of four pixels: `SQUARES` of depthwise_gradient_stride2.cu.
const SQUARES: usize = 8;

/// Channels and columns of a warp at stride 1: `TAP_CHANNELS` and `TAP_COLUMNS` of depthwise_gradient.cu.
const CHANNELS: usize = 16;
const COLUMNS: usize = 8;
/// Warps of a block.
const WARPS: usize = BLOCK / 32;

impl Both {
    fn new(conv: &Convolution) -> Option<Self> {
        let g = &conv.geometry;
        if g.conv.stride == [2, 2] {
            return Self::stride_2(conv);
        }
        let size = size(conv);
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
            block: [CHANNELS as u32, (BLOCK / CHANNELS) as u32, 1],
            cut: vec![band, pieces],
        })
    }

    fn stride_2(conv: &Convolution) -> Option<Self> {
        let g = &conv.geometry;
        let [top, _, left, _] = g.conv.padding;
        let kernel = match (size(conv), [top % 2, left % 2]) {
            ([3, 2, 1], [0, 0]) => "depthwise_gradient_k3_stride2_even",
            ([3, 2, 1], [1, 1]) => "depthwise_gradient_k3_stride2_odd",
            ([5, 2, 1], [0, 0]) => "depthwise_gradient_k5_stride2_even",
            ([5, 2, 1], [1, 1]) => "depthwise_gradient_k5_stride2_odd",
            ([7, 2, 1], [0, 0]) => "depthwise_gradient_k7_stride2_even",
            ([7, 2, 1], [1, 1]) => "depthwise_gradient_k7_stride2_odd",
            _ => return None,
        };
        if !g.channels.is_multiple_of(4) {
            return None;
        }
        let across = g.channels.div_ceil(TILE_CHANNELS);
        let tiles = [g.height, g.width].map(|side| side.div_ceil(2 * SQUARES));
        let tiles = g.images * tiles[0] * tiles[1];
        let tiles_per_block = tiles.div_ceil((BLOCKS / across).max(1)).max(1);
        let quads = TILE_CHANNELS / 4;
        Some(Self {
            kernel,
            grid: [across, tiles.div_ceil(tiles_per_block).max(1), 1],
            block: [quads as u32, (BLOCK / quads) as u32, 1],
            cut: vec![tiles_per_block],
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
    let gradients = Builder::new(cut.kernel, cut.grid, cut.block)
        .counted(conv.geometry.out_len())
        .pointers([of.dy, of.w, of.x, mean, inverse])
        .pointers([prologue.factor, prologue.offset])
        .flag(prologue.relu)
        .pointers([dx])
        .flag(add)
        .ints(cut.cut)
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
    pixels_per_block: usize,
}

impl Cut {
    fn new(conv: &Convolution, vector: usize) -> Self {
        let g = &conv.geometry;
        let (block, across) = lanes(g.channels / vector);
        let pixels = g.images * g.out_height * g.out_width;
        let parts = (BLOCKS / (across * g.taps())).max(1);
        let pixels_per_block = pixels.div_ceil(parts).max(2 * block[1] as usize);
        Self {
            block,
            grid: [across, g.taps(), pixels.div_ceil(pixels_per_block)],
            pixels_per_block,
        }
    }
}

/// What [`weight_gradient`] needs.
pub fn weight_gradient_scratch(conv: &Convolution) -> ScratchSize {
    let cut = Cut::new(conv, Any::of(conv).vector);
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
    let any = Any::of(conv);
    let cut = Cut::new(conv, any.vector);
    Builder::new(any.weights, cut.grid, cut.block)
        .counted(conv.geometry.out_len())
        .pointers([x, prologue.factor, prologue.offset])
        .flag(prologue.relu)
        .pointers([dy])
        .ints([cut.pixels_per_block])
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
