//! `cellwright train`: one architecture or baseline, trained and evaluated on the test part.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use cellwright_graph::Shape;
use cellwright_ledger::{Kind, Run, Status, Trial};
use cellwright_search::Error;
use cellwright_search::evaluator::{Evaluator, Local, Progress, Request, Watch};
use cellwright_search::run::{DatasetConfig, DeviceSpec, RunConfig, SpaceSource};
use cellwright_space::Choices;
use indicatif::ProgressBar;

use crate::options::{DataFlags, DeviceFlag, Set, TrainingFlags, Which, check_precision};
use crate::output::{Usage, note, print, print_json, short, thousands};
use crate::progress::{self, stop_on_interrupt};

/// Flags of `train`.
#[derive(clap::Args)]
pub struct Args {
    /// A space file
    #[arg(value_name = "FILE", required_unless_present = "trial")]
    file: Option<PathBuf>,
    #[command(flatten)]
    set: Set,
    #[command(flatten)]
    which: Which,
    /// The architecture of a run's trial, on the run's images: its folder, #, its number
    #[arg(long, value_name = "RUN#ID", conflicts_with_all = ["file", "set", "which"])]
    trial: Option<String>,
    #[command(flatten)]
    data: DataFlags,
    #[command(flatten)]
    training: TrainingFlags,
    /// The seed of weights, order and augmentation
    #[arg(long, value_name = "S", default_value_t = 0)]
    training_seed: u64,
    #[command(flatten)]
    device: DeviceFlag,
    /// Threads (default: the machine's cores)
    #[arg(long, value_name = "T", value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: Option<u32>,
    /// Where the trained weights go, as safetensors
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// A file with the training's state after each epoch; where it is there, the training goes on from it, with the
    /// same flags but for --limit
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// One JSON object: the row of the trial
    #[arg(long)]
    json: bool,
}

/// Trains and shows what came of it.
pub fn run(args: Args) -> Result<()> {
    let [save, checkpoint] = [&args.save, &args.checkpoint].map(|it| it.as_deref().map(place));
    if save.is_some() && save == checkpoint {
        let reason = "--save and --checkpoint name one file, and keep different things: name two";
        return Err(Usage(reason.to_owned()).into());
    }
    let (source, choices, of_run) = architecture(&args)?;
    let device = args.device.resolve();
    let training = args.training.settings(args.training_seed);
    check_precision(training.precision, device)?;
    let dataset = dataset(&args.data, of_run, device);
    let local = Local::new();
    let images = local.dataset(&dataset)?;
    dataset.check(&images)?;
    images.notes.iter().for_each(note);
    for path in [&args.save, &args.checkpoint].into_iter().flatten() {
        make_place(path)?;
    }
    let request = Request {
        id: 0,
        // An architecture of a space is no baseline.
        kind: match choices.0.is_empty() {
            true => Kind::Baseline,
            false => Kind::Rerank,
        },
        space: source,
        choices,
        source: None,
        rung: None,
        strategy: String::new(),
        input: Shape {
            height: images.train.height,
            width: images.train.width,
            channels: images.train.channels,
        },
        classes: images.classes.len(),
        limits: Vec::new(),
        training,
        dataset,
        device,
        threads: args.threads.unwrap_or(0) as usize,
        weights: args.save.clone(),
        checkpoint: args.checkpoint.clone(),
    };
    drop(images);
    // Until now there is nothing to keep, and Ctrl-C ends the process, a download too.
    stop_on_interrupt(match args.checkpoint {
        Some(_) => "the checkpoint keeps whole epochs",
        None => "nothing is kept without --checkpoint FILE",
    })?;
    let bar = Bar::new(args.json);
    let row = local.evaluate(0, &request, &bar);
    bar.0.finish_and_clear();
    let row = row.map_err(|error| match error {
        Error::Stopped => anyhow!("stopped{}", to_go_on(&args)),
        error => error.into(),
    })?;
    let trial = Trial {
        graph: None,
        ..row.trial
    };
    let done = trial.status == Status::Done;
    if args.json {
        print_json(&trial)?;
    } else if done {
        show(&trial)?;
    }
    let unsaved = row.unsaved.map(|it| format!("not saved: {it}"));
    let failed = (!done).then(|| trial.reason.unwrap_or_else(|| "it failed".to_owned()));
    match (failed, unsaved) {
        (None, None) => Ok(()),
        // What diverged or does not fit goes on no better.
        (Some(reason), None) if reason.starts_with("timed out") => {
            bail!("{reason}{}", to_go_on(&args))
        }
        (reason, unsaved) => {
            let all: Vec<String> = reason.into_iter().chain(unsaved).collect();
            bail!(all.join("; "))
        }
    }
}

/// How a training that was cut off can go on, after what ended it.
fn to_go_on(args: &Args) -> String {
    match &args.checkpoint {
        Some(path) if path.exists() => {
            let path = path.display();
            format!("; {path} has the last whole epoch, and the same command goes on from there")
        }
        _ => String::new(),
    }
}

