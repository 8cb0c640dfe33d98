//! Products of matrices with many rows and few columns on tensor cores. Libraries are made for others: of
//! such, cuBLAS 13 makes the weights' gradients with most of the GPU idle, and takes tiles of 128 columns
//! for 16.

use super::affine::Prologue;
use super::batch_norm::{Norm, Normaliser};
use super::columns::{BLOCKS, Scratch, ScratchSize};
use super::join::Join;
use super::{BLOCK, sizes_of};
use crate::Error;
use crate::conv2d::geometry::NARROW_WEIGHT;
use crate::cuda::launch::Builder;
use crate::cuda::{Launch, Pointer};

/// Columns of [`product`] that a block makes at most.
pub const COLUMNS: usize = 64;
/// Rows and columns of a block's tile of [`weight_gradient`].
const SIDE: usize = 32;
/// Rows that a block of it sums at least: four times eight for each of its warps.
const ROWS: usize = 256;
/// Rows at least for these kernels to be worth it.
const MANY: usize = 128;
/// Numbers of the weight at most for [`weight_gradient`] to be worth it.
const FEW: usize = NARROW_WEIGHT;
/// Columns at most for [`product`] to be worth it by itself: with 32 and more cuBLAS was faster on an H200.
const NARROW: usize = 16;

/// Whether these kernels can multiply rows × k by k × n numbers, and there are enough of them, but no more than an int
/// counts.
pub fn is_tall([rows, k, n]: [usize; 3]) -> bool {
    rows >= MANY
        && k.is_multiple_of(4)
        && n.is_multiple_of(4)
        && i32::try_from(rows * k.max(n)).is_ok()
}

/// Whether [`product`] is better than a library for rows × k times k × n numbers with nothing before and after.
pub fn suits_product([rows, k, n]: [usize; 3]) -> bool {
    n <= NARROW && is_tall([rows, k, n])
}

/// Whether [`weight_gradient`] is for the gradient of m × n numbers over so many rows.
pub fn suits_weight_gradient([rows, m, n]: [usize; 3]) -> bool {
    rows >= MANY && m * n <= FEW
}

/// The kernels' ways to cut a product into blocks: the columns of a block, and the rows that it makes at a time.
const WAYS: [(usize, usize); 3] = [(16, 256), (32, 256), (64, 64)];
/// Numbers of w that a block has in shared memory at a time.
const W_ROOM: usize = 8192;

/// How a product is cut into blocks.
struct Tiles {
    size: [usize; 3],
    /// Which of [`WAYS`].
    way: usize,
    /// How many times a block makes rows, one below the other.
    steps: usize,
}

impl Tiles {
    fn new(size: [usize; 3]) -> Self {
        let [rows, k, n] = size;
        let fits = |way: usize| k * WAYS[way].0 <= W_ROOM;
        let wide = WAYS.iter().position(|it| n <= it.0);
        let wide = wide.unwrap_or(WAYS.len() - 1);
        // Reading x twice is better than reading w again for each step.
        let way = match wide > 0 && !fits(wide) && fits(wide - 1) {
            true => wide - 1,
            false => wide,
        };
        let (width, height) = WAYS[way];
        let wanted = (BLOCKS / n.div_ceil(width).max(1)).max(1);
        let steps = rows.div_ceil(height * wanted).max(1);
        Self { size, way, steps }
    }

    fn grid(&self) -> [usize; 3] {
        let [rows, _, n] = self.size;
        let (width, height) = WAYS[self.way];
        [rows.div_ceil(height * self.steps), n.div_ceil(width), 1]
    }

