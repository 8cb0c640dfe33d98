//! Data sets, splits, augmentation, and a loader that never makes training wait.
//!
//! - [`source`]: where data sets come from. [`load`] takes a name (`digits`, `fashion-mnist`, `cifar10`) or the
//!   path of a folder of images; [`fetch`] downloads. A new source is one file and one line in [`sources`].
//! - [`Dataset`]: images as bytes, a training and a test part, per-channel mean and standard deviation.
//! - [`split`] and [`subset`]: stratified and seeded.
//! - [`Plan`]: which images make up each batch, and what is drawn for each.
//! - [`Loader`]: batches of normalised `f32`, prepared ahead on a thread of its own.
//!
//! ```
//! use cellwright_data::{Loader, Part, Plan, load, split};
//! use std::{path::Path, sync::Arc};
//!
//! # fn main() -> Result<(), cellwright_data::Error> {
//! let digits = Arc::new(load("digits", Path::new("data"))?);
//! let parts = split(&digits.train.labels, 0.1, 7);
//! let epoch = 0;
//! let plan = Plan::train(Arc::clone(&digits), parts.train, 32, digits.augmentation, 7, epoch)?;
//! for batch in Loader::start(plan)? {
//!     assert_eq!(batch.pixels.len(), 32 * 8 * 8);
//! }
//! let plan = Plan::evaluate(Arc::clone(&digits), Part::Train, parts.valid, 32)?;
//! for batch in Loader::start(plan)? {
//!     assert!(batch.len() <= 32);
//! }
//! # Ok(())
//! # }
//! ```

mod augmentation;
mod error;
mod fetch;
mod format;
mod images;
mod loader;
mod plan;
pub mod source;
mod split;

pub use augmentation::{Augmentation, Draw};
pub use error::Error;
pub use fetch::Progress;
pub use images::{Dataset, Images, Part};
pub use loader::{Batch, Loader};
pub use plan::Plan;
pub use source::{Fetched, Location, Source, fetch, is_present, load, sources};
pub use split::{Split, split, subset};
