//! `cellwright plots`: charts and report, from the tables alone.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cellwright_ledger::{Run, Simulations};

use crate::output::print;
use crate::simulations;

/// Flags of `plots`.
#[derive(clap::Args)]
pub struct Args {
    /// Folders of runs (default: the newest in results), or one of simulations. The report of one is written into
    /// its folder report; that of several runs, laid over each other, into the first one's folder
    /// report-with-OTHERS, beside its own
    #[arg(value_name = "RUN")]
    runs: Vec<PathBuf>,
}

/// Draws the report of the runs, or that of simulations, where [`Args`] say.
pub fn run(args: Args) -> Result<()> {
    let folders = if args.runs.is_empty() {
        vec![newest(Path::new("results"))?]
    } else {
        args.runs
    };
    if let [folder] = folders.as_slice()
        && Simulations::are_in(folder)
    {
        let page = simulations::draw(&Simulations::at(folder)?)?;
        return print(format!("report: {}", page.display()));
    }
    let runs = folders
        .iter()
        .map(Run::open)
        .collect::<Result<Vec<_>, _>>()?;
    draw(&runs)
}

/// Draws the report and says where it is.
pub fn draw(runs: &[Run]) -> Result<()> {
    let page = draw_quietly(runs)?;
    print(format!("report: {}", page.display()))
}

/// Draws the report; the path of its page.
pub fn draw_quietly(runs: &[Run]) -> Result<PathBuf> {
    let folder = cellwright_report::folder(runs)?;
    let written = cellwright_report::write(runs, &folder)?;
    for warning in &written.warnings {
        crate::output::warn(warning);
    }
    Ok(written.page)
}

/// The folder of the run that was begun last.
fn newest(results: &Path) -> Result<PathBuf> {
    let begun = |folder: &PathBuf| {
        folder
            .join("run.toml")
            .metadata()
            .and_then(|it| it.modified())
            .ok()
    };
    let folders = std::fs::read_dir(results)
        .with_context(|| format!("cannot list {}; name a run's folder", results.display()))?;
    folders
        .flatten()
        .map(|entry| entry.path())
        .filter(|folder| begun(folder).is_some())
        .max_by_key(begun)
        .with_context(|| {
            format!(
                "no runs in {}: start one with `just search`",
                results.display()
            )
        })
}