    /// A launch of the way's kernel, with a thread for each four columns beside each other, as joining the statistics
    /// of all of them at once takes.
    fn launch(&self, kernels: [&'static str; 3]) -> Builder {
        let lanes = WAYS[self.way].0 / 4;
        let block = [lanes as u32, (BLOCK / lanes) as u32, 1];
        let [rows, k, n] = self.size;
        Builder::new(kernels[self.way], self.grid(), block).counted(rows * k.max(n))
    }

    fn argument(&self) -> Vec<u64> {
        sizes_of(self.size.into_iter().chain([self.steps]))
    }
}

/// `y` ←, or +=, prologue(x) · w for x of rows × k numbers and w of k × n or, `transposed`, of n × k, with factors
/// rounded to TF32, or to bfloat16 where tensors are in it. See [`is_tall`].
///
/// # Errors
/// [`Error::Shape`] if a size does not fit a kernel's argument.
pub fn product(
    size: [usize; 3],
    [x, w, y]: [Pointer; 3],
    prologue: Prologue,
    transposed: bool,
    add: bool,
) -> Result<Launch, Error> {
    let tiles = Tiles::new(size);
    tiles
        .launch(["product_16", "product_32", "product_64"])
        .pointers([x, prologue.factor, prologue.offset])
        .flag(prologue.relu)
        .pointers([w])
        .flag(transposed)
        .pointers([y])
        .flag(add)
        .structure(tiles.argument())
        .build()
}

/// What [`product_statistics`] needs.
pub fn statistics_scratch(size: [usize; 3]) -> ScratchSize {
    let [down, across, _] = Tiles::new(size).grid();
    ScratchSize {
        parts: down * 2 * size[2],
        counters: across,
    }
}

/// [`product`] stored, and [`super::batch_norm::statistics`] of it.
///
/// # Errors
/// As [`product`].
pub fn product_statistics(
    size: [usize; 3],
    [x, w, y]: [Pointer; 3],
    prologue: Prologue,
    norm: Norm,
    scratch: Scratch,
    to: Normaliser,
) -> Result<Launch, Error> {
    let tiles = Tiles::new(size);
    let builder = tiles
        .launch([
            "product_statistics_16",
            "product_statistics_32",
            "product_statistics_64",
        ])
        .pointers([x, prologue.factor, prologue.offset])
        .flag(prologue.relu)
        .pointers([w, y])
        .structure(tiles.argument());
    norm.arguments(builder, scratch, to).build()
}

/// `dx` ←, or +=, dy · wᵀ where the prologue's ReLU let `x` through, for dy of rows × k and w of n × k numbers: the
/// gradient of a pointwise convolution's input.
///
/// # Errors
/// As [`product`].
pub fn gated_product(
    size: [usize; 3],
    [dy, w, x, dx]: [Pointer; 4],
    prologue: Prologue,
    add: bool,
) -> Result<Launch, Error> {
    let tiles = Tiles::new(size);
    tiles
        .launch(["product_input_16", "product_input_32", "product_input_64"])
        .pointers([dy, w, x, prologue.factor, prologue.offset, dx])
        .flag(add)
        .structure(tiles.argument())
        .build()
}

/// Tiles, parts that the rows are cut into, and rows of a part.
fn cut([rows, m, n]: [usize; 3]) -> [usize; 3] {
    let tiles = m.div_ceil(SIDE) * n.div_ceil(SIDE);
    let wanted = (BLOCKS / tiles.max(1)).max(1);
    // Eight rows are read at a time.
    let size = rows.div_ceil(wanted).max(ROWS).next_multiple_of(8);
    [tiles, rows.div_ceil(size).max(1), size]
}

/// What [`weight_gradient`] needs.
pub fn weight_gradient_scratch(size: [usize; 3]) -> ScratchSize {
    let [_, parts, _] = cut(size);
    ScratchSize {
        parts: parts * size[1] * size[2],
        counters: 0,
    }
}

/// prologue(a)ᵀ · b, for a of rows × m and b of rows × n numbers, with factors rounded to TF32, in parts that are
/// then to be joined: stored in `c`, or added.
///
/// # Errors
/// [`Error::Shape`] if a size does not fit a kernel's argument.
pub fn weight_gradient(
    size: [usize; 3],
    (a, prologue): (Pointer, Prologue),
    b: Pointer,
    scratch: Scratch,
    c: Pointer,
    add: bool,
) -> Result<(Launch, Join), Error> {
    let [tiles, parts, rows_per_part] = cut(size);
    let grid = [tiles, parts, 1];
    let products = Builder::new("product_weights_tf32", grid, [BLOCK as u32, 1, 1])
        .pointers([a, prologue.factor, prologue.offset])
        .flag(prologue.relu)
        .pointers([b])
        .ints(size)
        .ints([rows_per_part])
        .pointers([scratch.parts])
        .build()?;
    let job = Join {
        parts: scratch.parts,
        count: parts,
        size: size[1] * size[2],
        to: c,
        add,
    };
    Ok((products, job))
}
