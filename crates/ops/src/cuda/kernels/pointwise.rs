//! The gradients of a pointwise convolution to few channels and of the batch norm after it, together: what
//! both need is read once (what the norm needs once for so many of the input's channels as a block takes), and the
//! gradient between them is never in memory.

use super::BLOCK;
use super::affine::Prologue;
use super::batch_norm::Backward;
use super::columns::{BLOCKS, Scratch, ScratchSize};
use super::join::Join;
use super::product::is_tall;
use crate::Error;
use crate::cuda::launch::{Builder, pack};
use crate::cuda::{Launch, Pointer};

/// The kernels: channels that a block takes at most, and rows of a tile.
const KERNELS: [(&str, usize, usize); 3] = [
    ("pointwise_gradient_16", 16, 128),
    ("pointwise_gradient_32", 32, 64),
    ("pointwise_gradient_64", 64, 32),
];

/// The one for all channels at once, or the one for most of them, where the input has more, but not so many that what the
/// norm needs is read too often: gradients that are made one after the other read and write some 3k + 5n channels.
fn kernel([_, k, n]: [usize; 3]) -> Option<(&'static str, usize, usize)> {
    let last = KERNELS[KERNELS.len() - 1];
    let together = 2 * k + k.div_ceil(last.1) * 2 * n;
    let found = KERNELS.into_iter().find(|&(_, most, _)| k.max(n) <= most);
    found.or((n <= last.1 && together <= 3 * k + 5 * n).then_some(last))
}

/// Whether [`gradient`] is for a convolution of rows × k numbers to rows × n.
pub fn suits_gradient(size: [usize; 3]) -> bool {
    is_tall(size) && kernel(size).is_some()
}

/// Blocks that the rows are cut into, and the input's channels. With many channels parts are large, so there are fewer.
fn cut([rows, k, _]: [usize; 3], (_, most, tile): (&str, usize, usize)) -> [usize; 2] {
    let across = k.div_ceil(most);
    let enough = match (most > 32, across) {
        (true, 1) => BLOCKS / 2,
        _ => (BLOCKS / across.max(1)).max(1),
    };
    [rows.div_ceil(tile).clamp(1, enough), across]
}

/// What [`gradient`] needs.
pub fn gradient_scratch(size: [usize; 3]) -> ScratchSize {
    let blocks = kernel(size).map_or(0, |kernel| cut(size, kernel)[0]);
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
/// are then to be joined in `dw`, with factors rounded to TF32. See [`suits_gradient`].
///
/// # Errors
/// [`Error::Shape`] if a size does not fit a kernel's argument, or there are too many channels.
pub fn gradient(
    of: &Pointwise,
    (dx, add): (Pointer, bool),
    scratch: Scratch,
    dw: Pointer,
) -> Result<(Launch, Join), Error> {
    let [rows, k, n] = of.size;
    let Some(found) = kernel(of.size) else {
        return Err(Error::shape("conv2d", format!("{k} and {n} channels")));
    };
    let [blocks, across] = cut(of.size, found);
    let gradients = Builder::new(found.0, [blocks, across, 1], [BLOCK as u32, 1, 1])
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
