//! The run that the flags mean: its configuration and its folder.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use cellwright_data::{Dataset, split};
use cellwright_ledger::{Kind, Run, quoted};
use cellwright_search::Objective;
use cellwright_search::run::{
    DatasetConfig, MachineConfig, RunConfig, SearchConfig, Settings, SpaceSource, VERSION,
};
use cellwright_search::schedule::Halving;

use super::Args;
use super::defaults::{free_folder, named, share, spaces};
use crate::options::check_precision;
use crate::output::{Usage, note, warn};

/// Trials of a search where no number is said.
const DEFAULT_TRIALS: u32 = 10;

/// What a run that goes on can be given: where it runs, and how far. All else is what it has begun with; the images too,
/// which may lie elsewhere.
const ON_RESUME: [&str; 11] = [
    "resume",
    "dataset",
    "device",
    "workers",
    "threads",
    "data",
    "trials",
    "rerank",
    "rerank-epochs",
    "rerank-seeds",
    "json",
];

/// A run that the flags mean, before anything of it is written.
pub(super) struct Planned {
    pub(super) config: RunConfig,
    place: Place,
}

/// Where a run is kept.
enum Place {
    /// In a new folder: this one, or a free one in results.
    New(Option<PathBuf>),
    /// Where it was begun.
    Begun {
        run: Run,
        /// Whether its run.toml says something else by now.
        changed: bool,
    },
}

/// The run that the flags mean: a new one, one repeated from its run.toml, or one to go on with.
pub(super) fn plan(args: &Args) -> Result<Planned> {
    let planned = match (&args.resume, &args.config) {
        (Some(folder), _) => resumed(args, folder)?,
        (None, Some(path)) => Planned {
            config: over(args, RunConfig::load(path)?)?,
            place: Place::New(args.out.clone()),
        },
        (None, None) => Planned {
            config: fresh(args)?,
            place: Place::New(args.out.clone()),
        },
    };
    let readable = planned.config.check();
    readable.map_err(|reason| anyhow!("run.toml: {reason}"))?;
    let training = &planned.config.training;
    training.check().map_err(cellwright_search::Error::from)?;
    check_precision(training.precision, planned.config.machine.device)?;
    check_fraction(&planned.config)?;
    Ok(planned)
}

fn resumed(args: &Args, folder: &Path) -> Result<Planned> {
    if let Some(flag) = args.given.beside(&ON_RESUME) {
        let folder = quoted(&folder.join("run.toml"));
        let reason = format!(
            "--{flag} cannot be given with --resume, which goes on with the search as it was begun; start a new run \
             with it:\n  cellwright search --config {folder} --{flag} ..."
        );
        return Err(Usage(reason).into());
    }
    let run = Run::open(folder)?;
    let begun = RunConfig::parse(&run.settings_text()?, &run.settings_path())?;
    let mut config = over(args, begun.clone())?;
    if args.data.named().is_some() && begun.dataset.digest.is_none() {
        let reason = "--dataset cannot be given with --resume here: the run does not say which images it began with";
        return Err(Usage(reason.to_owned()).into());
    }
    config.dataset.digest = begun.dataset.digest.clone();
    let changed = config != begun;
    Ok(Planned {
        config,
        place: Place::Begun { run, changed },
    })
}

impl Planned {
    /// Networks that are still to be trained, as far as that is known before: retrainings depend on what is found.
    pub(super) fn left(&self) -> Result<usize> {
        let all = self.config.search.trials as usize + self.config.baselines.len();
        let Place::Begun { run, .. } = &self.place else {
            return Ok(all);
        };
        let rows = run.trials()?.rows;
        let there = rows
            .iter()
            .filter(|it| it.kind != Kind::Rerank && it.was_run());
        Ok(all.saturating_sub(there.count()))
    }

    /// Has a new run say which images it is of; those of another are to be the same.
    pub(super) fn take(&mut self, images: &Dataset) -> Result<()> {
        let dataset = &mut self.config.dataset;
        dataset.check(images)?;
        if matches!(self.place, Place::New(_)) {
            dataset.digest = Some(images.digest());
        }
        Ok(())
    }

