//! A step's batch: pixels and labels, or the images of it that the device keeps.

use crate::Error;

/// What a step runs on.
#[derive(Debug, Clone, Copy)]
pub enum Batch<'b> {
    /// Images × height × width × channels, and a class for each image.
    Pixels(&'b [f32], &'b [u32]),
    /// Of the images that the device keeps.
    Kept(&'b [Draw]),
}

impl Batch<'_> {
    /// The number of images that a batch names or has labels for.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Pixels(_, labels) => labels.len(),
            Self::Kept(draws) => draws.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An image of a batch and how it is changed, as it lies in the device's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Draw {
    /// The image's number among those that are kept.
    pub image: u32,
    /// Rows that the crop begins below the image's first, within its height; beyond the edge is black, the byte 0.
    pub down: i32,
    /// Columns, likewise.
    pub right: i32,
    /// Mirrored left to right if not 0.
    pub flipped: i32,
    /// Centre of the square that is cut out: row and column of the batch's image.
    pub centre: [i32; 2],
}

impl Draw {
    /// Words of four bytes of a draw.
    pub const WORDS: usize = size_of::<Self>() / 4;

    /// Its words.
    #[must_use]
    pub fn words(&self) -> [u32; Self::WORDS] {
        let [row, column] = self.centre;
        let rest = [self.down, self.right, self.flipped, row, column];
        let [down, right, flipped, row, column] = rest.map(i32::cast_unsigned);
        [self.image, down, right, flipped, row, column]
    }
}

/// Images of bytes for a device to keep, in one or more parts whose images are numbered on.
#[derive(Debug, Clone)]
pub struct Images<'i> {
    /// Of each part the pixels, images × height × width × channels, and a class for each image.
    pub parts: Vec<(&'i [u8], &'i [u32])>,
    /// For each channel the number that stands for each byte.
    pub table: &'i [[f32; 256]],
    /// Height, width and channels.
    pub shape: [usize; 3],
}

impl Images<'_> {
    /// The number of images.
    #[must_use]
    pub fn count(&self) -> usize {
        self.parts.iter().map(|(_, labels)| labels.len()).sum()
    }

    /// One more than the largest label.
    #[must_use]
    pub fn classes(&self) -> usize {
        let labels = self.parts.iter().flat_map(|(_, labels)| *labels);
        labels.max().map_or(0, |&largest| largest as usize + 1)
    }

    /// Bytes of pixels, labels and table on a device.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let image = self.shape.iter().product::<usize>() + size_of::<u32>();
        self.count() * image + size_of_val(self.table)
    }

    /// Whether a device with so many free bytes keeps images of so many: at most half of it is for them,
    /// beyond that the host uploads batch by batch.
    #[must_use]
    pub fn fit(bytes: u64, free: u64) -> bool {
        bytes <= free / 2
    }

    /// Refuses parts and a table that do not fit the shape.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn check(&self) -> Result<(), Error> {
        let image: usize = self.shape.iter().product();
        let mut parts = self.parts.iter();
        let fits = parts.all(|(pixels, labels)| pixels.len() == labels.len() * image);
        if fits && self.table.len() == self.shape[2] && u32::try_from(self.count()).is_ok() {
            return Ok(());
        }
        let detail = "pixels, labels, table and shape do not fit together".to_owned();
        Err(Error::shape("images", detail))
    }
}
