//! Outcomes of simulations as rows of the ledger, and their charts.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use cellwright_ledger::{SimulationPoint, Simulations};
use cellwright_search::simulate::Outcome;

use crate::output::warn;

/// What is simulated, the same for all strategies in a folder.
pub struct Setting {
    /// Name of the space.
    pub space: String,
    /// The table's file.
    pub table: PathBuf,
    /// Architectures that the table knows.
    pub architectures: usize,
    /// The column that the strategies are told.
    pub reward: String,
    /// Standard deviation of the noise on every reward.
    pub noise: f64,
    /// Runs of a strategy.
    pub runs: u32,
    /// Seed of all runs.
    pub seed: u64,
}

impl Setting {
    /// The folder for simulations of this setting, which may hold some already.
    ///
    /// # Errors
    /// Where it is a run's, or holds simulations of another space, table, reward or noise: they do not compare.
    pub fn folder(&self, folder: &Path) -> Result<Simulations> {
        let simulations = Simulations::at(folder)?;
        let file = |path: &Path| path.file_name().map(ToOwned::to_owned);
        let other = simulations.points()?.rows.into_iter().find(|point| {
            point.space != self.space
                || point.reward != self.reward
                || point.noise.to_bits() != self.noise.to_bits()
                || point.architectures != self.architectures as u64
                || file(Path::new(&point.table)) != file(&self.table)
        });
        if let Some(other) = other {
            bail!(
                "{} holds simulations of {} on {} with the reward {} and noise {}, which do not compare with these; give another folder",
                folder.display(),
                other.space,
                other.table,
                other.reward,
                other.noise
            );
        }
        Ok(simulations)
    }

    /// A strategy's outcome as rows.
    pub fn points(&self, strategy: &str, outcome: &Outcome) -> Vec<SimulationPoint> {
        let of_column = outcome.columns.iter().flat_map(|curve| {
            curve.points.iter().map(|point| SimulationPoint {
                strategy: strategy.to_owned(),
                column: curve.column.clone(),
                evaluations: u32::try_from(point.evaluations).unwrap_or(u32::MAX),
                mean: point.mean,
                std: point.std,
                best: curve.best,
                reward: self.reward.clone(),
                noise: self.noise,
                space: self.space.clone(),
                table: self.table.display().to_string(),
                architectures: self.architectures as u64,
                runs: self.runs,
                seed: self.seed,
            })
        });
        of_column.collect()
    }
}

/// Draws the charts of a folder's simulations; the path of the page.
pub fn draw(simulations: &Simulations) -> Result<PathBuf> {
    let written = cellwright_report::write_simulations(simulations, &simulations.report())?;
    for warning in &written.warnings {
        warn(warning);
    }
    Ok(written.page)
}
