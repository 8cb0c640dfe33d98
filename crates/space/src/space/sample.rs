//! Architectures at random, and the first one.

use rand::RngExt;

use super::Space;
use crate::Choices;

/// How often the search for choices that meet all conditions goes back.
const MOST_TRIES: usize = 10_000;

impl Space {
    /// The choices with the first legal option everywhere.
    #[must_use]
    pub fn first(&self) -> Choices {
        self.0.first.clone()
    }

    /// An architecture at random: each decision uniform over its legal options. Where the conditions of
    /// the space are so narrow that none is found so, the first one.
    #[must_use]
    pub fn sample(&self, rng: &mut impl rand::Rng) -> Choices {
        self.decide(&mut |count| rng.random_range(0..count))
            .unwrap_or_else(|| self.first())
    }

    /// Decides everything, `pick` one of so many legal options. Where a condition of the space leaves
    /// nothing legal, it goes back, [`MOST_TRIES`] times at most. None: nothing was found.
    pub(super) fn decide(&self, pick: &mut dyn FnMut(usize) -> usize) -> Option<Choices> {
        let decisions = self.decisions();
        let mut prefix = Vec::with_capacity(decisions.len());
        let mut tries = MOST_TRIES;
        // What was tried and found to lead nowhere, for each decision.
        let mut tried: Vec<Vec<u32>> = Vec::new();
        while prefix.len() < decisions.len() {
            let depth = prefix.len();
            let decision = &decisions[depth];
            if decision.unconditional && tried.get(depth).is_none_or(Vec::is_empty) {
                prefix.push(pick(decision.options.len()) as u32);
                continue;
            }
            tried.resize(tried.len().max(depth + 1), Vec::new());
            let legal = self.legal(&prefix);
            let open: Vec<u32> = (0..legal.len() as u32)
                .filter(|option| legal[*option as usize] && !tried[depth].contains(option))
                .collect();
            if open.is_empty() {
                tries = tries.checked_sub(1)?;
                tried[depth].clear();
                let last = prefix.pop()?;
                tried.resize(tried.len().max(depth), Vec::new());
                tried[depth - 1].push(last);
                continue;
            }
            prefix.push(open[pick(open.len())]);
        }
        Some(Choices(prefix))
    }
}
