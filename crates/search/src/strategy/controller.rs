//! The controller as a strategy: it samples, a predictor picks what is evaluated, and both learn from
//! the rewards.
//!
//! - Candidates: samples of the policy, architectures at random, and the neighbours of the best.
//! - No two of the same identity are evaluated.
//! - After a batch that brought something better, the predictor picks by an upper bound; the longer there
//!   was nothing, the more chance decides within its doubt, and some of a batch are the policy's samples as
//!   they come.
//! - Every evaluated architecture updates the policy, whoever proposed it.

use std::collections::HashSet;
use std::sync::Arc;

use cellwright_ledger::ControllerUpdate;
use cellwright_space::{Choices, Space};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::{Best, Strategy};
use crate::Error;
use crate::controller::{Controller, Guidance, Settings};
use crate::identity::Identities;
use crate::predictor::Predictor;

/// So often are samples that are known already replaced by others.
const ROUNDS: usize = 10;
/// So many single changes are then tried on a known architecture.
const CHANGES: usize = 20;
/// Architectures with more neighbours than this are represented by as many at random.
const NEIGHBOURS: usize = 512;

struct Search {
    space: Space,
    controller: Controller,
    rng: ChaCha8Rng,
    identities: Identities,
    /// Identities of all that was told.
    known: HashSet<Arc<str>>,
    /// What was told, each architecture once.
    told: Vec<(Choices, Option<f64>)>,
    best: Best,
    predictor: Option<Predictor>,
    /// Batches in a row that brought nothing better.
    stale: usize,
    updates: Vec<ControllerUpdate>,
}

/// PPO, for tens to hundreds of trials.
pub(super) fn make(identities: &Identities, seed: u64) -> Result<Box<dyn Strategy>, Error> {
    with(identities, seed, Settings::DEFAULT)
}

/// REINFORCE.
pub(super) fn reinforce(identities: &Identities, seed: u64) -> Result<Box<dyn Strategy>, Error> {
    with(identities, seed, Settings::REINFORCE)
}

/// REINFORCE with a softmax for each decision in place of the network.
pub(super) fn softmax(identities: &Identities, seed: u64) -> Result<Box<dyn Strategy>, Error> {
    with(identities, seed, Settings::SOFTMAX)
}

/// The NASNet paper's settings.
pub(super) fn nasnet(identities: &Identities, seed: u64) -> Result<Box<dyn Strategy>, Error> {
    with(identities, seed, Settings::NASNET)
}

