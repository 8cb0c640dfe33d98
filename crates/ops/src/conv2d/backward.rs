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
/// Numbers of weights from which on their gradient is summed over the whole batch at once.
const LARGE: usize = 1024 * 1024;

/// A convolution, perhaps followed by a 1×1 convolution of its output, prepared for its gradients.
pub(crate) struct Plan<'w> {
    first: Backward,
    /// The first convolution once more, and the second's gradients.
    pointwise: Option<(Forward<'w>, Backward)>,
}

/// Where the gradient of the input goes.
pub(crate) enum Sink<'a> {
    /// It is added to what is there.
    Add(&'a mut [f32]),
    /// It replaces what is there.
    Set(&'a mut [f32]),
    /// It is not wanted, and not computed.
    Nowhere,
}

/// What a batch's gradients are computed from.
pub(crate) struct Given<'a> {
    pub x: &'a [f32],
    pub prologue: &'a Prologue,
    pub incoming: &'a Incoming<'a>,
}

impl<'w> Plan<'w> {
    /// One convolution with the weights `kh × kw × C/groups × F`.
    pub fn new(g: Geometry, weights: &[f32]) -> Self {
        let (images, _) = g.backward_tiles().largest();
        Self {
            first: Backward::new(g, weights, images),
            pointwise: None,
        }
    }

    /// A convolution with a 1×1 convolution after it, whose weights are `F × filters`.
    pub fn separable(g: Geometry, weights: &'w [f32], after: Geometry, pointwise: &[f32]) -> Self {
        let (images, rows) = g.backward_tiles().largest();
        let first = Backward::new(g, weights, images);
        let mut second = Backward::new(after, pointwise, images);
        // Its input's gradient lands where the first convolution wants it.
        second.move_input(&tables::gradient_pixels(&g, &first.border, images));
        let again = Forward::new(g, weights, images, rows);
        Self {
            first,
            pointwise: Some((again, second)),
        }
    }

    /// Gradients of the batch: the input's goes into `dx`, those of the weights and of the 1×1
    /// convolution's weights, if there is one, are added to `dw`.
    pub fn run(&self, given: &Given, dx: Sink, dw: [&mut [f32]; 2]) {
        let g = &self.first.g;
        let [weights, pointwise] = dw;
        if self.pointwise.is_none() && g.conv.groups == 1 && g.weights() >= LARGE {
            return self.batch(given, dx, weights);
        }
        let tiles = g.backward_tiles();
        let sums = g.weights() + self.pointwise.as_ref().map_or(0, |(_, p)| p.g.weights());
        // A power of two, for threads to share them evenly.
        let lanes = (SUMS / sums.max(1)).clamp(4, LANES).next_power_of_two();
        let lanes = lanes.min(tiles.count());
        let dx = Target::new(dx);
        let found = threads::map(lanes, |lane| {
            let mut sums = buffers::take_zeros(sums);
            for index in lane * tiles.count() / lanes..(lane + 1) * tiles.count() / lanes {
                let (weights, pointwise) = sums.split_at_mut(g.weights());
                self.tile(given, &tiles.tile(index), &dx, weights, pointwise);
            }
            sums
        });
        add_lanes(&found, 0, weights);
        add_lanes(&found, g.weights(), pointwise);
        found.into_iter().for_each(buffers::give);
    }

    fn tile(
        &self,
        given: &Given,
        tile: &Tile,
        dx: &Target,
        weights: &mut [f32],
        after_weights: &mut [f32],
    ) {
        let g = &self.first.g;
        let images = tile.images.len();
        let (between, after) = match &self.pointwise {
            Some((_, second)) => (
                images * g.out_pixels() * g.filters,
                images * second.border.len(),
            ),
            None => (0, 0),
        };
        let lengths = [
            images * self.first.window.len(),
            images * self.first.border.len(),
            between,
            after,
        ];
        scratch::with(lengths, |[windows, gradients, between, after]| {
            let windows = self.windows(given, tile, windows);
            match &self.pointwise {
                None => fill_gradients(&self.first, given.incoming, tile, gradients),
                Some((again, second)) => {
                    again.run(windows, tile, Finish::default(), between);
                    fill_gradients(second, given.incoming, tile, after);
                    second.weights(between, after, images, after_weights);
                    gradients.fill(0.0);
                    second.input(after, images, gradients);
                }
            }
            self.first.weights(windows, gradients, images, weights);
            self.input(given, tile, gradients, dx);
        });
    }

