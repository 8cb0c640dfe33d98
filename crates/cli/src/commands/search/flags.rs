//! The flags of `cellwright search`.

use std::path::PathBuf;

use anyhow::Result;
use cellwright_search::run::RerankConfig;
use cellwright_search::schedule::Halving;
use cellwright_search::strategy;
use clap::parser::ValueSource;

use crate::objective::ObjectiveFlags;
use crate::options::{DataFlags, DeviceFlag, Set, TrainingFlags};
use crate::output::Usage;

/// Flags of `search`.
#[derive(clap::Args)]
pub struct Args {
    /// Stands first: the fields below take their values out of what was parsed.
    #[command(flatten)]
    pub(super) given: Given,
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
    #[arg(long, value_name = "S", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
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
    /// Repeat the run that a run.toml describes; flags that are given go before what it says
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Go on with a run that was stopped; of the other flags, those of the machine (--device, --workers, --threads),
    /// those that say where its images are (--data, --dataset), --trials and the verdict's (--rerank...) can be given, and run.toml keeps them
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub(super) resume: Option<PathBuf>,
    /// One JSON object a trial, as each ends, and no table; of a run that goes on those of before come first
    #[arg(long)]
    pub(super) json: bool,
}

/// The names of the flags that stand on the command line, or have a value from the environment.
pub(super) struct Given(Vec<String>);

impl Given {
    /// Whether a flag is given.
    pub(super) fn has(&self, flag: &str) -> bool {
        self.0.iter().any(|it| it == flag)
    }

    /// The first flag that is given beside these.
    pub(super) fn beside(&self, flags: &[&str]) -> Option<&str> {
        let mut names = self.0.iter().map(String::as_str);
        names.find(|it| !flags.contains(it))
    }
}

impl clap::FromArgMatches for Given {
    fn from_arg_matches(matches: &clap::ArgMatches) -> Result<Self, clap::Error> {
        let command = <Args as clap::Args>::augment_args(clap::Command::new("search"));
        let given = |it: &&clap::Arg| {
            let source = matches.value_source(it.get_id().as_str());
            source.is_some_and(|it| it != ValueSource::DefaultValue)
        };
        let flags = command.get_arguments().filter(given);
        let names = flags.filter_map(|it| it.get_long().map(str::to_owned));
        Ok(Given(names.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &clap::ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Adds no flag.
impl clap::Args for Given {
    fn augment_args(command: clap::Command) -> clap::Command {
        command
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        command
    }
}

/// How long each architecture is trained.
#[derive(clap::Args)]
pub(super) struct HalvingFlags {
    /// Begin each architecture with few epochs, and train the better ones again with more (ASHA)
    #[arg(long)]
    halving: bool,
    /// With --halving: promote one of so many, to so many times the epochs (default: 3)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=1_000))]
    reduction: Option<u32>,
    /// With --halving: epochs that each architecture begins with (default: 1)
    #[arg(long, value_name = "E", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    least_epochs: Option<u32>,
}

impl HalvingFlags {
    /// A configuration with what the flags say.
    ///
    /// # Errors
    /// [`Usage`] where they say how to halve, and nothing says to do so.
    pub(super) fn over(&self, config: Option<Halving>) -> Result<Option<Halving>> {
        let Some(halving) = config.or(self.halving.then_some(HALVING)) else {
            if self.reduction.is_some() || self.least_epochs.is_some() {
                let reason = "--reduction and --least-epochs say how to halve: give --halving too";
                return Err(Usage(reason.to_owned()).into());
            }
            return Ok(None);
        };
        Ok(Some(Halving {
            reduction: self.reduction.unwrap_or(halving.reduction),
            least_epochs: self
                .least_epochs
                .map_or(halving.least_epochs, |it| it as usize),
        }))
    }
}

/// Halving where nothing more is said.
const HALVING: Halving = Halving {
    reduction: 3,
    least_epochs: 1,
};

/// How what was found best is trained again.
#[derive(clap::Args)]
pub(super) struct RerankFlags {
    /// Train the K best architectures and the baselines again at the end; 0: none (default: 3)
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    rerank: Option<u32>,
    /// Epochs of these trainings (default: twice those of a trial; with --config and without --epochs, the file's)
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
        let config = RerankConfig {
            architectures: DEFAULT_RERANK,
            epochs: 1,
            seeds: 1,
        };
        self.over(config, Some(epochs))
    }

    /// A configuration with what the flags say. `epochs` are a trial's where they are new too: the configuration's
    /// verdict, made for others, then becomes twice as long as they are.
    pub(super) fn over(&self, config: RerankConfig, epochs: Option<usize>) -> RerankConfig {
        let config = RerankConfig {
            epochs: epochs.map_or(config.epochs, |it| (2 * it).min(RerankConfig::MOST_EPOCHS)),
            ..config
        };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twice_a_trials_epochs_are_no_more_than_a_run_toml_may_say() {
        let flags = RerankFlags {
            rerank: None,
            rerank_epochs: None,
            rerank_seeds: None,
        };
        assert_eq!(flags.fresh(7).epochs, 14);
        assert_eq!(flags.fresh(600_000).epochs, RerankConfig::MOST_EPOCHS);
    }
}
