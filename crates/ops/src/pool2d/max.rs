//! Max pooling on plain slices.
//!
//! The pixels of a window are taken in reading order, and one only if it is strictly larger: so the
//! first of equal ones wins. Forward reads the input once (a window's rows are in cache) and writes
//! the output and, for a gradient, one byte of position per number. The gradient reads that byte
//! and the output gradient and adds into the input gradient.

use std::ops::Range;

use super::geometry::{Geometry, InputRun};
use crate::parts::{Bands, Shared};
use crate::simd::vectorised;

/// Largest number of pixels in a window: a position is kept in a byte.
pub const LARGEST_MAX_POOL: usize = 256;

/// Writes the maximum of each window to `y` and, unless it is empty, its position to `places`.
pub(crate) fn forward(geometry: &Geometry, x: &[f32], y: &mut [f32], places: &mut [u8]) {
    let g = *geometry;
    let keep = !places.is_empty();
    let runs = g.columns.output_runs();
    let (y, places) = (Shared::new(y), Shared::new(places));
    Bands::new(g.images, g.rows.output, g.output_row()).for_each(|image, rows| {
        let start = (image * g.rows.output + rows.start) * g.output_row();
        let range = start..start + rows.len() * g.output_row();
        // SAFETY: the ranges of different bands are apart.
        let y = unsafe { y.slice(range.clone()) };
        // SAFETY: the same, or the empty slice.
        let places = unsafe { places.slice(if keep { range } else { 0..0 }) };
        let image = &x[image * g.rows.input * g.input_row()..][..g.rows.input * g.input_row()];
        if keep {
            forward_band::<true>(&g, &runs, image, rows.start, y, places);
        } else {
            forward_band::<false>(&g, &runs, image, rows.start, y, places);
        }
    });
}

vectorised! {
    /// [`forward`] for the output rows of one image from `first` on.
    fn forward_band<const KEEP: bool>(
        g: &Geometry,
        runs: &[Range<usize>],
        image: &[f32],
        first: usize,
        y: &mut [f32],
        places: &mut [u8],
    ) {
        let (width, c) = (g.output_row(), g.channels);
        for (row, out) in y.chunks_exact_mut(width).enumerate() {
            let taps = g.rows.taps(first + row);
            let top = g.rows.pixel(first + row, taps.start) * g.input_row();
            for run in runs {
                let columns = g.columns.taps(run.start);
                let window = Window {
                    start: top + g.columns.pixel(run.start, columns.start) * c,
                    row_step: g.input_row(),
                    column_step: c,
                    rows: taps.len(),
                    columns: columns.len(),
                    code: taps.start * g.columns.kernel + columns.start,
                    code_step: g.columns.kernel,
                };
                let range = run.start * c..run.end * c;
                let place = match KEEP {
                    true => &mut places[row * width..][range.clone()],
                    false => &mut [],
                };
                window.maxima::<KEEP>(image, &mut out[range], place);
            }
        }
    }
}

/// A window's real pixels, for a run of numbers that all have the same ones.
#[derive(Clone, Copy)]
struct Window {
    /// Where the first number's first pixel is.
    start: usize,
    row_step: usize,
    column_step: usize,
    rows: usize,
    columns: usize,
    /// Position of the first real pixel in the window, and from a row of it to the next.
    code: usize,
    code_step: usize,
}

impl Window {
    #[inline(always)]
    fn maxima<const KEEP: bool>(self, x: &[f32], y: &mut [f32], places: &mut [u8]) {
        let mut at = 0;
        // Wider blocks are not vectorised: the compiler gives up on that many choices.
        while at + 16 <= y.len() {
            self.block::<16, KEEP>(x, at, y, places);
            at += 16;
        }
        while at + 4 <= y.len() {
            self.block::<4, KEEP>(x, at, y, places);
            at += 4;
        }
        while at < y.len() {
            self.block::<1, KEEP>(x, at, y, places);
            at += 1;
        }
    }