    /// As [`Plan::run`], for large weights: windows and gradients of all images are kept.
    fn batch(&self, given: &Given, dx: Sink, dw: &mut [f32]) {
        let g = &self.first.g;
        let tiles = g.backward_tiles();
        let (window, border) = (self.first.window.len(), self.first.border.len());
        let whole = g.is_pointwise() && given.prologue.is_identity();
        let mut windows = buffers::take(if whole { 0 } else { g.images * window });
        let mut gradients = buffers::take(g.images * border);
        let dx = Target::new(dx);
        let shared = [Shared::new(&mut windows), Shared::new(&mut gradients)];
        threads::for_each(tiles.count(), |index| {
            let tile = tiles.tile(index);
            let part = |size: usize| tile.images.start * size..tile.images.end * size;
            // SAFETY: tiles are whole images, each of its own.
            let [windows, gradients] = unsafe {
                [
                    shared[0].slice(if whole { 0..0 } else { part(window) }),
                    shared[1].slice(part(border)),
                ]
            };
            self.windows(given, &tile, windows);
            fill_gradients(&self.first, given.incoming, &tile, gradients);
            self.input(given, &tile, gradients, &dx);
        });
        let from = if whole { given.x } else { &windows };
        self.first.batch_weights(from, &gradients, dw);
        buffers::give(windows);
        buffers::give(gradients);
    }

    /// The windows of a tile, in `windows` unless the input itself will do.
    fn windows<'a>(&self, given: &Given<'a>, tile: &Tile, windows: &'a mut [f32]) -> &'a [f32] {
        let g = &self.first.g;
        let image = g.height * g.width * g.channels;
        if g.is_pointwise() && given.prologue.is_identity() {
            return &given.x[tile.images.start * image..tile.images.end * image];
        }
        let border = &self.first.window;
        for (image, window) in tile
            .images
            .clone()
            .zip(windows.chunks_exact_mut(border.len()))
        {
            fill_window(g, border, given.x, given.prologue, image, 0, window);
        }
        windows
    }

    /// The gradient of a tile's input.
    fn input(&self, given: &Given, tile: &Tile, gradients: &[f32], to: &Target) {
        let g = &self.first.g;
        let Some(numbers) = &to.numbers else {
            return;
        };
        let row = g.width * g.channels;
        let part = tile.images.start * g.height * row..tile.images.end * g.height * row;
        // SAFETY: tiles are whole images, and each is in one task.
        let target = unsafe { numbers.slice(part.clone()) };
        scratch::with([part.len()], |[dx]| {
            self.first.input(gradients, tile.images.len(), dx);
            for ((x, dx), target) in given.x[part]
                .chunks_exact(row)
                .zip(dx.chunks_exact(row))
                .zip(target.chunks_exact_mut(row))
            {
                given.prologue.gradient(x, dx, to.replace, target);
            }
        });
    }
}

/// A [`Sink`] that several tasks write to.
struct Target<'a> {
    /// None if it is not wanted.
    numbers: Option<Shared<'a, f32>>,
    replace: bool,
}

impl<'a> Target<'a> {
    fn new(sink: Sink<'a>) -> Self {
        let (numbers, replace) = match sink {
            Sink::Add(numbers) => (Some(Shared::new(numbers)), false),
            Sink::Set(numbers) => (Some(Shared::new(numbers)), true),
            Sink::Nowhere => (None, false),
        };
        Self { numbers, replace }
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

/// Adds the numbers from `first` on of all lanes to `out`, in the order of the lanes.
fn add_lanes(lanes: &[Vec<f32>], first: usize, out: &mut [f32]) {
    threads::for_each_part(out, threads::PART, |i, out| {
        let start = first + i * threads::PART;
        for lane in lanes {
            add_row(&lane[start..start + out.len()], out);
        }
    });
}
