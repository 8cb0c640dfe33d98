//! The CUDA kernels: their source, and for each operation the launches that it takes.
//!
//! All sources are one module, compiled by NVRTC for tensors in fp32 and, where they are wanted, once more for bfloat16;
//! see [`Launch::bf16`](super::Launch). Tensors are NHWC, pixels are images × height × width, and a
//! channel's vector is read four numbers at a time where 4 divides the channels; tensors must then begin at addresses
//! that 16 divides; channels within a bfloat16 tensor's, at those that 8 divides. Functions here name what they launch, in
//! the order in which it is to run; sizes have been checked
//! by the operation. Where a gradient may be stored or added, `add` says which.

pub mod affine;
pub mod batch;
pub mod batch_norm;
pub mod columns;
pub mod combine;
pub mod convert;
pub mod convolution;
pub mod convolution_narrow;
pub mod convolution_narrow_input;
pub mod convolution_narrow_weights;
pub mod depthwise;
pub mod elementwise;
pub mod join;
pub mod loss;
pub mod optimiser;
pub mod pointwise;
pub mod pool;
pub mod product;
pub mod transpose;

use super::launch::{Builder, pack};

/// The sources with their names, in the order in which they are compiled.
const SOURCES: &[(&str, &str)] = &[
    ("common.cuh", include_str!("kernels/common.cuh")),
    ("columns.cu", include_str!("kernels/columns.cu")),
    ("join.cu", include_str!("kernels/join.cu")),
    ("affine.cu", include_str!("kernels/affine.cu")),
    ("batch_norm.cu", include_str!("kernels/batch_norm.cu")),
    (
        "batch_norm_gradient.cu",
        include_str!("kernels/batch_norm_gradient.cu"),
    ),
    ("depthwise.cu", include_str!("kernels/depthwise.cu")),
    (
        "depthwise_gradient.cu",
        include_str!("kernels/depthwise_gradient.cu"),
    ),
    (
        "depthwise_gradient_stride2.cu",
        include_str!("kernels/depthwise_gradient_stride2.cu"),
    ),
    (
        "depthwise_weights.cu",
        include_str!("kernels/depthwise_weights.cu"),
    ),
    ("convolution.cu", include_str!("kernels/convolution.cu")),
    (
        "convolution_weights.cu",
        include_str!("kernels/convolution_weights.cu"),
    ),
    (
        "convolution_few.cu",
        include_str!("kernels/convolution_few.cu"),
    ),
    (
        "convolution_narrow_input.cu",
        include_str!("kernels/convolution_narrow_input.cu"),
    ),
    (
        "convolution_narrow_weights.cu",
        include_str!("kernels/convolution_narrow_weights.cu"),
    ),
    ("product.cu", include_str!("kernels/product.cu")),
    (
        "convolution_narrow.cu",
        include_str!("kernels/convolution_narrow.cu"),
    ),
    ("pointwise.cu", include_str!("kernels/pointwise.cu")),
    (
        "pointwise_bf16.cu",
        include_str!("kernels/pointwise_bf16.cu"),
    ),
    ("transpose.cu", include_str!("kernels/transpose.cu")),
    ("convert.cu", include_str!("kernels/convert.cu")),
    ("pool.cu", include_str!("kernels/pool.cu")),
    ("max_pool.cu", include_str!("kernels/max_pool.cu")),
    ("elementwise.cu", include_str!("kernels/elementwise.cu")),
    ("subsample.cu", include_str!("kernels/subsample.cu")),
    ("dropout.cu", include_str!("kernels/dropout.cu")),
    ("loss.cu", include_str!("kernels/loss.cu")),
    ("optimiser.cu", include_str!("kernels/optimiser.cu")),
    ("batch.cu", include_str!("kernels/batch.cu")),
];

/// The CUDA C++ of all kernels, one translation unit without includes; for tensors in fp32 or in bfloat16.
pub fn source(bf16: bool) -> String {
    let numbers = if bf16 { "#define BF16\n" } else { "" };
    let parts = SOURCES.iter();
    let parts = parts.map(|(name, text)| format!("#line 1 \"{name}\"\n{text}"));
    std::iter::once(numbers.to_owned()).chain(parts).collect()
}

/// Threads of a block, where a kernel does not ask for another number.
const BLOCK: usize = 256;
/// Blocks of a kernel whose threads go on to further numbers: enough for any GPU of today.
const MOST_BLOCKS: usize = 16 * 1024;

/// A launch of one thread for each of `work` pieces, up to a limit above which threads take several. Kernels count the
/// pieces in 31 bits.
fn flat(kernel: &'static str, work: usize) -> Builder {
    let blocks = work.div_ceil(BLOCK).clamp(1, MOST_BLOCKS);
    Builder::new(kernel, [blocks, 1, 1], [BLOCK as u32, 1, 1]).counted(work)
}

/// The same for a kernel that can take eight channels at a time instead of four. Where half of the blocks keep any GPU busy,
/// that many are launched; else those that find nothing to do cost little.
fn flat_in_eights(kernel: &'static str, work: usize) -> Builder {
    let blocks = work.div_ceil(BLOCK);
    let busy = if blocks < 4096 { work } else { work / 2 };
    flat(kernel, busy).counted(work)
}

/// A `Divisor` of common.cuh: the quotient of a number n of 31 bits and `by` is n · magic / 2^shift. With 2^k the power of two
/// from `by` on, magic is 2^(31 + k) / by, rounded up by less than 1, and 32 bits hold it; what that adds to the quotient is
/// less than 1 / by.
fn divisor(by: usize) -> Vec<u64> {
    let by = by.clamp(1, i32::MAX as usize) as u64;
    let shift = 31 + by.next_power_of_two().trailing_zeros();
    let magic = (1u64 << shift).div_ceil(by);
    pack([magic as u32, shift, by as u32, 0])
}

/// The kernel for channels in fours, or the one for any number.
fn by_four(channels: usize, four: &'static str, one: &'static str) -> (&'static str, usize) {
    if channels.is_multiple_of(4) {
        (four, 4)
    } else {
        (one, 1)
    }
}

/// A structure of ints. A size that an int does not hold becomes −1: it makes more work than a launch takes, which
/// [`Builder::counted`] refuses.
fn sizes_of(sizes: impl Iterator<Item = usize>) -> Vec<u64> {
    let ints = sizes.map(|size| i32::try_from(size).unwrap_or(-1));
    pack(ints.map(i32::cast_unsigned))
}
