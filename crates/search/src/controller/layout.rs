//! Where the decisions of a space lie in the controller's parameters.

use std::collections::HashMap;

use cellwright_space::{Choices, Space};

/// Decisions with the same options are of one kind: they share the softmax's weights and the embedding
/// of a choice, so what is learned about an operation in one place is known in all others.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    space: Space,
    decisions: Vec<Place>,
    /// Options of all kinds, of all decisions.
    kind_options: usize,
    options: usize,
}

/// A decision.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Its first option among those of all kinds.
    pub kind: usize,
    /// Its first option among those of all decisions.
    pub first: usize,
    /// Its number of options.
    pub count: usize,
}

/// The choices of one architecture, with what could have been chosen.
#[derive(Debug, Clone)]
pub(super) struct Sequence {
    /// One for each decision.
    pub choices: Choices,
    /// The legal options of each decision.
    pub legal: Vec<Vec<bool>>,
}

impl Layout {
    pub fn new(space: &Space) -> Self {
        let mut kinds: HashMap<&[String], usize> = HashMap::new();
        let (mut kind_options, mut options) = (0, 0);
        let mut decisions = Vec::with_capacity(space.decisions().len());
        for decision in space.decisions() {
            let count = decision.options.len();
            let kind = *kinds.entry(&decision.options).or_insert_with(|| {
                kind_options += count;
                kind_options - count
            });
            decisions.push(Place {
                kind,
                first: options,
                count,
            });
            options += count;
        }
        Layout {
            space: space.clone(),
            decisions,
            kind_options,
            options,
        }
    }

    /// All decisions.
    pub fn decisions(&self) -> &[Place] {
        &self.decisions
    }

    /// Options of all kinds.
    pub fn kind_options(&self) -> usize {
        self.kind_options
    }

    /// Options of all decisions.
    pub fn options(&self) -> usize {
        self.options
    }

    /// Different inputs: the beginning and each option of each kind.
    pub fn tokens(&self) -> usize {
        1 + self.kind_options
    }

    /// The input before a decision: what was chosen in the one before.
    pub fn token(&self, prefix: &[u32]) -> usize {
        match prefix.split_last() {
            Some((last, before)) => 1 + self.decisions[before.len()].kind + *last as usize,
            None => 0,
        }
    }

    /// What can be chosen after a prefix.
    pub fn legal(&self, prefix: &[u32]) -> Vec<bool> {
        let decision = &self.space.decisions()[prefix.len()];
        if decision.unconditional {
            return vec![true; decision.options.len()];
        }
        self.space.legal(prefix)
    }

    /// An architecture with what could have been chosen.
    pub fn sequence(&self, choices: Choices) -> Sequence {
        let legal = |index| self.legal(&choices.0[..index]);
        Sequence {
            legal: (0..choices.0.len()).map(legal).collect(),
            choices,
        }
    }
}
