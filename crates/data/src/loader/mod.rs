//! Batches prepared ahead on a thread of their own.
//!
//! The contents of a batch depend on the seed, the epoch and its number, and on nothing that a clock or a scheduler
//! decides: every batch has a random stream of its own.

mod batch;

pub use batch::Batch;

use crate::{Error, Plan};
use batch::Maker;
use std::{
    sync::mpsc::{Receiver, SyncSender, sync_channel},
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
    /// The batches of a plan, in order.
    ///
    /// # Errors
    /// [`Error::Io`] if no thread can be started.
    pub fn start(plan: Plan) -> Result<Self, Error> {
        let batches = plan.batches();
        let maker = Maker::new(plan);
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

    /// How long [`Iterator::next`] has waited for batches so far: near zero unless the loader holds training up.
    pub fn waited(&self) -> Duration {
        self.waited
    }
}

fn make_all(maker: &Maker, batches: usize, sender: &SyncSender<Batch>) {
    for number in 0..batches {
        if sender.send(maker.make(number)).is_err() {
            return; // the loader was dropped
        }
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
