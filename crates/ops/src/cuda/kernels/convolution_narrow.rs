//! Dense convolutions of few channels with few filters on tensor cores, with what comes before them and the statistics of
//! the batch norm after them.

use super::affine::Prologue;
use super::batch_norm::{Norm, Normaliser};
use super::columns::{self, Scratch, ScratchSize};
use super::{BLOCK, convolution_narrow_input, convolution_narrow_weights, divisor, sizes_of};
use crate::conv2d::geometry::Geometry;
use crate::cuda::launch::Builder;
use crate::cuda::{Launch, Pointer};
use crate::{BatchNorm, Error};

/// Channels and filters of a convolution at most, and its taps: see convolution_narrow.cu for these and the next.
const CHANNELS: usize = 128;
const FILTERS: usize = 64;
const TAPS: usize = 49;
/// Bytes of shared memory for a tile and filters.
const ROOM: usize = 46_592;
/// Channels of a slab, filters of a piece, and warps of a block.
const SLAB: usize = 16;
const PIECE: usize = 16;
const WARPS: usize = 8;
/// Output pixels of a tile at least, unless there is one tile alone: fewer leave most warps idle.
const PIXELS: usize = 48;

/// Blocks at most; in tests so few that one makes several tiles.
const BLOCKS: usize = if cfg!(test) { 6 } else { columns::BLOCKS };

/// An axis of what a tile reads.
#[derive(Clone, Copy, Debug)]
struct Axis {
    /// From a tile's row to the next, in rows of the input.
    step: usize,
    /// From an output's first row to the next one's, in rows of the tile.
    stride: usize,
    /// Rows of the tile for so many outputs.
    size: usize,
}

impl Axis {
    /// For `outputs` along an axis of the convolution. With one tap only the rows that it reads are brought.
    fn new(g: &Geometry, axis: usize, outputs: usize) -> Self {
        let stride = g.conv.stride[axis];
        let (step, stride) = match g.kernel[axis] {
            1 => (stride, 1),
            _ => (1, stride),
        };
        Self {
            step,
            stride,
            size: (outputs - 1) * stride + g.span()[axis],
        }
    }
}

/// How a convolution is cut into tiles.
#[derive(Clone, Copy, Debug)]
struct Cut {
    /// Times 16 filters of a block.
    pieces: usize,
    /// Whole images of a tile, or rows of one.
    images: usize,
    rows: usize,
    /// Times 16 channels of a pass, a power of two, and passes.
    slabs: usize,
    passes: usize,
    /// What a tile reads, down and across.
    axes: [Axis; 2],
    /// Tiles of an image, in all, and of a block.
    down: usize,
    tiles: usize,
    steps: usize,
}

impl Cut {
    /// The cut that is expected to take the least time; none if there is not room for any.
    fn new(g: &Geometry, bf16: bool) -> Option<Self> {
        let rows = (1..=g.out_height).filter(|it| g.out_height.is_multiple_of(*it));
        let tiles = rows.map(|rows| (1, rows));
        let most = WARPS * 64 / g.out_pixels().max(1);
        let tiles = tiles.chain((2..=g.images.min(most)).map(|it| (it, g.out_height)));
        let all = tiles.flat_map(|(images, rows)| {
            let slabs = [1, 2, 4, 8].into_iter();
            slabs.flat_map(move |slabs| [1, 2].map(|pieces| (pieces, images, rows, slabs)))
        });
        let all = all.filter_map(|it| Self::of(g, bf16, it));
        all.min_by_key(|it| it.0).map(|it| it.1)
    }

