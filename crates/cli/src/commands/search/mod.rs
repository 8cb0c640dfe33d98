//! `cellwright search`: a run from beginning to end, or from where it was stopped.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cellwright_data::Dataset;
use cellwright_graph::Shape;
use cellwright_ledger::{Kind, Run, Trial};
use cellwright_search::evaluator::{Evaluator, Local, Processes};
use cellwright_search::run::{
    DatasetConfig, DeviceSpec, Ending, MachineConfig, RerankConfig, RunConfig, SearchConfig,
    SpaceSource, VERSION,
};
use cellwright_search::schedule::Halving;
use cellwright_search::{objective, strategy};

use crate::commands::plots;
use crate::objective::ObjectiveFlags;
use crate::options::{DataFlags, DeviceFlag, Set, TrainingFlags};
use crate::output::{Usage, note, print, print_json};
use crate::progress::{Bars, stop_on_interrupt};
use crate::standings;

/// Flags of `search`.
#[derive(clap::Args)]
pub struct Args {
    /// The space file (default: NASNet's cells, sized for the device)
    #[arg(long, value_name = "FILE")]
    space: Option<PathBuf>,
    #[command(flatten)]
    set: Set,
    #[command(flatten)]
    data: DataFlags,
    /// How architectures are chosen
    #[arg(long, value_name = "NAME", default_value = strategy::DEFAULT, value_parser = strategy_names())]
    strategy: String,
    /// How many architectures are trained; with --halving, as many epochs as so many trainings have
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    trials: Option<u32>,
    #[command(flatten)]
    objective: ObjectiveFlags,
    #[command(flatten)]
    training: TrainingFlags,
    /// The seed of the whole run
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    device: DeviceFlag,
    /// Trials under way at a time, each in a process of its own
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..=1024))]
    workers: Option<u32>,
    /// Threads of each trial (default: the machine's cores divided by the workers)
    #[arg(long, value_name = "T", value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: Option<u32>,
    /// Networks to train beside, with the same settings (default: VGG, GoogLeNet and ResNet where no
    /// space is named, else none)
    #[arg(long, value_name = "FILE", num_args = 1..)]
    baselines: Option<Vec<PathBuf>>,
    #[command(flatten)]
    halving: HalvingFlags,
    #[command(flatten)]
    rerank: RerankFlags,
    /// The run's folder (default: a new one in results)
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Repeat the run that a run.toml describes
    #[arg(long, value_name = "FILE", conflicts_with_all = ["space", "set", "dataset", "baselines", "objective"])]
    config: Option<PathBuf>,
    /// Go on with a run that was stopped
    #[arg(long, value_name = "DIR", conflicts_with_all = ["space", "set", "dataset", "baselines", "out", "config", "seed", "strategy", "training", "objective"])]
    resume: Option<PathBuf>,
    /// One JSON object a trial, and no table
    #[arg(long)]
    json: bool,
}

/// How long each architecture is trained.
#[derive(clap::Args)]
struct HalvingFlags {
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
    fn halving(&self) -> Option<Halving> {
        self.halve.then_some(Halving {
            reduction: self.reduction,
            least_epochs: self.least_epochs as usize,
        })
    }
}

/// How what was found best is trained again.
#[derive(clap::Args)]
struct RerankFlags {
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
    fn fresh(&self, epochs: usize) -> RerankConfig {
        self.over(RerankConfig {
            architectures: DEFAULT_RERANK,
            epochs: 2 * epochs,
            seeds: 1,
        })
    }

