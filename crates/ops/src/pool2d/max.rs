//! Max pooling on plain slices.
//!
//! First along each input row (position in the row of the window), then down the rows (row of the
//! window), a row being taken only if strictly larger: so the first of equal pixels in reading
//! order wins, and a window costs kernel height + width comparisons instead of their product.
//! Forward reads the input once and writes the output and one byte of position per number; the
//! gradient reads that byte and the output gradient and adds into the input gradient.

use super::geometry::{Axis, Geometry};
use crate::parts::{Bands, Shared};
use crate::simd::vectorised;

/// Largest number of pixels in a window: a position is kept in a byte.
pub(crate) const LARGEST_WINDOW: usize = 256;

/// Writes the maximum of each window to `y` and, unless it is empty, its position to `places`.
pub(crate) fn forward(geometry: &Geometry, x: &[f32], y: &mut [f32], places: &mut [u8]) {
    let g = *geometry;
    let bands = Bands::new(g.images, g.rows.output, g.output_row());
    let keep = !places.is_empty();
    let (y, places) = (Shared::new(y), Shared::new(places));
    bands.for_each(|image, rows| {
        let start = (image * g.rows.output + rows.start) * g.output_row();
        let range = start..start + rows.len() * g.output_row();
        // SAFETY: the ranges of different bands are apart.
        let y = unsafe { y.slice(range.clone()) };
        // SAFETY: the same, or the empty slice.
        let places = unsafe { places.slice(if keep { range } else { 0..0 }) };
        let image = &x[image * g.rows.input * g.input_row()..][..g.rows.input * g.input_row()];
        if keep {
            forward_band::<true>(&g, image, rows.start, rows.end, y, places);
        } else {
            forward_band::<false>(&g, image, rows.start, rows.end, y, places);
        }
    });
}

vectorised! {
    /// [`forward`] for output rows `first..end` of one image.
    fn forward_band<const KEEP: bool>(
        g: &Geometry,
        image: &[f32],
        first: usize,
        end: usize,
        y: &mut [f32],
        places: &mut [u8],
    ) {
        let width = g.output_row();
        // Each input row is pooled along its own axis once; the last few stay in these rings.
        let kernel = g.rows.kernel;
        let mut pooled = vec![0.0f32; kernel * width];
        let mut columns = vec![0u8; if KEEP { kernel * width } else { 0 }];
        let mut next = g.rows.pixel(first, g.rows.taps(first).start);
        for row in first..end {
            let taps = g.rows.taps(row);
            let last = g.rows.pixel(row, taps.end - 1);
            next = next.max(g.rows.pixel(row, taps.start));
            while next <= last {
                let slot = next % kernel * width;
                let source = &image[next * g.input_row()..][..g.input_row()];
                let target = &mut pooled[slot..slot + width];
                let kept = if KEEP { &mut columns[slot..slot + width] } else { &mut [][..] };
                pool_row::<KEEP>(&g.columns, g.channels, source, target, kept);
                next += 1;
            }
            let out = &mut y[(row - first) * width..][..width];
            for tap in taps.clone() {
                let slot = g.rows.pixel(row, tap) % kernel * width;
                let source = &pooled[slot..slot + width];
                if KEEP {
                    let place = &mut places[(row - first) * width..][..width];
                    let code = (tap * g.columns.kernel) as u8;
                    let column = &columns[slot..slot + width];
                    if tap == taps.start {
                        out.copy_from_slice(source);
                        for i in 0..width {
                            place[i] = code + column[i];
                        }
                    } else {
                        for i in 0..width {
                            let larger = source[i] > out[i] || source[i].is_nan();
                            out[i] = if larger { source[i] } else { out[i] };
                            place[i] = if larger { code + column[i] } else { place[i] };
                        }
                    }
                } else if tap == taps.start {
                    out.copy_from_slice(source);
                } else {
                    for i in 0..width {
                        let larger = source[i] > out[i] || source[i].is_nan();
                        out[i] = if larger { source[i] } else { out[i] };
                    }
                }
            }
        }
    }
}

