//! Batches from a data set that lies on the device.

use super::flat;
use crate::Error;
use crate::cuda::launch::{Launch, Pointer};

/// A data set of images in bytes, N×H×W×C, on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resident {
    /// The pixels, a byte each.
    pub images: Pointer,
    /// A class for each image, in u32.
    pub labels: Pointer,
    /// 256 numbers for each channel: what stands for each byte, normalised.
    pub table: Pointer,
    /// How many images.
    pub count: usize,
    /// One more than the largest label.
    pub classes: usize,
    /// Height, width and channels of an image.
    pub shape: [usize; 3],
    /// Side of the square that cutout sets to 0; 0 for none.
    pub cutout: usize,
}

/// `pixels` (count×H×W×C) and `labels` of the batch that `draws` names, one [`Draw`](crate::program::Draw) for each of its `count` images.
///
/// # Errors
/// [`Error::Shape`] if a size does not fit a kernel's argument.
pub fn batch(
    of: Resident,
    draws: Pointer,
    count: usize,
    pixels: Pointer,
    labels: Pointer,
) -> Result<Launch, Error> {
    let [height, width, channels] = of.shape;
    flat("batch", count * height * width)
        .pointers([of.images, of.labels, draws, of.table, pixels, labels])
        .ints([count, height, width, channels, of.cutout])
        .build()
}
