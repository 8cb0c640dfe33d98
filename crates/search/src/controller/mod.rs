//! The architecture controller of NASNet: an LSTM that makes one decision after the other, trained by
//! policy gradient (Zoph & Le 2017, arXiv 1611.01578; Zoph et al. 2018, arXiv 1707.07012, appendix A.2).
//!
//! - `layout`: where a space's decisions lie in the parameters.
//! - `lstm`, `policy`: the network; `product`: its arithmetic.
//! - `objective`: PPO's or REINFORCE's loss; `adam`: how it is descended.
//!
//! All of it runs on one thread on dfdx's CPU tensors; the same seed and rewards give the same bits.

mod adam;
mod layout;
mod lstm;
mod objective;
mod policy;
mod product;
#[cfg(test)]
mod tests;

use cellwright_ledger::ControllerUpdate;
use cellwright_space::{Choices, Space};
use dfdx::prelude::*;
use rand::Rng;

use crate::Error;
use crate::predictor::Kernel;
use adam::Adam;
use layout::Sequence;
use objective::{Goal, Measured};
use policy::{Policy, Size};

/// How a controller is built and trained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Units of the LSTM; none: a softmax with parameters of its own for each decision.
    pub units: usize,
    /// Numbers of the embedding of a choice.
    pub width: usize,
    /// Parameters are uniform between this and its negative at first.
    pub scale: f32,
    /// Adam's learning rate.
    pub learning_rate: f32,
    /// Architectures of an update.
    pub batch: usize,
    /// Times that an update goes over its batch.
    pub epochs: usize,
    /// PPO's bound on the ratio of probabilities; infinite for the plain policy gradient.
    pub clip: f32,
    /// Weight of the entropy in the loss.
    pub entropy: f32,
    /// Decay of the moving average of rewards that is their baseline.
    pub baseline: f64,
    /// Whether advantages are divided by the rewards' moving standard deviation.
    pub normalise: bool,
    /// The largest global norm of a gradient; what is longer is shortened.
    pub gradient_norm: f32,
    /// Whether architectures that are known already are avoided.
    pub distinct: bool,
    /// Which samples are evaluated; none: all of them.
    pub guidance: Option<Guidance>,
}

/// How a [predictor](crate::predictor) picks what is evaluated, among many samples of the policy,
/// architectures at random and the neighbours of the best ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guidance {
    /// The predictor's kernel: see [`Kernel::decay`].
    pub decay: f64,
    /// Variances of the noise on the rewards; the likeliest is taken.
    pub noise: &'static [f64],
    /// So many architectures are evaluated before it picks.
    pub warm_up: usize,
    /// Samples of the policy for each batch.
    pub samples: usize,
    /// Architectures at random for each batch, all choices equally likely.
    pub uniform: usize,
    /// Of so many of the best architectures the neighbours are candidates.
    pub best: usize,
    /// Standard deviations that are added to what is expected after a batch that brought something better
    /// (upper confidence bound; Srinivas et al. 2010, arXiv 0912.3995).
    pub optimism: f64,
    /// After one that did not, what is expected is drawn from a normal distribution for each candidate
    /// (independent Thompson sampling; White et al. 2021, arXiv 1910.11858); this is the most that the
    /// predictor's standard deviation is multiplied by.
    pub curiosity: f64,
    /// Batches in a row that brought nothing better until curiosity is at its most, which it reaches in
    /// equal steps.
    pub patience: usize,
    /// The most architectures of a batch that are samples of the policy as they come: one for each batch
    /// in a row that brought nothing better.
    pub strays: usize,
    /// Whether what is recommended is the best by what the predictor expects of it, not by its reward.
    pub smooth: bool,
}

impl Guidance {
    /// The kernels of which the likeliest is taken.
    #[must_use]
    pub fn kernels(&self) -> Vec<Kernel> {
        let kernel = |noise: &f64| Kernel {
            decay: self.decay,
            noise: *noise,
        };
        self.noise.iter().map(kernel).collect()
    }
}

