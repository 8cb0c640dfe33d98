//! The linear part of a convolution on one tile, forward and backward, for each way to compute it.

use super::batch::Batch;
use super::depthwise::{self, Lines};
use super::geometry::{Geometry, Tile};
use super::outer::{Outer, Pixel};
use super::panels::{Panels, Source};
use super::product::{Finish, Product, Row};
use super::tables::{self, Phase};
use super::window::Border;

/// A convolution prepared for its forward pass.
pub(crate) struct Forward<'w> {
    pub g: Geometry,
    pub window: Border,
    taps: Vec<usize>,
    rows: Vec<Row>,
    kind: Kind<'w>,
}

enum Kind<'w> {
    /// Panels for each group.
    Groups(Vec<Panels>),
    Depthwise(&'w [f32]),
}

impl<'w> Forward<'w> {
    /// Packs the weights `kh × kw × C/groups × F` and lays out tables for tiles of at most
    /// `images` images with `rows` rows.
    pub fn new(g: Geometry, weights: &'w [f32], images: usize, rows: usize) -> Self {
        let window = tables::window(&g, rows);
        let kind = if g.is_depthwise() {
            Kind::Depthwise(weights)
        } else {
            let (depth, columns) = (g.channels / g.conv.groups, g.filters / g.conv.groups);
            let pack = |group: usize| {
                let taps: Vec<usize> = (0..g.taps())
                    .map(|t| t * depth * g.filters + group * columns)
                    .collect();
                Panels::pack(&Source {
                    data: weights,
                    taps: &taps,
                    depth,
                    depth_step: g.filters,
                    columns,
                    column_step: 1,
                })
            };
            Kind::Groups((0..g.conv.groups).map(pack).collect())
        };
        Self {
            g,
            window,
            taps: tables::taps(&g, &window),
            rows: if g.is_depthwise() {
                Vec::new()
            } else {
                tables::rows(&g, &window, images, rows)
            },
            kind,
        }
    }

    /// Convolves the windows of a tile into its output.
    pub fn run(&self, windows: &[f32], tile: &Tile, finish: Finish, out: &mut [f32]) {
        let g = &self.g;
        let (images, rows) = (tile.images.len(), tile.rows.len());
        match &self.kind {
            Kind::Depthwise(weights) => {
                let lines = forward_lines(g, &self.window, &self.taps, rows);
                let size = rows * g.out_width * g.filters;
                for (window, out) in windows
                    .chunks_exact(self.window.len())
                    .zip(out.chunks_exact_mut(size))
                {
                    depthwise::forward(lines, window, weights, finish.shift, finish.relu, out);
                }
            }
            Kind::Groups(groups) => {
                let (depth, columns) = (g.channels / groups.len(), g.filters / groups.len());
                for (group, weights) in groups.iter().enumerate() {
                    let product = Product {
                        from: &windows[group * depth..],
                        rows: &self.rows[..images * rows * g.out_width],
                        taps: &self.taps,
                        depth,
                        step: 1,
                        weights,
                        finish: Finish {
                            shift: finish.shift.map(|s| &s[group * columns..]),
                            ..finish
                        },
                    };
                    product.run(&mut out[group * columns..]);
                }
            }
        }
    }
}

/// Lines of a depthwise convolution's forward pass.
fn forward_lines<'t>(g: &Geometry, window: &Border, taps: &'t [usize], rows: usize) -> Lines<'t> {
    let [down, right] = g.conv.stride;
    Lines {
        count: rows,
        pixels: g.out_width,
        channels: g.channels,
        from_line: down * window.width * g.channels,
        from_step: right * g.channels,
        to_line: g.out_width * g.channels,
        to_step: g.channels,
        taps,
    }
}

/// A convolution prepared for its backward pass on tiles of whole images.
pub(crate) struct Backward {
    pub g: Geometry,
    pub window: Border,
    /// The border in which [`Backward::input`] and [`Backward::weights`] want the output's gradient.
    pub border: Border,
    taps: Vec<usize>,
    /// For each tap and input channel of a group: its place in a window.
    offsets: Vec<usize>,
    pixels: Vec<Pixel>,
    phases: Vec<PhaseKernel>,
}

struct PhaseKernel {
    phase: Phase,
    taps: Vec<usize>,
    kind: PhaseKind,
}

enum PhaseKind {
    Groups {
        rows: Vec<Row>,
        panels: Vec<Panels>,
    },
    /// The weights of the phase's taps.
    Depthwise(Vec<f32>),
    /// No output reads these inputs.
    Unused,
}

impl Backward {
    /// Packs the weights `kh × kw × C/groups × F` for tiles of at most `images` images.
    pub fn new(g: Geometry, weights: &[f32], images: usize) -> Self {
        let window = tables::window(&g, g.out_height);
        let border = tables::gradient_border(&g, g.filters);
        let taps = tables::taps(&g, &window);
        let depth = g.channels / g.conv.groups;
        let (offsets, pixels) = if g.is_depthwise() {
            (Vec::new(), Vec::new())
        } else {
            let rows = tables::rows(&g, &window, images, g.out_height);
            let gradients = tables::gradient_pixels(&g, &border, images);
            (
                taps.iter().flat_map(|&t| t..t + depth).collect(),
                tables::pixels(&rows, &gradients),
            )
        };
        let phases = tables::phases(&g, &border)
            .into_iter()
            .map(|phase| phase_kernel(&g, weights, &border, images, phase))
            .collect();
        Self {
            g,
            window,
            border,
            taps,
            offsets,
            pixels,
            phases,
        }
    }

