//! The weight gradient of dense convolutions with few channels and filters, on tensor cores. Libraries cut the sums, taps ×
//! channels × filters, into tiles that are made for many of them, and take neither a norm nor a ReLU before.

use super::affine::Prologue;
use super::columns::{self, Scratch, ScratchSize};
use super::join::Join;
use super::sizes_of;
use crate::Error;
use crate::conv2d::geometry::Geometry;
use crate::cuda::launch::Builder;
use crate::cuda::{Launch, Pointer};

/// Blocks at most. In tests so few that each makes several tiles.
const BLOCKS: usize = if cfg!(test) { 2 } else { columns::BLOCKS };
/// Bytes for tiles in a block's shared memory, and output pixels of a tile at most.
const ROOM: usize = 48_128;
const PIXELS: usize = 256;
/// A warp's sums are so many times those of 16 channels of a tap.
const DOWN: usize = 5;
/// How many times x is read at most because tiles overlap.
const AGAIN: usize = 4;
/// Warps of a block at most.
const WARPS: usize = 8;

/// Filters of a warp.
fn wide(g: &Geometry) -> usize {
    if g.filters <= 16 { 16 } else { 32 }
}

/// Numbers from a pixel to the next in shared memory.
fn pitch(channels: usize) -> usize {
    ((channels / 8) | 1) * 8
}

/// Rows or columns of x, as the kernel sees them: with one tap and no border before it has stride 1 and longer steps.
#[derive(Clone, Copy, Debug)]
struct Axis {
    size: usize,
    stride: usize,
    /// From one to the next in the tensor.
    step: usize,
    /// Those that a tap of the next output lies on from the first tap of one.
    span: usize,
}

impl Axis {
    fn new(g: &Geometry, axis: usize) -> Self {
        let (size, span) = ([g.height, g.width][axis], g.span()[axis]);
        let stride = g.conv.stride[axis];
        let (size, stride, step) = match span == 1 && g.conv.padding[2 * axis] == 0 {
            true => (size.div_ceil(stride), 1, stride),
            false => (size, stride, 1),
        };
        Self {
            size,
            stride,
            step,
            span,
        }
    }

    /// Those that so many outputs read, with borders.
    fn window(self, outputs: usize) -> usize {
        (outputs - 1) * self.stride + self.span
    }
}

/// How a convolution is cut into blocks.
#[derive(Clone, Copy, Debug)]
struct Cut {
    rows: Axis,
    columns: Axis,
    /// Numbers of 16 bytes.
    chunk: usize,
    /// Channels and filters of a block, and blocks for the others.
    channels: usize,
    filters: usize,
    slices: usize,
    /// Warps for other sums of these, and blocks where one has not enough of them.
    units: usize,
    deep: usize,
    /// Images of a tile of the output, and rows of each.
    images: usize,
    down: usize,
    /// Numbers of a tile in shared memory before those of dy, and all; tiles there at once.
    dy_at: usize,
    stage: usize,
    stages: usize,
    /// Tiles of an image and in all, and the parts that they are cut into.
    beneath: usize,
    tiles: usize,
    parts: usize,
}

impl Cut {
    /// The one that moves the fewest bytes; none if the kernels do not take the convolution.
    fn new(g: &Geometry, bf16: bool) -> Option<Self> {
        let narrow = |size: usize, most| size.is_multiple_of(8) && (16..=most).contains(&size);
        let fits = |size: usize| i32::try_from(size).is_ok();
        let suits = g.conv.groups == 1
            && !g.is_pointwise()
            && narrow(g.channels, 128)
            && narrow(g.filters, 64)
            && g.taps() <= 49
            && g.conv.stride.iter().all(|it| *it <= 2)
            // Twice as many, as the kernel counts beyond the last tile.
            && fits(2 * g.images * g.out_pixels())
            && fits(g.height * g.width * g.channels);
        if !suits {
            return None;
        }
        let cuts = [1, 2, 4].into_iter().flat_map(|across| {
            let down = 1..=g.channels.div_ceil(16);
            down.filter_map(move |down| {
                let with = |stages| Self::with(g, bf16, [down, across], stages);
                with(2).or_else(|| with(1))
            })
        });
        cuts.min_by_key(|it| it.bytes(g))
    }

