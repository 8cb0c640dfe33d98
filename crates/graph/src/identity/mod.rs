//! A canonical name of what a graph computes, so that duplicates are recognised.
//!
//! Two graphs have one identity where they differ only in the order of their nodes, in the order of
//! the inputs of a sum, in names, or in parts that change nothing (`simplify` lists them). What has
//! weights of its own, or draws at random, is an instance: using one result twice is not the same
//! as computing it twice with two sets of weights.

mod refine;
mod simplify;
#[cfg(test)]
mod tests;

use crate::Graph;

impl Graph {
    /// The canonical identity: 32 hexadecimal digits, equal for equal computations.
    #[must_use]
    pub fn identity(&self) -> String {
        format!("{:032x}", refine::digest(&simplify::simplify(self)))
    }
}
