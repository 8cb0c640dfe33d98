//! An evaluator turns a request into a trial's row. What crosses the boundary is plain data, so
//! that the row can be made in this process ([`Local`]), in a process beside it ([`Processes`]), or
//! by a scheduler elsewhere.

use std::path::PathBuf;
use std::time::Duration;

use cellwright_graph::Shape;
use cellwright_ledger::{CurvePoint, Kind, Trial};
use cellwright_space::Choices;
use cellwright_train::Settings;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::objective::Limit;
use crate::run::{DatasetConfig, DeviceSpec, SpaceSource};

mod admission;
mod local;
mod process;
mod row;
mod worker;

#[cfg(feature = "cuda")]
pub(crate) use local::cuda_available;
pub use local::{Local, check_precision, profile};
pub use process::Processes;
pub(crate) use row::{describe, message, refused};
pub use worker::serve;

/// How often one that waits looks whether the user wants to stop.
const PATIENCE: Duration = Duration::from_millis(100);

/// All that is needed to evaluate one architecture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The trial's number in its run.
    pub id: u32,
    /// What the trial is for.
    pub kind: Kind,
    /// The space.
    pub space: SpaceSource,
    /// The architecture in it.
    pub choices: Choices,
    /// The trial whose architecture is trained again, if this is one.
    pub source: Option<u32>,
    /// The strategy that asked for it, for the table.
    pub strategy: String,
    /// The images.
    pub dataset: DatasetConfig,
    /// The shape of one image.
    pub input: Shape,
    /// The number of classes.
    pub classes: usize,
    /// The rung of successive halving that it is trained on, 0 the lowest, if it is.
    pub rung: Option<u32>,
    /// What it may cost; beyond that it is not trained.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Limit>,
    /// How it is trained; its seed is this trial's own.
    pub training: Settings,
    /// Where tensors live.
    pub device: DeviceSpec,
    /// Threads of the training.
    pub threads: usize,
    /// Where the trained weights go, if anywhere.
    pub weights: Option<PathBuf>,
    /// Where the training's state is kept after each epoch, and read from, if anywhere.
    pub checkpoint: Option<PathBuf>,
}

/// What an evaluation gives: the trial's row and its learning curve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The row of the trials' table, of a trial that is done, failed or refused.
    pub trial: Trial,
    /// One point an epoch.
    pub curve: Vec<CurvePoint>,
    /// Why the trained weights or the training's state could not be written, in words, where they were to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsaved: Option<String>,
}

/// How far a trial is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Training steps done.
    pub step: u64,
    /// Training steps in all.
    pub steps: u64,
    /// The mean training loss of late.
    pub loss: f64,
}

/// Looks on while a trial is under way.
pub trait Watch: Sync {
    /// A step is done.
    fn progress(&self, progress: Progress);
    /// Whether the user wants to stop: the trial under way ends without a row.
    fn stopped(&self) -> bool;
}

/// Turns requests into rows.
///
/// A trial that fails (it diverges, runs out of memory, takes too long, or its process dies) is a
/// row with its reason, not an error.
pub trait Evaluator: Sync {
    /// How many requests can be under way at a time.
    fn slots(&self) -> usize;

    /// Evaluates one request on a slot (0..slots), of which no other request is under way.
    ///
    /// # Errors
    /// [`Error::Stopped`] when `watch` says so; others when no request can be evaluated at all (no
    /// images, no device).
    fn evaluate(&self, slot: usize, request: &Request, watch: &dyn Watch) -> Result<Row, Error>;
}