    /// One cut, with the time that it takes: cycles of a multiprocessor.
    fn of(
        g: &Geometry,
        bf16: bool,
        (pieces, images, rows, slabs): (usize, usize, usize, usize),
    ) -> Option<(usize, Self)> {
        let bytes = if bf16 { 2 } else { 4 };
        // Times 16 pixels of a warp.
        let high = if pieces == 1 && bf16 { 4 } else { 2 };
        let pixels = images * rows * g.out_width;
        let all_slabs = g.channels.div_ceil(SLAB);
        let down = g.out_height / rows;
        let tiles = g.images.div_ceil(images) * down;
        let across = g.filters.div_ceil(PIECE * pieces);
        let cut = Self {
            pieces,
            images,
            rows,
            slabs,
            passes: all_slabs.div_ceil(slabs),
            axes: [Axis::new(g, 0, rows), Axis::new(g, 1, g.out_width)],
            down,
            tiles,
            steps: tiles.div_ceil((BLOCKS / across).max(1)),
        };
        let [lines, columns] = cut.axes.map(|it| it.size);
        let filters = g.taps() * pieces * SLAB * PIECE;
        let exact = cut.places() * columns < 1 << 16 && images * lines * lines < 1 << 16;
        let fits = pixels <= WARPS * SLAB * high
            && exact
            && slabs <= all_slabs.next_power_of_two()
            && pieces <= g.filters.div_ceil(PIECE)
            && 16 * cut.chunks(bf16) * cut.plane(bf16) + bytes * slabs * filters <= ROOM
            && (pixels >= PIXELS || tiles == 1);
        if !fits {
            return None;
        }
        // Products; what comes from memory; filters that do not stay; barriers and what they wait for.
        let slabs = cut.passes * slabs;
        let products =
            pixels.div_ceil(SLAB * high) * g.taps() * slabs * 5 * high * pieces * bytes / 4;
        let loads = cut.places() * slabs * bytes * 5 / 4;
        let filters = if cut.passes > 1 { 40 } else { 0 } * g.taps() * slabs * pieces;
        Some((
            cut.steps * (products + loads + filters + 750 * cut.passes),
            cut,
        ))
    }

    /// Pixels that a tile reads.
    fn places(&self) -> usize {
        self.images * self.axes[0].size * self.axes[1].size
    }

    /// Chunks of 16 bytes that a pixel's channels are in a pass.
    fn chunks(&self, bf16: bool) -> usize {
        self.slabs * if bf16 { 2 } else { 4 }
    }

    /// Places for each of these. In eight places side by side in shared memory, as they are stored, no two are in one bank.
    fn plane(&self, bf16: bool) -> usize {
        let apart = (8 / self.chunks(bf16)).max(1);
        (self.places() + 8 - apart).next_multiple_of(8) + apart - 8
    }

    fn grid(&self, g: &Geometry) -> [usize; 3] {
        let across = g.filters.div_ceil(PIECE * self.pieces);
        [self.tiles.div_ceil(self.steps), across, 1]
    }

    /// The structure `NarrowCut`.
    fn argument(&self, g: &Geometry, bf16: bool) -> Vec<u64> {
        let [down, across] = self.axes;
        let [top, _, left, _] = g.conv.padding;
        // Of two columns side by side in the input those of one tap's outputs are.
        let even = across.size.div_ceil(across.stride);
        let place = |column: usize| column % across.stride * even + column / across.stride;
        let taps = (0..TAPS).map(|tap| {
            let (i, j) = (tap / g.kernel[1], tap % g.kernel[1]);
            let row = i * g.conv.dilation[0] * across.size;
            match tap < g.taps() {
                true => (row + place(j * g.conv.dilation[1])) * 16,
                false => 0,
            }
        });
        let by = |it: usize| (1usize << 16).div_ceil(it);
        let sizes = [
            [
                g.images,
                g.height,
                g.width,
                g.channels,
                g.filters,
                g.out_width,
            ],
            [
                self.images,
                self.rows,
                self.down,
                self.tiles,
                self.steps,
                down.step,
            ],
            [
                top,
                g.conv.stride[0],
                across.step,
                left,
                down.size,
                across.size,
            ],
            [
                down.stride,
                across.stride,
                even,
                self.places(),
                self.plane(bf16),
                self.slabs,
            ],
        ];
        let last = [self.passes, by(across.size), by(down.size)];
        // Eight bytes divide where the divisor begins.
        let sizes = sizes.into_iter().flatten().chain(last).chain([0]);
        let taps = std::iter::once(g.taps()).chain(taps);
        [sizes_of(sizes), divisor(self.down), sizes_of(taps)].concat()
    }
}

