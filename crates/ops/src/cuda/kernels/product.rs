//! Products of matrices with many rows and few columns on tensor cores. Libraries are made for others: of
//! such, cuBLAS 13 makes the weights' gradients with most of the GPU idle, and takes tiles of 128 columns
//! for 16.

use super::BLOCK;
use super::columns::{BLOCKS, Scratch, ScratchSize};
use super::convolution::join;
use crate::Error;
use crate::cuda::launch::Builder;
use crate::cuda::{Launch, Pointer};

/// Rows and columns of [`product`] that a block makes.
const TILE: [usize; 2] = [64, 64];
/// Rows and columns of a block's tile of [`weight_gradient`].
const SIDE: usize = 32;
/// Rows that a block of it sums at least: four times eight for each of its warps.
const ROWS: usize = 256;
/// Rows at least for these kernels to be worth it.
const MANY: usize = 128;
/// Numbers of the weight at most for [`weight_gradient`] to be worth it.
const FEW: usize = 192 * 192;
/// Columns at most for [`product`] to be worth it: with 32 and more cuBLAS was faster on an H200.
const NARROW: usize = 16;

/// Whether [`product`] is for rows × k times k × n numbers.
pub fn suits_product([rows, k, n]: [usize; 3]) -> bool {
    rows >= MANY && n <= NARROW && k.is_multiple_of(4) && n.is_multiple_of(4)
}

/// Whether [`weight_gradient`] is for the gradient of m × n numbers over so many rows.
pub fn suits_weight_gradient([rows, m, n]: [usize; 3]) -> bool {
    rows >= MANY && m * n <= FEW
}

/// `y` ←, or +=, x · w for x of rows × k numbers and w of k × n or, `transposed`, of n × k, with factors
/// rounded to TF32. Four divides k and n.
///
/// # Errors
/// [`Error::Shape`] if a size does not fit a kernel's argument.
pub fn product(
    [rows, k, n]: [usize; 3],
    x: Pointer,
    w: Pointer,
    transposed: bool,
    y: Pointer,
    add: bool,
) -> Result<Launch, Error> {
    let grid = [rows.div_ceil(TILE[0]), n.div_ceil(TILE[1]), 1];
    Builder::new("product_tf32", grid, [128, 1, 1])
        .pointers([x, w])
        .ints([rows, k, n])
        .flag(transposed)
        .pointers([y])
        .flag(add)
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

/// `c` ←, or +=, aᵀ · b, for a of rows × m and b of rows × n numbers, with factors rounded to TF32.
///
/// # Errors
/// [`Error::Shape`] if a size does not fit a kernel's argument.
pub fn weight_gradient(
    size: [usize; 3],
    a: Pointer,
    b: Pointer,
    scratch: Scratch,
    c: Pointer,
    add: bool,
) -> Result<Vec<Launch>, Error> {
    let [tiles, parts, rows_per_part] = cut(size);
    let grid = [tiles, parts, 1];
    let products = Builder::new("product_weights_tf32", grid, [BLOCK as u32, 1, 1])
        .pointers([a, b])
        .ints(size)
        .ints([rows_per_part])
        .pointers([scratch.parts])
        .build()?;
    Ok(vec![
        products,
        join(scratch.parts, parts, size[1] * size[2], c, add)?,
    ])
}
