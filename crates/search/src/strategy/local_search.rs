//! Local search after White, Nolen & Savani (2021), arXiv 2005.02960: from an architecture at random to the first better one
//! among its neighbours in random order; where none is better, from another one.
//!
//! The paper's algorithm looks at all neighbours and goes to the best of them; this is a variant of it.

use cellwright_space::{Choices, Space};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::{Best, Strategy};
use crate::Error;
use crate::identity::Identities;

struct LocalSearch {
    space: Space,
    rng: ChaCha8Rng,
    /// Where it stands, with its reward; nowhere before a start has been told.
    here: Option<f64>,
    /// Neighbours that have not been asked for, in random order, the next one last.
    open: Vec<Choices>,
    best: Best,
}

/// Makes the strategy.
#[allow(clippy::unnecessary_wraps)] // the form of all strategies
pub(super) fn make(identities: &Identities, seed: u64) -> Result<Box<dyn Strategy>, Error> {
    Ok(Box::new(LocalSearch {
        space: identities.space().clone(),
        rng: ChaCha8Rng::seed_from_u64(seed),
        here: None,
        open: Vec::new(),
        best: Best::default(),
    }))
}

impl Strategy for LocalSearch {
    fn ask(&mut self) -> Vec<Choices> {
        if let Some(next) = self.open.pop() {
            return vec![next];
        }
        self.here = None;
        vec![self.space.sample(&mut self.rng)]
    }

    fn tell(&mut self, told: &[(Choices, Option<f64>)]) -> Result<(), Error> {
        self.best.tell(told);
        for (choices, reward) in told {
            let Some(reward) = reward.filter(|it| !it.is_nan()) else {
                continue;
            };
            if self.here.is_none_or(|here| reward > here) {
                self.here = Some(reward);
                self.open = self.space.neighbours(choices);
                self.open.shuffle(&mut self.rng);
            }
        }
        Ok(())
    }

    fn recommend(&self) -> Option<Choices> {
        self.best.choices()
    }
}
