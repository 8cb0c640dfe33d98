//! A folder of simulations: of each strategy the curves over its evaluations, a file each.

use std::path::{Path, PathBuf};

use crate::durable::Existing;
use crate::record::{Record, Rows};
use crate::schema::SimulationPoint;
use crate::{Error, Run, files};

/// The folder that holds the simulations of some strategies on one table of known results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Simulations {
    folder: PathBuf,
}

impl Simulations {
    /// The simulations in `folder`, which need not be there yet.
    ///
    /// # Errors
    /// [`Error::RunExists`] where the folder is that of a run.
    pub fn at(folder: impl Into<PathBuf>) -> Result<Self, Error> {
        let folder = folder.into();
        match Run::open(&folder) {
            Ok(_) => Err(Error::RunExists { folder }),
            Err(_) => Ok(Self { folder }),
        }
    }

    /// Whether `folder` holds simulations, and no run.
    pub fn are_in(folder: &Path) -> bool {
        folder.join(SimulationPoint::FOLDER).is_dir() && Run::open(folder).is_err()
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of charts and the HTML page; not made here.
    pub fn report(&self) -> PathBuf {
        self.folder.join("report")
    }

    /// Writes the points of one strategy, in place of what an earlier simulation of it left.
    ///
    /// # Errors
    /// [`Error::Schema`] where the points are of several strategies, or of one whose name is more than letters,
    /// digits, `-` and `_`; [`Error::Write`].
    pub fn write(&self, strategy: &str, points: &[SimulationPoint]) -> Result<PathBuf, Error> {
        let folder = self.folder.join(SimulationPoint::FOLDER);
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if strategy.is_empty() || !strategy.chars().all(plain) {
            let reason = format!("`{strategy}` cannot be a file's name");
            return Err(Error::Schema {
                path: folder,
                reason,
            });
        }
        let path = folder.join(format!("{strategy}.parquet"));
        if let Some(other) = points.iter().find(|point| point.strategy != strategy) {
            let reason = format!("`{}` is not `{strategy}`", other.strategy);
            return Err(Error::Schema { path, reason });
        }
        files::write(&path, points, Existing::Replace)?;
        Ok(path)
    }

    /// All points: by strategy, then in the order in which they were written.
    ///
    /// # Errors
    /// [`Error::Read`] where the folder cannot be read; a damaged file is no error, but in [`Rows::skipped`].
    pub fn points(&self) -> Result<Rows<SimulationPoint>, Error> {
        let mut found = files::read(&self.folder.join(SimulationPoint::FOLDER), |_| None)?;
        found
            .rows
            .sort_by(|a: &SimulationPoint, b| a.strategy.cmp(&b.strategy));
        Ok(found)
    }
}
