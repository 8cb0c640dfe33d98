//! Softmax cross-entropy, its gradient and what is counted beside it.

use super::BLOCK;
use super::columns::Scratch;
use crate::Error;
use crate::cuda::launch::{Builder, Launch, Pointer};

/// What [`softmax_cross_entropy`] reads and writes. Pointers named as optional may be null.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Loss {
    /// Images × classes.
    pub logits: Pointer,
    /// A class for each image, in u32, each below `classes`.
    pub labels: Pointer,
    /// How many images.
    pub images: usize,
    /// How many classes.
    pub classes: usize,
    /// Label smoothing, in 0..1.
    pub smoothing: f32,
    /// Out: the loss of each image.
    pub losses: Pointer,
    /// Out: for each image how many classes come before its label, in i32; see [`crate::top_k_correct`].
    pub ranks: Pointer,
    /// Out, optional: the mean loss of the batch.
    pub mean: Pointer,
    /// Added to, optional: [`Totals`] over batches.
    pub totals: Pointer,
    /// The two k for which [`Totals`] counts labels among the k largest logits.
    pub top: [usize; 2],
}

/// Sums over batches, as they lie in the device's memory. All zeros at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct Totals {
    /// Of the images' losses.
    pub loss: f64,
    /// Of the images.
    pub images: u64,
    /// Of the images whose label is among the k largest logits, for both k.
    pub correct: [u64; 2],
}

/// The loss of each image and of the batch; `dlogits` ←, or +=, (p − q) · `weight`, unless it is null. For the gradient of
/// the mean the weight is 1/images. Of `scratch` one counter is used.
///
/// # Errors
/// [`Error::Shape`] if a size does not fit a kernel's argument.
pub fn softmax_cross_entropy(
    of: Loss,
    weight: f32,
    dlogits: Pointer,
    add: bool,
    scratch: Scratch,
) -> Result<Launch, Error> {
    let images_per_block = BLOCK / 32;
    let grid = [of.images.div_ceil(images_per_block), 1, 1];
    Builder::new("softmax_cross_entropy", grid, [BLOCK as u32, 1, 1])
        .counted(of.images * of.classes)
        .pointers([of.logits, of.labels])
        .ints([of.images, of.classes])
        .floats([of.smoothing, weight])
        .pointers([of.losses, of.ranks, dlogits])
        .flag(add)
        .pointers([of.mean, of.totals])
        .ints(of.top)
        .pointers([scratch.counters])
        .build()
}
