//! Operations that are all traffic and no arithmetic: sums, products, copies and masks.

pub mod combine;
pub mod concat;
pub mod dropout;
pub mod gate;
pub mod global_avg_pool;
pub mod random;
pub mod subsample;
#[cfg(test)]
mod tests;
pub mod truncate;

pub use combine::{Branch, DropPath, add, add_branches, drop_path, mean};
pub use concat::concat;
pub use dropout::dropout;
pub use gate::multiply;
pub use global_avg_pool::global_avg_pool;
pub use subsample::{subsample, zero};
pub use truncate::truncate;
