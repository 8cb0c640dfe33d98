//! What makes a training impossible. A training that goes wrong is an outcome, not an error.

use std::path::PathBuf;

/// A training that cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting is out of its range.
    #[error("training setting {name}: {reason}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// What it is and what it can be.
        reason: String,
    },
    /// The network and the images do not go together.
    #[error(
        "the network is for {network}, and the images of {dataset} are {images}; build it for these"
    )]
    Images {
        /// Shape and classes of the network.
        network: String,
        /// The data set.
        dataset: String,
        /// Shape and classes of its images.
        images: String,
    },
    /// The network is larger than the machine's memory.
    #[error(
        "its {parameters} parameters and the activations of {batch} images take {needed} GiB at least, and this machine has \
         {there}; {next}"
    )]
    Memory {
        /// Learnable parameters.
        parameters: u64,
        /// Images of a batch.
        batch: usize,
        /// What weights, gradients, momentum and the largest activation take, in GiB.
        needed: u64,
        /// What there is, in GiB.
        there: u64,
        /// What to do.
        next: &'static str,
    },
    /// The network.
    #[error(transparent)]
    Network(#[from] cellwright_net::Error),
    /// An operation or the device.
    #[error(transparent)]
    Operation(#[from] cellwright_ops::Error),
    /// The images.
    #[error(transparent)]
    Data(#[from] cellwright_data::Error),
    /// A checkpoint that cannot be read or written, or is of another training.
    #[error("checkpoint {path}: {reason}")]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
}
