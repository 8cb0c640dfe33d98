//! Random changes to a training image that keep its class.

use rand::RngExt;
use serde::{Deserialize, Serialize};

/// What is done to each training image, in this order: pad and crop, flip, normalise, cutout.
/// The default does nothing; the settings that suit a data set are in [`crate::Dataset::augmentation`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augmentation {
    /// The image is padded with black by this many pixels on each side, and a crop of the original size is taken at a
    /// uniformly random place. Images: 4 is usual for 32×32 (He et al. 2016).
    pub pad: usize,
    /// Mirrored left to right, with probability 1/2.
    pub flip: bool,
    /// Side in pixels of a square that is set to the mean colour, its centre uniform over the image, so that it may
    /// reach over the edge (DeVries & Taylor 2017). 0 is off; 16 is usual for 32×32.
    pub cutout: usize,
}

/// An image of a batch, and the random choices for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Draw {
    /// Its number in its part of the data set.
    pub image: u32,
    /// Rows by which the crop begins below the image's first, and columns right of its first, each in −pad..=pad;
    /// beyond the edge is black.
    pub shift: [i32; 2],
    /// Whether the crop is mirrored left to right.
    pub flipped: bool,
    /// Row and column of the centre of the square that is cut out.
    pub centre: [u32; 2],
}

impl Draw {
    /// An image as it is.
    #[must_use]
    pub fn of(image: u32) -> Self {
        Self {
            image,
            ..Self::default()
        }
    }
}

impl Augmentation {
    /// Draws for one image. Always the same number of draws, so that switching one change off leaves the others alike.
    pub(crate) fn draw(
        &self,
        image: u32,
        height: usize,
        width: usize,
        rng: &mut impl RngExt,
    ) -> Draw {
        let mut shift = || rng.random_range(0..=2 * self.pad) as i32 - self.pad as i32;
        let shift = [shift(), shift()];
        let flipped = rng.random::<bool>() && self.flip;
        let centre = [rng.random_range(0..height), rng.random_range(0..width)];
        Draw {
            image,
            shift,
            flipped,
            centre: centre.map(|at| at as u32),
        }
    }
}
