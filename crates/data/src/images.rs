//! Labelled images in memory, and a data set made of two parts of them.

use sha2::{Digest, Sha256};

use crate::{Augmentation, Error};

/// Labelled images of one size, as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Images {
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
    /// Values a pixel: 1 for grey, 3 for RGB.
    pub channels: usize,
    /// `[images, height, width, channels]`, 0 to 255.
    pub pixels: Vec<u8>,
    /// The class of each image, an index into [`Dataset::classes`].
    pub labels: Vec<u32>,
}

impl Images {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Values of one image: height × width × channels.
    pub fn image_len(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// The pixels of image `index`, `[height, width, channels]`.
    ///
    /// # Panics
    /// If there is no such image.
    pub fn image(&self, index: usize) -> &[u8] {
        let size = self.image_len();
        &self.pixels[index * size..(index + 1) * size]
    }

    /// The images at `indices`, in that order; an index out of range is left out.
    pub fn select(&self, indices: &[u32]) -> Self {
        let chosen = || {
            indices
                .iter()
                .map(|&i| i as usize)
                .filter(|&i| i < self.len())
        };
        Self {
            pixels: chosen().map(|i| self.image(i)).collect::<Vec<_>>().concat(),
            labels: chosen().map(|i| self.labels[i]).collect(),
            ..*self
        }
    }
}

/// One of the two parts of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// For training and, split off from it, validation.
    Train,
    /// For the final numbers only.
    Test,
}

/// A data set: the training part (validation is split off from it) and the test part.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// Its name: what [`crate::load`] takes.
    pub name: String,
    /// The name of each class; a label is an index into it.
    pub classes: Vec<String>,
    /// The training part.
    pub train: Images,
    /// The test part.
    pub test: Images,
    /// Mean of each channel over the training part, of pixels scaled to 0..1.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel over the training part, of pixels scaled to 0..1 (1 where it would be 0).
    pub std: Vec<f32>,
    /// The augmentation that suits these images.
    pub augmentation: Augmentation,
    /// What a reader should know of how it was read, a line each: images that were cropped, files passed over. Empty
    /// for most sets.
    pub notes: Vec<String>,
}

impl Dataset {
    /// A data set from its parts; mean and standard deviation are computed from the training part.
    ///
    /// # Errors
    /// [`Error::Argument`] if the training part is empty, the two parts differ in the size of their images, the number
    /// of pixels does not match the number of labels, or a label has no class.
    pub fn new(
        name: impl Into<String>,
        classes: Vec<String>,
        train: Images,
        test: Images,
        augmentation: Augmentation,
    ) -> Result<Self, Error> {
        let name = name.into();
        let size = |images: &Images| (images.height, images.width, images.channels);
        if train.is_empty() || train.image_len() == 0 {
            return Err(Error::Argument(format!(
                "{name}: the training part has no images"
            )));
        }
        if size(&train) != size(&test) {
            let (a, b) = (size(&train), size(&test));
            return Err(Error::Argument(format!(
                "{name}: training images are {a:?} (HWC), test images {b:?}"
            )));
        }
        for images in [&train, &test] {
            check(&name, images, classes.len())?;
        }
        let (mean, std) = moments(&train);
        Ok(Self {
            name,
            classes,
            train,
            test,
            mean,
            std,
            augmentation,
            notes: Vec::new(),
        })
    }

    /// The images of one part.
    pub fn part(&self, part: Part) -> &Images {
        match part {
            Part::Train => &self.train,
            Part::Test => &self.test,
        }
    }

    /// A digest of all that a training sees: sizes, labels and pixels of both parts, not names.
    pub fn digest(&self) -> String {
        let mut digest = Sha256::new();
        for images in [&self.train, &self.test] {
            let (height, width) = (images.height, images.width);
            for size in [images.len(), height, width, images.channels] {
                digest.update((size as u64).to_le_bytes());
            }
            for label in &images.labels {
                digest.update(label.to_le_bytes());
            }
            digest.update(&images.pixels);
        }
        digest.update((self.classes.len() as u64).to_le_bytes());
        let bytes = digest.finalize();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// For each channel, the normalised value of each byte.
    pub fn table(&self) -> Vec<[f32; 256]> {
        let channel =
            |(&mean, &std): (&f32, &f32)| std::array::from_fn(|v| (v as f32 / 255.0 - mean) / std);
        self.mean.iter().zip(&self.std).map(channel).collect()
    }
}

fn check(name: &str, images: &Images, classes: usize) -> Result<(), Error> {
    let (pixels, expected) = (images.pixels.len(), images.len() * images.image_len());
    if pixels != expected {
        return Err(Error::Argument(format!(
            "{name}: {expected} pixel values expected, {pixels} found"
        )));
    }
    match images
        .labels
        .iter()
        .position(|&label| label as usize >= classes)
    {
        Some(at) => {
            let label = images.labels[at];
            Err(Error::Argument(format!(
                "{name}: image {at} has label {label}, but there are {classes} classes"
            )))
        }
        None => Ok(()),
    }
}

/// Mean and standard deviation of each channel, of pixels scaled to 0..1. Exact integer sums: no order matters.
fn moments(images: &Images) -> (Vec<f32>, Vec<f32>) {
    let channels = images.channels;
    let (mut sum, mut squares) = (vec![0u64; channels], vec![0u64; channels]);
    for pixel in images.pixels.chunks_exact(channels) {
        for (c, &value) in pixel.iter().enumerate() {
            sum[c] += u64::from(value);
            squares[c] += u64::from(value) * u64::from(value);
        }
    }
    let count = (images.pixels.len() / channels) as f64;
    let of_channel = |c: usize| {
        let mean = sum[c] as f64 / count;
        let variance = (squares[c] as f64 / count - mean * mean).max(0.0);
        let std = if variance > 0.0 {
            variance.sqrt() / 255.0
        } else {
            1.0
        };
        ((mean / 255.0) as f32, std as f32)
    };
    (0..channels).map(of_channel).unzip()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(pixels: Vec<u8>, labels: Vec<u32>) -> Images {
        Images {
            height: 1,
            width: 2,
            channels: 2,
            pixels,
            labels,
        }
    }

    #[test]
    fn moments_are_per_channel_of_the_training_part_only() {
        let train = images(vec![0, 10, 255, 10, 0, 10, 255, 10], vec![0, 1]);
        let test = images(vec![9; 4], vec![1]);
        let classes = vec!["a".to_owned(), "b".to_owned()];
        let set = Dataset::new("x", classes, train, test, Augmentation::default()).unwrap();
        assert_eq!(set.mean, [0.5, 10.0 / 255.0]);
        assert_eq!(set.std, [0.5, 1.0]); // a constant channel is divided by 1
    }

    #[test]
    fn inconsistent_parts_are_refused() {
        let good = || images(vec![0; 4], vec![0]);
        let make = |train, test| {
            Dataset::new(
                "x",
                vec!["a".to_owned()],
                train,
                test,
                Augmentation::default(),
            )
        };
        assert!(make(good(), good()).is_ok());
        assert!(make(images(vec![], vec![]), good()).is_err());
        assert!(make(images(vec![0; 3], vec![0]), good()).is_err());
        assert!(make(good(), images(vec![0; 4], vec![1])).is_err());
        assert!(
            make(
                good(),
                Images {
                    height: 2,
                    width: 1,
                    ..good()
                }
            )
            .is_err()
        );
    }
}
