//! Trains a network and evaluates it: optimiser, schedule, regularisation, checkpoints.
//!
//! [`train()`] takes a graph, a data set and [`Settings`], and gives an [`Outcome`]. The same settings
//! give the same bits on the CPU, for any number of threads, whether or not the training was
//! interrupted and went on from a checkpoint. [`profile()`] times a training step, [`latency()`] one image.

mod checkpoint;
mod error;
mod evaluate;
mod feed;
mod latency;
mod memory;
mod outcome;
mod pace;
mod profile;
mod programmed;
mod schedule;
mod settings;
mod step;
mod trainer;

pub use cellwright_ops::program::Precision;
pub use error::Error;
pub use latency::latency;
pub use memory::device_bytes;
pub use outcome::{EpochRecord, Observer, Outcome, Progress, Silent, Status};
pub use profile::{Profile, profile};
pub use schedule::learning_rate;
pub use settings::{Optimizer, Settings};
pub use trainer::{Files, train};
