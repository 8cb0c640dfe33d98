//! The run that the flags mean: its configuration and its folder.

use std::path::Path;

use anyhow::Result;
use cellwright_data::split;
use cellwright_ledger::Run;
use cellwright_search::run::{DatasetConfig, MachineConfig, RunConfig, SearchConfig, VERSION};

use super::Args;
use super::defaults::{free_folder, share, spaces};
use crate::output::{Usage, note};

/// Trials of a search where no number is said.
const DEFAULT_TRIALS: u32 = 10;

/// The run that the flags mean: a new one, one repeated from its run.toml, or one to go on with.
pub(super) fn open(args: &Args) -> Result<(RunConfig, Run)> {
    if let Some(folder) = &args.resume {
        return resume(args, folder);
    }
    let mut config = match &args.config {
        Some(path) => RunConfig::load(path)?,
        None => fresh(args)?,
    };
    config
        .training
        .check()
        .map_err(cellwright_search::Error::from)?;
    check_fraction(&config)?;
    let out = args.out.clone().map_or_else(|| free_folder(&config), Ok)?;
    if let Some(trials) = args.trials {
        config.search.trials = trials;
    }
    config.rerank = args.rerank.over(config.rerank);
    let folder = Run::create(out, &config.to_toml()?)?;
    note(format!("run folder: {}", folder.folder().display()));
    Ok((config, folder))
}

fn resume(args: &Args, folder: &Path) -> Result<(RunConfig, Run)> {
    let folder = Run::open(folder)?;
    let mut config = RunConfig::parse(&folder.settings_text()?, &folder.settings_path())?;
    check_fraction(&config)?;
    if let Some(trials) = args.trials {
        config.search.trials = trials;
    }
    config.rerank = args.rerank.over(config.rerank);
    note(format!(
        "going on with {}: {} rows are there",
        folder.folder().display(),
        folder.trials()?.rows.len()
    ));
    Ok((config, folder))
}

/// Refuses a search that would hold no image out; whether a small fraction does, the images say later.
fn check_fraction(config: &RunConfig) -> Result<()> {
    if config.training.valid_fraction == 0.0 {
        return Err(nothing_held_out(config).into());
    }
    Ok(())
}

/// Refuses a search that holds none of the training images, whose labels these are, out.
pub(super) fn check_held_out(config: &RunConfig, labels: &[u32]) -> Result<()> {
    let parts = split(labels, config.training.valid_fraction, config.training.seed);
    if parts.valid.is_empty() {
        return Err(nothing_held_out(config).into());
    }
    Ok(())
}

fn nothing_held_out(config: &RunConfig) -> Usage {
    Usage(format!(
        "a search chooses by the accuracy on images that are held out, and a fraction of {} holds none out: give \
         --valid-fraction (in a run.toml, valid_fraction) more, such as 0.1; `cellwright train` does without",
        config.training.valid_fraction
    ))
}

/// The run that the flags describe, with what they leave open picked and told.
fn fresh(args: &Args) -> Result<RunConfig> {
    let device = args.device.resolve_and_tell();
    let dataset = args.data.name(device);
    let (space, baselines) = spaces(args, device)?;
    let (workers, threads) = share(args, device);
    let halving = args.halving.halving();
    // Where nothing is said, as many epochs as two rungs need.
    let least = halving.map_or(0, |it| {
        it.least_epochs.saturating_mul(it.reduction as usize)
    });
    let training = args.training.short_settings(device, args.seed, least);
    if let Some(halving) = halving {
        let rungs = halving.rungs(training.epochs);
        let rungs = rungs.map_err(|reason| Usage(format!("--halving: {reason}")))?;
        note(format!("successive halving: {} epochs", joined(&rungs)));
    }
    Ok(RunConfig {
        version: VERSION,
        search: SearchConfig {
            strategy: args.strategy.clone(),
            trials: args.trials.unwrap_or(DEFAULT_TRIALS),
            seed: args.seed,
            halving,
        },
        objective: args.objective.objective()?,
        rerank: args.rerank.fresh(training.epochs),
        training,
        dataset: DatasetConfig {
            name: dataset,
            root: args.data.root.clone(),
        },
        machine: MachineConfig {
            device,
            workers,
            threads,
        },
        space,
        baselines,
    })
}

/// `1, 3, 9`.
fn joined(numbers: &[usize]) -> String {
    let texts: Vec<String> = numbers.iter().map(usize::to_string).collect();
    texts.join(", ")
}
