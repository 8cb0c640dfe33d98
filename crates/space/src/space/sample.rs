//! Architectures at random, and the first one.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Space;
use crate::Choices;

/// How often the search for choices that meet all conditions goes back before it begins anew, and how often it begins.
const MOST_TRIES: usize = 500;
const MOST_ATTEMPTS: u64 = 100;
/// As many architectures cover the options of a space at most.
const MOST_COVERING: usize = 1_000;

/// Which of the open options of a decision is taken: its place among them.
type Pick<'p> = &'p mut dyn FnMut(usize, &[u32]) -> usize;

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
        let mut pick = |_: usize, open: &[u32]| rng.random_range(0..open.len());
        let found = (0..MOST_ATTEMPTS).find_map(|_| self.decide(&mut pick));
        found.unwrap_or_else(|| self.first())
    }

    /// Architectures in which each option occurs that can be chosen, as far as 1,000 suffice: each decision takes the
    /// option that was taken least.
    #[must_use]
    pub fn covering(&self) -> Vec<Choices> {
        let sizes = self.decisions().iter().map(|it| it.options.len());
        let mut taken: Vec<Vec<usize>> = sizes.map(|size| vec![0; size]).collect();
        let mut all = vec![self.first()];
        loop {
            let mut new = 0;
            for (counts, choice) in taken.iter_mut().zip(&all[all.len() - 1].0) {
                let count = &mut counts[*choice as usize];
                new += usize::from(*count == 0);
                *count += 1;
            }
            // The last one showed nothing that the others had not.
            if new == 0 || all.len() == MOST_COVERING {
                return all;
            }
            let mut pick = |decision: usize, open: &[u32]| {
                let taken = |place: &usize| taken[decision][open[*place] as usize];
                (0..open.len()).min_by_key(taken).unwrap_or(0)
            };
            match self.decide(&mut pick) {
                Some(choices) => all.push(choices),
                None => return all,
            }
        }
    }

    /// The first architecture: the first option where that leads to one, or else the first that is found at random.
    pub(super) fn find_first(&self) -> Option<Choices> {
        let rest = (0..MOST_ATTEMPTS).map(Some);
        std::iter::once(None).chain(rest).find_map(|seed| {
            let mut rng = seed.map(ChaCha8Rng::seed_from_u64);
            self.decide(&mut |_, open| {
                let drawn = rng.as_mut().map(|rng| rng.random_range(0..open.len()));
                drawn.unwrap_or(0)
            })
        })
    }

    /// Decides everything. Where a condition of the space leaves nothing legal, it goes back, [`MOST_TRIES`]
    /// times at most. None: nothing was found.
    fn decide(&self, pick: Pick<'_>) -> Option<Choices> {
        let decisions = self.decisions();
        let most = decisions.iter().map(|it| it.options.len()).max();
        let all: Vec<u32> = (0..most.unwrap_or(0) as u32).collect();
        let mut prefix = Vec::with_capacity(decisions.len());
        let mut tries = MOST_TRIES;
        // What was tried and found to lead nowhere, for each decision.
        let mut tried: Vec<Vec<u32>> = Vec::new();
        while prefix.len() < decisions.len() {
            let depth = prefix.len();
            let decision = &decisions[depth];
            if decision.unconditional && tried.get(depth).is_none_or(Vec::is_empty) {
                prefix.push(pick(depth, &all[..decision.options.len()]) as u32);
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
            prefix.push(open[pick(depth, &open)]);
        }
        Some(Choices(prefix))
    }
}
