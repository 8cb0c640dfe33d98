//! The input gradient of dense convolutions to few filters, on tensor cores. A library takes dy, the gradient of what the
//! convolution makes, for each tap again, and leaves the ReLU before the convolution to another pass over memory.

use super::columns::BLOCKS;
use super::convolution::{Convolution, Gate};
use super::{BLOCK, divisor};
use crate::Error;
use crate::conv2d::geometry::Geometry;
use crate::cuda::launch::{Builder, pack};
use crate::cuda::{Launch, Pointer};

/// Channels and filters that the kernels are made for: within these, and multiples of [`EIGHT`].
const CHANNELS: [usize; 2] = [16, 128];
const FILTERS: [usize; 2] = [16, 64];
const EIGHT: usize = 8;
/// Taps that the kernels have room for.
const TAPS: usize = 49;
/// Pixels that a block makes at a time.
const PIXELS: usize = 256;
/// Bytes of a block's shared memory.
const ROOM: usize = 49_152;

/// Blocks that are there at once. In tests so few that each takes several tiles.
const MOST: usize = if cfg!(test) { 6 } else { BLOCKS };

/// The kernels by the channels that a block makes.
const KERNELS: [(&str, usize); 2] = [
    ("convolution_narrow_input_16", 16),
    ("convolution_narrow_input_32", 32),
];

/// Along an axis the phases of the input's pixels: for each its taps, with where from a pixel's own place in dy they lead.
type Phases = Vec<Vec<(usize, isize)>>;

fn phases(g: &Geometry, axis: usize) -> Phases {
    let (stride, step) = (g.conv.stride[axis], g.conv.dilation[axis]);
    let padding = g.conv.padding[2 * axis];
    let taps_of = |phase: usize| {
        let reach = |tap: usize| (phase + padding) as isize - (tap * step) as isize;
        let taps = (0..g.kernel[axis]).map(move |tap| (tap, reach(tap)));
        let here = taps.filter(|(_, reach)| reach % stride as isize == 0);
        here.map(|(tap, reach)| (tap, reach / stride as isize))
            .collect()
    };
    (0..stride).map(taps_of).collect()
}

/// The least and the greatest place that a tap leads to.
fn reach(phases: &Phases) -> [isize; 2] {
    let all = || phases.iter().flatten().map(|(_, place)| *place);
    [all().min().unwrap_or(0), all().max().unwrap_or(0)]
}

/// How the work is cut.
struct Cut {
    kernel: &'static str,
    /// Blocks across the channels.
    across: usize,
    /// Images of a tile, and its rows and columns in strides.
    tile: [usize; 3],
    /// Tiles by groups of images, below each other and beside each other.
    tiles: [usize; 3],
    /// Rows and columns of an image of dy that a tile takes.
    brought: [usize; 2],
    /// Times 16 filters that are in shared memory at a time.
    slabs: usize,
}

impl Cut {
    /// The cut with the least to read and to make by the block that has most of it; none if no tile has room.
    fn of(g: &Geometry, bf16: bool) -> Option<Self> {
        let bytes = if bf16 { 2 } else { 4 };
        let narrow = usize::from(g.channels > KERNELS[0].1);
        let (kernel, width) = KERNELS[narrow];
        let across = g.channels.div_ceil(width);
        let halo = [0, 1].map(|axis| {
            let [least, greatest] = reach(&phases(g, axis));
            (greatest - least) as usize
        });
        let size = [
            g.height.div_ceil(g.conv.stride[0]),
            g.width.div_ceil(g.conv.stride[1]),
        ];
        let pixels = PIXELS / (g.conv.stride[0] * g.conv.stride[1]);
        let mut best: Option<(usize, Self)> = None;
        for slabs in [4, 2, 1] {
            let passes = g.filters.div_ceil(16 * slabs);
            if slabs > 1 && g.filters <= 8 * slabs {
                continue;
            }
            let mut tried = 0;
            for parts in 1..=size[1] {
                let columns = size[1].div_ceil(parts);
                if columns == tried || columns > pixels {
                    continue;
                }
                tried = columns;
                for rows in 1..=size[0].min(pixels / columns) {
                    let whole = columns == size[1] && rows == size[0];
                    let images = if whole { pixels / (rows * columns) } else { 1 };
                    for images in 1..=images.min(g.images) {
                        let brought = [rows + halo[0], columns + halo[1]];
                        let count = images * brought[0] * brought[1];
                        let numbers = 16 * slabs * (count + g.taps() * width);
                        if numbers * bytes + 4 * count > ROOM {
                            break;
                        }
                        let tile = [images, rows, columns];
                        let tiles = [g.images, size[0], size[1]];
                        let tiles = [0, 1, 2].map(|i| tiles[i].div_ceil(tile[i]));
                        let rounds = (tiles.iter().product::<usize>() * across).div_ceil(MOST);
                        let filters = if passes > 1 { g.weights() * 4 } else { 0 };
                        let numbers = count * g.filters + 2 * PIXELS * width;
                        let cost = rounds * (numbers * bytes + filters / across);
                        if best.as_ref().is_none_or(|it| cost < it.0) {
                            let cut = Self {
                                kernel,
                                across,
                                tile,
                                tiles,
                                brought,
                                slabs,
                            };
                            best = Some((cost, cut));
                        }
                    }
                }
            }
        }
        best.map(|it| it.1)
    }

