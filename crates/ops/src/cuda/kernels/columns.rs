//! Sums over rows for each column, in two stages within one launch.

use super::BLOCK;
use crate::Error;
use crate::cuda::launch::Builder;
use crate::cuda::{Launch, Pointer};

/// Blocks that a reduction is cut into at most, all columns together: two for each multiprocessor of an H100. More would
/// leave more parts to join.
pub(super) const BLOCKS: usize = 264;
/// Lanes of a row at most: 32 columns, 128 bytes, as much as one access fetches. More rows at a time are then joined faster.
const LANES: usize = 8;
/// Rows that a thread sums at least, where there are so many.
const ROWS_PER_THREAD: usize = 4;

/// A block for rows of `packs` vectors, and the blocks that a row takes.
pub(super) fn lanes(packs: usize) -> ([u32; 3], usize) {
    let packs = packs.max(1);
    let lanes = packs.next_power_of_two().min(LANES);
    let block = [lanes as u32, (BLOCK / lanes) as u32, 1];
    (block, packs.div_ceil(lanes))
}

/// How a matrix is cut for sums over its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// Numbers of a lane.
    pub vector: usize,
    block: [u32; 3],
    grid: [usize; 3],
    /// Rows of a block.
    pub rows_per_block: usize,
}

impl Cut {
    pub(super) fn new(rows: usize, columns: usize) -> Self {
        let vector = if columns.is_multiple_of(4) { 4 } else { 1 };
        let (block, across) = lanes(columns / vector);
        let tall = block[1] as usize;
        let wanted = (BLOCKS / across).max(1);
        let rows_per_block = rows.div_ceil(wanted).max(ROWS_PER_THREAD * tall);
        Self {
            vector,
            block,
            grid: [across, rows.div_ceil(rows_per_block).max(1), 1],
            rows_per_block,
        }
    }

    /// Blocks that the rows are cut into.
    fn parts(&self) -> usize {
        self.grid[1]
    }

    /// A launch with this cut, of the kernel for the cut's vectors.
    pub(super) fn launch(&self, four: &'static str, one: &'static str) -> Builder {
        let kernel = if self.vector == 4 { four } else { one };
        Builder::new(kernel, self.grid, self.block)
    }
}

/// Memory that reductions use between their stages. One of each, as large as the largest that any launch asks for, serves
/// all launches that do not run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scratch {
    /// Numbers in fp32, of any value.
    pub parts: Pointer,
    /// Counters in u32. All are 0 before the first launch; every launch leaves them so.
    pub counters: Pointer,
}

/// How many numbers a launch needs of each buffer of [`Scratch`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScratchSize {
    /// Numbers in fp32.
    pub parts: usize,
    /// Counters in u32.
    pub counters: usize,
}

impl ScratchSize {
    pub(super) fn of(cut: &Cut, numbers_per_part: usize) -> Self {
        Self {
            parts: cut.parts() * numbers_per_part,
            counters: cut.grid[0],
        }
    }

    /// The size that serves both.
    pub fn max(self, other: Self) -> Self {
        Self {
            parts: self.parts.max(other.parts),
            counters: self.counters.max(other.counters),
        }
    }
}

/// What [`column_sums`] needs.
pub fn column_sums_scratch(rows: usize, columns: usize) -> ScratchSize {
    ScratchSize::of(&Cut::new(rows, columns), columns)
}

/// `sums[c]` ←, or +=, Σ x\[row, c\]: the gradient of a bias.
///
/// # Errors
/// [`Error::Shape`] if a size does not fit a kernel's argument.
pub fn column_sums(
    x: Pointer,
    rows: usize,
    columns: usize,
    scratch: Scratch,
    sums: Pointer,
    add: bool,
) -> Result<Launch, Error> {
    let cut = Cut::new(rows, columns);
    cut.launch("column_sums_4", "column_sums_1")
        .pointers([x])
        .long(rows)
        .ints([columns, cut.rows_per_block])
        .pointers([scratch.parts, scratch.counters, sums])
        .flag(add)
        .build()
}