    /// Makes the run's folder, or has that of a run that goes on say what is different now.
    pub(super) fn begin(&self) -> Result<Run> {
        let run = match &self.place {
            Place::New(out) => {
                let out = out.clone().map_or_else(|| free_folder(&self.config), Ok)?;
                Run::create(out, &self.config.to_toml()?)?
            }
            Place::Begun { run, changed } => {
                for damaged in run.set_aside_damaged_trials()? {
                    warn(damaged);
                }
                check_places(run)?;
                if *changed {
                    run.write_settings(&self.config.to_toml()?)?;
                }
                run.clone()
            }
        };
        let folder = run.folder().display();
        note(match self.place {
            Place::New(_) => format!("run folder: {folder}"),
            Place::Begun { .. } => {
                let rows = run.trials()?.rows.len();
                format!("going on with {folder}: {rows} rows are there")
            }
        });
        Ok(run)
    }
}

/// Refuses a run where what is no row of this version stands in a trial's place.
fn check_places(run: &Run) -> Result<()> {
    let skipped = run.trials()?.skipped;
    let in_place = |path: &Path| {
        let stem = path.file_stem().and_then(|it| it.to_str());
        stem.and_then(|it| it.parse().ok())
            .is_some_and(|id| run.trial_path(id) == path)
    };
    match skipped.iter().find(|it| in_place(&it.path)) {
        Some(skipped) => bail!("{skipped}; move it elsewhere to run this trial again"),
        None => Ok(()),
    }
}

/// A configuration with what the flags say.
fn over(args: &Args, config: RunConfig) -> Result<RunConfig> {
    let seed = args.given.has("seed").then_some(args.seed);
    let training = Settings {
        seed: seed.unwrap_or(config.training.seed),
        ..args.training.over(config.training)
    };
    let epochs = args.given.has("epochs").then_some(training.epochs);
    let halving = args.halving.over(config.search.halving)?;
    rungs(halving, training.epochs)?;
    let space = match &args.space {
        Some(path) => SpaceSource::read(path, args.set.pairs())?,
        None => SpaceSource {
            set: args.set.over(config.space.set),
            ..config.space
        },
    };
    let machine = config.machine;
    Ok(RunConfig {
        version: config.version,
        search: SearchConfig {
            strategy: if args.given.has("strategy") {
                args.strategy.clone()
            } else {
                config.search.strategy
            },
            trials: args.trials.unwrap_or(config.search.trials),
            seed: seed.unwrap_or(config.search.seed),
            halving,
        },
        objective: args.objective.over(config.objective)?,
        rerank: args.rerank.over(config.rerank, epochs),
        training,
        dataset: args.data.over(config.dataset),
        machine: MachineConfig {
            device: if args.given.has("device") {
                args.device.resolve_and_tell()
            } else {
                machine.device
            },
            workers: args.workers.map_or(machine.workers, |it| it as usize),
            threads: args.threads.map_or(machine.threads, |it| it as usize),
        },
        space,
        baselines: match &args.baselines {
            Some(paths) => named(paths)?,
            None => config.baselines,
        },
    })
}

/// The epochs of each rung; none without halving.
fn rungs(halving: Option<Halving>, epochs: usize) -> Result<Option<Vec<usize>>> {
    let rungs = halving.map(|it| it.rungs(epochs)).transpose();
    Ok(rungs.map_err(|reason| Usage(format!("--halving: {reason}")))?)
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
    let (space, baselines) = spaces(args, device)?;
    let (workers, threads) = share(args, device);
    let halving = args.halving.over(None)?;
    // Where nothing is said, as many epochs as two rungs need.
    let least = halving.map_or(0, |it| {
        it.least_epochs.saturating_mul(it.reduction as usize)
    });
    let training = args.training.short_settings(device, args.seed, least);
    if let Some(rungs) = rungs(halving, training.epochs)? {
        note(format!("successive halving: {} epochs", joined(&rungs)));
    }
    let objective = args.objective.over(Objective::default())?;
    check_precision(training.precision, device)?;
    // Last, as it may be fetched.
    let dataset = args.data.name(device);
    Ok(RunConfig {
        version: VERSION,
        search: SearchConfig {
            strategy: args.strategy.clone(),
            trials: args.trials.unwrap_or(DEFAULT_TRIALS),
            seed: args.seed,
            halving,
        },
        objective,
        rerank: args.rerank.fresh(training.epochs),
        training,
        dataset: DatasetConfig {
            name: dataset,
            root: args.data.root(),
            digest: None,
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