    /// The maxima of the `N` numbers from number `at` of the run on.
    #[inline(always)]
    fn block<const N: usize, const KEEP: bool>(
        self,
        x: &[f32],
        at: usize,
        y: &mut [f32],
        places: &mut [u8],
    ) {
        let mut best = [0.0; N];
        best.copy_from_slice(&x[self.start + at..][..N]);
        let mut place = [self.code as u32; N];
        for k in 0..self.rows {
            for l in 0..self.columns {
                let from = self.start + at + k * self.row_step + l * self.column_step;
                let pixel = &x[from..from + N];
                let code = (self.code + k * self.code_step + l) as u32;
                for i in 0..N {
                    let larger = pixel[i] > best[i] || pixel[i].is_nan();
                    best[i] = if larger { pixel[i] } else { best[i] };
                    place[i] = if larger { code } else { place[i] };
                }
            }
        }
        y[at..at + N].copy_from_slice(&best);
        if KEEP {
            for (to, place) in places[at..at + N].iter_mut().zip(place) {
                *to = place as u8;
            }
        }
    }
}

/// Adds each output gradient into the input gradient at the position that was the largest.
pub(crate) fn backward(geometry: &Geometry, dy: &[f32], places: &[u8], dx: &mut [f32]) {
    let g = *geometry;
    let runs = g.columns.input_runs();
    let dx = Shared::new(dx);
    Bands::new(g.images, g.rows.input, g.input_row()).for_each(|image, rows| {
        let start = (image * g.rows.input + rows.start) * g.input_row();
        // SAFETY: the ranges of different bands are apart.
        let dx = unsafe { dx.slice(start..start + rows.len() * g.input_row()) };
        let size = g.rows.output * g.output_row();
        let range = image * size..(image + 1) * size;
        backward_band(
            &g,
            &runs,
            &dy[range.clone()],
            &places[range],
            rows.start,
            dx,
        );
    });
}

vectorised! {
    /// [`backward`] for the input rows of one image from `first` on.
    fn backward_band(
        g: &Geometry,
        runs: &[InputRun],
        dy: &[f32],
        places: &[u8],
        first: usize,
        dx: &mut [f32],
    ) {
        let c = g.channels;
        for (row, dx) in dx.chunks_exact_mut(g.input_row()).enumerate() {
            let rows: Vec<(usize, usize)> = g.rows.windows(first + row).collect();
            for run in runs {
                let dx = &mut dx[run.pixels.start * c..run.pixels.end * c];
                let mut at = 0;
                while at + 32 <= dx.len() {
                    gather::<32>(g, &rows, &run.windows, dy, places, at, dx);
                    at += 32;
                }
                while at + 16 <= dx.len() {
                    gather::<16>(g, &rows, &run.windows, dy, places, at, dx);
                    at += 16;
                }
                while at + 4 <= dx.len() {
                    gather::<4>(g, &rows, &run.windows, dy, places, at, dx);
                    at += 4;
                }
                while at < dx.len() {
                    gather::<1>(g, &rows, &run.windows, dy, places, at, dx);
                    at += 1;
                }
            }
        }
    }
}

/// What the `N` numbers from number `at` of a run on get from the windows that they lie in.
#[inline(always)]
fn gather<const N: usize>(
    g: &Geometry,
    rows: &[(usize, usize)],
    columns: &[(usize, usize)],
    dy: &[f32],
    places: &[u8],
    at: usize,
    dx: &mut [f32],
) {
    let mut sum = [0.0; N];
    sum.copy_from_slice(&dx[at..at + N]);
    for &(row, k) in rows {
        for &(column, l) in columns {
            let from = row * g.output_row() + column * g.channels + at;
            let (dy, places) = (&dy[from..from + N], &places[from..from + N]);
            let code = (k * g.columns.kernel + l) as u32;
            // Masks of bits, because the compiler makes branches of a choice between numbers here.
            let mut mask = [0; N];
            for i in 0..N {
                mask[i] = if u32::from(places[i]) == code {
                    u32::MAX
                } else {
                    0
                };
            }
            for i in 0..N {
                sum[i] += f32::from_bits(dy[i].to_bits() & mask[i]);
            }
        }
    }
    dx[at..at + N].copy_from_slice(&sum);
}
