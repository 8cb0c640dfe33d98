//! `cellwright simulate`: strategies on a table of known results.

use std::path::{Path, PathBuf};

use anyhow::Result;
use cellwright_ledger::Table;
use cellwright_search::simulate::{Curve, KnownResults, Outcome, Point, Simulation, simulate};
use cellwright_search::{Identities, strategy};
use clap::builder::PossibleValuesParser;
use indicatif::ProgressBar;
use serde_json::{Map, Value, json};

use crate::options::SpaceFlags;
use crate::output::{note, print, print_json, right, table, unfolding, warn};
use crate::progress::style;
use crate::simulations::{Setting, draw};

/// Flags of `simulate`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    space: SpaceFlags,
    /// A Parquet file with a row for each architecture, a folder of such files, or a run, whose trials are taken
    #[arg(long, value_name = "PARQUET")]
    table: PathBuf,
    /// The column that the strategy is told
    #[arg(long, value_name = "COLUMN")]
    reward: String,
    /// The columns to report of the architecture that is recommended (default: the reward)
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    report: Vec<String>,
    /// The column of the architectures, in the space's notation (default: the first that has them)
    #[arg(long, value_name = "COLUMN")]
    architectures: Option<String>,
    /// Which strategies; `all` stands for every one
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = strategy::DEFAULT,
        value_parser = PossibleValuesParser::new(strategy::names().into_iter().chain(["all"])))]
    strategy: Vec<String>,
    /// Evaluations of a run, repeats of an architecture too
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    budget: u32,
    /// Runs, each with a seed of its own
    #[arg(long, value_name = "R", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    runs: u32,
    /// The seed of all runs
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Add normal noise of this standard deviation to every reward that a strategy is told
    #[arg(long, value_name = "DEVIATION", default_value_t = 0.0, value_parser = deviation)]
    noise: f64,
    /// Runs at a time (default: one a core)
    #[arg(long, value_name = "T", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Keep the curves as tables in this folder, and draw charts of regret there; a strategy that it holds is replaced
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// One JSON object a strategy, a line each
    #[arg(long)]
    json: bool,
}

/// Simulates the strategies one after the other and prints what they recommend in the end.
pub fn run(args: Args) -> Result<()> {
    let space = args.space.source()?.space()?;
    let mut reports = args.report.clone();
    if reports.is_empty() {
        reports.push(args.reward.clone());
    }
    let columns = read(&args.table)?;
    for skipped in columns.skipped() {
        warn(skipped);
    }
    let architectures = args.architectures.as_deref();
    let results = KnownResults::new(&columns, &space, architectures, &args.reward, &reports)?;
    if !results.left_out().is_empty() {
        let reasons = results.left_out().iter();
        let texts = reasons.map(|(count, reason)| format!("{count} {reason}"));
        warn(format!(
            "{} of {} rows are left out: {}",
            results.left_out().iter().map(|it| it.0).sum::<usize>(),
            columns.rows(),
            texts.collect::<Vec<_>>().join(", ")
        ));
    }
    if results.repeated() > 0 {
        note(format!(
            "several rows for each of {} architectures: their mean is taken{}",
            results.repeated(),
            match columns.epochs() {
                Some(_) => "; of trials, that of the longest trainings",
                None => "",
            }
        ));
    }
    let known = results.len().into();
    if let Some(count) = space.count().filter(|count| *count > known) {
        note(format!(
            "the table knows {known} of the {count} architectures of {}; an evaluation of another is told as failed, \
             from which a strategy learns what is not so: a table of all of them compares strategies better",
            space.name()
        ));
    }
    let setting = Setting {
        space: space.name().to_owned(),
        table: args.table.clone(),
        architectures: results.len(),
        reward: args.reward.clone(),
        noise: args.noise,
        runs: args.runs,
        seed: args.seed,
    };
    let out = args.out.as_deref().map(|it| setting.folder(it));
    let out = out.transpose()?;
    let head: Vec<&str> = ["strategy", "evaluations"]
        .into_iter()
        .chain(reports.iter().map(String::as_str))
        .collect();
    let mut lines = table(&head);
    let identities = Identities::of_space(&space);
    for name in names(&args.strategy) {
        let simulation = Simulation {
            budget: args.budget as usize,
            runs: args.runs as usize,
            seed: args.seed,
            noise: args.noise,
            threads: args.threads.map_or(0, usize::from),
        };
        let make = |seed| strategy::create(&name, &identities, seed);
        let bar = bar(&name, u64::from(args.runs));
        let outcome = simulate(&make, &results, &simulation, &|| bar.inc(1));
        bar.finish_and_clear();
        let outcome = outcome?;
        if outcome.missing > 0 {
            warn(format!(
                "{name}: {} of {} evaluations were of architectures that the table does not hold; told as failed",
                outcome.missing,
                u64::from(args.budget) * u64::from(args.runs)
            ));
        }
        if let Some(out) = &out {
            out.write(&name, &setting.points(&name, &outcome))?;
        }
        if args.json {
            print_json(&facts(&args, &name, &results, &outcome))?;
        } else {
            lines.add_row(row(&name, args.budget, args.runs, &outcome));
        }
    }
    if let Some(out) = &out {
        if out.points()?.rows.is_empty() {
            note(
                "no charts: at no time had every run of a strategy met an architecture that the table holds",
            );
        } else {
            note(format!("charts: {}", draw(out)?.display()));
        }
    }
    if !args.json {
        right(&mut lines, &(1..head.len()).collect::<Vec<_>>());
        print(format!(
            "{}, {} architectures of {}; reward {}; {}",
            space.name(),
            results.len(),
            args.table.display(),
            args.reward,
            match args.runs {
                1 => "1 run".to_owned(),
                runs => format!("{runs} runs, mean ± standard deviation (standard error)"),
            }
        ))?;
        print(unfolding(2, lines))?;
    }
    Ok(())
}

