//! A canonical name of what a graph computes, so that duplicates are recognised.
//!
//! Two graphs have one identity where they differ only in the order of their nodes, in the order of
//! the inputs of a sum, in names, or in parts that change nothing (`simplify` lists them). What has
//! weights of its own, or draws at random, is an instance: using one result twice is not the same
//! as computing it twice with two sets of weights.

mod outline;
mod refine;
mod simplify;
#[cfg(test)]
mod tests;
mod text;

use cellwright_space::{Choices, Equivalence, Space};
use xxhash_rust::xxh3::xxh3_128;

use crate::{Error, Graph, Shape};

impl Graph {
    /// The canonical identity: 32 hexadecimal digits, equal for equal computations.
    #[must_use]
    pub fn identity(&self) -> String {
        format!("{:032x}", refine::digest(&simplify::simplify(self)))
    }
}

/// A number that two architectures of a space share where they count as one.
///
/// - [`Equivalence::Computation`] is [`Graph::identity`].
/// - [`Equivalence::Graph`] is the graph of all that feeds the output, each chosen operation one vertex
///   with its name, up to isomorphism; the order of inputs counts nowhere. This is how Ying et al. 2019
///   (arXiv 1902.09635, section 2.2) count cells.
/// - [`Equivalence::Expression`] is the text of the output with each cell written out over its inputs; this
///   is how Dong & Yang 2020 (arXiv 2001.00326) count cells. Sums in sums are told apart where the order
///   of the texts happens to tell them apart, and sharing is not seen.
///
/// # Errors
/// [`Error`] as for [`Graph::build`]; for [`Equivalence::Expression`] also that the text is too long.
pub fn class(
    space: &Space,
    choices: &Choices,
    input: Shape,
    classes: usize,
    by: Equivalence,
) -> Result<u128, Error> {
    if by == Equivalence::Computation {
        let graph = Graph::build(space, choices, input, classes)?;
        return Ok(refine::digest(&simplify::simplify(&graph)));
    }
    let mut outline = outline::Outline::new(input, by == Equivalence::Expression);
    let output = space.expand(choices, 0, classes, &mut outline)?;
    match by {
        Equivalence::Expression => {
            let text = outline.text(output).map_err(Error::Expression)?;
            Ok(xxh3_128(text.as_bytes()))
        }
        _ => Ok(outline.colour(output)),
    }
}
