//! Products, gates, sums over the pixels of an image, subsampling, truncation, and dropout.

use super::columns::lanes;
use super::{by_four, divisor, flat, flat_in_eights};
use crate::Error;
use crate::cuda::launch::{Builder, Launch, Pointer};

/// A batch of feature maps: images, pixels of an image, channels.
pub type Shape = (usize, usize, usize);

/// `y` ←, or +=, a · b for `count` numbers.
///
/// # Errors
/// As [`spread`].
pub fn product(
    a: Pointer,
    b: Pointer,
    y: Pointer,
    count: usize,
    add: bool,
) -> Result<Launch, Error> {
    let (kernel, lanes) = by_four(count, "each_product_4", "each_product_1");
    flat_in_eights(kernel, count / lanes)
        .pointers([a, b, y])
        .ints([count / lanes])
        .flag(add)
        .build()
}

/// `y` ←, or +=, x\[n, p, c\] · gate\[n, c\] · scale; without x (null) it counts as 1.
///
/// A gate's product is this of x and the gate; the gradient of its input, of dy and the gate. The gradient of a mean over
/// pixels is this of nothing and dy, with scale 1/pixels.
///
/// # Errors
/// [`Error::Shape`] if a size does not fit a kernel's argument.
pub fn spread(
    x: Pointer,
    gate: Pointer,
    scale: f32,
    y: Pointer,
    (images, pixels, channels): Shape,
    add: bool,
) -> Result<Launch, Error> {
    let (kernel, lanes) = by_four(channels, "spread_4", "spread_1");
    flat(kernel, images * pixels * channels / lanes)
        .pointers([x, gate])
        .floats([scale])
        .pointers([y])
        .ints([images, pixels, channels])
        .flag(add)
        .build()
}

/// `sums\[n, c\]` ←, or +=, Σ over p of x\[n, p, c\] · z\[n, p, c\] · scale; without z (null) it counts as 1.
///
/// The mean over pixels is this with scale 1/pixels; the gradient of a gate, this of x and dy.
///
/// # Errors
/// As [`spread`].
pub fn image_sums(
    x: Pointer,
    z: Pointer,
    scale: f32,
    sums: Pointer,
    (images, pixels, channels): Shape,
    add: bool,
) -> Result<Launch, Error> {
    let (kernel, width) = by_four(channels, "image_sums_4", "image_sums_1");
    let (block, across) = lanes(channels / width);
    Builder::new(kernel, [across, images, 1], block)
        .counted(images * pixels * channels)
        .pointers([x, z])
        .floats([scale])
        .pointers([sums])
        .ints([pixels, channels])
        .flag(add)
        .build()
}

/// The sizes of [`crate::subsample()`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subsample {
    /// The input's N×H×W×C.
    pub x: (usize, usize, usize, usize),
    /// Step between pixels, at least 1.
    pub stride: usize,
    /// The first pixel.
    pub offset: usize,
}

/// `y` ← every stride-th pixel from pixel `offset` on, zero beyond the edge.
///
/// # Errors
/// As [`spread`].
pub fn subsample(of: Subsample, x: Pointer, y: Pointer) -> Result<Launch, Error> {
    let (n, h, w, c) = of.x;
    let (kernel, lanes) = by_four(c, "subsample_4", "subsample_1");
    let [rows, columns] = [h, w].map(|size| size.div_ceil(of.stride));
    flat_in_eights(kernel, n * rows * columns * c / lanes)
        .pointers([x, y])
        .ints([n])
        .structure(divisor(c / lanes))
        .structure(divisor(columns))
        .structure(divisor(rows))
        .ints([w, h, of.stride, of.offset])
        .build()
}

/// `dx` ←, or +=, `dy` at the pixels taken and 0 elsewhere.
///
/// # Errors
/// As [`spread`].
pub fn subsample_gradient(
    of: Subsample,
    dy: Pointer,
    dx: Pointer,
    add: bool,
) -> Result<Launch, Error> {
    let (n, h, w, c) = of.x;
    let (kernel, lanes) = by_four(c, "subsample_gradient_4", "subsample_gradient_1");
    let [rows, columns] = [h, w].map(|size| size.div_ceil(of.stride));
    flat_in_eights(kernel, n * h * w * c / lanes)
        .pointers([dy, dx])
        .ints([n])
        .structure(divisor(c / lanes))
        .structure(divisor(w))
        .structure(divisor(h))
        .ints([columns, rows])
        .structure(divisor(of.stride))
        .ints([of.offset])
        .flag(add)
        .build()
}

/// `y` ←, or +=, the first `to` of the `from` channels of x; those that x does not have are 0.
///
/// [`crate::truncate()`] is this with the smaller number of channels for `to`; its gradient, of dy, with the
/// larger.
///
/// # Errors
/// As [`spread`].
pub fn truncate(
    x: Pointer,
    y: Pointer,
    rows: usize,
    [from, to]: [usize; 2],
    add: bool,
) -> Result<Launch, Error> {
    let divisor = if from.is_multiple_of(4) { to } else { 1 };
    let (kernel, lanes) = by_four(divisor, "truncate_4", "truncate_1");
    flat(kernel, rows * to / lanes)
        .pointers([x, y])
        .ints([rows, from, to])
        .flag(add)
        .build()
}

/// What a mask is drawn from: the words that lie in device memory, so that a captured step can draw anew.
pub fn mask(seed: u64, rate: f64) -> [u64; 3] {
    use crate::elementwise::random::{start, threshold};
    let kept = (1.0 / (1.0 - rate)) as f32;
    let kept = crate::cuda::launch::pack([kept.to_bits(), 0]);
    [start(seed), threshold(rate), kept[0]]
}

/// `y` ←, or +=, x · factor for `count` numbers, with the factors of [`crate::dropout()`]. `mask` is the address of the
/// three words of [`mask()`].
///
/// # Errors
/// As [`spread`].
pub fn dropout(
    mask: Pointer,
    x: Pointer,
    y: Pointer,
    count: usize,
    add: bool,
) -> Result<Launch, Error> {
    flat("dropout", count)
        .pointers([mask, x, y])
        .ints([count])
        .flag(add)
        .build()
}

/// `factors` ← for each drop path one factor an image, `paths` × `images` numbers. The paths' masks lie at `masks`, three
/// words of [`mask()`] each.
///
/// # Errors
/// As [`spread`].
pub fn drop_paths(
    masks: Pointer,
    factors: Pointer,
    paths: usize,
    images: usize,
) -> Result<Launch, Error> {
    flat("drop_paths", paths * images)
        .pointers([masks, factors])
        .ints([paths, images])
        .build()
}
