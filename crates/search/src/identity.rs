//! Which architectures are the same computation.

use std::collections::HashMap;

use cellwright_graph::{Graph, Shape};
use cellwright_space::{Choices, Space};

/// The identities of a space's architectures, each computed once.
#[derive(Debug, Clone)]
pub(crate) struct Identities {
    space: Space,
    input: Shape,
    classes: usize,
    known: HashMap<Choices, String>,
}

/// So many identities are kept; those beyond are computed again.
const KEPT: usize = 100_000;

impl Identities {
    /// For images of a shape and a number of classes.
    pub fn new(space: &Space, input: Shape, classes: usize) -> Self {
        Identities {
            space: space.clone(),
            input,
            classes,
            known: HashMap::new(),
        }
    }

    /// For the images that the space file names: what is equal for one shape of images is equal for
    /// another.
    pub fn of_space(space: &Space) -> Self {
        let usual = Shape {
            height: 32,
            width: 32,
            channels: 3,
        };
        let input = space.default_input().unwrap_or(usual);
        Self::new(space, input, space.default_classes().unwrap_or(10))
    }

    /// The identity of an architecture. One that cannot be built for these images has one of its own.
    pub fn get(&mut self, choices: &Choices) -> String {
        if let Some(identity) = self.known.get(choices) {
            return identity.clone();
        }
        let identity = Graph::build(&self.space, choices, self.input, self.classes)
            .map_or_else(|_| format!("invalid {choices}"), |graph| graph.identity());
        if self.known.len() < KEPT {
            self.known.insert(choices.clone(), identity.clone());
        }
        identity
    }
}
