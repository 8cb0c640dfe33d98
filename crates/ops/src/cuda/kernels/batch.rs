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
    /// Height, width and channels of an image.
    pub shape: (usize, usize, usize),
    /// Side of the square that cutout sets to 0; 0 for none.
    pub cutout: usize,
}

/// The random choices for one image of a batch, as they lie in the device's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Draw {
    /// The image's number in the data set.
    pub image: u32,
    /// Rows that the crop begins below the image's first, in −pad..=pad; beyond the edge is black, the byte 0.
    pub down: i32,
    /// Columns, likewise.
    pub right: i32,
    /// Mirrored left to right if not 0.
    pub flipped: i32,
    /// Centre of the square that is cut out: row and column of the batch's image.
    pub centre: [i32; 2],
}

/// `pixels` (count×H×W×C) and `labels` of the batch that `draws` names, one [`Draw`] for each of its `count` images.
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
    let (height, width, channels) = of.shape;
    flat("batch", count * height * width)
        .pointers([of.images, of.labels, draws, of.table, pixels, labels])
        .ints([count, height, width, channels, of.cutout])
        .build()
}
