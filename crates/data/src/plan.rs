//! Which images make up each batch, and what is drawn for each of them.

use std::sync::Arc;

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::{Augmentation, Dataset, Draw, Error, Part};

/// The batches of an epoch, or of an evaluation, before their pixels are made: where a device keeps the
/// images, these choices are all that it needs.
#[derive(Debug, Clone)]
pub struct Plan {
    dataset: Arc<Dataset>,
    part: Part,
    order: Vec<u32>,
    batch_size: usize,
    batches: usize,
    /// None for evaluation.
    augmentation: Option<Augmentation>,
    key: [u8; 32],
}

impl Plan {
    /// Batches for training: `indices` of the training part, in an order shuffled anew each `epoch`, augmented.
    ///
    /// Every batch is full: images that do not fill the last one are left out of this epoch, unless there are fewer
    /// than `batch_size` in all, which then are one batch. The same arguments give the same batches, bit for bit.
    ///
    /// # Errors
    /// [`Error::Argument`] if `batch_size` is 0, there are no `indices` or one is out of range, or `augmentation` pads
    /// by more than the image's size.
    pub fn train(
        dataset: Arc<Dataset>,
        mut indices: Vec<u32>,
        batch_size: usize,
        augmentation: Augmentation,
        seed: u64,
        epoch: u64,
    ) -> Result<Self, Error> {
        check(&dataset, Part::Train, &indices, batch_size)?;
        let (height, width) = (dataset.train.height, dataset.train.width);
        if augmentation.pad > height.min(width) {
            let pad = augmentation.pad;
            return Err(Error::Argument(format!(
                "augmentation: pad = {pad} is more than an image of {height}x{width}"
            )));
        }
        let key = key(seed, epoch);
        indices.shuffle(&mut ChaCha8Rng::from_seed(key));
        Ok(Self {
            dataset,
            part: Part::Train,
            batches: (indices.len() / batch_size).max(1),
            order: indices,
            batch_size,
            augmentation: Some(augmentation),
            key,
        })
    }

    /// Batches for evaluation: `indices` of a part, in their order, not augmented, the last batch as small as it is.
    ///
    /// # Errors
    /// As [`Plan::train`].
    pub fn evaluate(
        dataset: Arc<Dataset>,
        part: Part,
        indices: Vec<u32>,
        batch_size: usize,
    ) -> Result<Self, Error> {
        check(&dataset, part, &indices, batch_size)?;
        Ok(Self {
            dataset,
            part,
            batches: indices.len().div_ceil(batch_size),
            order: indices,
            batch_size,
            augmentation: None,
            key: [0; 32],
        })
    }

    /// The number of batches.
    #[must_use]
    pub fn batches(&self) -> usize {
        self.batches
    }

    /// The data set.
    #[must_use]
    pub fn dataset(&self) -> &Arc<Dataset> {
        &self.dataset
    }

    /// The part that the images are of.
    #[must_use]
    pub fn part(&self) -> Part {
        self.part
    }

    /// What is done to the images; none in evaluation.
    #[must_use]
    pub fn augmentation(&self) -> Option<Augmentation> {
        self.augmentation
    }

    /// The images of batch `number`, and what is drawn for each; none of a batch that is not there.
    #[must_use]
    pub fn draws(&self, number: usize) -> Vec<Draw> {
        let images = self.dataset.part(self.part);
        let first = (number.min(self.batches) * self.batch_size).min(self.order.len());
        let end = match number < self.batches {
            true => (first + self.batch_size).min(self.order.len()),
            false => first,
        };
        let mut rng = ChaCha8Rng::from_seed(self.key);
        rng.set_stream(number as u64 + 1); // stream 0 has shuffled
        let members = self.order[first..end].iter();
        let draw = |&image: &u32| match self.augmentation {
            None => Draw::of(image),
            Some(it) => it.draw(image, images.height, images.width, &mut rng),
        };
        members.map(draw).collect()
    }
}

/// 256 bits from the seed and the epoch, so that no two epochs of any two seeds share a stream.
fn key(seed: u64, epoch: u64) -> [u8; 32] {
    let mut key = *b"cellwright batch order          ";
    key[16..24].copy_from_slice(&seed.to_le_bytes());
    key[24..].copy_from_slice(&epoch.to_le_bytes());
    key
}

fn check(dataset: &Dataset, part: Part, indices: &[u32], batch_size: usize) -> Result<(), Error> {
    let images = dataset.part(part);
    let name = &dataset.name;
    if batch_size == 0 {
        return Err(Error::Argument("the batch size is 0; 1 at least".into()));
    }
    if indices.is_empty() {
        return Err(Error::Argument(format!(
            "{name}: no images to load from the {part:?} part"
        )));
    }
    // `Dataset` has public fields, so what `Dataset::new` checked may have changed since.
    if images.pixels.len() != images.len() * images.image_len()
        || dataset.mean.len() != images.channels
    {
        return Err(Error::Argument(format!(
            "{name}: pixels, labels and mean do not fit together"
        )));
    }
    match indices.iter().find(|&&i| i as usize >= images.len()) {
        Some(i) => Err(Error::Argument(format!(
            "{name}: image {i} of {} in the {part:?} part",
            images.len()
        ))),
        None => Ok(()),
    }
}
