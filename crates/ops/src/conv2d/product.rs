//! The product that convolutions are: rows gathered from a window of pixels, times packed weights.
//!
//! Output row r is `out[rows[r].to ..][..columns] = Σ_t Σ_d from[rows[r].from + taps[t] + d·step] ·
//! weights[t * depth + d][..]`. With tables for rows and taps this is a convolution of any stride,
//! dilation and padding without a copy of its patches, and a plain matrix product with one tap.

// Register tiles are indexed in two dimensions; iterators would hide which register is meant.
#![allow(clippy::needless_range_loop)]

use super::panels::Panels;
use crate::vector::{Kernel, Vector, dispatch};

/// Where one row of output comes from and goes to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub from: usize,
    pub to: usize,
}

/// What happens to a sum before it is stored.
#[derive(Clone, Copy, Default)]
pub(crate) struct Finish<'a> {
    /// Added per column.
    pub shift: Option<&'a [f32]>,
    /// Then added to what is there, rather than to replace it.
    pub add: bool,
    /// Then the larger of it and zero.
    pub relu: bool,
}

/// One product; see the module. `from` and `out` must reach as far as the tables say, which is
/// checked.
pub(crate) struct Product<'a> {
    pub from: &'a [f32],
    pub rows: &'a [Row],
    pub taps: &'a [usize],
    pub depth: usize,
    pub step: usize,
    pub weights: &'a Panels,
    pub finish: Finish<'a>,
}

impl Product<'_> {
    /// Computes all rows into `out`.
    pub fn run(self, out: &mut [f32]) {
        assert_eq!(self.taps.len() * self.depth, self.weights.rows);
        let (Some(tap), Some(from), Some(to)) = (
            self.taps.iter().max(),
            self.rows.iter().map(|r| r.from).max(),
            self.rows.iter().map(|r| r.to).max(),
        ) else {
            return;
        };
        assert!(from + tap + self.depth.saturating_sub(1) * self.step < self.from.len());
        assert!(to + self.weights.columns <= out.len());
        assert!(
            self.finish
                .shift
                .is_none_or(|s| s.len() >= self.weights.columns)
        );
        dispatch(Run { product: self, out });
    }
}

struct Run<'a, 'b> {
    product: Product<'a>,
    out: &'b mut [f32],
}

impl Kernel for Run<'_, '_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Run { product, out } = self;
        for p in 0..product.weights.count() {
            let (panel, first, registers, columns) = product.weights.panel(p);
            let block = Block {
                from: product.from.as_ptr(),
                // SAFETY: `first` is a column, and rows with all their columns are inside `out`.
                out: unsafe { out.as_mut_ptr().add(first) },
                taps: product.taps,
                depth: product.depth,
                step: product.step,
                panel: panel.as_ptr(),
                columns,
                shift: product.finish.shift.map(|s| s[first..].as_ptr()),
                relu: product.finish.relu,
                add: product.finish.add,
            };
            // SAFETY: the processor was chosen for `V`; the bounds were checked above.
            unsafe {
                match registers {
                    1 => all_rows::<V, 1>(&block, product.rows),
                    _ => all_rows::<V, 2>(&block, product.rows),
                }
            }
        }
    }
}

/// One panel of a product.
struct Block<'a> {
    from: *const f32,
    out: *mut f32,
    taps: &'a [usize],
    depth: usize,
    step: usize,
    panel: *const f32,
    columns: usize,
    shift: Option<*const f32>,
    relu: bool,
    add: bool,
}

/// Cuts the rows into register tiles.
#[inline(always)]
unsafe fn all_rows<V: Vector, const N: usize>(block: &Block, rows: &[Row]) {
    let mut rest = rows;
    while !rest.is_empty() {
        let count = tile_rows(rest.len(), V::ROWS);
        let (tile, tail) = rest.split_at(count);
        rest = tail;
        // SAFETY: as promised by the caller.
        unsafe {
            match count {
                12 => tile_of::<V, 12, N>(block, tile),
                8 => tile_of::<V, 8, N>(block, tile),
                6 => tile_of::<V, 6, N>(block, tile),
                4 => tile_of::<V, 4, N>(block, tile),
                2 => tile_of::<V, 2, N>(block, tile),
                _ => tile_of::<V, 1, N>(block, &tile[..1]),
            }
        }
    }
}

/// Rows of the next register tile, of `left` that remain.
#[inline(always)]
fn tile_rows(left: usize, most: usize) -> usize {
    let fits = |n: usize| n <= most && n <= left;
    // 16 rows are two tiles of 8 rather than 12 and 4.
    if left == 16 && most >= 8 {
        return 8;
    }
    [12, 8, 6, 4, 2].into_iter().find(|&n| fits(n)).unwrap_or(1)
}

#[inline(always)]
unsafe fn tile_of<V: Vector, const M: usize, const N: usize>(block: &Block, rows: &[Row]) {
    // SAFETY: the caller promises that all rows, taps and columns are inside their slices, and the
    // panel has N registers for each tap and depth.
    unsafe {
        let from: [*const f32; M] = std::array::from_fn(|i| block.from.add(rows[i].from));
        let mut sums = [[V::zero(); N]; M];
        let mut panel = block.panel;
        for &tap in block.taps {
            let mut d = tap;
            for _ in 0..block.depth {
                let weights: [V; N] = std::array::from_fn(|j| V::load(panel.add(j * V::LANES)));
                panel = panel.add(N * V::LANES);
                for i in 0..M {
                    let value = V::splat(*from[i].add(d));
                    for j in 0..N {
                        sums[i][j] = value.fma(weights[j], sums[i][j]);
                    }
                }
                d += block.step;
            }
        }
        for j in 0..N {
            let columns = (block.columns - j * V::LANES).min(V::LANES);
            let shift = match block.shift {
                Some(shift) => V::load_first(shift.add(j * V::LANES), columns),
                None => V::zero(),
            };
            for i in 0..M {
                let mut sum = sums[i][j].add(shift);
                let to = block.out.add(rows[i].to + j * V::LANES);
                if block.add {
                    sum = sum.add(V::load_first(to, columns));
                }
                if block.relu {
                    sum = sum.max(V::zero());
                }
                if columns == V::LANES {
                    sum.store(to);
                } else {
                    sum.store_first(to, columns);
                }
            }
        }
    }
}