/// A controller with settings of one's own, for the space of the identities.
///
/// # Errors
/// [`Error::Controller`] when its network cannot be built.
pub fn with(
    identities: &Identities,
    seed: u64,
    settings: Settings,
) -> Result<Box<dyn Strategy>, Error> {
    let space = identities.space();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    Ok(Box::new(Search {
        space: space.clone(),
        controller: Controller::new(space, settings, &mut rng)?,
        rng,
        identities: identities.clone(),
        known: HashSet::new(),
        told: Vec::new(),
        best: Best::default(),
        predictor: None,
        stale: 0,
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

    /// Samples that were not told and are different, as far as there are some within reach.
    fn distinct(&mut self, count: usize) -> Vec<Choices> {
        let mut batch = Batch::default();
        let mut repeated = Vec::new();
        for _ in 0..ROUNDS {
            repeated.clear();
            for choices in self.sample(count - batch.choices.len()) {
                if !self.add(&choices, &mut batch) {
                    repeated.push(choices);
                }
            }
            if repeated.is_empty() {
                break;
            }
        }
        for choices in repeated {
            let mut near = choices.clone();
            let found = (0..CHANGES).any(|_| {
                near = self.space.mutate(&near, &mut self.rng);
                self.add(&near, &mut batch)
            });
            if !found {
                batch.choices.push(choices);
            }
        }
        batch.choices
    }

    /// Adds an architecture to a batch if it is new.
    fn add(&mut self, choices: &Choices, batch: &mut Batch) -> bool {
        let identity = self.identities.get(choices);
        let new = !self.known.contains(&identity) && batch.identities.insert(identity);
        if new {
            batch.choices.push(choices.clone());
        }
        new
    }

    /// The predictor's pick among samples, architectures at random and neighbours of the best.
    fn guided(&mut self, count: usize, guidance: &Guidance, predictor: &Predictor) -> Vec<Choices> {
        let mut candidates = self.sample(guidance.samples);
        for _ in 0..guidance.uniform {
            candidates.push(self.space.sample(&mut self.rng));
        }
        for choices in self.leaders(guidance.best) {
            candidates.extend(self.near(&choices));
        }
        let mut batch = Batch::default();
        for _ in 0..self.stale.min(guidance.strays) {
            for stray in self.sample(1) {
                self.add(&stray, &mut batch);
            }
        }
        for choices in self.order(candidates, guidance, predictor) {
            if batch.choices.len() < count {
                self.add(&choices, &mut batch);
            }
        }
        batch.choices
    }

    /// The candidates that are new, each computation once, those of which the predictor expects most first:
    /// by an upper bound after a batch that brought something better, else by a draw, the wider the longer
    /// there was nothing.
    fn order(
        &mut self,
        candidates: Vec<Choices>,
        guidance: &Guidance,
        predictor: &Predictor,
    ) -> Vec<Choices> {
        let mut seen = HashSet::new();
        let identities = self.identities.all(&candidates);
        let identified = candidates.into_iter().zip(identities);
        let new: Vec<Choices> = identified
            .filter(|(_, it)| !self.known.contains(it) && seen.insert(it.clone()))
            .map(|(choices, _)| choices)
            .collect();
        let waited = self.stale as f64 / guidance.patience.max(1) as f64;
        let curiosity = guidance.curiosity * waited.min(1.0);
        let mut valued: Vec<(Choices, f64)> = Vec::with_capacity(new.len());
        for choices in new {
            let expected = predictor.predict(&choices);
            let deviations = if self.stale == 0 {
                guidance.optimism
            } else {
                let draw: f64 = StandardNormal.sample(&mut self.rng);
                curiosity * draw
            };
            valued.push((choices, expected.mean + deviations * expected.deviation));
        }
        valued.sort_by(|a, b| b.1.total_cmp(&a.1));
        valued.into_iter().map(|(choices, _)| choices).collect()
    }

    /// The best that were told.
    fn leaders(&self, count: usize) -> Vec<Choices> {
        let reward = |it: &&(Choices, Option<f64>)| it.1.unwrap_or(f64::NEG_INFINITY);
        let mut order: Vec<_> = self.told.iter().collect();
        order.sort_by(|a, b| reward(b).total_cmp(&reward(a)));
        let best = order.into_iter().take(count);
        best.map(|(choices, _)| choices.clone()).collect()
    }

    /// The neighbours of an architecture, or some of them where there are many.
    fn near(&mut self, choices: &Choices) -> Vec<Choices> {
        let options = self.space.decisions().iter().map(|it| it.options.len());
        if options.sum::<usize>() <= NEIGHBOURS {
            return self.space.neighbours(choices);
        }
        let changed = |_| self.space.mutate(choices, &mut self.rng);
        (0..NEIGHBOURS).map(changed).collect()
    }
}

/// A batch in the making.
#[derive(Default)]
struct Batch {
    choices: Vec<Choices>,
    identities: HashSet<Arc<str>>,
}

impl Strategy for Search {
    fn ask(&mut self) -> Vec<Choices> {
        let Settings {
            batch: count,
            distinct,
            guidance,
            ..
        } = *self.controller.settings();
        if !distinct {
            return self.sample(count);
        }
        if let (Some(guidance), Some(predictor)) = (guidance, self.predictor.take()) {
            let batch = self.guided(count, &guidance, &predictor);
            self.predictor = Some(predictor);
            if !batch.is_empty() {
                return batch;
            }
        }
        self.distinct(count)
    }

    fn tell(&mut self, told: &[(Choices, Option<f64>)]) -> Result<(), Error> {
        let better = self.best.tell(told);
        self.stale = if better { 0 } else { self.stale + 1 };
        let distinct = self.controller.settings().distinct;
        let mut new = Vec::with_capacity(told.len());
        for (choices, reward) in told {
            if !distinct || self.known.insert(self.identities.get(choices)) {
                new.push((choices.clone(), *reward));
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        self.updates.push(self.controller.update(&new)?);
        if let Some(guidance) = self.controller.settings().guidance {
            self.told.extend(new);
            if self.told.len() >= guidance.warm_up {
                self.predictor = Predictor::fit_best(&self.told, &guidance.kernels());
            }
        }
        Ok(())
    }

    fn recommend(&self) -> Option<Choices> {
        let guidance = self.controller.settings().guidance;
        match &self.predictor {
            Some(predictor) if guidance.is_some_and(|it| it.smooth) => {
                let measured = |it: &&(Choices, Option<f64>)| it.1.is_some_and(|it| !it.is_nan());
                let expected = self.told.iter().filter(measured);
                let expected = expected.map(|(choices, _)| (choices, predictor.mean(choices)));
                // Of equal ones the first.
                let best = expected.reduce(|a, b| if b.1 > a.1 { b } else { a });
                best.map(|(choices, _)| choices.clone())
            }
            _ => self.best.choices(),
        }
    }

    fn updates(&mut self) -> Vec<ControllerUpdate> {
        std::mem::take(&mut self.updates)
    }
}