/// Shows how many runs of a strategy are over, where stderr is a terminal.
fn bar(name: &str, runs: u64) -> ProgressBar {
    let style =
        style("{prefix:<24} {bar:28.green} {pos:>5}/{len:<5} runs  {elapsed} gone, {eta} left");
    let bar = ProgressBar::new(runs)
        .with_prefix(name.to_owned())
        .with_style(style);
    bar.enable_steady_tick(std::time::Duration::from_millis(500));
    bar
}

/// Reads a table. A damaged one may make its reader panic, which is caught; only the error is to be told.
fn read(path: &Path) -> Result<Table> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let table = Table::read(path);
    std::panic::set_hook(hook);
    Ok(table?)
}

fn deviation(text: &str) -> Result<f64, String> {
    let deviation = text.parse().ok();
    let deviation = deviation.filter(|it: &f64| it.is_finite() && *it >= 0.0);
    deviation.ok_or_else(|| "expected a number, zero or more".to_owned())
}

/// The strategies that are named, each once.
fn names(named: &[String]) -> Vec<String> {
    let all = || strategy::names().into_iter().map(str::to_owned).collect();
    let each = |name: &String| {
        if name == "all" {
            all()
        } else {
            vec![name.clone()]
        }
    };
    let mut names: Vec<String> = Vec::new();
    for name in named.iter().flat_map(each) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Digits after the point that show two of a number's own, at least three.
fn digits(number: f64) -> usize {
    let first = -number.abs().log10().floor();
    match first.is_finite() {
        true => (first as usize + 1).clamp(3, 12),
        // Zero has none.
        false => 3,
    }
}

/// A strategy's line of the table.
fn row(name: &str, budget: u32, runs: u32, outcome: &Outcome) -> Vec<String> {
    let value = |curve: &Curve| {
        curve.points.last().map_or("none".to_owned(), |last| {
            let error = |std: f64| std / f64::from(runs).sqrt();
            let digits = digits(last.std.map_or(last.mean, error));
            let spread = last.std.map_or(String::new(), |std| {
                format!(" ± {std:.digits$} ({:.digits$})", error(std))
            });
            format!("{:.digits$}{spread}", last.mean)
        })
    };
    let mut cells = vec![name.to_owned(), budget.to_string()];
    cells.extend(outcome.columns.iter().map(value));
    cells
}

/// A strategy's JSON object.
fn facts(args: &Args, name: &str, results: &KnownResults, outcome: &Outcome) -> Value {
    let at = |point: &Point| {
        json!({
            "mean": point.mean,
            "std": point.std,
            "standard_error": point.std.map(|std| std / f64::from(args.runs).sqrt()),
        })
    };
    let best: Map<String, Value> = outcome
        .columns
        .iter()
        .map(|curve| (curve.column.clone(), json!(curve.best)))
        .collect();
    let report: Map<String, Value> = outcome
        .columns
        .iter()
        .map(|curve| {
            (
                curve.column.clone(),
                curve.points.last().map_or(Value::Null, at),
            )
        })
        .collect();
    let curve: Map<String, Value> = outcome
        .columns
        .iter()
        .map(|curve| {
            let point = |point: &Point| json!([point.evaluations, point.mean, point.std]);
            (
                curve.column.clone(),
                curve.points.iter().map(point).collect(),
            )
        })
        .collect();
    json!({
        "strategy": name,
        "budget": args.budget,
        "runs": args.runs,
        "seed": args.seed,
        "space": args.space.file.display().to_string(),
        "table": args.table.display().to_string(),
        "architectures": results.len(),
        "reward": args.reward,
        "noise": args.noise,
        "best": best,
        "report": report,
        "missing": outcome.missing,
        "curve": {"columns": ["evaluations", "mean", "std"], "points": curve},
    })
}
