//! The forward pass over a batch, tile by tile: window, depthwise, pointwise, moments.

use super::geometry::{Geometry, Tile};
use super::layer::Forward;
use super::product::Finish;
use super::statistics::{self, Part};
use super::window::{Border, Prologue};
use crate::parts::Shared;
use crate::{scratch, threads};

/// A convolution, perhaps followed by a 1×1 convolution of its output, prepared for a batch.
pub(crate) struct Plan<'w> {
    first: Forward<'w>,
    pointwise: Option<Forward<'w>>,
}

impl<'w> Plan<'w> {
    /// One convolution with the weights `kh × kw × C/groups × F`.
    pub fn new(g: Geometry, weights: &'w [f32]) -> Self {
        let (images, rows) = g.forward_tiles().largest();
        Self {
            first: Forward::new(g, weights, images, rows),
            pointwise: None,
        }
    }

    /// A convolution with a 1×1 convolution after it, whose weights are `F × filters`.
    pub fn separable(
        g: Geometry,
        weights: &'w [f32],
        after: Geometry,
        pointwise: &'w [f32],
    ) -> Self {
        let (images, rows) = g.forward_tiles().largest();
        Self {
            first: Forward::new(g, weights, images, rows),
            pointwise: Some(Forward::new(after, pointwise, images, rows)),
        }
    }

    /// Numbers that [`Plan::run`] writes.
    pub fn out_len(&self) -> usize {
        self.last().g.out_len()
    }

    fn last(&self) -> &Forward<'w> {
        self.pointwise.as_ref().unwrap_or(&self.first)
    }

    /// Convolves the batch `x`, each number of which passes the prologue, into `out`. A residual, which
    /// `finish` must add, is copied there a tile at a time, just before that tile is added to it. With
    /// `moments`, also answers with the moments of each tile's output, in the order of the tiles.
    pub fn run(
        &self,
        x: &[f32],
        prologue: &Prologue,
        finish: Finish,
        residual: Option<&[f32]>,
        moments: bool,
        out: &mut [f32],
    ) -> Vec<Part> {
        let tiles = self.first.g.forward_tiles();
        let filters = self.last().g.filters;
        let out = Shared::new(out);
        let parts = threads::map(tiles.count(), |index| {
            let tile = tiles.tile(index);
            let range = self.out_range(&tile);
            // SAFETY: tiles are apart, and so are their outputs.
            let out = unsafe { out.slice(range.clone()) };
            if let Some(residual) = residual {
                out.copy_from_slice(&residual[range]);
            }
            self.tile(x, prologue, finish, &tile, out);
            moments.then(|| statistics::part(out, filters))
        });
        parts.into_iter().flatten().collect()
    }

    fn out_range(&self, tile: &Tile) -> std::ops::Range<usize> {
        let g = &self.last().g;
        let row = g.out_width * g.filters;
        let start = (tile.images.start * g.out_height + tile.rows.start) * row;
        start..start + tile.images.len() * tile.rows.len() * row
    }

    fn tile(&self, x: &[f32], prologue: &Prologue, finish: Finish, tile: &Tile, out: &mut [f32]) {
        let g = &self.first.g;
        if g.is_pointwise() && prologue.is_identity() && self.pointwise.is_none() {
            let row = g.width * g.channels;
            let start = (tile.images.start * g.height + tile.rows.start) * row;
            let len = tile.images.len() * tile.rows.len() * row;
            return self.first.run(&x[start..start + len], tile, finish, out);
        }
        let size = self.first.window.len();
        let between = match self.pointwise {
            Some(_) => tile.images.len() * tile.rows.len() * g.out_width * g.filters,
            None => 0,
        };
        scratch::with([size * tile.images.len(), between], |[windows, middle]| {
            for (image, window) in tile.images.clone().zip(windows.chunks_exact_mut(size)) {
                fill_window(
                    g,
                    &self.first.window,
                    x,
                    prologue,
                    image,
                    tile.rows.start,
                    window,
                );
            }
            match &self.pointwise {
                None => self.first.run(windows, tile, finish, out),
                Some(pointwise) => {
                    self.first.run(windows, tile, Finish::default(), middle);
                    pointwise.run(middle, tile, finish, out);
                }
            }
        });
    }
}

/// Copies what the output rows from `row` on of one image read, through the prologue.
pub(crate) fn fill_window(
    g: &Geometry,
    border: &Border,
    x: &[f32],
    prologue: &Prologue,
    image: usize,
    row: usize,
    window: &mut [f32],
) {
    let line = g.width * g.channels;
    let image = &x[image * g.height * line..(image + 1) * g.height * line];
    let first = row * g.conv.stride[0];
    border.fill(g.height, g.width, first, window, |r, out| {
        prologue.apply(&image[r * line..r * line + out.len()], out);
    });
}
