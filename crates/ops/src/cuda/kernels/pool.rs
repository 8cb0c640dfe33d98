//! Max and average pooling, and their gradients.

use super::columns::BLOCKS;
use super::{BLOCK, by_four, flat, sizes_of};
use crate::Error;
use crate::cuda::launch::{Argument, Builder, Launch, Pointer};
use crate::pool2d::{Axis, Geometry, Pool2d, PoolKind};

/// Pixels below each other of a thread: `POOL_ROWS` of pool.cu.
const ROWS: usize = 4;
/// Packs of a block in shared memory: `POOL_ROOM` of max_pool.cu.
const ROOM: usize = 2048;
/// Columns × packs of its tile at most.
const ACROSS: usize = 128;

/// A pooling's sizes; see [`crate::pool2d()`].
#[derive(Clone, Copy, Debug)]
pub struct Pool {
    kind: PoolKind,
    geometry: Geometry,
    out_stride: usize,
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
            out_stride: x.3,
        })
    }

    /// The same with an output, and a gradient of it, whose pixels lie so many numbers apart: a multiple of 4, as the
    /// channels then are.
    pub fn within(mut self, out_stride: usize) -> Self {
        self.out_stride = out_stride;
        self
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
        let sizes = sizes.into_iter().flatten().chain([self.out_stride]);
        Argument::Struct(sizes_of(sizes))
    }
}

/// A launch of one of max_pool.cu's kernels for small windows, and its `PoolTile`.
struct Tiles {
    kernel: &'static str,
    images: usize,
    /// Rows, columns and packs of four channels of all that is made.
    all: [usize; 3],
    /// And of a block's part of it.
    tile: [usize; 3],
}

impl Tiles {
    /// With a kernel that is `kernels[k]` for windows, or windows of a number, of at most 3 + 2 · k along an axis; `held`
    /// says of so many rows or columns next to each other how many a block has in shared memory.
    fn new(
        kernels: [&'static str; 3],
        most: usize,
        (images, rows, columns, channels): (usize, usize, usize, usize),
        held: [&dyn Fn(usize) -> usize; 2],
    ) -> Option<Self> {
        let kernel = kernels.get(most.saturating_sub(2) / 2)?;
        if !channels.is_multiple_of(4) || images == 0 {
            return None;
        }
        let all = [rows, columns, channels / 4];
        let wide = columns.min(ACROSS / 4);
        let packs = all[2].min(ACROSS / wide).max(1);
        let room = ROOM / (packs * held[1](wide));
        let fits = (1..=rows).rev().find(|it| held[0](*it) <= room)?;
        let mut tiles = Self {
            kernel,
            images,
            all,
            tile: [fits, wide, packs],
        };
        // As many blocks as keep a GPU busy, of rows as even as they can be.
        let least = tiles.counts()[0];
        let others = tiles.blocks() / least;
        let wanted = (BLOCKS / others.max(1)).clamp(least, least.max(rows.div_ceil(2)));
        tiles.tile[0] = rows.div_ceil(wanted);
        Some(tiles)
    }

    /// Tiles along each axis.
    fn counts(&self) -> [usize; 3] {
        std::array::from_fn(|axis| self.all[axis].div_ceil(self.tile[axis]))
    }

    fn blocks(&self) -> usize {
        self.images * self.counts().iter().product::<usize>()
    }

    fn launch(&self) -> Builder {
        let across = self.tile[1] * self.tile[2];
        let down = (BLOCK / across).min(self.tile[0]).max(1);
        let numbers = self.images * self.all.iter().product::<usize>();
        let block = [across as u32, down as u32, 1];
        Builder::new(self.kernel, [self.blocks(), 1, 1], block).counted(numbers)
    }

    fn argument(&self) -> Argument {
        Argument::Struct(sizes_of(self.tile.into_iter().chain(self.counts())))
    }
}

impl Pool {
    /// The maxima of small windows.
    fn tiles(&self) -> Option<Tiles> {
        let g = &self.geometry;
        if self.kind == PoolKind::Average {
            return None;
        }
        let most = g.rows.kernel.max(g.columns.kernel);
        // The rows that windows below each other hold.
        let rows = |outputs: usize| {
            let rows = (outputs - 1) * g.rows.stride + g.rows.kernel;
            rows.min(g.rows.input)
        };
        let kernels = ["max_pool_3", "max_pool_5", "max_pool_7"];
        Tiles::new(kernels, most, self.out(), [&rows, &|columns| columns])
    }

    /// Their gradient.
    fn gradient_tiles(&self) -> Option<Tiles> {
        let g = &self.geometry;
        if self.kind == PoolKind::Average {
            return None;
        }
        let windows = |axis: &Axis| axis.kernel.div_ceil(axis.stride);
        let most = windows(&g.rows).max(windows(&g.columns));
        // The outputs whose windows hold pixels beside each other.
        let outputs = |columns: usize| {
            let outputs = (columns + g.columns.kernel - 2) / g.columns.stride + 1;
            outputs.min(g.columns.output)
        };
        let kernels = [
            "max_pool_gradient_3",
            "max_pool_gradient_5",
            "max_pool_gradient_7",
        ];
        let input = (g.images, g.rows.input, g.columns.input, g.channels);
        Tiles::new(kernels, most, input, [&|rows| rows, &outputs])
    }

    /// Its last arguments.
    fn finish(&self, launch: Builder, tiles: Option<Tiles>) -> Result<Launch, Error> {
        let launch = launch.argument(self.argument());
        match tiles {
            Some(tiles) => launch.argument(tiles.argument()),
            None => launch,
        }
        .build()
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
    let tiles = pool.tiles();
    let launch = match (pool.kind, &tiles) {
        (PoolKind::Max, Some(tiles)) => tiles.launch(),
        (PoolKind::Max, None) => flat("max_pool_any", work(1)),
        (PoolKind::Average, _) if pool.is_three_wide(1) => {
            let groups = g.rows.output.div_ceil(ROWS);
            flat("average_pool_rows", g.images * groups * g.output_row() / 4)
        }
        (PoolKind::Average, _) => {
            let (kernel, lanes) = by_four(g.channels, "average_pool_4", "average_pool_1");
            flat(kernel, work(lanes))
        }
    };
    let launch = match pool.kind {
        PoolKind::Max => launch.pointers([x, y, places]),
        PoolKind::Average => launch.pointers([x, y]),
    };
    pool.finish(launch, tiles)
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
    let tiles = pool.gradient_tiles();
    let launch = match (pool.kind, &tiles) {
        (PoolKind::Max, Some(tiles)) => tiles.launch(),
        (PoolKind::Max, None) => flat("max_pool_gradient_any", work(1)),
        (PoolKind::Average, _) if pool.is_three_wide(2) => {
            flat("average_pool_gradient_pairs", in_pairs())
        }
        (PoolKind::Average, _) if pool.is_three_wide(1) => {
            let groups = g.rows.input.div_ceil(ROWS);
            let work = g.images * groups * g.input_row() / 4;
            flat("average_pool_gradient_rows", work)
        }
        (PoolKind::Average, _) => {
            let four = "average_pool_gradient_4";
            let (kernel, lanes) = by_four(g.channels, four, "average_pool_gradient_1");
            flat(kernel, work(lanes))
        }
    };
    let launch = match pool.kind {
        PoolKind::Max => launch.pointers([dy, places, dx]),
        PoolKind::Average => launch.pointers([dy, dx]),
    };
    pool.finish(launch.flag(add), tiles)
}
