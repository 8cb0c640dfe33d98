//! `cellwright search`: a run from beginning to end, or from where it was stopped.

mod defaults;
mod flags;
mod setup;

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context, Result};
use cellwright_graph::Shape;
use cellwright_ledger::{Kind, Run, Status, Trial, quoted};
use cellwright_report::ranking;
use cellwright_search::Error;
use cellwright_search::evaluator::{Evaluator, Processes};
use cellwright_search::run::{Ending, RunConfig};

use crate::commands::plots;
use crate::output::{ReaderGone, note, print, print_json};
use crate::progress::{Bars, stop_on_interrupt};
use crate::standings;

pub use flags::Args;

/// Runs the search and shows what it found.
pub fn run(args: Args) -> Result<()> {
    let mut planned = setup::plan(&args)?;
    let config = &planned.config;
    let workers = workers(config, planned.left()?)?;
    let dataset = cellwright_data::load(&config.dataset.name, &config.dataset.root)?;
    planned.take(&dataset)?;
    let config = &planned.config;
    dataset.notes.iter().for_each(note);
    setup::check_held_out(config, &dataset.train.labels)?;
    let input = Shape {
        height: dataset.train.height,
        width: dataset.train.width,
        channels: dataset.train.channels,
    };
    let classes = dataset.classes.len();
    let parts = [&dataset.train, &dataset.test];
    let bytes = parts.map(|it| it.pixels.len() + size_of_val(&it.labels[..]));
    let evaluator = workers.keeping(bytes.iter().sum::<usize>() as u64);
    cellwright_search::run::check(config, input, classes)?;
    // The workers have their own.
    drop(dataset);
    // Until now there is nothing to keep, and Ctrl-C ends the process, a download too.
    stop_on_interrupt("what is finished is kept")?;
    let folder = planned.begin()?;
    let rows = folder.trials()?.rows;
    if args.json {
        // Of a run that goes on all rows are told, those of before first.
        with_a_reader(rows.iter().try_for_each(print_json))?;
    }
    let bars = Bars::new(config, &rows, evaluator.slots(), args.json);
    let ending = cellwright_search::run::run(config, input, classes, &folder, &evaluator, &bars);
    let told = bars.clear();
    finish(
        ending.map_err(|it| kept(it, &folder))?,
        config,
        &folder,
        args.json.then_some(told),
    )
}

/// What ended a run that can go on, with how.
fn kept(error: Error, folder: &Run) -> anyhow::Error {
    match error {
        Error::Diverged { .. } => error.into(),
        error => anyhow::Error::new(error).context(format!(
            "the search could not go on, and what is finished is kept; when the cause is mended, go on with:\n  {}",
            resume(folder)
        )),
    }
}

/// The command that goes on with a run.
fn resume(folder: &Run) -> String {
    format!("cellwright search --resume {}", quoted(folder.folder()))
}

/// Worker processes, also where one works alone: what an allocation that fails ends is the process. They make themselves
/// ready while this one does, as many as there are networks left to train.
fn workers(config: &RunConfig, left: usize) -> Result<Processes> {
    let program = std::env::current_exe().context("cannot find this program to start workers")?;
    let machine = &config.machine;
    let workers = Processes::new(program, vec!["worker".into()], machine.workers);
    let workers = workers.on(machine.device)?;
    workers.prepare(left, &config.dataset, machine.device)?;
    Ok(workers)
}

