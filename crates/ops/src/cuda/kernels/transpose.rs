//! Transposition of a matrix.

use crate::Error;
use crate::cuda::launch::{Builder, Launch, Pointer};

/// Rows and columns of a block's tile.
const SQUARE: usize = 32;

/// `y[c, r]` ← `x[r, c]`, for `rows` × `columns` numbers.
///
/// # Errors
/// [`Error::Shape`] if a size does not fit a kernel's argument.
pub fn transpose(x: Pointer, y: Pointer, rows: usize, columns: usize) -> Result<Launch, Error> {
    let grid = [columns.div_ceil(SQUARE), rows.div_ceil(SQUARE), 1];
    Builder::new("transpose", grid, [SQUARE as u32, 8, 1])
        .pointers([x, y])
        .ints([rows, columns])
        .build()
}
