//! Max and average pooling, and their gradients.

use super::{by_four, flat, sizes_of};
use crate::Error;
use crate::cuda::launch::{Argument, Launch, Pointer};
use crate::pool2d::{Geometry, Pool2d, PoolKind};

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
    match pool.kind {
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
