//! Average pooling on plain slices; padding is not counted.
//!
//! The number of real pixels in a window is a product of its two extents, so the mean is taken
//! along each row and then down the rows. Forward reads the input once and writes the output once;
//! the gradient does the same the other way, down first.

use super::geometry::Geometry;
use super::max::for_runs;
use crate::parts::{Bands, Shared};
use crate::simd::vectorised;

/// Writes the mean of each window to `y`.
pub(crate) fn forward(geometry: &Geometry, x: &[f32], y: &mut [f32]) {
    let g = *geometry;
    let bands = Bands::new(g.images, g.rows.output, g.output_row());
    let (rows_share, columns_share) = (g.rows.shares(), wide_shares(&g));
    let y = Shared::new(y);
    bands.for_each(|image, rows| {
        let start = (image * g.rows.output + rows.start) * g.output_row();
        // SAFETY: the ranges of different bands are apart.
        let y = unsafe { y.slice(start..start + rows.len() * g.output_row()) };
        let image = &x[image * g.rows.input * g.input_row()..][..g.rows.input * g.input_row()];
        forward_band(&g, image, rows.start, &rows_share, &columns_share, y);
    });
}

/// For each number of an output row, one over the real pixels in its window's row.
fn wide_shares(g: &Geometry) -> Vec<f32> {
    let shares = g.columns.shares();
    let wide = shares
        .iter()
        .flat_map(|&s| std::iter::repeat_n(s, g.channels));
    wide.collect()
}

vectorised! {
    /// [`forward`] for the output rows of one image from `first` on.
    fn forward_band(
        g: &Geometry,
        image: &[f32],
        first: usize,
        rows_share: &[f32],
        columns_share: &[f32],
        y: &mut [f32],
    ) {
        let width = g.output_row();
        let kernel = g.rows.kernel;
        // Each input row is averaged along its own axis once; the last few stay in this ring.
        let mut pooled = vec![0.0f32; kernel * width];
        let mut next = g.rows.pixel(first, g.rows.taps(first).start);
        for (row, out) in y.chunks_exact_mut(width).enumerate() {
            let row = first + row;
            let taps = g.rows.taps(row);
            let last = g.rows.pixel(row, taps.end - 1);
            next = next.max(g.rows.pixel(row, taps.start));
            while next <= last {
                let slot = next % kernel * width;
                let source = &image[next * g.input_row()..][..g.input_row()];
                let target = &mut pooled[slot..slot + width];
                target.fill(0.0);
                for tap in 0..g.columns.kernel {
                    for_runs(&g.columns, tap, g.channels, |to, from, length| {
                        let (x, y) = (&source[from..from + length], &mut target[to..to + length]);
                        for i in 0..length {
                            y[i] += x[i];
                        }
                    });
                }
                next += 1;
            }
            out.fill(0.0);
            for tap in taps {
                let slot = g.rows.pixel(row, tap) % kernel * width;
                let source = &pooled[slot..slot + width];
                for i in 0..width {
                    out[i] += source[i];
                }
            }
            let (share, columns_share) = (rows_share[row], &columns_share[..width]);
            for i in 0..width {
                out[i] *= share * columns_share[i];
            }
        }
    }
}

/// Adds each output gradient, divided by the window's real pixels, into these pixels' gradients.
pub(crate) fn backward(geometry: &Geometry, dy: &[f32], dx: &mut [f32]) {
    let g = *geometry;
    let bands = Bands::new(g.images, g.rows.input, g.input_row());
    let (rows_share, columns_share) = (g.rows.shares(), wide_shares(&g));
    let dx = Shared::new(dx);
    bands.for_each(|image, rows| {
        let start = (image * g.rows.input + rows.start) * g.input_row();
        // SAFETY: the ranges of different bands are apart.
        let dx = unsafe { dx.slice(start..start + rows.len() * g.input_row()) };
        let size = g.rows.output * g.output_row();
        let dy = &dy[image * size..(image + 1) * size];
        backward_band(&g, dy, rows.start, &rows_share, &columns_share, dx);
    });
}

vectorised! {
    /// [`backward`] for the input rows of one image from `first` on.
    fn backward_band(
        g: &Geometry,
        dy: &[f32],
        first: usize,
        rows_share: &[f32],
        columns_share: &[f32],
        dx: &mut [f32],
    ) {
        let width = g.output_row();
        let columns_share = &columns_share[..width];
        let mut spread = vec![0.0f32; width];
        for (row, dx) in dx.chunks_exact_mut(g.input_row()).enumerate() {
            spread.fill(0.0);
            for (output, _) in g.rows.windows(first + row) {
                let (dy, share) = (&dy[output * width..][..width], rows_share[output]);
                for i in 0..width {
                    spread[i] += dy[i] * share;
                }
            }
            for i in 0..width {
                spread[i] *= columns_share[i];
            }
            for tap in 0..g.columns.kernel {
                for_runs(&g.columns, tap, g.channels, |from, to, length| {
                    let (spread, dx) = (&spread[from..from + length], &mut dx[to..to + length]);
                    for i in 0..length {
                        dx[i] += spread[i];
                    }
                });
            }
        }
    }
}
