//! Search guided by a predictor, in the manner of BANANAS (White, Neiswanger & Savani 2021, arXiv
//! 1910.11858): an ensemble of networks learns the rewards of all that was told; of many candidates those
//! are asked for next whose reward, drawn from the ensemble's normal distribution for each candidate
//! independently (independent Thompson sampling), is largest.
//!
//! As published: five networks of width 20, trained anew for each batch by Adam at 0.01 for 150 epochs; ten architectures
//! at random first, batches of ten. Otherwise: the encoding is the option of each active decision, one-hot, which any
//! space has, in place of the paths of a cell's graph; three hidden layers in place of ten; the loss is the absolute error,
//! where the paper divides it by the distance to a lower bound of the rewards.

use std::cmp::Ordering;
use std::collections::HashSet;

use cellwright_space::{Choices, Space};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::ensemble::Ensemble;
use super::{Best, Strategy};
use crate::Error;
use crate::identity::Identities;

/// Architectures at random before the predictor is asked, and of each batch.
const BATCH: usize = 10;
/// So many of the best are mutated.
const PARENTS: usize = 10;
/// Mutations of each.
const MUTATIONS: usize = 10;
/// Candidates at random.
const RANDOM: usize = 100;

struct Bananas {
    space: Space,
    rng: ChaCha8Rng,
    best: Best,
    /// The first feature of each decision, and last their number.
    offsets: Vec<usize>,
    /// Each architecture once, with its reward; none for a failure.
    told: Vec<(Choices, Option<f64>)>,
    known: HashSet<Choices>,
}

/// Makes the strategy.
#[allow(clippy::unnecessary_wraps)] // the form of all strategies
pub(super) fn make(identities: &Identities, seed: u64) -> Result<Box<dyn Strategy>, Error> {
    let space = identities.space();
    let mut offsets = vec![0];
    for decision in space.decisions() {
        offsets.push(offsets[offsets.len() - 1] + decision.options.len());
    }
    Ok(Box::new(Bananas {
        space: space.clone(),
        rng: ChaCha8Rng::seed_from_u64(seed),
        best: Best::default(),
        offsets,
        told: Vec::new(),
        known: HashSet::new(),
    }))
}

impl Bananas {
    /// The features of an architecture that are 1: the options of its active decisions.
    fn features(&self, choices: &Choices) -> Vec<usize> {
        let decisions = self.space.decisions().iter().enumerate();
        decisions
            .filter(|(index, it)| it.unconditional || self.space.is_active(&choices.0[..*index]))
            .map(|(index, _)| self.offsets[index] + choices.0[index] as usize)
            .collect()
    }

    /// The rewards, less their mean, over their standard deviation; a failure is the worst of them.
    fn targets(&self) -> Vec<f32> {
        let rewards = self.told.iter().filter_map(|it| it.1);
        let worst = rewards.min_by(f64::total_cmp).unwrap_or(0.0);
        let rewards: Vec<f64> = self.told.iter().map(|it| it.1.unwrap_or(worst)).collect();
        let count = rewards.len() as f64;
        let mean = rewards.iter().map(|it| it / count).sum::<f64>();
        let squares: f64 = rewards.iter().map(|it| (it - mean).powi(2) / count).sum();
        let scale = if squares > 0.0 { squares.sqrt() } else { 1.0 };
        rewards
            .iter()
            .map(|it| ((it - mean) / scale) as f32)
            .collect()
    }

    /// New architectures, each once: mutations of the best, and others at random. In a space that is
    /// nearly known they may be few.
    fn candidates(&mut self) -> Vec<Choices> {
        let mut ranked: Vec<&(Choices, Option<f64>)> =
            self.told.iter().filter(|it| it.1.is_some()).collect();
        ranked.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap_or(Ordering::Equal));
        let parents = ranked.iter().take(PARENTS);
        let mut made: Vec<Choices> = Vec::with_capacity(PARENTS * MUTATIONS + RANDOM);
        for (parent, _) in parents {
            made.extend((0..MUTATIONS).map(|_| self.space.mutate(parent, &mut self.rng)));
        }
        made.extend((0..RANDOM).map(|_| self.space.sample(&mut self.rng)));
        let mut seen = HashSet::new();
        made.retain(|it| !self.known.contains(it) && seen.insert(it.clone()));
        made
    }

    /// The candidates that Thompson sampling picks.
    fn pick(&mut self, candidates: Vec<Choices>) -> Vec<Choices> {
        let examples: Vec<Vec<usize>> = self.told.iter().map(|it| self.features(&it.0)).collect();
        let features = self.offsets[self.offsets.len() - 1];
        let targets = self.targets();
        let ensemble = Ensemble::train(features, &examples, &targets, &mut self.rng);
        let mut drawn: Vec<(f32, Choices)> = Vec::with_capacity(candidates.len());
        for choices in candidates {
            let (mean, deviation) = ensemble.predict(&self.features(&choices));
            drawn.push((mean + deviation * normal(&mut self.rng), choices));
        }
        drawn.sort_by(|a, b| b.0.total_cmp(&a.0));
        drawn.into_iter().take(BATCH).map(|it| it.1).collect()
    }
}

impl Strategy for Bananas {
    fn ask(&mut self) -> Vec<Choices> {
        let mut batch = Vec::new();
        if self.told.len() >= BATCH {
            let candidates = self.candidates();
            if candidates.len() > BATCH {
                return self.pick(candidates);
            }
            batch = candidates;
        }
        batch.resize_with(BATCH, || self.space.sample(&mut self.rng));
        batch
    }

    fn tell(&mut self, told: &[(Choices, Option<f64>)]) -> Result<(), Error> {
        self.best.tell(told);
        for (choices, reward) in told {
            if self.known.insert(choices.clone()) {
                self.told
                    .push((choices.clone(), reward.filter(|it| it.is_finite())));
            }
        }
        Ok(())
    }

    fn recommend(&self) -> Option<Choices> {
        self.best.choices()
    }
}

/// A number of the standard normal distribution (Box & Muller 1958).
fn normal(rng: &mut impl Rng) -> f32 {
    let radius = (-2.0 * (1.0 - rng.random::<f32>()).ln()).sqrt();
    radius * (std::f32::consts::TAU * rng.random::<f32>()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn it_finds_the_best_of_15_625_within_120_evaluations() {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../search-spaces/nasbench201.toml");
        let space = Space::load(&path, &[], cellwright_graph::vocabulary()).unwrap();
        let most: u32 = space
            .decisions()
            .iter()
            .map(|it| it.options.len() as u32 - 1)
            .sum();
        for seed in 0..3 {
            let mut strategy = make(&Identities::of_space(&space), seed).unwrap();
            for _ in 0..12 {
                let asked = strategy.ask().into_iter();
                let reward = |it: Choices| (f64::from(it.0.iter().sum::<u32>()), it);
                let told: Vec<_> = asked.map(reward).map(|(sum, it)| (it, Some(sum))).collect();
                strategy.tell(&told).unwrap();
            }
            let best = strategy.recommend().unwrap();
            assert_eq!(best.0.iter().sum::<u32>(), most, "seed {seed}");
        }
    }
}
