//! The sizes of a convolution as the kernels take them, and the kernels for any groups.

use crate::Conv2d;
use crate::Error;
use crate::conv2d::geometry::Geometry;
use crate::cuda::launch::{Argument, Builder, Launch, Pointer};

use super::affine::Prologue;
use super::columns::{self, Scratch, ScratchSize};
use super::join::Join;
use super::{BLOCK, sizes_of};

/// A convolution's sizes; see [`crate::conv2d()`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convolution {
    pub(in crate::cuda) geometry: Geometry,
    tf32: bool,
}

impl Convolution {
    /// Of an input N×H×W×C and a weight kh×kw×(C/groups)×F.
    ///
    /// # Errors
    /// [`Error::Shape`] if they do not go together.
    pub fn new(
        x: (usize, usize, usize, usize),
        w: (usize, usize, usize, usize),
        conv: Conv2d,
    ) -> Result<Self, Error> {
        let geometry = Geometry::new("conv2d", x, w, conv)?;
        Ok(Self {
            geometry,
            tf32: false,
        })
    }

    /// The same, but the dense kernels round the factors of their products to TF32, for the tensor cores: relative errors
    /// of about 10⁻³. Needs compute capability 8.0. The depthwise kernels stay in fp32.
    pub fn with_tf32(self, tf32: bool) -> Self {
        Self { tf32, ..self }
    }

    /// The kernel for fp32 or the one for TF32.
    fn either(&self, fp32: &'static str, tf32: &'static str) -> &'static str {
        if self.tf32 { tf32 } else { fp32 }
    }

    /// Of sizes that have been checked.
    pub(crate) fn of(geometry: Geometry) -> Self {
        Self {
            geometry,
            tf32: false,
        }
    }

    /// Whether the kernels for few terms take it, where nothing is to be done to what it reads: dense, of at most so many
    /// taps × channels as they have room for, and of filters in fours.
    fn is_few(&self, prologue: Prologue) -> bool {
        let g = &self.geometry;
        let terms = g.taps() * g.channels;
        let sizes = g.conv.groups == 1 && terms <= FEW_TERMS && g.filters.is_multiple_of(4);
        self.tf32 && sizes && prologue == Prologue::default()
    }

    /// The output's N×H×W×C.
    pub fn out(&self) -> (usize, usize, usize, usize) {
        self.geometry.out()
    }

    /// Whether every channel has a filter of its own, and no more: what [`super::depthwise`] is for.
    pub fn is_depthwise(&self) -> bool {
        let g = &self.geometry;
        g.conv.groups == g.channels && g.filters == g.channels
    }

    /// The structure `Window` of depthwise.cu: sixteen ints.
    pub(super) fn window(&self) -> Argument {
        let g = &self.geometry;
        let [top, _, left, _] = g.conv.padding;
        let sizes = [
            [g.images, g.height, g.width, g.channels],
            [g.out_height, g.out_width, g.filters, g.conv.groups],
            [g.kernel[0], g.kernel[1], g.conv.stride[0], g.conv.stride[1]],
            [g.conv.dilation[0], g.conv.dilation[1], top, left],
        ];
        Argument::Struct(sizes_of(sizes.into_iter().flatten()))
    }
}

/// What the gradient of a convolution's input goes through before it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate {
    /// What the convolution read, before its prologue.
    pub x: Pointer,
    /// The prologue; its ReLU is taken to be there.
    pub prologue: Prologue,
}

/// Rows and columns of a block's tile of the product.
const TILE: usize = 64;

/// Terms that the kernels for few of them take, and the filters of a block: of the output, of the gradient.
const FEW_TERMS: usize = 32;
const FEW_FILTERS: usize = 64;
const FEW_GRADIENTS: usize = 32;
/// Pixels that a block of those kernels takes at once.
const FEW_PIXELS: usize = 256;