    /// With so many times 16 channels in a block, and so many times a warp's filters, and with so many tiles in shared
    /// memory.
    fn with(g: &Geometry, bf16: bool, [down, across]: [usize; 2], stages: usize) -> Option<Self> {
        let (channels, filters) = (g.channels.min(16 * down), across * wide(g));
        let units = (g.taps() * down).div_ceil(DOWN) * across;
        let deep = units.div_ceil(WARPS);
        if (deep > 1 && down * across > 1) || filters > g.filters.next_multiple_of(wide(g)) {
            return None;
        }
        let slices = g.channels.div_ceil(channels) * g.filters.div_ceil(filters);
        let mut cut = Self {
            rows: Axis::new(g, 0),
            columns: Axis::new(g, 1),
            chunk: if bf16 { 8 } else { 4 },
            channels,
            filters,
            slices,
            units: units.div_ceil(deep),
            deep,
            images: 1,
            down: 1,
            dy_at: 0,
            stage: 0,
            stages,
            beneath: 1,
            tiles: 1,
            parts: (BLOCKS / (slices * deep)).max(1),
        };
        // As many rows as there is room for, in tiles of nearly equally many, or as many images as leave each block some.
        let rows = (1..=g.out_height).rev();
        let fits = |down: &usize| Self { down: *down, ..cut }.fits(g);
        cut.beneath = g.out_height.div_ceil(rows.into_iter().find(fits)?);
        cut.down = g.out_height.div_ceil(cut.beneath);
        if cut.beneath == 1 {
            let images = (1..=(g.images / cut.parts).clamp(1, PIXELS)).rev();
            let fits = |images: &usize| {
                Self {
                    images: *images,
                    ..cut
                }
                .fits(g)
            };
            cut.images = images.into_iter().find(fits)?;
        }
        // Tiles of few rows read those around them again and again.
        if cut.beneath > 1 && cut.beneath * cut.lines() > AGAIN * cut.rows.size {
            return None;
        }
        (cut.dy_at, cut.stage) = cut.numbers(g);
        cut.tiles = g.images.div_ceil(cut.images) * cut.beneath;
        cut.parts = cut.tiles.div_ceil(cut.tiles.div_ceil(cut.parts));
        Some(cut)
    }

    /// Rows of x that a tile reads of an image.
    fn lines(&self) -> usize {
        self.rows.window(self.down)
    }

    /// Chunks of a pixel of x, and of a row of its pixels.
    fn chunks(&self, g: &Geometry) -> [usize; 2] {
        let chunks = self.channels / self.chunk;
        let left = g.conv.padding[2];
        let window = self.columns.window(g.out_width);
        [
            chunks,
            self.columns.size.min(window.saturating_sub(left)) * chunks,
        ]
    }

    fn pixels(&self, g: &Geometry) -> usize {
        (self.images * self.down * g.out_width).next_multiple_of(16)
    }

    /// See `dy_at` and `stage`.
    fn numbers(&self, g: &Geometry) -> (usize, usize) {
        let stride = self.columns.stride;
        let columns = self.columns.window(g.out_width).next_multiple_of(stride);
        // Where 16 does not divide the channels, warps read eight beyond.
        let x = self.images * self.lines() * columns * pitch(self.channels) + 8;
        (x, x + self.pixels(g) * pitch(self.filters))
    }

    /// Whether the tiles fit into shared memory, and the kernel can multiply instead of dividing: if n · d < 2¹⁶, n / d is
    /// n · (2¹⁶ / d, rounded up) / 2¹⁶.
    fn fits(&self, g: &Geometry) -> bool {
        let room = ROOM * self.chunk / 16;
        let (lines, [chunks, of_line]) = (self.lines(), self.chunks(g));
        self.stages * self.numbers(g).1 <= room
            && self.pixels(g) <= PIXELS
            && self.images * lines * lines < 1 << 16
            && chunks * of_line < 1 << 16
    }

