//! The gradients of a pointwise convolution to few channels and of the batch norm after it, together: what
//! both need is read once (what the norm needs once for so many of the input's channels as a block takes), and the
//! gradient between them is never in memory.

use super::affine::Prologue;
use super::batch_norm::Backward;
use super::columns::{BLOCKS, Scratch, ScratchSize};
use super::join::Join;
use super::product::is_tall;
use crate::Error;
use crate::cuda::launch::{Builder, pack};
use crate::cuda::{Launch, Pointer};

/// A kernel as pointwise.cu has it.
#[derive(Clone, Copy)]
struct Kernel {
    name: &'static str,
    /// Channels of dy at most.
    n: usize,
    /// Channels of x of a warp.
    channels: usize,
    /// Rows that a warp takes of a tile; of bfloat16 twice as many.
    rows: usize,
    /// Warps for channels of x, at least, of a block's [`WARPS`] at most.
    least: usize,
}

const KERNELS: [Kernel; 4] = [
    Kernel::new("pointwise_gradient_16", [16, 16, 16, 1]),
    Kernel::new("pointwise_gradient_16_wide", [16, 48, 8, 1]),
    Kernel::new("pointwise_gradient_32", [32, 32, 8, 1]),
    Kernel::new("pointwise_gradient_64", [64, 16, 8, 4]),
];
/// Warps of a block at most.
const WARPS: usize = 8;
/// Numbers of a part from which on blocks are to have some tiles each.
const LARGE: usize = 2048;

impl Kernel {
    const fn new(name: &'static str, [n, channels, rows, least]: [usize; 4]) -> Self {
        Self {
            name,
            n,
            channels,
            rows,
            least,
        }
    }

    /// Of those for so many channels of dy the one whose warps leave the fewest channels of x idle, of equals the last,
    /// which has the fewest warps.
    fn of([_, k, n]: [usize; 3]) -> Option<Self> {
        let most = KERNELS.into_iter().map(|it| it.n).find(|&most| n <= most)?;
        let all = KERNELS.into_iter().rev().filter(|it| it.n == most);
        all.min_by_key(|it| k.next_multiple_of(it.channels))
    }
}

/// Whether [`gradient`] is for a convolution of rows × k numbers to rows × n.
pub fn suits_gradient(size: [usize; 3]) -> bool {
    is_tall(size) && Kernel::of(size).is_some()
}

/// How the work is cut.
struct Cut {
    kernel: Kernel,
    /// Blocks that the rows are cut into, and x's channels.
    grid: [usize; 2],
    /// Warps of a block, for channels and for rows.
    warps: [usize; 2],
}

impl Cut {
    fn of(size: [usize; 3], bf16: bool) -> Option<Self> {
        let kernel = Kernel::of(size)?;
        let [rows, k, n] = size;
        let slabs = k.div_ceil(kernel.channels);
        let across = slabs.div_ceil(WARPS).max(1);
        let abreast = slabs.div_ceil(across).max(kernel.least);
        let down = WARPS / abreast;
        let tiles = rows.div_ceil(down * kernel.rows);
        let most = (BLOCKS / across).max(1);
        // Parts are written and joined: where they are large, half as many blocks rather than less than some tiles for each.
        let halve = k * n >= LARGE && tiles < 4 * most;
        let most = if halve { most.div_ceil(2) } else { most };
        let tiles = if bf16 { tiles.div_ceil(2) } else { tiles };
        Some(Self {
            kernel,
            grid: [tiles.clamp(1, most), across],
            warps: [abreast, down],
        })
    }
}

/// What [`gradient`] needs at most: tensors in bfloat16 are cut into fewer blocks.
pub fn gradient_scratch(size: [usize; 3]) -> ScratchSize {
    let blocks = Cut::of(size, false).map_or(0, |cut| cut.grid[0]);
    ScratchSize {
        parts: blocks * size[1] * size[2],
        counters: 0,
    }
}

/// A pointwise convolution of rows × k numbers with a weight of k × n, and what is known of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pointwise {
    /// Rows, k and n.
    pub size: [usize; 3],
    /// What it reads.
    pub x: Pointer,
    /// How it reads that.
    pub prologue: Prologue,
    /// Its weight.
    pub w: Pointer,
    /// The gradient of what it makes; of a norm's output, where one follows.
    pub dy: Pointer,
    /// The norm that follows, after [`super::batch_norm::sums`]; its `dy` is this one's.
    pub norm: Option<Backward>,
}

/// `dx`, unless it is null, ←, or +=, the gradient of what the prologue's ReLU reads, and that of the weight in parts that
/// are then to be joined in `dw`, with factors rounded to TF32, or to bfloat16 where tensors are in
/// it. See [`suits_gradient`].
///
/// # Errors
/// [`Error::Shape`] if a size does not fit a kernel's argument, or there are too many channels.
pub fn gradient(
    of: &Pointwise,
    bf16: bool,
    (dx, add): (Pointer, bool),
    scratch: Scratch,
    dw: Pointer,
) -> Result<(Launch, Join), Error> {
    let [rows, k, n] = of.size;
    let Some(cut) = Cut::of(of.size, bf16) else {
        return Err(Error::shape("conv2d", format!("{k} and {n} channels")));
    };
    let ([blocks, across], [abreast, down]) = (cut.grid, cut.warps.map(|it| it as u32));
    let gradients = Builder::new(cut.kernel.name, [blocks, across, 1], [32, abreast, down])
        .counted(rows * k.max(n))
        .pointers([of.x, of.prologue.factor, of.prologue.offset])
        .flag(of.prologue.relu)
        .pointers([of.w, of.dy])
        .structure(incoming(of.norm.as_ref()))
        .ints(of.size)
        .pointers([dx])
        .flag(add)
        .pointers([scratch.parts])
        .build()?;
    let job = Join {
        parts: scratch.parts,
        count: blocks,
        size: k * n,
        to: dw,
        add: false,
    };
    Ok((gradients, job))
}

fn incoming(norm: Option<&Backward>) -> Vec<u64> {
    let Some(of) = norm else {
        return vec![0; 9];
    };
    let (shares, share) = of.share.0.parts();
    let n = of.normaliser;
    let pointers = [
        of.x,
        shares,
        n.mean,
        n.factor,
        n.offset,
        of.slope,
        of.constant,
    ];
    let mut words: Vec<u64> = pointers.iter().map(|it| it.0).collect();
    let rows = [of.pixels(), of.stride].map(|it| i32::try_from(it).unwrap_or(-1));
    let last = [
        share.to_bits(),
        rows[0] as u32,
        of.relu.into(),
        rows[1] as u32,
    ];
    words.extend(pack(last));
    words
}