/// Products for each number that is read or written, at most: with more of them, arithmetic outweighs the passes over memory
/// that cuDNN needs beside, and its products are the faster ones. (3×3 of 32 channels to 32 filters has 144, 1×7 112.) Of 120,
/// 200 and no limit, 120 was the best in bfloat16 on an H100; in fp32 they were not compared.
const PRODUCTS: usize = 120;

/// Whether a convolution is narrow: all three of its products are for kernels of our own, with tensors in fp32 or bfloat16.
pub fn suits(g: &Geometry, bf16: bool) -> bool {
    let numbers = g.images * g.height * g.width * g.channels + g.out_len();
    let products = g.out_len() * g.taps() * g.channels;
    // What single pixels are made of is in fp32 also where other tensors are not.
    !g.is_single()
        && fits(g, bf16)
        && convolution_narrow_input::fits(g, bf16)
        && convolution_narrow_weights::fits(g, bf16)
        && products <= PRODUCTS * numbers
}

/// Whether [`forward`] is made for a convolution of tensors in fp32 or bfloat16.
pub fn fits(g: &Geometry, bf16: bool) -> bool {
    let eights = |it: usize, most: usize| it.is_multiple_of(8) && it <= most;
    let counted = |it: usize| i32::try_from(it).is_ok();
    g.conv.groups == 1
        && !g.is_pointwise()
        && eights(g.channels, CHANNELS)
        && eights(g.filters, FILTERS)
        && g.taps() <= TAPS
        && g.conv.stride.iter().all(|it| *it <= 2)
        && counted(g.images * g.height * g.width * g.channels)
        && counted(g.out_len())
        && Cut::new(g, bf16).is_some()
}

/// What a convolution reads and writes.
#[derive(Clone, Copy, Debug)]
pub struct Tensors {
    /// The input.
    pub x: Pointer,
    /// What is done to it.
    pub prologue: Prologue,
    /// kh × kw × channels × filters.
    pub w: Pointer,
    /// A number a filter, or null.
    pub bias: Pointer,
    /// The output.
    pub y: Pointer,
}

/// Statistics to be taken of the output.
pub type Statistics = (Norm, Scratch, Normaliser);

/// What [`forward`] needs for statistics.
pub fn statistics_scratch(g: &Geometry) -> ScratchSize {
    ScratchSize {
        parts: BLOCKS * 2 * g.filters,
        counters: g.filters.div_ceil(PIECE),
    }
}

/// `y` ← the convolution of what the prologue makes of `x`, and the bias, with factors rounded to TF32 or bfloat16; and
/// [`super::batch_norm::statistics`] of it. See [`fits`].
///
/// # Errors
/// [`Error::Shape`] if it does not suit.
pub fn forward(
    g: &Geometry,
    bf16: bool,
    of: Tensors,
    statistics: Option<Statistics>,
) -> Result<Launch, Error> {
    let cut = Cut::new(g, bf16).filter(|_| fits(g, bf16));
    let cut = cut.ok_or_else(|| Error::shape("conv2d", format!("{g:?} is not narrow")))?;
    let lanes = PIECE * cut.pieces / 4;
    let block = [lanes as u32, (BLOCK / lanes) as u32, 1];
    let kernel = match cut.pieces {
        1 => "convolution_narrow_16",
        _ => "convolution_narrow_32",
    };
    let builder = Builder::new(kernel, cut.grid(g), block)
        .pointers([of.x, of.prologue.factor, of.prologue.offset])
        .flag(of.prologue.relu)
        .pointers([of.w, of.bias, of.y])
        .structure(cut.argument(g, bf16));
    let null = Pointer::NULL;
    let (norm, scratch, to) = statistics.unwrap_or((
        Norm::of([null; 4], BatchNorm::default()),
        Scratch {
            parts: null,
            counters: null,
        },
        Normaliser::of([null; 4]),
    ));
    norm.arguments(builder, scratch, to).build()
}
