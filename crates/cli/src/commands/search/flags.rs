//! The flags of `cellwright search`.

use std::path::PathBuf;

use cellwright_search::run::RerankConfig;
use cellwright_search::schedule::Halving;
use cellwright_search::strategy;

use crate::objective::ObjectiveFlags;
use crate::options::{DataFlags, DeviceFlag, Set, TrainingFlags};

/// Flags of `search`.
#[derive(clap::Args)]
pub struct Args {
    /// The space file (default: NASNet's cells, sized for the device)
    #[arg(long, value_name = "FILE")]
    pub(super) space: Option<PathBuf>,
    #[command(flatten)]
    pub(super) set: Set,
    #[command(flatten)]
    pub(super) data: DataFlags,
    /// How architectures are chosen
    #[arg(long, value_name = "NAME", default_value = strategy::DEFAULT, value_parser = strategy_names())]
    pub(super) strategy: String,
    /// How many architectures are trained; with --halving, as many epochs as so many trainings have
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(super) trials: Option<u32>,
    #[command(flatten)]
    pub(super) objective: ObjectiveFlags,
    #[command(flatten)]
    pub(super) training: TrainingFlags,
    /// The seed of the whole run
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub(super) seed: u64,
    #[command(flatten)]
    pub(super) device: DeviceFlag,
    /// Trials under way at a time, each in a process of its own
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(super) workers: Option<u32>,
    /// Threads of each trial (default: the machine's cores divided by the workers)
    #[arg(long, value_name = "T", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(super) threads: Option<u32>,
    /// Networks to train beside, with the same settings (default: VGG, GoogLeNet and ResNet where no
    /// space is named, else none)
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(super) baselines: Option<Vec<PathBuf>>,
    #[command(flatten)]
    pub(super) halving: HalvingFlags,
    #[command(flatten)]
    pub(super) rerank: RerankFlags,
    /// The run's folder (default: a new one in results)
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// Repeat the run that a run.toml describes
    #[arg(long, value_name = "FILE", conflicts_with_all = ["space", "set", "dataset", "baselines", "objective"])]
    pub(super) config: Option<PathBuf>,
    /// Go on with a run that was stopped
    #[arg(long, value_name = "DIR", conflicts_with_all = ["space", "set", "dataset", "baselines", "out", "config", "seed", "strategy", "training", "objective"])]
    pub(super) resume: Option<PathBuf>,
    /// One JSON object a trial, and no table
    #[arg(long)]
    pub(super) json: bool,
}

/// How long each architecture is trained.
#[derive(clap::Args)]
pub(super) struct HalvingFlags {
    /// Begin each architecture with few epochs, and train the better ones again with more (ASHA)
    #[arg(id = "halve", long = "halving", conflicts_with_all = ["config", "resume"])]
    halve: bool,
    /// Promote one of so many, to so many times the epochs
    #[arg(long, value_name = "N", default_value_t = 3, requires = "halve", value_parser = clap::value_parser!(u32).range(2..=1_000))]
    reduction: u32,
    /// Epochs that each architecture begins with
    #[arg(long, value_name = "E", default_value_t = 1, requires = "halve", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    least_epochs: u32,
}

impl HalvingFlags {
    pub(super) fn halving(&self) -> Option<Halving> {
        self.halve.then_some(Halving {
            reduction: self.reduction,
            least_epochs: self.least_epochs as usize,
        })
    }
}

/// How what was found best is trained again.
#[derive(clap::Args)]
pub(super) struct RerankFlags {
    /// Train the K best architectures and the baselines again at the end; 0: none (default: 3)
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    rerank: Option<u32>,
    /// Epochs of these trainings (default: twice those of a trial)
    #[arg(long, value_name = "E", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rerank_epochs: Option<u32>,
    /// Trainings of each, with other seeds (default: 1)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rerank_seeds: Option<u32>,
}

/// Architectures that are trained again where no number is said: as many as there are baselines in
/// a search without flags.
const DEFAULT_RERANK: u32 = 3;

impl RerankFlags {
    /// What a new run does where the flags say nothing. Twice a trial's epochs for the three best and
    /// the three baselines takes about three quarters of the search's own time; with ten trials the whole
    /// stays near five minutes on two cores.
    pub(super) fn fresh(&self, epochs: usize) -> RerankConfig {
        self.over(RerankConfig {
            architectures: DEFAULT_RERANK,
            epochs: 2 * epochs,
            seeds: 1,
        })
    }

    /// A configuration with what the flags say.
    pub(super) fn over(&self, config: RerankConfig) -> RerankConfig {
        RerankConfig {
            architectures: self.rerank.unwrap_or(config.architectures),
            epochs: self.rerank_epochs.map_or(config.epochs, |it| it as usize),
            seeds: self.rerank_seeds.unwrap_or(config.seeds),
        }
    }
}

fn strategy_names() -> clap::builder::PossibleValuesParser {
    clap::builder::PossibleValuesParser::new(strategy::names())
}