/// `y` ← the convolution of what the prologue makes of `x`, and `bias` unless it is null. For any groups; the depthwise
/// kernels are faster for what they do.
///
/// # Errors
/// [`Error::Shape`] if a size does not fit a kernel's argument.
pub fn forward(
    conv: &Convolution,
    x: Pointer,
    prologue: Prologue,
    weight: Pointer,
    bias: Pointer,
    y: Pointer,
) -> Result<Launch, Error> {
    let g = &conv.geometry;
    let pixels = g.images * g.out_pixels();
    if conv.is_few(prologue) {
        let across = g.filters.div_ceil(FEW_FILTERS);
        let blocks = pixels
            .div_ceil(FEW_PIXELS)
            .min((columns::BLOCKS / across).max(1));
        return Builder::new(
            "convolution_few_tf32",
            [blocks, across, 1],
            [BLOCK as u32, 1, 1],
        )
        .counted(pixels)
        .pointers([x, weight, bias, y])
        .argument(conv.window())
        .build();
    }
    let filters = g.filters / g.conv.groups;
    let kernel = conv.either("convolution", "convolution_tf32");
    tiles(kernel, pixels, filters, g.conv.groups)
        .counted(pixels.max(g.weights()))
        .pointers([x, prologue.factor, prologue.offset])
        .flag(prologue.relu)
        .pointers([weight, bias, y])
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
    let g = &conv.geometry;
    let pixels = g.images * g.height * g.width;
    let depth = g.channels / g.conv.groups;
    let (x, prologue) = gate.map_or_else(Default::default, |gate| (gate.x, gate.prologue));
    let kernel = conv.either("convolution_input", "convolution_input_tf32");
    tiles(kernel, pixels, depth, g.conv.groups)
        .counted(pixels.max(g.weights()))
        .pointers([dy, weight, x, prologue.factor, prologue.offset, dx])
        .flag(add)
        .argument(conv.window())
        .build()
}

fn tiles(kernel: &'static str, rows: usize, columns: usize, deep: usize) -> Builder {
    let grid = [rows.div_ceil(TILE), columns.div_ceil(TILE), deep];
    Builder::new(kernel, grid, [BLOCK as u32, 1, 1])
}

/// Blocks that the weight gradient is cut into, and output pixels of a part at least.
const BLOCKS: usize = 512;
const PIXELS: usize = 64;

/// Tiles down and across for the weight, and the parts that the output pixels are cut into, with their size.
fn weight_cut(conv: &Convolution) -> ([usize; 2], usize, usize) {
    let g = &conv.geometry;
    let rows = g.taps() * (g.channels / g.conv.groups);
    let tiles = [
        rows.div_ceil(TILE),
        (g.filters / g.conv.groups).div_ceil(TILE),
    ];
    let wanted = BLOCKS / (tiles[0] * tiles[1] * g.conv.groups);
    let pixels = g.images * g.out_pixels();
    let size = pixels.div_ceil(wanted.max(1)).max(PIXELS);
    (tiles, pixels.div_ceil(size), size)
}

/// The parts that the kernel for few terms cuts the output pixels into, with their size.
fn few_cut(conv: &Convolution) -> (usize, usize) {
    let g = &conv.geometry;
    let pixels = g.images * g.out_pixels();
    let wanted = (columns::BLOCKS / g.filters.div_ceil(FEW_GRADIENTS)).max(1);
    let size = pixels.div_ceil(wanted).next_multiple_of(FEW_PIXELS / 2);
    (pixels.div_ceil(size), size)
}

/// What [`weight_gradient`] needs.
pub fn weight_gradient_scratch(conv: &Convolution) -> ScratchSize {
    let (_, parts, _) = weight_cut(conv);
    let parts = match conv.is_few(Prologue::default()) {
        true => parts.max(few_cut(conv).0),
        false => parts,
    };
    ScratchSize {
        parts: parts * conv.geometry.weights(),
        counters: 0,
    }
}

/// The gradient of the weight, in parts that are then to be joined: stored in `dw`, or added.
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
) -> Result<(Launch, Join), Error> {
    let g = &conv.geometry;
    let counted = (g.images * g.out_pixels()).max(g.weights());
    let block = [BLOCK as u32, 1, 1];
    let (parts, products) = if conv.is_few(prologue) {
        let (parts, size) = few_cut(conv);
        let grid = [parts, g.filters.div_ceil(FEW_GRADIENTS), 1];
        let products = Builder::new("convolution_weights_few_tf32", grid, block)
            .counted(counted)
            .pointers([x, dy])
            .ints([size])
            .pointers([scratch.parts]);
        (parts, products)
    } else {
        let (tiles, parts, size) = weight_cut(conv);
        let grid = [tiles[0], tiles[1], parts * g.conv.groups];
        let kernel = conv.either("convolution_weights", "convolution_weights_tf32");
        let products = Builder::new(kernel, grid, block)
            .counted(counted)
            .pointers([x, prologue.factor, prologue.offset])
            .flag(prologue.relu)
            .pointers([dy])
            .ints([size, parts])
            .pointers([scratch.parts]);
        (parts, products)
    };
    let products = products.argument(conv.window()).build()?;
    let job = Join {
        parts: scratch.parts,
        count: parts,
        size: g.weights(),
        to: dw,
        add,
    };
    Ok((products, job))
}
