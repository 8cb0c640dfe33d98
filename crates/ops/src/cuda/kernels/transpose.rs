//! Transposition of matrices: of filters, which are fp32, into the numbers of tensors, and of their gradient back.

use crate::Error;
use crate::cuda::launch::{Builder, Launch, Pointer};

/// Rows and columns of a block's tile.
const SQUARE: usize = 32;

/// `y[c, r]` ← `x[r, c]`, for `rows` × `columns` numbers, of which `y`'s are a tensor's.
///
/// # Errors
/// [`Error::Shape`] if a size does not fit a kernel's argument.
pub fn transpose(x: Pointer, y: Pointer, rows: usize, columns: usize) -> Result<Launch, Error> {
    launch("transpose", [x, y], [rows, columns])
}

/// The same, but `x`'s are a tensor's, and `y`'s fp32.
///
/// # Errors
/// As [`transpose`].
pub fn transpose_gradient(
    x: Pointer,
    y: Pointer,
    rows: usize,
    columns: usize,
) -> Result<Launch, Error> {
    launch("transpose_gradient", [x, y], [rows, columns])
}

fn launch(
    kernel: &'static str,
    tensors: [Pointer; 2],
    [rows, columns]: [usize; 2],
) -> Result<Launch, Error> {
    let grid = [columns.div_ceil(SQUARE), rows.div_ceil(SQUARE), 1];
    Builder::new(kernel, grid, [SQUARE as u32, 8, 1])
        .pointers(tensors)
        .ints([rows, columns])
        .build()
}
