//! The backward pass over a batch. A tile's window, and what lies between a convolution and the 1×1
//! convolution after it, are computed again rather than kept.

use super::forward::fill_window;
use super::geometry::{Geometry, Tile};
use super::layer::{Backward, Forward};
use super::product::Finish;
use super::tables;
use super::window::{Border, Incoming, Prologue, add_row};
use crate::parts::Shared;
use crate::{buffers, scratch, threads};

/// Tasks that the tiles are dealt to, at most; each sums gradients of weights for itself.
const LANES: usize = 16;
/// Numbers of all tasks' own sums of large weights together.
const SUMS: usize = 4 * 1024 * 1024;

/// A convolution, perhaps followed by a 1×1 convolution of its output, prepared for its gradients.
pub(crate) struct Plan<'w> {
    again: Forward<'w>,
    first: Backward,
    pointwise: Option<Backward>,
}

/// Where the gradient of the input goes.
pub(crate) enum Sink<'a> {
    /// It is added to what is there.
    Add(&'a mut [f32]),
    /// It replaces what is there.
    Set(&'a mut [f32]),
}

/// Where one tile's gradients go.
struct Gradients<'a> {
    x: &'a mut [f32],
    replace: bool,
    weights: &'a mut [f32],
    pointwise: &'a mut [f32],
}

impl<'w> Plan<'w> {
    /// One convolution with the weights `kh × kw × C/groups × F`.
    pub fn new(g: Geometry, weights: &'w [f32]) -> Self {
        let (images, rows) = g.backward_tiles().largest();
        Self {
            again: Forward::new(g, weights, images, rows),
            first: Backward::new(g, weights, images),
            pointwise: None,
        }
    }

    /// A convolution with a 1×1 convolution after it, whose weights are `F × filters`.
    pub fn separable(g: Geometry, weights: &'w [f32], after: Geometry, pointwise: &[f32]) -> Self {
        let plan = Self::new(g, weights);
        let (images, _) = g.backward_tiles().largest();
        let mut pointwise = Backward::new(after, pointwise, images);
        // Its input's gradient lands where the first convolution wants it.
        pointwise.move_input(&tables::gradient_pixels(&g, &plan.first.border, images));
        Self {
            pointwise: Some(pointwise),
            ..plan
        }
    }

    /// Gradients of the batch: the input's goes into `dx`, those of the weights and of the 1×1
    /// convolution's weights are the answer, one after the other in one buffer.
    pub fn run(&self, x: &[f32], prologue: &Prologue, incoming: &Incoming, dx: Sink) -> Vec<f32> {
        let g = &self.first.g;
        let tiles = g.backward_tiles();
        let weights = g.weights();
        let sums = weights + self.pointwise.as_ref().map_or(0, |p| p.g.weights());
        let lanes = (SUMS / sums.max(1)).clamp(4, LANES).min(tiles.count());
        let (dx, replace) = match dx {
            Sink::Add(dx) => (dx, false),
            Sink::Set(dx) => (dx, true),
        };
        let dx = Shared::new(dx);
        let found = threads::map(lanes, |lane| {
            let mut sums = buffers::take_zeros(sums);
            for index in lane * tiles.count() / lanes..(lane + 1) * tiles.count() / lanes {
                let tile = tiles.tile(index);
                let image = g.height * g.width * g.channels;
                // SAFETY: tiles are whole images, and each is in one lane.
                let x_gradient =
                    unsafe { dx.slice(tile.images.start * image..tile.images.end * image) };
                let (weights, pointwise) = sums.split_at_mut(weights);
                let to = Gradients {
                    x: x_gradient,
                    replace,
                    weights,
                    pointwise,
                };
                self.tile(x, prologue, incoming, &tile, to);
            }
            sums
        });
        sum_up(found)
    }

    fn tile(
        &self,
        x: &[f32],
        prologue: &Prologue,
        incoming: &Incoming,
        tile: &Tile,
        to: Gradients,
    ) {
        let g = &self.first.g;
        let images = tile.images.len();
        let image = g.height * g.width * g.channels;
        let middle = images * g.out_pixels() * g.filters;
        let (between, after) = match &self.pointwise {
            Some(pointwise) => (middle, images * pointwise.border.len()),
            None => (0, 0),
        };
        let lengths = [
            images * self.first.window.len(),
            images * self.first.border.len(),
            images * image,
            between,
            after,
        ];
        scratch::with(lengths, |[windows, gradients, dx, between, after]| {
            let x_tile = &x[tile.images.start * image..tile.images.end * image];
            let windows: &[f32] = if g.is_pointwise() && prologue.is_identity() {
                x_tile
            } else {
                let size = self.first.window.len();
                for (i, window) in windows.chunks_exact_mut(size).enumerate() {
                    fill_window(&self.again, x_tile, prologue, i, 0, window);
                }
                windows
            };
            match &self.pointwise {
                None => fill_gradients(&self.first, incoming, tile, gradients),
                Some(pointwise) => {
                    self.again.run(windows, tile, Finish::default(), between);
                    fill_gradients(pointwise, incoming, tile, after);
                    pointwise.weights(between, after, images, to.pointwise);
                    gradients.fill(0.0);
                    pointwise.input(after, images, gradients);
                }
            }
            self.first.weights(windows, gradients, images, to.weights);
            self.first.input(gradients, images, dx);
            let (row, to_replace) = (g.width * g.channels, to.replace);
            for ((x, dx), to) in x_tile
                .chunks_exact(row)
                .zip(dx.chunks_exact(row))
                .zip(to.x.chunks_exact_mut(row))
            {
                prologue.gradient(x, dx, to_replace, to);
            }
        });
    }
}

/// The gradient at the output of `layer`, with the border that `layer` wants.
fn fill_gradients(layer: &Backward, incoming: &Incoming, tile: &Tile, out: &mut [f32]) {
    let g = &layer.g;
    let border: &Border = &layer.border;
    let row = g.out_width * g.filters;
    for (image, out) in tile.images.clone().zip(out.chunks_exact_mut(border.len())) {
        border.fill(g.out_height, g.out_width, 0, out, |r, out| {
            incoming.row((image * g.out_height + r) * row, out);
        });
    }
}

/// The sum of all lanes' sums, in the order of the lanes.
fn sum_up(lanes: Vec<Vec<f32>>) -> Vec<f32> {
    let mut lanes = lanes.into_iter();
    let mut all = lanes.next().unwrap_or_default();
    let rest: Vec<Vec<f32>> = lanes.collect();
    threads::for_each_part(&mut all, threads::PART, |i, out| {
        for lane in &rest {
            let start = i * threads::PART;
            add_row(&lane[start..start + out.len()], out);
        }
    });
    rest.into_iter().for_each(buffers::give);
    all
}
