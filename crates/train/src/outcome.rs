//! What a training gives, and who looks on.

use serde::{Deserialize, Serialize};

/// How a training ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Status {
    /// All epochs are done.
    Finished,
    /// The observer asked to stop.
    Stopped,
    /// A loss was no number any more, in training or evaluation; in words.
    Diverged(String),
    /// It took longer than the limit; in words.
    TimedOut(String),
}

/// What a training gives. Fractions are in 0..1, losses in nats.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// How it ended. Other than finished, no accuracy is given.
    pub status: Status,
    /// Accuracy on the validation part.
    pub valid_top1: Option<f64>,
    /// Validation images whose class is among the five best guesses.
    pub valid_top5: Option<f64>,
    /// Cross-entropy on the validation part.
    pub valid_loss: Option<f64>,
    /// Accuracy on the test part, looked at once, at the end; none where the settings leave it out.
    pub test_top1: Option<f64>,
    /// Test images whose class is among the five best guesses.
    pub test_top5: Option<f64>,
    /// Cross-entropy on the test part.
    pub test_loss: Option<f64>,
    /// Mean loss of the last epoch.
    pub train_loss: Option<f64>,
    /// Seconds of training steps alone.
    pub train_seconds: f64,
    /// Seconds of everything: set-up, training, evaluation; those before a checkpoint too.
    pub total_seconds: f64,
    /// Steps that were made.
    pub steps: u64,
    /// Images that an epoch trains on.
    pub train_images: u64,
    /// Images a second of training.
    pub images_per_second: f64,
    /// The most memory that this process held, where the system tells.
    pub peak_bytes: Option<u64>,
    /// One record an epoch.
    pub curve: Vec<EpochRecord>,
    /// Why weights or the last checkpoint could not be written, in words that name the file.
    pub unsaved: Option<String>,
}

/// One epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Epochs done.
    pub epoch: u32,
    /// Steps done.
    pub step: u64,
    /// Mean loss of the epoch, with label smoothing and without auxiliary classifiers.
    pub train_loss: f64,
    /// Accuracy on the training images while they were trained on.
    pub train_top1: f64,
    /// Cross-entropy on the validation part; none where nothing is held out.
    pub valid_loss: Option<f64>,
    /// Accuracy on the validation part.
    pub valid_top1: Option<f64>,
    /// The learning rate of the last step.
    pub learning_rate: f64,
    /// Seconds since the training began.
    pub seconds: f64,
}

/// How far a training is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Steps done.
    pub step: u64,
    /// Steps in all.
    pub steps: u64,
    /// The loss, smoothed over the last steps.
    pub loss: f64,
}

/// Looks on while a network is trained.
pub trait Observer {
    /// A step is done, or a batch of an evaluation, before which the step was done.
    fn step(&mut self, _progress: Progress) {}
    /// An epoch is done.
    fn epoch(&mut self, _record: &EpochRecord) {}
    /// Whether to stop after this step, or this batch of an evaluation.
    fn stopped(&self) -> bool {
        false
    }
}

/// Looks away.
pub struct Silent;

impl Observer for Silent {}
