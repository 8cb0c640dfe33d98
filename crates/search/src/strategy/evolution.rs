//! Regularised evolution (Real, Aggarwal, Huang & Le 2019, arXiv 1802.01548): the oldest of a
//! population dies, whatever its reward; the best of a few at random has a child.

use std::collections::VecDeque;

use cellwright_space::{Choices, Space};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Best, Strategy};
use crate::Error;
use crate::identity::Identities;

/// Architectures that are alive, as NATS-Bench has it for hundreds of trials.
const POPULATION: usize = 10;
/// Architectures of which the best becomes a parent.
const SAMPLE: usize = 3;

struct Evolution {
    space: Space,
    rng: ChaCha8Rng,
    /// The oldest first; a failed one has the lowest reward there is.
    population: VecDeque<(Choices, f64)>,
    best: Best,
}

/// Makes the strategy.
#[allow(clippy::unnecessary_wraps)] // the form of all strategies
pub(super) fn make(identities: &Identities, seed: u64) -> Result<Box<dyn Strategy>, Error> {
    Ok(Box::new(Evolution {
        space: identities.space().clone(),
        rng: ChaCha8Rng::seed_from_u64(seed),
        population: VecDeque::new(),
        best: Best::default(),
    }))
}

impl Evolution {
    /// The best of a few, drawn with replacement; of equal ones the first drawn.
    fn parent(&mut self) -> Option<Choices> {
        let mut best: Option<usize> = None;
        for _ in 0..SAMPLE {
            let index = self.rng.random_range(0..self.population.len());
            if best.is_none_or(|best| self.population[index].1 > self.population[best].1) {
                best = Some(index);
            }
        }
        best.map(|index| self.population[index].0.clone())
    }
}

impl Strategy for Evolution {
    fn ask(&mut self) -> Vec<Choices> {
        if self.population.len() < POPULATION {
            let missing = POPULATION - self.population.len();
            return (0..missing)
                .map(|_| self.space.sample(&mut self.rng))
                .collect();
        }
        let Some(parent) = self.parent() else {
            return vec![self.space.sample(&mut self.rng)];
        };
        vec![self.space.mutate(&parent, &mut self.rng)]
    }

    fn tell(&mut self, told: &[(Choices, Option<f64>)]) -> Result<(), Error> {
        self.best.tell(told);
        for (choices, reward) in told {
            let reward = reward.filter(|it| !it.is_nan());
            self.population
                .push_back((choices.clone(), reward.unwrap_or(f64::NEG_INFINITY)));
            if self.population.len() > POPULATION {
                self.population.pop_front();
            }
        }
        Ok(())
    }

    fn recommend(&self) -> Option<Choices> {
        self.best.choices()
    }
}
