//! The gradient of weights: sums over pixels of outer products.
//!
//! `out[m * columns + n] += Σ_p from[pixels[p].from + offsets[m]] · gradient[pixels[p].gradient + n]`,
//! where `m` runs over taps and input channels. The order of the sum is that of the pixels, where the
//! result is small by blocks of them: what a block reads of the gradient then stays in a core's
//! first-level cache while all rows are summed.

// Register tiles are indexed in two dimensions; iterators would hide which register is meant.
#![allow(clippy::needless_range_loop)]

use crate::vector::{Kernel, Vector, dispatch};

/// Pixels of a block.
const BLOCK: usize = 64;
/// Numbers of a result that is small: reading and writing it once a block costs less than the cache
/// misses that blocks save.
const SMALL: usize = 256 * 1024;

/// Where the input and the gradient of one pixel begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pixel {
    pub from: usize,
    pub gradient: usize,
}

/// One sum of outer products; see the module.
#[derive(Clone, Copy)]
pub(crate) struct Outer<'a> {
    pub from: &'a [f32],
    pub gradient: &'a [f32],
    pub pixels: &'a [Pixel],
    pub offsets: &'a [usize],
    /// Columns to compute.
    pub columns: usize,
    /// Numbers from one row of the result to the next.
    pub stride: usize,
}

impl Outer<'_> {
    /// Adds the sums to `out`.
    pub fn run(self, out: &mut [f32]) {
        let (Some(offset), Some(from), Some(gradient)) = (
            self.offsets.iter().max(),
            self.pixels.iter().map(|p| p.from).max(),
            self.pixels.iter().map(|p| p.gradient).max(),
        ) else {
            return;
        };
        assert!(from + offset < self.from.len());
        assert!(gradient + self.columns <= self.gradient.len());
        assert!((self.offsets.len() - 1) * self.stride + self.columns <= out.len());
        let small = self.offsets.len() * self.columns <= SMALL;
        let block = if small { BLOCK } else { self.pixels.len() };
        for pixels in self.pixels.chunks(block) {
            let outer = Outer { pixels, ..self };
            dispatch(Run { outer, out });
        }
    }
}

struct Run<'a, 'b> {
    outer: Outer<'a>,
    out: &'b mut [f32],
}

impl Kernel for Run<'_, '_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Run { outer, out } = self;
        let mut column = 0;
        while column < outer.columns {
            let columns = (outer.columns - column).min(2 * V::LANES);
            // SAFETY: the processor was chosen for `V`; the bounds were checked above.
            unsafe {
                match columns {
                    n if n == 2 * V::LANES => all_rows::<V, 2, true>(&outer, column, columns, out),
                    n if n > V::LANES => all_rows::<V, 2, false>(&outer, column, columns, out),
                    n if n == V::LANES => all_rows::<V, 1, true>(&outer, column, columns, out),
                    _ => all_rows::<V, 1, false>(&outer, column, columns, out),
                }
            }
            column += columns;
        }
    }
}

#[inline(always)]
unsafe fn all_rows<V: Vector, const N: usize, const FULL: bool>(
    outer: &Outer,
    column: usize,
    columns: usize,
    out: &mut [f32],
) {
    let mut row = 0;
    while row < outer.offsets.len() {
        let left = outer.offsets.len() - row;
        let count = [12, 9, 8, 6, 4, 2]
            .into_iter()
            .find(|&n| n <= V::ROWS && n <= left && (n != 12 || left != 16))
            .unwrap_or(1);
        let offsets = &outer.offsets[row..row + count];
        // SAFETY: as promised by the caller; row and column are inside the result.
        unsafe {
            let to = out.as_mut_ptr().add(row * outer.stride + column);
            match count {
                12 => tile::<V, 12, N, FULL>(outer, offsets, column, columns, to),
                9 => tile::<V, 9, N, FULL>(outer, offsets, column, columns, to),
                8 => tile::<V, 8, N, FULL>(outer, offsets, column, columns, to),
                6 => tile::<V, 6, N, FULL>(outer, offsets, column, columns, to),
                4 => tile::<V, 4, N, FULL>(outer, offsets, column, columns, to),
                2 => tile::<V, 2, N, FULL>(outer, offsets, column, columns, to),
                _ => tile::<V, 1, N, FULL>(outer, offsets, column, columns, to),
            }
        }
        row += count;
    }
}

#[inline(always)]
unsafe fn tile<V: Vector, const M: usize, const N: usize, const FULL: bool>(
    outer: &Outer,
    offsets: &[usize],
    column: usize,
    columns: usize,
    to: *mut f32,
) {
    // SAFETY: the caller promises that all pixels, offsets and columns are inside their slices.
    unsafe {
        let from: [*const f32; M] = std::array::from_fn(|i| outer.from.as_ptr().add(offsets[i]));
        let gradient = outer.gradient.as_ptr().add(column);
        let last = columns - (N - 1) * V::LANES;
        let mut sums = [[V::zero(); N]; M];
        for pixel in outer.pixels {
            let gradient = gradient.add(pixel.gradient);
            let g: [V; N] = std::array::from_fn(|j| {
                if FULL || j + 1 < N {
                    V::load(gradient.add(j * V::LANES))
                } else {
                    V::load_first(gradient.add(j * V::LANES), last)
                }
            });
            for i in 0..M {
                let value = V::splat(*from[i].add(pixel.from));
                for j in 0..N {
                    sums[i][j] = value.fma(g[j], sums[i][j]);
                }
            }
        }
        for i in 0..M {
            for j in 0..N {
                let to = to.add(i * outer.stride + j * V::LANES);
                let valid = if FULL || j + 1 < N { V::LANES } else { last };
                V::load_first(to, valid)
                    .add(sums[i][j])
                    .store_first(to, valid);
            }
        }
    }
}
