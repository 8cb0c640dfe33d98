//! The ledger's tables: every column, its type, its unit and its meaning, in one place.
//!
//! Fractions are in 0..1. A measured number is optional: a failed trial has none, and what is not finite
//! (a diverged loss) is stored as missing. A new column must be optional, so that older files still read;
//! any other change raises [`VERSION`].

use crate::record::record;
use crate::value::words;

/// The version of all tables here, stored in every row as `schema_version`.
pub const VERSION: u32 = 1;

words! {
    /// Why a trial was run.
    pub enum Kind {
        /// An architecture that the strategy asked for.
        #[default]
        Search = "search",
        /// A fixed network to compare with.
        Baseline = "baseline",
        /// A found architecture, trained again with a larger budget or another seed.
        Rerank = "rerank",
    }
}

words! {
    /// How a trial ended.
    pub enum Status {
        /// With all its numbers.
        #[default]
        Done = "done",
        /// Without; `reason` says why.
        Failed = "failed",
        /// It was not trained: it is beyond a limit of the run; `reason` says which.
        Refused = "refused",
    }
}

record! {
    /// One evaluation of an architecture: a row of `trials/`.
    pub struct Trial in "trials" {
        /// Number of the trial in its run, from 0.
        pub id: u32,
        /// Why it was run: `search`, `baseline` or `rerank`.
        pub kind: Kind,
        /// How it ended: `done`, `failed` or `refused`.
        pub status: Status,
        /// Why it failed or was refused, in words.
        pub reason: Option<String>,
        /// Name of the space, for a baseline the name of the network.
        pub space: String,
        /// Parameters of the space that differ from its defaults, as `filters=16 repeats=2`.
        pub overrides: String,
        /// One option index per decision, separated by commas.
        pub choices: String,
        /// The architecture in the space's published notation.
        pub architecture: String,
        /// Equal for architectures that compute the same function.
        pub identity: String,
        /// An earlier trial of the same architecture: whose result this row repeats (`search`), or which is trained again (`rerank`).
        pub source_trial: Option<u32>,
        /// Name of the strategy that asked for it.
        pub strategy: String,
        /// Seed of initialisation, data order and augmentation.
        pub seed: u64,
        /// Name of the data set.
        pub dataset: String,
        /// Input of the network, as channels x height x width.
        pub input: String,
        /// Number of classes.
        pub classes: u32,
        /// Number of images trained on in an epoch.
        pub train_images: u64,
        /// Epochs that were to be trained.
        pub epochs: u32,
        /// Rung of successive halving, 0 the lowest, where the search halves.
        pub rung: Option<u32>,
        /// Images in a batch.
        pub batch: u32,
        /// Optimiser steps that were made.
        pub steps: u64,
        /// Learnable parameters.
        pub params: u64,
        /// Multiply-accumulates of convolution and linear layers, forward, one image.
        pub macs: u64,
        /// Floating-point operations: 2 x macs.
        pub flops: u64,
        /// Bytes of all activations of one batch that the backward pass needs.
        pub activation_bytes: Option<u64>,
        /// Accuracy on the validation part, fraction.
        pub valid_top1: Option<f64>,
        /// Fraction of validation images whose class is among the five best guesses.
        pub valid_top5: Option<f64>,
        /// Mean cross-entropy on the validation part, nats.
        pub valid_loss: Option<f64>,
        /// Accuracy on the test part, fraction.
        pub test_top1: Option<f64>,
        /// Fraction of test images whose class is among the five best guesses.
        pub test_top5: Option<f64>,
        /// Mean cross-entropy on the test part, nats.
        pub test_loss: Option<f64>,
        /// Mean training loss of the last epoch, nats.
        pub train_loss: Option<f64>,
        /// What the search wants most of, accuracy against costs by the run's objective, for these epochs; the strategy is told this, or with successive halving a
        /// number made of it that does not favour longer trainings. A failed trial has its defined reward.
        pub reward: Option<f64>,
        /// Wall-clock seconds of training, without evaluation and set-up.
        pub train_seconds: Option<f64>,
        /// Wall-clock seconds of the whole trial.
        pub total_seconds: Option<f64>,
        /// Training throughput, images a second.
        pub images_per_second: Option<f64>,
        /// Milliseconds of one image's forward pass (inference, a batch of 1): median of some passes, measured before training.
        pub latency_ms: Option<f64>,
        /// Most bytes that the trial held at once.
        pub peak_bytes: Option<u64>,
        /// Where it ran: `cpu` or `cuda:0`.
        pub device: String,
        /// Threads of its kernels.
        pub threads: u32,
        /// Which worker ran it, where there are several.
        pub worker: Option<String>,
        /// When it started, RFC 3339 in UTC.
        pub started_at: String,
        /// Version of cellwright that ran it.
        pub version: String,
        /// The architecture's graph of layers, as JSON.
        pub graph: Option<String>,
    }
}

