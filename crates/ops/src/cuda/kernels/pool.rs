//! Max and average pooling, and their gradients.

use super::{by_four, flat, sizes_of};
use crate::Error;
use crate::cuda::launch::{Argument, Launch, Pointer};
use crate::pool2d::{Axis, Geometry, Pool2d, PoolKind};

/// Pixels below each other of a thread: `POOL_ROWS` of pool.cu.
const ROWS: usize = 4;

/// A pooling's sizes; see [`crate::pool2d()`].
#[derive(Clone, Copy, Debug)]
pub struct Pool {
    kind: PoolKind,
    geometry: Geometry,
}

impl Pool {
    /// Of an input N×H×W×C.
    ///
    /// # Errors
    /// [`Error::Shape`] if the windows do not fit.
    pub fn new(x: (usize, usize, usize, usize), options: Pool2d) -> Result<Self, Error> {
        Ok(Self {
            kind: options.kind,
            geometry: options.geometry(x)?,
        })
    }

    /// The output's N×H×W×C.
    pub fn out(&self) -> (usize, usize, usize, usize) {
        let g = &self.geometry;
        (g.images, g.rows.output, g.columns.output, g.channels)
    }

    /// Whether the kernels for windows of 3×3 at this stride take it: they read channels in fours.
    fn is_three_wide(&self, stride: usize) -> bool {
        let g = &self.geometry;
        let fits = |axis: &Axis| (axis.kernel, axis.stride) == (3, stride);
        g.channels.is_multiple_of(4) && fits(&g.rows) && fits(&g.columns)
    }

    /// The structure `Pool` of pool.cu.
    fn argument(&self) -> Argument {
        let g = &self.geometry;
        let (rows, columns) = (&g.rows, &g.columns);
        let sizes = [
            [g.images, rows.input, columns.input, g.channels],
            [rows.output, columns.output, rows.kernel, columns.kernel],
            [rows.stride, columns.stride, rows.before, columns.before],
        ];
        Argument::Struct(sizes_of(sizes.into_iter().flatten()))
    }
}

/// `y` ← the maximum or mean of each window. For a maximum, `places` (one byte for each number of `y`) gets what the
/// gradient needs, unless it is null; for a mean it is not used.
///
/// # Errors
/// [`Error::Shape`] if a size does not fit a kernel's argument.
pub fn forward(pool: &Pool, x: Pointer, y: Pointer, places: Pointer) -> Result<Launch, Error> {
    let g = &pool.geometry;
    let work = |lanes| g.output_len() / lanes;
    match pool.kind {
        PoolKind::Max => {
            let (kernel, lanes) = by_four(g.channels, "max_pool_4", "max_pool_1");
            flat(kernel, work(lanes)).pointers([x, y, places])
        }
        PoolKind::Average if pool.is_three_wide(1) => {
            let groups = g.rows.output.div_ceil(ROWS);
            let work = g.images * groups * g.output_row() / 4;
            flat("average_pool_rows", work).pointers([x, y])
        }
        PoolKind::Average => {
            let (kernel, lanes) = by_four(g.channels, "average_pool_4", "average_pool_1");
            flat(kernel, work(lanes)).pointers([x, y])
        }
    }
    .argument(pool.argument())
    .build()
}

/// `dx` ←, or +=, the gradient of the input.
///
/// # Errors
/// As [`forward`].
pub fn gradient(
    pool: &Pool,
    dy: Pointer,
    places: Pointer,
    dx: Pointer,
    add: bool,
) -> Result<Launch, Error> {
    let g = &pool.geometry;
    let work = |lanes| g.images * g.rows.input * g.input_row() / lanes;
    let pairs = |axis: &Axis| (axis.input + axis.before).div_ceil(2);
    let in_pairs = || g.images * pairs(&g.rows) * pairs(&g.columns) * (g.channels / 4);
    match pool.kind {
        PoolKind::Max if pool.is_three_wide(2) => {
            flat("max_pool_gradient_pairs", in_pairs()).pointers([dy, places, dx])
        }
        PoolKind::Average if pool.is_three_wide(2) => {
            flat("average_pool_gradient_pairs", in_pairs()).pointers([dy, dx])
        }
        PoolKind::Average if pool.is_three_wide(1) => {
            let groups = g.rows.input.div_ceil(ROWS);
            let work = g.images * groups * g.input_row() / 4;
            flat("average_pool_gradient_rows", work).pointers([dy, dx])
        }
        PoolKind::Max => {
            let (kernel, lanes) = by_four(g.channels, "max_pool_gradient_4", "max_pool_gradient_1");
            flat(kernel, work(lanes)).pointers([dy, places, dx])
        }
        PoolKind::Average => {
            let (kernel, lanes) = by_four(
                g.channels,
                "average_pool_gradient_4",
                "average_pool_gradient_1",
            );
            flat(kernel, work(lanes)).pointers([dy, dx])
        }
    }
    .flag(add)
    .argument(pool.argument())
    .build()
}