/// Draws the report, shows the table or, of rows as JSON, those that have not been `told`, and says how to go on.
fn finish(
    ending: Ending,
    config: &RunConfig,
    folder: &Run,
    told: Option<HashSet<u32>>,
) -> Result<()> {
    let rows = folder.trials()?;
    for skipped in &rows.skipped {
        crate::output::warn(skipped);
    }
    let rows = rows.rows;
    // Where it cannot be drawn, the tables are to be seen all the same.
    let page = match rows.is_empty() {
        true => Ok(None),
        false => plots::draw_quietly(std::slice::from_ref(folder)).map(Some),
    };
    let shown = match told {
        Some(told) => {
            let mut others = rows.iter().filter(|it| !told.contains(&it.id));
            others.try_for_each(print_json)
        }
        None => show(&rows, config, page.as_ref().ok().and_then(Option::as_deref)),
    };
    with_a_reader(shown).with_context(|| {
        let folder = folder.folder().display();
        format!("what was found cannot be shown; the run is kept in {folder}")
    })?;
    page?;
    match ending {
        Ending::Complete => {}
        Ending::Exhausted => note(format!(
            "the space has no further distinct architecture: {}",
            trained(config, &rows)
        )),
        Ending::NothingNew => note(format!(
            "thousands of architectures in a row, the strategy's and at random, were known already: {}",
            trained(config, &rows)
        )),
        Ending::BeyondLimits => note(
            "hundreds of architectures in a row are beyond a limit: give --at-most more, or --set a smaller network",
        ),
        Ending::Stopped => anyhow::bail!("stopped; go on with:\n  {}", resume(folder)),
    }
    match nothing_trained(&rows) {
        Some(reason) => anyhow::bail!(reason),
        None => Ok(()),
    }
}

/// Why nothing was found, where no architecture of the search was trained to its end.
fn nothing_trained(rows: &[Trial]) -> Option<String> {
    let tried = rows.iter().filter(|it| it.kind == Kind::Search);
    let tried: Vec<&Trial> = tried.collect();
    let first = tried.first()?;
    let nothing = tried.iter().all(|it| it.status != Status::Done);
    nothing.then(|| {
        format!(
            "no architecture was trained to the end, of {} that were tried; the first: {}",
            tried.len(),
            first.reason.as_deref().unwrap_or("no reason is known")
        )
    })
}

/// What came of showing something; where nobody reads, the run goes on as it does with a reader.
fn with_a_reader(shown: Result<()>) -> Result<()> {
    match shown {
        Err(error) if error.is::<ReaderGone>() => Ok(()),
        shown => shown,
    }
}

/// Prints the tables, and where the report is.
fn show(rows: &[Trial], config: &RunConfig, page: Option<&Path>) -> Result<()> {
    if !rows.is_empty() {
        let trained: Vec<Trial> = rows
            .iter()
            .filter(|it| it.status != Status::Refused)
            .cloned()
            .collect();
        let by = if standings::rewarded(&trained) {
            "the reward: validation accuracy against cost"
        } else {
            "validation accuracy"
        };
        if standings::rewarded(&trained) {
            print(format!("Ranked by {by}\n"))?;
        }
        print(standings::search(&trained))?;
        if let Some(table) = standings::fronts(&trained) {
            print(
                "\nPareto fronts: nothing else here is as accurate for as little of what has a *\n",
            )?;
            print(table)?;
        }
        if let Some(table) = standings::verdict(rows) {
            let free = match config.objective.limits.is_empty() {
                true => "",
                false => "; baselines are not held to the limits",
            };
            let seeds = match config.rerank.seeds {
                0 | 1 => "another seed".to_owned(),
                seeds => format!("{seeds} other seeds (mean ± standard deviation)"),
            };
            print(format!(
                "\nThe verdict: trained again with {seeds}, ranked by {by}{free}\n"
            ))?;
            print(table)?;
        }
        if let Some(text) = ranking::told(&trained) {
            print(format!("\n{text}"))?;
        }
        match rows.len() - trained.len() {
            0 => {}
            count => note(format!(
                "refused, because beyond a limit: {count} of {} rows",
                rows.len()
            )),
        }
    }
    page.map_or(Ok(()), |page| print(format!("report: {}", page.display())))
}

/// What became of a search that ended before its epochs were spent, in words.
fn trained(config: &RunConfig, rows: &[Trial]) -> String {
    let trained = || {
        let rows = rows.iter().filter(|it| it.kind == Kind::Search);
        rows.filter(|it| it.status != Status::Refused)
    };
    let epochs: u64 = trained().map(|it| u64::from(it.epochs)).sum();
    format!(
        "{} were tried, for {epochs} epochs of {}",
        trained().filter(|it| !it.is_promoted()).count(),
        u64::from(config.search.trials) * config.training.epochs as u64
    )
}
