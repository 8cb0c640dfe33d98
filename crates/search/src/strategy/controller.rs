//! The controller as a strategy: it samples a batch, is told the rewards, and learns.

use std::collections::HashSet;

use cellwright_ledger::ControllerUpdate;
use cellwright_space::{Choices, Space};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{Best, Strategy};
use crate::Error;
use crate::controller::{Controller, Settings};

/// So often are samples that are known already replaced by others.
const ROUNDS: usize = 10;
/// So many single changes are then tried on a known architecture.
const CHANGES: usize = 20;

struct Search {
    space: Space,
    controller: Controller,
    rng: ChaCha8Rng,
    best: Best,
    /// All that was told.
    known: HashSet<Choices>,
    updates: Vec<ControllerUpdate>,
}

/// PPO, for tens to hundreds of trials.
pub(super) fn make(space: &Space, seed: u64) -> Result<Box<dyn Strategy>, Error> {
    with(space, seed, Settings::DEFAULT)
}

/// REINFORCE.
pub(super) fn reinforce(space: &Space, seed: u64) -> Result<Box<dyn Strategy>, Error> {
    with(space, seed, Settings::REINFORCE)
}

/// The NASNet paper's settings.
pub(super) fn nasnet(space: &Space, seed: u64) -> Result<Box<dyn Strategy>, Error> {
    with(space, seed, Settings::NASNET)
}

/// A controller with settings of one's own.
///
/// # Errors
/// [`Error::Controller`] when its network cannot be built.
pub fn with(space: &Space, seed: u64, settings: Settings) -> Result<Box<dyn Strategy>, Error> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    Ok(Box::new(Search {
        space: space.clone(),
        controller: Controller::new(space, settings, &mut rng)?,
        rng,
        best: Best::default(),
        known: HashSet::new(),
        updates: Vec::new(),
    }))
}

impl Search {
    /// Samples; what the policy cannot give, for conditions of the space, is uniform.
    fn sample(&mut self, count: usize) -> Vec<Choices> {
        let sampled = self.controller.sample(count, &mut self.rng);
        let mut sampled = sampled.unwrap_or_default();
        while sampled.len() < count {
            sampled.push(self.space.sample(&mut self.rng));
        }
        sampled
    }

    /// An architecture near a known one that is not known, if there is one within reach.
    fn near(&mut self, choices: Choices, batch: &[Choices]) -> Choices {
        let mut changed = choices.clone();
        for _ in 0..CHANGES {
            changed = self.space.mutate(&changed, &mut self.rng);
            if !self.known.contains(&changed) && !batch.contains(&changed) {
                return changed;
            }
        }
        choices
    }
}

impl Strategy for Search {
    fn ask(&mut self) -> Vec<Choices> {
        let count = self.controller.settings().batch;
        if !self.controller.settings().distinct {
            return self.sample(count);
        }
        let mut batch = Vec::with_capacity(count);
        let mut repeated = Vec::new();
        for _ in 0..ROUNDS {
            repeated.clear();
            for choices in self.sample(count - batch.len()) {
                if self.known.contains(&choices) || batch.contains(&choices) {
                    repeated.push(choices);
                } else {
                    batch.push(choices);
                }
            }
            if repeated.is_empty() {
                break;
            }
        }
        for choices in repeated {
            let choices = self.near(choices, &batch);
            batch.push(choices);
        }
        batch
    }

    fn tell(&mut self, told: &[(Choices, Option<f64>)]) -> Result<(), Error> {
        self.best.tell(told);
        let mut new = Vec::with_capacity(told.len());
        for (choices, reward) in told {
            if self.known.insert(choices.clone()) || !self.controller.settings().distinct {
                new.push((choices.clone(), *reward));
            }
        }
        if !new.is_empty() {
            self.updates.push(self.controller.update(&new)?);
        }
        Ok(())
    }

    fn recommend(&self) -> Option<Choices> {
        self.best.choices()
    }

    fn updates(&mut self) -> Vec<ControllerUpdate> {
        std::mem::take(&mut self.updates)
    }
}