    /// A configuration with what the flags say.
    fn over(&self, config: RerankConfig) -> RerankConfig {
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

/// The space of a search where none is named.
const DEFAULT_SPACE: &str = "search-spaces/nasnet.toml";
/// The baselines of such a search on a CPU, and on a GPU.
const DEFAULT_BASELINES: [[&str; 3]; 2] = [
    [
        "search-spaces/baselines/small/vgg.toml",
        "search-spaces/baselines/small/googlenet.toml",
        "search-spaces/baselines/small/resnet.toml",
    ],
    [
        "search-spaces/baselines/vgg16-bn.toml",
        "search-spaces/baselines/googlenet.toml",
        "search-spaces/baselines/resnet18.toml",
    ],
];

/// Runs the search and shows what it found.
pub fn run(args: Args) -> Result<()> {
    stop_on_interrupt()?;
    let (config, folder) = open(&args)?;
    let dataset = cellwright_data::load(&config.dataset.name, &config.dataset.root)?;
    let input = Shape {
        height: dataset.train.height,
        width: dataset.train.width,
        channels: dataset.train.channels,
    };
    let classes = dataset.classes.len();
    let evaluator = evaluator(&config.machine, &dataset)?;
    // What was refused before anything was run is no trial.
    let refused = |it: &Trial| it.latency_ms.is_none() && beyond(&config, it);
    let done = folder
        .trials()?
        .rows
        .iter()
        .filter(|it| !refused(it))
        .map(|it| u64::from(it.epochs))
        .sum();
    let bars = Bars::new(config.epochs(), done, evaluator.slots(), args.json);
    let ending = cellwright_search::run::run(&config, input, classes, &folder, &*evaluator, &bars);
    bars.clear();
    finish(ending?, &config, &folder, args.json)
}

/// The run that the flags mean: a new one, one repeated from its run.toml, or one to go on with.
fn open(args: &Args) -> Result<(RunConfig, Run)> {
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

/// Trials of a search where no number is said.
const DEFAULT_TRIALS: u32 = 10;

/// The space and the baselines. Where no space is named, NASNet and the baselines in a size that
/// suits the device.
fn spaces(args: &Args, device: DeviceSpec) -> Result<(SpaceSource, Vec<SpaceSource>)> {
    let read = |path: &Path, set: &[(String, String)]| SpaceSource::read(path, set);
    let named = |paths: &[PathBuf]| {
        paths
            .iter()
            .map(|path| read(path, &[]))
            .collect::<Result<_, _>>()
    };
    let Some(path) = &args.space else {
        let path = Path::new(DEFAULT_SPACE);
        anyhow::ensure!(
            path.exists(),
            "{DEFAULT_SPACE} is not here: name a space file with --space FILE, or start in the \
             folder of the project"
        );
        let on_gpu = device != DeviceSpec::Cpu;
        let mut set: Vec<(String, String)> = SIZES[usize::from(on_gpu)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec();
        set.extend_from_slice(args.set.pairs());
        let baselines = match &args.baselines {
            Some(paths) => named(paths)?,
            None => DEFAULT_BASELINES[usize::from(on_gpu)]
                .iter()
                .map(|path| read(Path::new(path), &[]))
                .collect::<Result<_, _>>()?,
        };
        return Ok((read(path, &set)?, baselines));
    };
    let baselines = args.baselines.as_deref().map_or(Ok(Vec::new()), named)?;
    Ok((read(path, args.set.pairs())?, baselines))
}

/// The size of NASNet's networks where no space is named, on a CPU and on a GPU.
const SIZES: [[(&str, &str); 2]; 2] = [
    [("filters", "8"), ("repeats", "1")],
    [("filters", "16"), ("repeats", "1")],
];

/// Workers and the threads of each: on a CPU one trial a core, since candidates side by side use the
/// cores better than threads within a step; on a GPU one.
fn share(args: &Args, device: DeviceSpec) -> (usize, usize) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = args.workers.map_or(
        if device == DeviceSpec::Cpu { cores } else { 1 },
        |workers| workers as usize,
    );
    let threads = args
        .threads
        .map_or((cores / workers).max(1), |threads| threads as usize);
    (workers, threads)
}

/// A folder in results that is not there yet: space, data set and a number.
fn free_folder(config: &RunConfig) -> Result<PathBuf> {
    let plain = |text: &str| {
        text.replace(|it: char| !it.is_ascii_alphanumeric(), "-")
            .to_lowercase()
    };
    let space = config
        .space
        .path
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let dataset = Path::new(&config.dataset.name)
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    let name = format!("{}-{}", plain(&space), plain(&dataset));
    (1..u32::MAX)
        .map(|number| Path::new("results").join(format!("{name}-{number}")))
        .find(|folder| !folder.exists())
        .context("every run folder that could be new is taken; name one with --out DIR")
}

fn evaluator(machine: &MachineConfig, dataset: &Dataset) -> Result<Box<dyn Evaluator>> {
    if machine.workers == 1 {
        return Ok(Box::new(Local::new()));
    }
    let program = std::env::current_exe().context("cannot find this program to start workers")?;
    let processes = Processes::new(program, vec!["worker".into()], machine.workers);
    let parts = [&dataset.train, &dataset.test];
    let bytes = parts.map(|it| it.pixels.len() + size_of_val(&it.labels[..]));
    let images = bytes.iter().sum::<usize>() as u64;
    Ok(Box::new(processes.on(machine.device, images)?))
}

/// Whether a row is of an architecture that the search did not train because of a limit.
fn beyond(config: &RunConfig, trial: &Trial) -> bool {
    trial.kind == Kind::Search && objective::beyond(&config.objective.limits, trial).is_some()
}

/// Shows the table, draws the report, and says how to go on.
fn finish(ending: Ending, config: &RunConfig, folder: &Run, json: bool) -> Result<()> {
    let rows = folder.trials()?;
    for skipped in &rows.skipped {
        crate::output::warn(skipped);
    }
    if json {
        rows.rows.iter().try_for_each(print_json)?;
    } else if !rows.rows.is_empty() {
        let trained: Vec<Trial> = rows
            .rows
            .iter()
            .filter(|it| !beyond(config, it))
            .cloned()
            .collect();
        print(standings::search(&trained))?;
        if let Some(table) = standings::fronts(&trained) {
            print(
                "\nPareto fronts: nothing else here is as accurate for as little of what has a *\n",
            )?;
            print(table)?;
        }
        if let Some(table) = standings::verdict(&rows.rows) {
            print(
                "\nThe verdict: trained again with another seed, ranked on the validation part\n",
            )?;
            print(table)?;
        }
        match rows.rows.len() - trained.len() {
            0 => {}
            count => note(format!(
                "beyond a limit, and not trained: {count} of {} rows",
                rows.rows.len()
            )),
        }
    }
    if !rows.rows.is_empty() {
        let run = std::slice::from_ref(folder);
        if json {
            plots::draw_quietly(run).map(drop)?
        } else {
            plots::draw(run)?
        }
    }
    let here = folder.folder().display();
    match ending {
        Ending::Complete => {}
        Ending::Exhausted => note(format!(
            "the space has no further distinct architecture: {} trials of {}",
            rows.rows
                .iter()
                .filter(|row| row.kind == Kind::Search)
                .count(),
            config.search.trials
        )),
        Ending::BeyondLimits => note(
            "hundreds of architectures in a row are beyond a limit: give --at-most more, or --set a smaller network",
        ),
        Ending::Stopped => {
            anyhow::bail!("stopped; go on with:\n  cellwright search --resume {here}")
        }
    }
    Ok(())
}
