//! What can go wrong with a network.

use std::path::PathBuf;

/// A network that cannot be built, run, saved or loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The graph is not one that networks are built from.
    #[error("layer {layer}: {detail}")]
    Graph {
        /// The layer's name.
        layer: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A layer's operation failed.
    #[error("layer {layer}: {source}")]
    Operation {
        /// The layer's name.
        layer: String,
        /// What the operation said.
        source: cellwright_ops::Error,
    },
    /// The input does not fit the network.
    #[error("the network takes images of {expected}, and got {found}")]
    Input {
        /// What the network was built for.
        expected: String,
        /// What it got.
        found: String,
    },
    /// The device failed.
    #[error(transparent)]
    Device(#[from] cellwright_ops::Error),
    /// A file of weights could not be read or written.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system or the format says.
        reason: String,
    },
    /// A file of weights is of another network.
    #[error("{path} does not fit this network: {reason}")]
    Weights {
        /// The file.
        path: PathBuf,
        /// Which tensors are missing, left over or of another shape.
        reason: String,
    },
}