impl Settings {
    /// PPO for tens to hundreds of trials, with a predictor that picks what is evaluated. More epochs an
    /// update make the policy settle on what its first batches happened to favour.
    pub const DEFAULT: Settings = Settings {
        units: 32,
        width: 16,
        scale: 0.1,
        learning_rate: 0.02,
        batch: 5,
        epochs: 2,
        clip: 0.2,
        entropy: 0.02,
        baseline: 0.8,
        normalise: true,
        gradient_norm: 5.0,
        distinct: true,
        guidance: Some(Guidance {
            decay: 3.6,
            noise: &[0.03, 0.1, 0.3, 1.0],
            warm_up: 10,
            samples: 100,
            uniform: 100,
            best: 12,
            optimism: 1.0,
            curiosity: 1.0,
            patience: 3,
            strays: 3,
            smooth: true,
        }),
    };

    /// REINFORCE with the same network, Adam 0.01 and a baseline of decay 0.9.
    pub const REINFORCE: Settings = Settings {
        units: 100,
        width: 32,
        learning_rate: 0.01,
        batch: 1,
        epochs: 1,
        clip: f32::INFINITY,
        entropy: 0.0,
        baseline: 0.9,
        normalise: false,
        distinct: false,
        guidance: None,
        ..Settings::DEFAULT
    };

    /// REINFORCE with one softmax a decision, nearly uniform at first, Adam 0.01 and a baseline of decay
    /// 0.9: the policy that NATS-Bench (Dong et al. 2021, arXiv 2009.00437) calls REINFORCE.
    pub const SOFTMAX: Settings = Settings {
        units: 0,
        width: 0,
        scale: 0.001,
        gradient_norm: f32::INFINITY,
        ..Settings::REINFORCE
    };

    /// The settings of the NASNet paper: PPO, Adam 0.00035, batches of 20, entropy weight 0.00001,
    /// baseline decay 0.95, parameters uniform in ±0.1.
    pub const NASNET: Settings = Settings {
        units: 100,
        width: 100,
        learning_rate: 0.00035,
        batch: 20,
        epochs: 4,
        entropy: 0.00001,
        baseline: 0.95,
        normalise: false,
        gradient_norm: f32::INFINITY,
        distinct: false,
        guidance: None,
        ..Settings::DEFAULT
    };
}

/// The controller.
#[derive(Debug, Clone)]
pub struct Controller {
    settings: Settings,
    policy: Policy,
    adam: Adam,
    baseline: Option<f64>,
    deviation: f64,
    worst: Option<f64>,
    best: Option<f64>,
    updates: u32,
    seen: u32,
}

impl Controller {
    /// An untrained controller for a space.
    ///
    /// # Errors
    /// [`Error::Controller`] when a tensor cannot be made.
    pub fn new(space: &Space, settings: Settings, rng: &mut impl Rng) -> Result<Self, Error> {
        let size = Size {
            width: settings.width,
            units: settings.units,
            scale: settings.scale,
        };
        Ok(Controller {
            settings,
            policy: Policy::new(space, size, rng)?,
            adam: Adam::new(settings.learning_rate, settings.gradient_norm),
            baseline: None,
            deviation: 0.0,
            worst: None,
            best: None,
            updates: 0,
            seen: 0,
        })
    }

    /// How it is trained.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Samples architectures from the policy: up to `count`, fewer only where conditions of the space
    /// lead samples to a dead end.
    ///
    /// # Errors
    /// [`Error::Controller`] when a tensor cannot be read.
    pub fn sample(&self, count: usize, rng: &mut impl Rng) -> Result<Vec<Choices>, Error> {
        self.policy.sample(count, rng)
    }

