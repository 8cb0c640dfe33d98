//! Which architectures are the same computation.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use cellwright_graph::{Graph, Shape};
use cellwright_space::{Choices, Space};
use rayon::prelude::*;

/// The identities of a space's architectures, each computed once; clones share what they know.
#[derive(Debug, Clone)]
pub struct Identities {
    space: Space,
    input: Shape,
    classes: usize,
    costs: bool,
    known: Arc<RwLock<HashMap<Choices, Arc<str>>>>,
}

/// So many identities are kept; those beyond are computed again.
const KEPT: usize = 100_000;

impl Identities {
    /// For images of a shape and a number of classes.
    #[must_use]
    pub fn new(space: &Space, input: Shape, classes: usize) -> Self {
        Identities {
            space: space.clone(),
            input,
            classes,
            costs: false,
            known: Arc::default(),
        }
    }

    /// Tells architectures of the same computation apart where their parameters or MACs differ: layers of which nothing
    /// comes are no part of the computation, but cost what they cost.
    #[must_use]
    pub fn with_costs(self) -> Self {
        Identities {
            costs: true,
            known: Arc::default(),
            ..self
        }
    }

    /// For the images that the space file names: what is equal for one shape of images is equal for
    /// another.
    #[must_use]
    pub fn of_space(space: &Space) -> Self {
        let usual = Shape {
            height: 32,
            width: 32,
            channels: 3,
        };
        let input = space.default_input().unwrap_or(usual);
        Self::new(space, input, space.default_classes().unwrap_or(10))
    }

    /// The space.
    #[must_use]
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// The identity of an architecture. One that cannot be built for these images has one of its own.
    #[must_use]
    pub fn get(&self, choices: &Choices) -> Arc<str> {
        // What is kept is whole at any time, so a thread that panicked beside does no harm.
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(identity) = known.get(choices) {
            return identity.clone();
        }
        drop(known);
        let identity: Arc<str> = Graph::build(&self.space, choices, self.input, self.classes)
            .map_or_else(
                |_| format!("invalid {choices}"),
                |graph| match (graph.identity(), self.costs) {
                    (identity, false) => identity,
                    (identity, true) => format!("{identity} {} {}", graph.params(), graph.macs()),
                },
            )
            .into();
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() < KEPT {
            known.insert(choices.clone(), identity.clone());
        }
        identity
    }

    /// The identities of architectures, in their order, by all threads.
    #[must_use]
    pub fn all(&self, architectures: &[Choices]) -> Vec<Arc<str>> {
        architectures.par_iter().map(|it| self.get(it)).collect()
    }
}