    /// Bytes that all blocks read and write, and the joining of their parts.
    fn bytes(&self, g: &Geometry) -> usize {
        let rows = g.images * self.beneath * self.lines();
        let x = rows * self.columns.size * g.channels * g.filters.div_ceil(self.filters);
        let dy = g.images * g.out_pixels() * g.filters * g.channels.div_ceil(self.channels);
        (x + dy) * self.deep * 16 / self.chunk + 8 * self.parts * g.weights()
    }

    /// Warps of a block that have the same sums of other pixels.
    fn shares(&self) -> usize {
        WARPS / self.units
    }

    fn threads(&self) -> usize {
        32 * self.units * self.shares()
    }

    /// The structure `NarrowWeights`.
    fn argument(&self, g: &Geometry) -> Vec<u64> {
        let (rows, columns, lines) = (self.rows, self.columns, self.lines());
        let [top, _, left, _] = g.conv.padding;
        let [dilation_y, dilation_x] = g.conv.dilation;
        let pixel = g.channels * columns.step;
        let row = g.channels * g.width * rows.step;
        let [chunks, of_line] = self.chunks(g);
        let across = of_line.clamp(1, self.threads());
        let by = |divisor: usize| (1usize << 16).div_ceil(divisor);
        let sizes = [
            &[g.images, rows.size, columns.size, g.channels][..],
            &[g.out_height, g.out_width, g.filters, g.taps(), g.kernel[1]],
            &[
                rows.stride,
                columns.stride,
                dilation_y,
                dilation_x,
                top,
                left,
            ],
            &[g.height * g.width * g.channels, row, pixel],
            &[self.images, self.down, lines, columns.window(g.out_width)],
            &[self.beneath, self.tiles],
            &[self.channels, self.filters, self.units, self.shares()],
            &[of_line, chunks, across, self.threads() / across],
            &[(self.filters / self.chunk).ilog2() as usize],
            &[by(lines), by(chunks), by(across)],
            &[self.dy_at, self.stage, self.stages],
        ];
        sizes_of(sizes.into_iter().flatten().copied())
    }
}

/// Whether [`weight_gradient`] takes a convolution, of tensors in fp32 or bfloat16: dense, of 16 to 128 channels and 16 to 64
/// filters, both multiples of 8, and of rows that are not too long.
pub fn fits(g: &Geometry, bf16: bool) -> bool {
    Cut::new(g, bf16).is_some()
}

/// What [`weight_gradient`] needs; nothing for what it does not take.
pub fn weight_gradient_scratch(g: &Geometry, bf16: bool) -> ScratchSize {
    let parts = Cut::new(g, bf16).map_or(0, |it| it.parts * g.weights());
    ScratchSize { parts, counters: 0 }
}

/// The gradient of the weight, of factors rounded to TF32 or, in bfloat16, as they are, in parts that are then to be joined:
/// stored in `dw`, or added. See [`fits`].
///
/// # Errors
/// [`Error::Shape`] if the convolution does not suit.
pub fn weight_gradient(
    (g, bf16): (&Geometry, bool),
    (x, prologue): (Pointer, Prologue),
    dy: Pointer,
    scratch: Scratch,
    dw: Pointer,
    add: bool,
) -> Result<(Launch, Join), Error> {
    let Some(cut) = Cut::new(g, bf16) else {
        let detail = format!("{g:?} is not narrow");
        return Err(Error::shape("convolution_narrow_weights", detail));
    };
    let kernel = match wide(g) {
        16 => "convolution_narrow_weights_16",
        _ => "convolution_narrow_weights_32",
    };
    let grid = [cut.parts, cut.slices, cut.deep];
    let products = Builder::new(kernel, grid, [cut.threads() as u32, 1, 1])
        .pointers([x, prologue.factor, prologue.offset])
        .flag(prologue.relu)
        .pointers([dy, scratch.parts])
        .structure(cut.argument(g))
        .build()?;
    let job = Join {
        parts: scratch.parts,
        count: cut.parts,
        size: g.weights(),
        to: dw,
        add,
    };
    Ok((products, job))
}