/// Where a path leads, though the end of it may not be there yet.
fn place(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = path.ancestors().find_map(|it| {
        let end = path.strip_prefix(it).ok()?;
        Some(it.canonicalize().ok()?.join(end))
    });
    there.unwrap_or(path)
}

/// Makes the folder of a file that is to be written when the training is over, and tries to write there.
fn make_place(path: &Path) -> Result<()> {
    let folder = path
        .parent()
        .filter(|it| !it.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    cellwright_net::whole::check(path).with_context(|| format!("cannot write {}", path.display()))
}

/// The images that the flags name, or else those of the run, or those that suit the device.
fn dataset(flags: &DataFlags, of_run: Option<DatasetConfig>, device: DeviceSpec) -> DatasetConfig {
    let Some(of_run) = of_run else {
        return DatasetConfig {
            name: flags.name(device),
            root: flags.root(),
            digest: None,
        };
    };
    let dataset = flags.over(of_run);
    if flags.named().is_none() {
        note(format!(
            "data set: {} (the run's); --dataset NAME or FOLDER chooses otherwise",
            dataset.name
        ));
    }
    dataset
}

/// The space and choices that the flags name, and the images of the run if they are of one.
fn architecture(args: &Args) -> Result<(SpaceSource, Choices, Option<DatasetConfig>)> {
    if let Some(name) = &args.trial {
        let (source, choices, dataset) = of_run(name)?;
        return Ok((source, choices, Some(dataset)));
    }
    let file = args.file.as_deref().unwrap_or(Path::new(""));
    let source = SpaceSource::read(file, args.set.pairs())?;
    let choices = args.which.choices(&source.space()?)?;
    Ok((source, choices, None))
}

fn of_run(name: &str) -> Result<(SpaceSource, Choices, DatasetConfig)> {
    let wrong = || {
        Usage(format!(
            "--trial {name}: write a run's folder, # and a trial's number: results/nasnet-1#7"
        ))
    };
    let (folder, id) = name.rsplit_once('#').ok_or_else(wrong)?;
    let id: u32 = id.parse().map_err(|_| wrong())?;
    let run = Run::open(folder)?;
    let trials = run.trials()?.rows;
    let trial = trials
        .iter()
        .find(|trial| trial.id == id)
        .with_context(|| match trials.iter().map(|it| it.id).max() {
            Some(last) => format!("{folder} has no trial {id}; its last is {last}"),
            None => format!("{folder} has no trials yet"),
        })?;
    let config = RunConfig::parse(&run.settings_text()?, &run.settings_path())?;
    let source = match trial.kind {
        // What is trained again names the first row, whose number is the baseline's.
        Kind::Baseline => {
            let first = trial.source_trial.unwrap_or(id);
            config.baselines.get(first as usize).cloned()
        }
        _ => Some(config.space),
    };
    let source = source
        .with_context(|| format!("{folder}: its run.toml does not have the space of trial {id}"))?;
    let choices = trial
        .choices
        .parse()
        .map_err(|error| Usage(format!("{error}")))?;
    Ok((source, choices, config.dataset))
}

struct Bar(ProgressBar);

impl Bar {
    fn new(quiet: bool) -> Self {
        let bar = if quiet {
            ProgressBar::hidden()
        } else {
            ProgressBar::new(1)
        };
        bar.set_style(progress::style(
            "{bar:32.cyan} {percent:>3} %  {elapsed} gone, {eta} left  {msg}",
        ));
        Bar(bar)
    }
}

impl Watch for Bar {
    fn progress(&self, progress: Progress) {
        progress::show(&self.0, progress);
    }

    fn stopped(&self) -> bool {
        progress::stopped()
    }
}

fn show(trial: &Trial) -> Result<()> {
    let percent = |fraction: Option<f64>| {
        fraction.map_or("–".to_owned(), |it| format!("{:.2} %", 100.0 * it))
    };
    let architecture = match trial.choices.as_str() {
        "" => String::new(),
        choices if trial.architecture.is_empty() || trial.architecture == choices => {
            format!("\n  choices              {choices}")
        }
        choices => format!(
            "\n  architecture         {}\n  choices              {choices}",
            trial.architecture
        ),
    };
    print(format!(
        "{} on {}, {} epochs of {} images{architecture}\n  test accuracy        {} (top 5: {})\n  validation accuracy  {}\n  parameters           \
         {}\n  MACs                 {} an image\n  training             {:.1} s, {:.0} images/s",
        trial.space,
        trial.dataset,
        trial.epochs,
        thousands(trial.train_images),
        percent(trial.test_top1),
        percent(trial.test_top5),
        percent(trial.valid_top1),
        thousands(trial.params),
        short(trial.macs),
        trial.train_seconds.unwrap_or(0.0),
        trial.images_per_second.unwrap_or(0.0),
    ))
}