    /// One update from architectures and their rewards; a failed one counts as the worst reward seen, or
    /// zero where there is none.
    ///
    /// # Errors
    /// [`Error::Controller`] when a tensor fails.
    pub fn update(&mut self, told: &[(Choices, Option<f64>)]) -> Result<ControllerUpdate, Error> {
        let rewards = self.rewards(told);
        let advantages = self.advantages(&rewards);
        let sequences: Vec<Sequence> = told
            .iter()
            .map(|(choices, _)| self.policy.layout.sequence(choices.clone()))
            .collect();
        let (first, last, norm) = self.descend(&sequences, &advantages)?;
        let update = self.updates;
        self.updates += 1;
        self.seen += told.len() as u32;
        Ok(ControllerUpdate {
            update,
            trials_seen: self.seen,
            mean_reward: Some(mean(&rewards)),
            best_reward: self.best,
            baseline: self.baseline,
            entropy: Some(first.entropy),
            loss: Some(first.policy - f64::from(self.settings.entropy) * first.entropy),
            policy_loss: Some(first.policy),
            gradient_norm: Some(f64::from(norm)),
            kl_divergence: Some(last.kl),
            clip_fraction: Some(last.clipped),
            learning_rate: Some(f64::from(self.settings.learning_rate)),
            ..ControllerUpdate::default()
        })
    }

    /// The rewards as numbers, failures among them.
    fn rewards(&mut self, told: &[(Choices, Option<f64>)]) -> Vec<f64> {
        let finite = |reward: &Option<f64>| reward.filter(|it| it.is_finite());
        for reward in told.iter().filter_map(|(_, reward)| finite(reward)) {
            self.worst = Some(self.worst.map_or(reward, |it| it.min(reward)));
            self.best = Some(self.best.map_or(reward, |it| it.max(reward)));
        }
        let failed = self.worst.unwrap_or(0.0);
        told.iter()
            .map(|(_, reward)| finite(reward).unwrap_or(failed))
            .collect()
    }

    /// What the rewards are above the baseline; the baseline then moves towards them.
    fn advantages(&mut self, rewards: &[f64]) -> Vec<f32> {
        let now = mean(rewards);
        let baseline = *self.baseline.get_or_insert(now);
        let squares: Vec<f64> = rewards.iter().map(|it| (it - baseline).powi(2)).collect();
        let decay = self.settings.baseline;
        let variance = mean(&squares);
        self.deviation = if self.updates == 0 {
            variance
        } else {
            decay * self.deviation + (1.0 - decay) * variance
        };
        self.baseline = Some(decay * baseline + (1.0 - decay) * now);
        let scale = if self.settings.normalise {
            1.0 / self.deviation.sqrt().max(1e-8)
        } else {
            1.0
        };
        let advantage = |it: &f64| ((it - baseline) * scale) as f32;
        rewards.iter().map(advantage).collect()
    }

    /// The epochs of an update: what was measured before the first and after the last, and the norm of
    /// the first gradient.
    fn descend(
        &mut self,
        sequences: &[Sequence],
        advantages: &[f32],
    ) -> Result<(Measured, Measured, f32), Error> {
        let mut goal = Goal {
            advantages,
            sampled: None,
            clip: self.settings.clip,
            entropy: self.settings.entropy,
        };
        let (_, first) = self.policy.loss(&mut NoneTape, sequences, &goal)?;
        goal.sampled = Some(&first.logs);
        let mut first_norm = None;
        for _ in 0..self.settings.epochs {
            let mut tape = OwnedTape::default();
            let (loss, _) = self.policy.loss(&mut tape, sequences, &goal)?;
            let mut gradients = loss.put_tape(tape).try_backward().map_err(lstm::failed)?;
            let norm = self.adam.step(&mut self.policy, &mut gradients)?;
            first_norm.get_or_insert(norm);
        }
        let (_, last) = self.policy.loss(&mut NoneTape, sequences, &goal)?;
        let last = Measured {
            logs: Vec::new(),
            ..last
        };
        Ok((first, last, first_norm.unwrap_or(0.0)))
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