impl Trial {
    /// Whether it is on a higher rung of successive halving than the lowest: an architecture that was tried before,
    /// trained for longer. Its reward does not compare with those below.
    #[must_use]
    pub fn is_promoted(&self) -> bool {
        self.rung.is_some_and(|rung| rung > 0)
    }

    /// Whether it belongs to the verdict: a network, found or a baseline, that is trained again.
    #[must_use]
    pub fn is_verdict(&self) -> bool {
        self.kind == Kind::Rerank || self.kind == Kind::Baseline && self.source_trial.is_some()
    }

    /// Whether something of its network was run: what was refused before is no trial.
    #[must_use]
    pub fn was_run(&self) -> bool {
        self.status != Status::Refused || self.latency_ms.is_some()
    }
}

record! {
    /// One point of a trial's learning curve: a row of `curves/`.
    pub struct CurvePoint in "curves" {
        /// The trial.
        pub trial: u32,
        /// Epochs finished.
        pub epoch: u32,
        /// Optimiser steps made.
        pub step: u64,
        /// Mean training loss since the point before, nats.
        pub train_loss: Option<f64>,
        /// Training accuracy since the point before, fraction.
        pub train_top1: Option<f64>,
        /// Cross-entropy on the validation part, nats.
        pub valid_loss: Option<f64>,
        /// Accuracy on the validation part, fraction.
        pub valid_top1: Option<f64>,
        /// Learning rate of the last step.
        pub learning_rate: f64,
        /// Wall-clock seconds since the trial's training began.
        pub seconds: f64,
    }
}

record! {
    /// One update of the controller: a row of `controller/`.
    pub struct ControllerUpdate in "controller" {
        /// Number of the update, from 0.
        pub update: u32,
        /// Trials whose rewards the controller had been told, this update's among them.
        pub trials_seen: u32,
        /// Mean reward of the update's trials.
        pub mean_reward: Option<f64>,
        /// Best reward so far.
        pub best_reward: Option<f64>,
        /// The baseline that was subtracted from the rewards.
        pub baseline: Option<f64>,
        /// Entropy of the policy, nats, mean over the active decisions of the update's samples.
        pub entropy: Option<f64>,
        /// The loss that was descended: policy loss minus weighted entropy.
        pub loss: Option<f64>,
        /// The policy's part of the loss.
        pub policy_loss: Option<f64>,
        /// Global norm of the policy's gradient before clipping.
        pub gradient_norm: Option<f64>,
        /// Mean Kullback-Leibler divergence of the new policy from the one that sampled, nats.
        pub kl_divergence: Option<f64>,
        /// Fraction of probability ratios that PPO clipped.
        pub clip_fraction: Option<f64>,
        /// Learning rate of the controller.
        pub learning_rate: Option<f64>,
        /// Wall-clock seconds that the update took.
        pub seconds: Option<f64>,
    }
}

record! {
    /// What a strategy's runs on a table of known results had come to after so many evaluations: a row of `simulations/`.
    pub struct SimulationPoint in "simulations" {
        /// Name of the strategy.
        pub strategy: String,
        /// The column of the table that `mean`, `std` and `best` are of.
        pub column: String,
        /// Evaluations of a run so far, repeats of an architecture too.
        pub evaluations: u32,
        /// Mean over the runs of the column's value at the architecture that the strategy recommends.
        pub mean: f64,
        /// Standard deviation over the runs (n - 1); none for one run.
        pub std: Option<f64>,
        /// The largest value of the column in the table.
        pub best: f64,
        /// The column that the strategy was told.
        pub reward: String,
        /// Standard deviation of the normal noise that was added to every reward, 0 for none.
        pub noise: f64,
        /// Name of the space.
        pub space: String,
        /// The table's file.
        pub table: String,
        /// Architectures that the table knows.
        pub architectures: u64,
        /// Number of runs.
        pub runs: u32,
        /// Seed of all runs.
        pub seed: u64,
    }
}
