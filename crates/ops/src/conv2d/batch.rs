//! The gradient of large weights as one product over the pixels of the whole batch.
//!
//! Where images are small and weights are large, sums of each task's own ([`super::outer`]) cost more
//! than the products: every task touches all weights. Here the weight's rows are dealt to the tasks
//! instead, and each sums over all pixels: `dw = Xᵀ · G`, with X gathered into a core's cache and G,
//! the output's gradient, packed once.

use std::ops::Range;

use super::outer::Pixel;
use super::panels::{Panels, Source};
use super::product::{Finish, Product, Row};
use crate::parts::Shared;
use crate::{scratch, threads};

/// Rows of the weights that one task sums.
const ROWS: usize = 128;
/// Rows that are gathered side by side, those of one register tile.
const TILE: usize = 8;
/// Numbers from one gathered tile to the next; a cache line more than they need, so that the tiles
/// do not compete for the same lines of the cache.
const TILE_LEN: usize = TILE * PIXELS + 16;
/// Pixels of one product: so many rows of a panel stay in a core's first-level cache.
const PIXELS: usize = 256;

/// A sum of outer products with rows for the tasks; the names are those of [`super::outer::Outer`].
pub(crate) struct Batch<'a> {
    pub from: &'a [f32],
    pub gradient: &'a [f32],
    pub pixels: &'a [Pixel],
    pub offsets: &'a [usize],
    pub columns: usize,
}

impl Batch<'_> {
    /// Adds the sums to `out`, which is `offsets × columns`. The order of the sums is that of the
    /// pixels, by parts of fixed size.
    pub fn run(&self, out: &mut [f32]) {
        let parts: Vec<(&[Pixel], Panels)> = self
            .pixels
            .chunks(PIXELS)
            .map(|pixels| (pixels, self.pack(pixels)))
            .collect();
        let out = Shared::new(out);
        threads::for_each(self.offsets.len().div_ceil(ROWS), |task| {
            let rows = task * ROWS..((task + 1) * ROWS).min(self.offsets.len());
            // SAFETY: tasks have rows of their own.
            let out = unsafe { out.slice(rows.start * self.columns..rows.end * self.columns) };
            self.rows(&parts, rows, out);
        });
    }

    fn pack(&self, pixels: &[Pixel]) -> Panels {
        let places: Vec<usize> = pixels.iter().map(|pixel| pixel.gradient).collect();
        Panels::pack(&Source {
            data: self.gradient,
            taps: &places,
            depth: 1,
            depth_step: 1,
            columns: self.columns,
            column_step: 1,
        })
    }

    /// Adds the sums of some rows to `out`.
    fn rows(&self, parts: &[(&[Pixel], Panels)], rows: Range<usize>, out: &mut [f32]) {
        let offsets = &self.offsets[rows];
        let count = offsets.len();
        let table: Vec<Row> = (0..count)
            .map(|row| Row {
                from: row / TILE * TILE_LEN + row % TILE,
                to: row * self.columns,
            })
            .collect();
        let runs = runs(offsets);
        scratch::with([count.div_ceil(TILE) * TILE_LEN], |[gathered]| {
            for (pixels, panels) in parts {
                self.gather(pixels, &runs, gathered);
                let product = Product {
                    from: gathered,
                    rows: &table,
                    taps: &[0],
                    depth: pixels.len(),
                    step: TILE,
                    weights: panels,
                    finish: Finish {
                        add: true,
                        ..Finish::default()
                    },
                };
                product.run(out);
            }
        });
    }

    /// Gathers the numbers of all rows, pixel by pixel.
    fn gather(&self, pixels: &[Pixel], runs: &[Run], to: &mut [f32]) {
        if runs.iter().all(|run| run.len == TILE) {
            return self.gather_tiles(pixels, runs, to);
        }
        for (i, pixel) in pixels.iter().enumerate() {
            for run in runs {
                let from = &self.from[pixel.from + run.from..][..run.len];
                to[run.to + i * TILE..][..run.len].copy_from_slice(from);
            }
        }
    }

    /// As [`Batch::gather`], for runs of whole tiles.
    fn gather_tiles(&self, pixels: &[Pixel], runs: &[Run], to: &mut [f32]) {
        for (i, pixel) in pixels.iter().enumerate() {
            for run in runs {
                let from = self.from[pixel.from + run.from..].first_chunk::<TILE>();
                let to = to[run.to + i * TILE..].first_chunk_mut::<TILE>();
                if let (Some(from), Some(to)) = (from, to) {
                    *to = *from;
                }
            }
        }
    }
}

/// `len` numbers that lie side by side at a pixel and in a gathered tile.
struct Run {
    from: usize,
    to: usize,
    len: usize,
}

/// The runs of offsets: a tap's channels lie side by side.
fn runs(offsets: &[usize]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (row, &from) in offsets.iter().enumerate() {
        let to = row / TILE * TILE_LEN + row % TILE;
        match runs.last_mut() {
            Some(run) if run.from + run.len == from && run.to + run.len == to => run.len += 1,
            _ => runs.push(Run { from, to, len: 1 }),
        }
    }
    runs
}
