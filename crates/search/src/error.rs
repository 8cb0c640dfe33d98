//! What makes a search impossible. A trial that fails is a row, not an error.

use std::path::PathBuf;

/// A search that cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A space file is wrong.
    #[error(transparent)]
    Space(Box<cellwright_space::Errors>),
    /// An architecture cannot be built for the images at hand.
    #[error(transparent)]
    Graph(Box<cellwright_graph::Error>),
    /// A run.toml is wrong.
    #[error("{path}: {message}")]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its place.
        message: String,
    },
    /// A baseline that has decisions.
    #[error(
        "{path} cannot be a baseline: it has {decisions} decisions; search it with --space, or train one \
         architecture of it with `cellwright train`"
    )]
    NotABaseline {
        /// The file.
        path: PathBuf,
        /// How many it has.
        decisions: usize,
    },
    /// A resumed run asks for other architectures, or for other epochs, than it did before.
    #[error(
        "trial {id} of this run is of another architecture, or of other epochs, than the run would try now: its run.toml or this \
         program has changed; start a new run"
    )]
    Diverged {
        /// The trial.
        id: u32,
    },
    /// Images that are not those of a run.
    #[error(
        "the images of {dataset} are others than when the run began, and its rows would not compare: bring those back (--data \
         and --dataset say where they are), or start a new run with these"
    )]
    OtherImages {
        /// The data set.
        dataset: String,
    },
    /// No architecture can be built for the images at hand.
    #[error(
        "{space} has no architecture for images of {images}, as far as {tried} of them at random say; the first: {reason}"
    )]
    NothingBuilds {
        /// The space's name.
        space: String,
        /// Shape and classes of the images.
        images: String,
        /// How many were tried.
        tried: usize,
        /// Why the first of them cannot be built.
        reason: String,
    },
    /// An unknown strategy.
    #[error("there is no strategy '{name}'; there are: {known}")]
    Strategy {
        /// The name.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A table of known results that holds nothing of the space.
    #[error(
        "{path} holds no architecture of {space}: no column of texts has one in the space's notation, such as \
         {example}"
    )]
    NoArchitectures {
        /// The table.
        path: PathBuf,
        /// The space's name.
        space: String,
        /// An architecture in the space's notation.
        example: String,
    },
    /// A table whose architectures have no results.
    #[error(
        "{path} holds {architectures} architectures of {space}, and none with a result in {columns}"
    )]
    NoResults {
        /// The table.
        path: PathBuf,
        /// The space's name.
        space: String,
        /// How many rows are architectures of the space.
        architectures: usize,
        /// The columns that were asked for.
        columns: String,
    },
    /// Threads that the system does not give.
    #[error("cannot start threads: {0}; name fewer with --threads")]
    Threads(String),
    /// A thread for each slot that the system does not give.
    #[error(
        "cannot start a thread for each of {slots} workers: {reason}; name fewer with --workers"
    )]
    Slots {
        /// How many there were to be.
        slots: usize,
        /// What the system says.
        reason: std::io::Error,
    },
    /// Successive halving with numbers that do not fit, in words.
    #[error("{0}")]
    Halving(String),
    /// The user asked to stop.
    #[error("stopped")]
    Stopped,
    /// The user asked to stop a training whose files could not be written; why, in words.
    #[error("stopped; not saved: {0}")]
    Lost(String),
    /// A worker process.
    #[error("worker: {0}")]
    Worker(String),
    /// A device that is not there.
    #[error("{0}")]
    Device(String),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] cellwright_ledger::Error),
    /// The images.
    #[error(transparent)]
    Data(#[from] cellwright_data::Error),
    /// The training.
    #[error(transparent)]
    Train(#[from] cellwright_train::Error),
    /// The controller's network.
    #[error("the controller: {0}")]
    Controller(String),
}
