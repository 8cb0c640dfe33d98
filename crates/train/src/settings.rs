//! How a network is trained.

use cellwright_data::Augmentation;
use cellwright_ops::optimiser::{self, Rule, WeightDecay};
use cellwright_ops::program::Precision;
use serde::{Deserialize, Serialize};

use crate::Error;

/// How a network is trained. The defaults suit budgets of one to some tens of epochs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Passes over the training images.
    pub epochs: usize,
    /// Images of a step.
    pub batch: usize,
    /// The rule of a step.
    pub optimizer: Optimizer,
    /// The learning rate after the warm-up; it falls to 0 with the cosine of the progress (Loshchilov &
    /// Hutter 2017, arXiv 1608.03983).
    pub learning_rate: f64,
    /// Epochs over which the learning rate rises from 0.
    pub warmup_epochs: f64,
    /// Share of the old velocity (SGD).
    pub momentum: f64,
    /// Nesterov's look ahead (SGD).
    pub nesterov: bool,
    /// Strength of the weight decay.
    pub weight_decay: f64,
    /// Decay taken off the weights themselves instead of added to the gradient (Loshchilov & Hutter
    /// 2019, arXiv 1711.05101).
    pub decoupled_decay: bool,
    /// Whether norms and biases decay too.
    pub decay_norms: bool,
    /// Share of each label that is spread over all classes.
    pub label_smoothing: f64,
    /// The largest norm of all gradients together; 0: no limit.
    pub clip_norm: f64,
    /// Share of the training part that is held out for validation.
    pub valid_fraction: f64,
    /// Images that are trained on at most, a stratified sample; 0: all.
    pub train_limit: usize,
    /// Random changes to the images; none: what is usual for the data set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub augmentation: Option<Augmentation>,
    /// What a GPU computes in; on a CPU, fp32 and TF32 are both fp32, and bf16 is refused.
    pub precision: Precision,
    /// The seed of weights, split, order, masks and augmentation.
    pub seed: u64,
    /// Whether the network is evaluated on the test part, once, at the end.
    pub test: bool,
    /// Seconds after which a training is given up, counted anew where it goes on from a checkpoint; 0: no limit.
    pub seconds_limit: f64,
}

/// The rule of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    /// Stochastic gradient descent with momentum.
    Sgd,
    /// Adam (Kingma & Ba 2015) with β = (0.9, 0.999).
    Adam,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            epochs: 10,
            batch: 64,
            optimizer: Optimizer::Sgd,
            learning_rate: 0.05,
            warmup_epochs: 0.3,
            momentum: 0.9,
            nesterov: true,
            weight_decay: 5e-4,
            decoupled_decay: false,
            decay_norms: false,
            label_smoothing: 0.0,
            clip_norm: 5.0,
            valid_fraction: 0.1,
            train_limit: 0,
            augmentation: None,
            precision: Precision::default(),
            seed: 0,
            test: true,
            seconds_limit: 0.0,
        }
    }
}

impl Settings {
    /// Checks that every setting is in its range.
    ///
    /// # Errors
    /// [`Error::Setting`] for the first that is not.
    pub fn check(&self) -> Result<(), Error> {
        let range = |name, value: f64, fits: bool, range: &str| {
            if fits {
                Ok(())
            } else {
                Err(Error::Setting {
                    name,
                    reason: format!("is {value}, and must be {range}"),
                })
            }
        };
        let share = |value: f64| (0.0..1.0).contains(&value);
        let size = |value: f64| value.is_finite() && value >= 0.0;
        range(
            "epochs",
            self.epochs as f64,
            (1..=1_000_000).contains(&self.epochs),
            "1 to 1,000,000",
        )?;
        range(
            "batch",
            self.batch as f64,
            (1..=1_000_000).contains(&self.batch),
            "1 to 1,000,000",
        )?;
        let rate = self.learning_rate;
        range(
            "learning_rate",
            rate,
            rate.is_finite() && rate > 0.0,
            "above 0",
        )?;
        range(
            "warmup_epochs",
            self.warmup_epochs,
            size(self.warmup_epochs),
            "at least 0",
        )?;
        range(
            "momentum",
            self.momentum,
            share(self.momentum),
            "at least 0 and below 1",
        )?;
        range(
            "weight_decay",
            self.weight_decay,
            size(self.weight_decay),
            "at least 0",
        )?;
        range(
            "label_smoothing",
            self.label_smoothing,
            share(self.label_smoothing),
            "at least 0 and below 1",
        )?;
        range(
            "clip_norm",
            self.clip_norm,
            size(self.clip_norm),
            "at least 0",
        )?;
        range(
            "valid_fraction",
            self.valid_fraction,
            share(self.valid_fraction),
            "at least 0 and below 1",
        )?;
        range(
            "seconds_limit",
            self.seconds_limit,
            size(self.seconds_limit),
            "at least 0",
        )
    }

    /// The optimiser's part of the settings.
    pub(crate) fn optimiser(&self) -> optimiser::Settings {
        optimiser::Settings {
            rule: match self.optimizer {
                Optimizer::Sgd => Rule::Sgd {
                    momentum: self.momentum,
                    nesterov: self.nesterov,
                },
                Optimizer::Adam => Rule::Adam {
                    beta1: 0.9,
                    beta2: 0.999,
                    epsilon: 1e-8,
                },
            },
            weight_decay: self.weight_decay,
            decay: if self.decoupled_decay {
                WeightDecay::Decoupled
            } else {
                WeightDecay::Coupled
            },
            clip_norm: Some(self.clip_norm).filter(|norm| *norm > 0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_precision_is_kept_and_older_files_have_the_default() {
        for precision in Precision::ALL {
            let settings = Settings {
                precision,
                ..Settings::default()
            };
            let text = serde_json::to_string(&settings).unwrap();
            assert!(
                text.contains(&format!("\"precision\":\"{precision}\"")),
                "{text}"
            );
            assert_eq!(serde_json::from_str::<Settings>(&text).unwrap(), settings);
        }
        let older: Settings = serde_json::from_str("{\"epochs\": 10}").unwrap();
        assert_eq!(older.precision, Precision::Tf32);
    }
}
