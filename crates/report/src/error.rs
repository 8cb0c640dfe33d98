//! What can keep a report from being drawn.

use std::io;
use std::path::PathBuf;

/// An error of the report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A run cannot be read.
    #[error(transparent)]
    Ledger(#[from] cellwright_ledger::Error),
    /// There is nothing to draw.
    #[error("{} holds no finished trial yet, so there is nothing to draw", run.display())]
    Empty {
        /// The first of the runs.
        run: PathBuf,
    },
    /// There are no simulations.
    #[error("{} holds no simulations to draw", folder.display())]
    NoSimulation {
        /// The folder in question.
        folder: PathBuf,
    },
    /// No run was given.
    #[error("no run was given; name at least one run folder, such as results/NAME")]
    NoRun,
    /// A file of the report cannot be written.
    #[error("cannot write {}: {source}; check the folder's permissions and the free space", path.display())]
    Write {
        /// The file in question.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A chart cannot be drawn, or not be turned into an image.
    #[error("cannot draw {figure}: {reason}")]
    Draw {
        /// The chart in question.
        figure: String,
        /// What the drawing library says.
        reason: String,
    },
}