    /// Lets [`Backward::input`] of a 1×1 convolution write the gradient of pixel `p` at `to[p]`.
    pub fn move_input(&mut self, to: &[usize]) {
        for kernel in &mut self.phases {
            if let PhaseKind::Groups { rows, .. } = &mut kernel.kind {
                rows.iter_mut()
                    .for_each(|row| row.to = to[row.to / self.g.channels]);
            }
        }
    }

    /// Adds the gradient of the weights of a tile with `images` images to `out`.
    pub fn weights(&self, windows: &[f32], gradients: &[f32], images: usize, out: &mut [f32]) {
        let g = &self.g;
        if g.is_depthwise() {
            let lines = Lines {
                to_line: self.border.width * g.channels,
                ..forward_lines(g, &self.window, &self.taps, g.out_height)
            };
            let first = (self.border.top * self.border.width + self.border.left) * g.channels;
            for (window, gradient) in windows
                .chunks_exact(self.window.len())
                .zip(gradients.chunks_exact(self.border.len()))
            {
                depthwise::weights(lines, window, &gradient[first..], out);
            }
            return;
        }
        let (depth, columns) = (g.channels / g.conv.groups, g.filters / g.conv.groups);
        for group in 0..g.conv.groups {
            let outer = Outer {
                from: &windows[group * depth..],
                gradient: &gradients[group * columns..],
                pixels: &self.pixels[..images * g.out_pixels()],
                offsets: &self.offsets,
                columns,
                stride: g.filters,
            };
            outer.run(&mut out[group * columns..]);
        }
    }

    /// Adds the gradient of the weights to `out`, from the windows and gradients of the whole batch.
    /// For one group.
    pub fn batch_weights(&self, windows: &[f32], gradients: &[f32], out: &mut [f32]) {
        let g = &self.g;
        let rows = tables::rows(g, &self.window, g.images, g.out_height);
        let places = tables::gradient_pixels(g, &self.border, g.images);
        let batch = Batch {
            from: windows,
            gradient: gradients,
            pixels: &tables::pixels(&rows, &places),
            offsets: &self.offsets,
            columns: g.filters,
        };
        batch.run(out);
    }

    /// The gradient of the inputs of a tile with `images` images, `H × W × C` each, into `out`.
    pub fn input(&self, gradients: &[f32], images: usize, out: &mut [f32]) {
        let g = &self.g;
        if self
            .phases
            .iter()
            .any(|p| matches!(p.kind, PhaseKind::Unused))
        {
            out.fill(0.0);
        }
        for PhaseKernel { phase, taps, kind } in &self.phases {
            match kind {
                PhaseKind::Unused => {}
                PhaseKind::Depthwise(weights) => {
                    let lines = phase_lines(g, &self.border, phase, taps);
                    let first = (phase.down * g.width + phase.right) * g.channels;
                    for (gradient, out) in gradients
                        .chunks_exact(self.border.len())
                        .zip(out.chunks_exact_mut(g.height * g.width * g.channels))
                    {
                        depthwise::forward(
                            lines,
                            gradient,
                            weights,
                            None,
                            false,
                            &mut out[first..],
                        );
                    }
                }
                PhaseKind::Groups { rows, panels } => {
                    let (depth, columns) = (g.channels / panels.len(), g.filters / panels.len());
                    for (group, weights) in panels.iter().enumerate() {
                        let product = Product {
                            from: &gradients[group * columns..],
                            rows: &rows[..images * phase.height * phase.width],
                            taps,
                            depth: columns,
                            step: 1,
                            weights,
                            finish: Finish::default(),
                        };
                        product.run(&mut out[group * depth..]);
                    }
                }
            }
        }
    }
}

fn phase_kernel(
    g: &Geometry,
    weights: &[f32],
    border: &Border,
    images: usize,
    phase: Phase,
) -> PhaseKernel {
    let taps: Vec<usize> = phase.taps.iter().map(|&(_, offset)| offset).collect();
    let depth = g.channels / g.conv.groups;
    let kind = if taps.is_empty() {
        PhaseKind::Unused
    } else if g.is_depthwise() {
        let row = |&(tap, _): &(usize, usize)| &weights[tap * g.channels..(tap + 1) * g.channels];
        PhaseKind::Depthwise(phase.taps.iter().flat_map(row).copied().collect())
    } else {
        let columns = g.filters / g.conv.groups;
        let pack = |group: usize| {
            let starts: Vec<usize> = phase
                .taps
                .iter()
                .map(|&(tap, _)| tap * depth * g.filters + group * columns)
                .collect();
            // The transposed weights: sums run over filters, columns are input channels.
            Panels::pack(&Source {
                data: weights,
                taps: &starts,
                depth: columns,
                depth_step: 1,
                columns: depth,
                column_step: g.filters,
            })
        };
        PhaseKind::Groups {
            rows: phase.rows(g, border, images, g.channels),
            panels: (0..g.conv.groups).map(pack).collect(),
        }
    };
    PhaseKernel { phase, taps, kind }
}

/// Lines of the gradient of a depthwise convolution's input.
fn phase_lines<'t>(g: &Geometry, border: &Border, phase: &Phase, taps: &'t [usize]) -> Lines<'t> {
    let [down, right] = g.conv.stride;
    Lines {
        count: phase.height,
        pixels: phase.width,
        channels: g.channels,
        from_line: border.width * g.channels,
        from_step: g.channels,
        to_line: down * g.width * g.channels,
        to_step: right * g.channels,
        taps,
    }
}
