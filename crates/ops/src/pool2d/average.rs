//! Average pooling on plain slices; padding is not counted.
//!
//! Forward reads the input once (a window's rows are in cache) and writes the output once. The
//! number of real pixels in a window is the product of its two extents, so the gradient is spread
//! down the rows first and then along each row.

use std::ops::Range;

use super::geometry::{Geometry, InputRun};
use crate::parts::{Bands, Shared};
use crate::simd::vectorised;

/// Writes the mean of each window to `y`.
pub(crate) fn forward(geometry: &Geometry, x: &[f32], y: &mut [f32]) {
    let g = *geometry;
    let runs = g.columns.output_runs();
    let y = Shared::new(y);
    Bands::new(g.images, g.rows.output, g.output_row()).for_each(|image, rows| {
        let start = (image * g.rows.output + rows.start) * g.output_row();
        // SAFETY: the ranges of different bands are apart.
        let y = unsafe { y.slice(start..start + rows.len() * g.output_row()) };
        let image = &x[image * g.rows.input * g.input_row()..][..g.rows.input * g.input_row()];
        forward_band(&g, &runs, image, rows.start, y);
    });
}

vectorised! {
    /// [`forward`] for the output rows of one image from `first` on.
    fn forward_band(
        g: &Geometry,
        runs: &[Range<usize>],
        image: &[f32],
        first: usize,
        y: &mut [f32],
    ) {
        let c = g.channels;
        for (row, out) in y.chunks_exact_mut(g.output_row()).enumerate() {
            let taps = g.rows.taps(first + row);
            let top = g.rows.pixel(first + row, taps.start) * g.input_row();
            for run in runs {
                let columns = g.columns.taps(run.start);
                let start = top + g.columns.pixel(run.start, columns.start) * c;
                let steps = Steps {
                    counts: [taps.len(), columns.len()],
                    steps: [g.input_row(), c],
                };
                let share = 1.0 / (taps.len() * columns.len()) as f32;
                let out = &mut out[run.start * c..run.end * c];
                steps.sums::<false>(&image[start..], share, out);
            }
        }
    }
}

/// Places in a slice, from the first by one number of steps and by another.
#[derive(Clone, Copy)]
struct Steps {
    counts: [usize; 2],
    steps: [usize; 2],
}

impl Steps {
    /// `y = share · Σ x[i + place]` over the places, or that added to `y`.
    #[inline(always)]
    fn sums<const ADD: bool>(self, x: &[f32], share: f32, y: &mut [f32]) {
        let mut at = 0;
        while at + 32 <= y.len() {
            self.block::<32, ADD>(x, share, at, y);
            at += 32;
        }
        while at + 16 <= y.len() {
            self.block::<16, ADD>(x, share, at, y);
            at += 16;
        }
        while at + 4 <= y.len() {
            self.block::<4, ADD>(x, share, at, y);
            at += 4;
        }
        while at < y.len() {
            self.block::<1, ADD>(x, share, at, y);
            at += 1;
        }
    }

    #[inline(always)]
    fn block<const N: usize, const ADD: bool>(
        self,
        x: &[f32],
        share: f32,
        at: usize,
        y: &mut [f32],
    ) {
        let mut sum = [0.0; N];
        for k in 0..self.counts[0] {
            for l in 0..self.counts[1] {
                let from = at + k * self.steps[0] + l * self.steps[1];
                let pixel = &x[from..from + N];
                for i in 0..N {
                    sum[i] += pixel[i];
                }
            }
        }
        let y = &mut y[at..at + N];
        for i in 0..N {
            let mean = sum[i] * share;
            y[i] = if ADD { y[i] + mean } else { mean };
        }
    }
}

/// Adds each output gradient, divided by the window's real pixels, into these pixels' gradients.
pub(crate) fn backward(geometry: &Geometry, dy: &[f32], dx: &mut [f32]) {
    let g = *geometry;
    let plan = Plan {
        rows_share: g.rows.shares(),
        columns_share: wide_shares(&g),
        runs: g.columns.input_runs(),
    };
    let dx = Shared::new(dx);
    Bands::new(g.images, g.rows.input, g.input_row()).for_each(|image, rows| {
        let start = (image * g.rows.input + rows.start) * g.input_row();
        // SAFETY: the ranges of different bands are apart.
        let dx = unsafe { dx.slice(start..start + rows.len() * g.input_row()) };
        let size = g.rows.output * g.output_row();
        backward_band(
            &g,
            &plan,
            &dy[image * size..(image + 1) * size],
            rows.start,
            dx,
        );
    });
}

/// What the gradient needs of the windows, the same for all rows and images.
struct Plan {
    /// One over the real rows of the windows of each output row.
    rows_share: Vec<f32>,
    /// For each number of an output row, one over the real columns of its window.
    columns_share: Vec<f32>,
    runs: Vec<InputRun>,
}

fn wide_shares(g: &Geometry) -> Vec<f32> {
    let shares = g.columns.shares();
    let wide = shares
        .iter()
        .flat_map(|&s| std::iter::repeat_n(s, g.channels));
    wide.collect()
}

vectorised! {
    /// [`backward`] for the input rows of one image from `first` on.
    fn backward_band(g: &Geometry, plan: &Plan, dy: &[f32], first: usize, dx: &mut [f32]) {
        let (width, c) = (g.output_row(), g.channels);
        let columns_share = &plan.columns_share[..width];
        let mut spread = vec![0.0f32; width];
        for (row, dx) in dx.chunks_exact_mut(g.input_row()).enumerate() {
            spread.fill(0.0);
            for (output, _) in g.rows.windows(first + row) {
                let (dy, share) = (&dy[output * width..][..width], plan.rows_share[output]);
                for i in 0..width {
                    spread[i] += dy[i] * (share * columns_share[i]);
                }
            }
            for run in &plan.runs {
                // The windows of a pixel are next to each other, the first of them first.
                let Some(&(window, _)) = run.windows.first() else { continue };
                let steps = Steps {
                    counts: [1, run.windows.len()],
                    steps: [0, c],
                };
                let dx = &mut dx[run.pixels.start * c..run.pixels.end * c];
                steps.sums::<true>(&spread[window * c..], 1.0, dx);
            }
        }
    }
}
