//! Tables of trials, learning curves and controller updates, written so that a crash loses nothing.
//!
//! A run is a folder ([`Run`]). Every trial, every learning curve and every batch of controller updates is one
//! small Parquet file in it, which appears whole or not at all: any number of processes can write at the same
//! time, and a kill loses at most the file under way. All files of one folder read as one table, here and in
//! any other program (`polars.read_parquet("RUN/trials/*.parquet")`).
//!
//! [`Simulations`] are kept the same way: the curves of a strategy on a table of known results ([`Table`]) are one file.
//!
//! What the columns are is said once, in [`schema`]: a field of [`Trial`], [`CurvePoint`],
//! [`ControllerUpdate`] or [`SimulationPoint`] is a column of the same name. The same structs cross process boundaries as JSON.
//!
//! ```
//! use cellwright_ledger::{Run, Status, Trial};
//! # let scratch = tempfile::tempdir()?;
//! # let folder = scratch.path().join("run");
//! let run = Run::create(&folder, "trials = 1\n")?;
//! run.write_trial(&Trial {
//!     id: run.next_trial_id()?,
//!     space: "NASNet".into(),
//!     valid_top1: Some(0.913),
//!     status: Status::Done,
//!     ..Trial::default()
//! })?;
//! let trials = Run::open(&folder)?.trials()?;
//! assert_eq!(trials.rows[0].valid_top1, Some(0.913));
//! assert!(trials.skipped.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod durable;
mod error;
mod files;
mod parquet;
mod record;
mod run;
pub mod schema;
mod shell;
mod simulations;
mod table;
mod time;
mod value;

pub use error::Error;
pub use record::{ColumnSpec, Record, Rows, Skipped};
pub use run::Run;
pub use schema::{ControllerUpdate, CurvePoint, Kind, SimulationPoint, Status, Trial};
pub use shell::quoted;
pub use simulations::Simulations;
pub use table::Table;
pub use time::timestamp;

pub use polars::frame::DataFrame;