    /// The structure `NarrowInput` of convolution_narrow_input.cu.
    fn argument(&self, g: &Geometry, bf16: bool) -> Vec<u64> {
        let axes = [phases(g, 0), phases(g, 1)];
        let [top, left] = [0, 1].map(|axis| reach(&axes[axis])[0]);
        let (mut first, mut taps) = (vec![0], Vec::new());
        for down in &axes[0] {
            for beside in &axes[1] {
                for (a, i) in down {
                    for (b, j) in beside {
                        let place = (i - top) as usize * self.brought[1] + (j - left) as usize;
                        taps.push(place * 64 + a * g.kernel[1] + b);
                    }
                }
                first.push(taps.len());
            }
        }
        let units = BLOCK / 32 / (first.len() - 1);
        first.resize(5, 0);
        taps.resize(TAPS, 0);
        let lines = self.slabs * if bf16 { 2 } else { 4 };
        let passes = g.filters.div_ceil(16 * self.slabs);
        let [_, down, across] = self.tiles;
        let [rows, columns] = self.brought;
        let sizes = [
            &self.tile[..],
            &[self.tiles.iter().product()],
            &[g.images, g.height, g.width, g.channels],
            &[g.out_height, g.out_width, g.filters],
            &g.conv.stride,
            &[self.slabs, passes, lines.ilog2() as usize, units, g.taps()],
            &first,
            &taps,
        ];
        let sizes = sizes.into_iter().flatten();
        let sizes = sizes.map(|it| i32::try_from(*it).unwrap_or(-1));
        let ints = [top as i32, left as i32].into_iter().chain(sizes);
        let mut words = [across, down, columns, rows].map(divisor).concat();
        words.extend(pack(ints.map(i32::cast_unsigned)));
        words
    }
}

/// Whether [`input_gradient`] is for a convolution, of tensors in bfloat16 or in fp32.
pub fn fits(g: &Geometry, bf16: bool) -> bool {
    let within = |size: usize, [least, most]: [usize; 2]| {
        (least..=most).contains(&size) && size.is_multiple_of(EIGHT)
    };
    let counts = |height: usize, width: usize, channels: usize| {
        i32::try_from(g.images * height * width * channels).is_ok()
    };
    g.conv.groups == 1
        && !g.is_pointwise()
        && g.taps() <= TAPS
        && within(g.channels, CHANNELS)
        && within(g.filters, FILTERS)
        && g.conv.stride.iter().all(|it| *it <= 2)
        && counts(g.height, g.width, g.channels)
        && counts(g.out_height, g.out_width, g.filters)
        && Cut::of(g, bf16).is_some()
}

/// `dx` ←, or +=, the gradient of what the convolution read, with factors rounded to TF32, or to bfloat16 where tensors are
/// of it; with a gate, of what stood before its ReLU. See [`fits`].
///
/// # Errors
/// [`Error::Shape`] if a size does not fit a kernel's argument, or the kernels are not for it.
pub fn input_gradient(
    conv: &Convolution,
    bf16: bool,
    [dy, w]: [Pointer; 2],
    gate: Option<Gate>,
    dx: Pointer,
    add: bool,
) -> Result<Launch, Error> {
    let g = &conv.geometry;
    let cut = fits(g, bf16).then(|| Cut::of(g, bf16)).flatten();
    let Some(cut) = cut else {
        let detail = format!("no kernel for narrow convolutions takes {g:?}");
        return Err(Error::shape("conv2d", detail));
    };
    let tiles: usize = cut.tiles.iter().product();
    let each = tiles.div_ceil((MOST / cut.across).max(1));
    let grid = [tiles.div_ceil(each), cut.across, 1];
    let (x, prologue) = gate.map_or_else(Default::default, |gate| (gate.x, gate.prologue));
    Builder::new(cut.kernel, grid, [BLOCK as u32, 1, 1])
        .pointers([dy, w, x, prologue.factor, prologue.offset, dx])
        .flag(add)
        .structure(cut.argument(g, bf16))
        .build()
}
