//! Who chooses the architectures: strategies behind one trait, ask and tell.
//!
//! A new strategy is one file and one line in the list below.

mod bananas;
mod controller;
mod ensemble;
mod evolution;
mod local_search;
mod random;

pub use controller::with as with_controller;

use cellwright_ledger::ControllerUpdate;
use cellwright_space::Choices;

use crate::Error;
use crate::identity::Identities;

/// A strategy: asked for architectures, told their rewards.
///
/// The same seed and the same rewards give the same sequence, so a run is resumed by telling a new
/// strategy what an earlier one was told.
pub trait Strategy: Send {
    /// The next batch. Its size is the strategy's, not the machine's; it is never empty. It may hold
    /// architectures that were asked for before: their known reward is told again without a trial.
    fn ask(&mut self) -> Vec<Choices>;

    /// The rewards of the last batch, in its order; none for a trial that failed. Behind them may stand an
    /// architecture that was not asked for: the run tries one where the strategy has found nothing new for long.
    ///
    /// # Errors
    /// [`Error::Controller`] when a network inside the strategy fails.
    fn tell(&mut self, told: &[(Choices, Option<f64>)]) -> Result<(), Error>;

    /// The architecture that it recommends: one that was told, by default the one with the best reward.
    fn recommend(&self) -> Option<Choices>;

    /// What an inner model has learned since the last call, a record an update.
    fn updates(&mut self) -> Vec<ControllerUpdate> {
        Vec::new()
    }
}

/// The best architecture that was told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Best(Option<(Choices, f64)>);

impl Best {
    /// Takes rewards in; of equal ones the first stays. Whether there was a better one.
    pub fn tell(&mut self, told: &[(Choices, Option<f64>)]) -> bool {
        let mut better = false;
        for (choices, reward) in told {
            if let Some(reward) = reward.filter(|it| !it.is_nan())
                && self.0.as_ref().is_none_or(|(_, best)| reward > *best)
            {
                self.0 = Some((choices.clone(), reward));
                better = true;
            }
        }
        better
    }

    /// The choices.
    pub fn choices(&self) -> Option<Choices> {
        self.0.as_ref().map(|(choices, _)| choices.clone())
    }
}

/// How a strategy is made for a space, which the identities name, and a seed.
type Make = fn(&Identities, u64) -> Result<Box<dyn Strategy>, Error>;

/// All strategies: name, what it is, how it is made.
const STRATEGIES: &[(&str, &str, Make)] = &[
    (
        "controller",
        "an LSTM that makes one decision after the other, trained by PPO; a predictor picks among its samples",
        controller::make,
    ),
    (
        "controller-reinforce",
        "the same network, trained by REINFORCE",
        controller::reinforce,
    ),
    (
        "controller-nasnet",
        "the same network with the settings of the NASNet paper, meant for 20,000 trials",
        controller::nasnet,
    ),
    (
        "reinforce",
        "REINFORCE with one softmax a decision, which know nothing of each other",
        controller::softmax,
    ),
    (
        "bananas",
        "BANANAS: an ensemble of networks predicts rewards, Thompson sampling picks among candidates",
        bananas::make,
    ),
    (
        "evolution",
        "regularised evolution: the oldest dies, the best of a few has a child",
        evolution::make,
    ),
    (
        "local-search",
        "to the first better neighbour; where there is none, from a new start",
        local_search::make,
    ),
    (
        "random",
        "each decision uniform over its options",
        random::make,
    ),
];

/// The strategy where none is named.
pub const DEFAULT: &str = "controller";

/// The names of all strategies.
#[must_use]
pub fn names() -> Vec<&'static str> {
    STRATEGIES.iter().map(|(name, ..)| *name).collect()
}

/// Name and description of all strategies.
pub fn list() -> impl Iterator<Item = (&'static str, &'static str)> {
    STRATEGIES.iter().map(|(name, about, _)| (*name, *about))
}

/// Makes a strategy by its name, for the space of the identities. Strategies that are made with clones of
/// the same identities compute each once.
///
/// # Errors
/// [`Error::Strategy`] for an unknown name, [`Error::Controller`] when its model cannot be built.
pub fn create(name: &str, identities: &Identities, seed: u64) -> Result<Box<dyn Strategy>, Error> {
    match STRATEGIES.iter().find(|(it, ..)| *it == name) {
        Some((.., make)) => make(identities, seed),
        None => Err(Error::Strategy {
            name: name.to_owned(),
            known: names().join(", "),
        }),
    }
}