/// Pools one row along itself: the maximum of each window's pixels, and its position.
#[inline(always)]
fn pool_row<const KEEP: bool>(
    axis: &Axis,
    channels: usize,
    x: &[f32],
    y: &mut [f32],
    columns: &mut [u8],
) {
    for output in 0..axis.output {
        let tap = axis.taps(output).start;
        let from = axis.pixel(output, tap) * channels;
        let to = output * channels;
        y[to..to + channels].copy_from_slice(&x[from..from + channels]);
        if KEEP {
            columns[to..to + channels].fill(tap as u8);
        }
    }
    for tap in 1..axis.kernel {
        // Outputs whose first real position is this one have it already; taking it again does not
        // change them.
        for_runs(axis, tap, channels, |to, from, length| {
            let (x, y) = (&x[from..from + length], &mut y[to..to + length]);
            if KEEP {
                let columns = &mut columns[to..to + length];
                for i in 0..length {
                    let larger = x[i] > y[i] || x[i].is_nan();
                    y[i] = if larger { x[i] } else { y[i] };
                    columns[i] = if larger { tap as u8 } else { columns[i] };
                }
            } else {
                for i in 0..length {
                    let larger = x[i] > y[i] || x[i].is_nan();
                    y[i] = if larger { x[i] } else { y[i] };
                }
            }
        });
    }
}

/// Calls `run(output offset, input offset, length)` for all outputs that have position `tap`: one
/// long run where windows are one pixel apart, else one for each.
#[inline(always)]
pub(super) fn for_runs(
    axis: &Axis,
    tap: usize,
    channels: usize,
    mut run: impl FnMut(usize, usize, usize),
) {
    let outputs = axis.outputs(tap);
    if outputs.is_empty() {
        return;
    }
    if axis.stride == 1 {
        let from = axis.pixel(outputs.start, tap) * channels;
        run(outputs.start * channels, from, outputs.len() * channels);
    } else {
        for output in outputs {
            let from = axis.pixel(output, tap) * channels;
            run(output * channels, from, channels);
        }
    }
}

/// Adds each output gradient into the input gradient at the position that was the largest.
pub(crate) fn backward(geometry: &Geometry, dy: &[f32], places: &[u8], dx: &mut [f32]) {
    let g = *geometry;
    let bands = Bands::new(g.images, g.rows.input, g.input_row());
    let dx = Shared::new(dx);
    bands.for_each(|image, rows| {
        let start = (image * g.rows.input + rows.start) * g.input_row();
        // SAFETY: the ranges of different bands are apart.
        let dx = unsafe { dx.slice(start..start + rows.len() * g.input_row()) };
        let size = g.rows.output * g.output_row();
        let range = image * size..(image + 1) * size;
        backward_band(&g, &dy[range.clone()], &places[range], rows.start, dx);
    });
}

vectorised! {
    /// [`backward`] for the input rows of one image from `first` on.
    fn backward_band(g: &Geometry, dy: &[f32], places: &[u8], first: usize, dx: &mut [f32]) {
        let width = g.output_row();
        for (row, dx) in dx.chunks_exact_mut(g.input_row()).enumerate() {
            for (output, tap) in g.rows.windows(first + row) {
                let dy = &dy[output * width..][..width];
                let places = &places[output * width..][..width];
                for column in 0..g.columns.kernel {
                    let code = (tap * g.columns.kernel + column) as u8;
                    for_runs(&g.columns, column, g.channels, |from, to, length| {
                        let (dy, places) = (&dy[from..from + length], &places[from..from + length]);
                        let dx = &mut dx[to..to + length];
                        for i in 0..length {
                            dx[i] += if places[i] == code { dy[i] } else { 0.0 };
                        }
                    });
                }
            }
        }
    }
}
