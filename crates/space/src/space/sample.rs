//! Architectures at random, and the first one.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Space;
use crate::Choices;

/// How often the search for choices that meet all conditions goes back before it begins anew.
const MOST_TRIES: usize = 50;
/// How much it looks at before it gives up: all decisions, each time that it asks what is legal, and for each
/// option [`PARTS_AT_ONCE`] parts of the conditions.
const MOST_WORK: usize = 10_000_000;
/// So many parts of a condition are as fast to look at as a decision.
const PARTS_AT_ONCE: usize = 8;
/// As many architectures cover the options of a space at most.
const MOST_COVERING: usize = 1_000;
/// So many in a row that show nothing new mean that there is nothing more, or that it hides behind too many conditions.
const MOST_BARREN: usize = 64;

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
        let found = self.find(&mut |_, open| rng.random_range(0..open.len()));
        found.unwrap_or_else(|| self.first())
    }

    /// Architectures in which each option occurs that can be chosen, each with some that those before it do not show:
    /// decisions take the option that was taken least, or where that showed nothing new any, until many architectures in
    /// a row show nothing new.
    #[must_use]
    pub fn covering(&self) -> Vec<Choices> {
        let sizes = self.decisions().iter().map(|it| it.options.len());
        let mut taken: Vec<Vec<usize>> = sizes.map(|size| vec![0; size]).collect();
        let (mut all, mut found, mut barren) = (Vec::new(), Some(self.first()), 0);
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        while let Some(choices) = found {
            let mut shows_more = false;
            for (decision, counts) in taken.iter_mut().enumerate() {
                // An inactive one shows nothing.
                if self.is_active(&choices.0[..decision]) {
                    let count = &mut counts[choices.0[decision] as usize];
                    shows_more |= *count == 0;
                    *count += 1;
                }
            }
            barren = if shows_more { 0 } else { barren + 1 };
            if shows_more || all.is_empty() {
                all.push(choices);
            }
            if barren == MOST_BARREN || all.len() == MOST_COVERING {
                break;
            }
            let mut pick = |decision: usize, open: &[u32]| {
                if barren % 2 == 1 {
                    return rng.random_range(0..open.len());
                }
                let taken = |place: &usize| taken[decision][open[*place] as usize];
                (0..open.len()).min_by_key(taken).unwrap_or(0)
            };
            let mut work = MOST_WORK;
            found = self.decide(&mut pick, &mut work);
        }
        all
    }

    /// The first architecture: the first option where that leads to one, or else the first that is found at random.
    pub(super) fn find_first(&self) -> Option<Choices> {
        let (mut rng, mut work) = (ChaCha8Rng::seed_from_u64(0), MOST_WORK);
        let first = self.decide(&mut |_, _| 0, &mut work);
        first.or_else(|| self.find(&mut |_, open| rng.random_range(0..open.len())))
    }

    /// Decides everything, anew as long as there is work left; none where nothing was found.
    fn find(&self, pick: Pick<'_>) -> Option<Choices> {
        let mut work = MOST_WORK;
        while work > 0 {
            let found = self.decide(pick, &mut work);
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// Decides everything. Where a condition of the space leaves nothing legal, it goes back, [`MOST_TRIES`]
    /// times at most. None: nothing was found, and nothing is to be found where no work is left.
    fn decide(&self, pick: Pick<'_>, work: &mut usize) -> Option<Choices> {
        let decisions = self.decisions();
        let most = decisions.iter().map(|it| it.options.len()).max();
        let all: Vec<u32> = (0..most.unwrap_or(0) as u32).collect();
        let conditions = self.program().require.iter();
        let conditions: usize = conditions
            .map(|(it, _)| it.size().div_ceil(PARTS_AT_ONCE))
            .sum();
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
            let looked = decisions.len() + conditions.saturating_mul(decision.options.len());
            *work = work.saturating_sub(looked);
            let legal = self.legal(&prefix);
            let open: Vec<u32> = (0..legal.len() as u32)
                .filter(|option| legal[*option as usize] && !tried[depth].contains(option))
                .collect();
            if open.is_empty() {
                tries = tries.checked_sub(1).filter(|_| *work > 0)?;
                tried[depth].clear();
                let Some(last) = prefix.pop() else {
                    // All was tried.
                    *work = 0;
                    return None;
                };
                tried.resize(tried.len().max(depth), Vec::new());
                tried[depth - 1].push(last);
                continue;
            }
            prefix.push(open[pick(depth, &open)]);
        }
        Some(Choices(prefix))
    }
}
