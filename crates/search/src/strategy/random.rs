//! Random search (Bergstra & Bengio 2012): the strategy that every other one must beat.

use cellwright_space::{Choices, Space};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{Best, Strategy};
use crate::Error;
use crate::identity::Identities;

/// Architectures of a batch: enough to keep several workers busy.
const BATCH: usize = 8;

struct Random {
    space: Space,
    rng: ChaCha8Rng,
    best: Best,
}

/// Makes the strategy.
#[allow(clippy::unnecessary_wraps)] // the form of all strategies
pub(super) fn make(identities: &Identities, seed: u64) -> Result<Box<dyn Strategy>, Error> {
    Ok(Box::new(Random {
        space: identities.space().clone(),
        rng: ChaCha8Rng::seed_from_u64(seed),
        best: Best::default(),
    }))
}

impl Strategy for Random {
    fn ask(&mut self) -> Vec<Choices> {
        (0..BATCH)
            .map(|_| self.space.sample(&mut self.rng))
            .collect()
    }

    fn tell(&mut self, told: &[(Choices, Option<f64>)]) -> Result<(), Error> {
        self.best.tell(told);
        Ok(())
    }

    fn recommend(&self) -> Option<Choices> {
        self.best.choices()
    }
}
