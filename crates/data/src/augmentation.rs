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

/// The random choices for one image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Draw {
    /// Row and column of the crop's corner in the padded image.
    pub crop: (usize, usize),
    pub flipped: bool,
    /// Centre of the square that is cut out.
    pub centre: (usize, usize),
}

impl Augmentation {
    /// Draws for one image. Always the same number of draws, so that switching one change off leaves the others alike.
    pub(crate) fn draw(&self, height: usize, width: usize, rng: &mut impl RngExt) -> Draw {
        let crop = (
            rng.random_range(0..=2 * self.pad),
            rng.random_range(0..=2 * self.pad),
        );
        let flipped = rng.random::<bool>() && self.flip;
        let centre = (rng.random_range(0..height), rng.random_range(0..width));
        Draw {
            crop,
            flipped,
            centre,
        }
    }
}
