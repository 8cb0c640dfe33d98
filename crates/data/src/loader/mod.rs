//! Batches prepared ahead on a thread of their own.
//!
//! The contents of a batch depend on the seed, the epoch and its number, and on nothing that a clock or a scheduler
//! decides: every batch has a random stream of its own.

mod batch;

pub use batch::Batch;

use crate::{Augmentation, Dataset, Error, Part};
use batch::Maker;
use std::{
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// Batches that wait, ready, while another is being made and one is used.
const AHEAD: usize = 3;

/// An iterator over the batches of one epoch. Dropping it early ends its thread.
///
/// It makes batches much faster than a network takes them (see [`Loader::waited`]).
#[derive(Debug)]
pub struct Loader {
    /// None once dropped, which is what ends the thread.
    batches: Option<Receiver<Batch>>,
    thread: Option<JoinHandle<()>>,
    left: usize,
    waited: Duration,
}

impl Loader {
    /// Batches for training: `indices` of the training part, in an order shuffled anew each `epoch`, augmented.
    ///
    /// Every batch is full: images that do not fill the last one are left out of this epoch, unless there are fewer
    /// than `batch_size` in all, which then are one batch. The same arguments give the same batches, bit for bit.
    ///
    /// # Errors
    /// [`Error::Argument`] if `batch_size` is 0, there are no `indices` or one is out of range, or `augmentation` pads
    /// by more than the image's size; [`Error::Io`] if no thread can be started.
    pub fn train(
        dataset: Arc<Dataset>,
        indices: Vec<u32>,
        batch_size: usize,
        augmentation: Augmentation,
        seed: u64,
        epoch: u64,
    ) -> Result<Self, Error> {
        check(&dataset, Part::Train, &indices, batch_size)?;
        if augmentation.pad > dataset.train.height.min(dataset.train.width) {
            let (pad, height, width) =
                (augmentation.pad, dataset.train.height, dataset.train.width);
            return Err(Error::Argument(format!(
                "augmentation: pad = {pad} is more than an image of {height}x{width}"
            )));
        }
        let batches = (indices.len() / batch_size).max(1);
        Self::start(
            Maker::train(dataset, indices, batch_size, augmentation, seed, epoch),
            batches,
        )
    }

    /// Batches for evaluation: `indices` of a part, in their order, not augmented, the last batch as small as it is.
    ///
    /// # Errors
    /// As [`Loader::train`].
    pub fn evaluate(
        dataset: Arc<Dataset>,
        part: Part,
        indices: Vec<u32>,
        batch_size: usize,
    ) -> Result<Self, Error> {
        check(&dataset, part, &indices, batch_size)?;
        let batches = indices.len().div_ceil(batch_size);
        Self::start(Maker::evaluate(dataset, part, indices, batch_size), batches)
    }

    /// How long [`Iterator::next`] has waited for batches so far: near zero unless the loader holds training up.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    fn start(maker: Maker, batches: usize) -> Result<Self, Error> {
        let (sender, receiver) = sync_channel(AHEAD);
        let thread = std::thread::Builder::new()
            .name("loader".into())
            .spawn(move || make_all(&maker, batches, &sender))
            .map_err(Error::io(
                "start a thread to load",
                std::path::Path::new("batches"),
            ))?;
        Ok(Self {
            batches: Some(receiver),
            thread: Some(thread),
            left: batches,
            waited: Duration::ZERO,
        })
    }
}

fn make_all(maker: &Maker, batches: usize, sender: &SyncSender<Batch>) {
    for number in 0..batches {
        if sender.send(maker.make(number)).is_err() {
            return; // the loader was dropped
        }
    }
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

impl Iterator for Loader {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        if self.left == 0 {
            return None;
        }
        let start = Instant::now();
        let batch = self.batches.as_ref()?.recv().ok();
        self.waited += start.elapsed();
        self.left -= 1;
        batch
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Loader {}

impl Drop for Loader {
    fn drop(&mut self) {
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been told on stderr already; there is nothing to add while dropping.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
