//! A run's folder: its settings, and the files of its tables.

use std::fs;
use std::path::{Path, PathBuf};

use polars::frame::DataFrame;
use serde::de::DeserializeOwned;

use crate::durable::{self, Existing, read_error, write_error};
use crate::error::nearest;
use crate::record::{Record, Rows};
use crate::schema::{ControllerUpdate, CurvePoint, Trial};
use crate::{Error, files};

/// The file with all that is needed to repeat the run.
const SETTINGS: &str = "run.toml";

/// The folder of one run. Cheap to clone; any number of processes may write to the same run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    folder: PathBuf,
}

impl Run {
    /// Begins a run in `folder`, which is made if it is not there; `settings` become its `run.toml`.
    ///
    /// # Errors
    /// [`Error::RunExists`] where the folder holds a run or tables of one, [`Error::Settings`] where the text is
    /// no TOML, [`Error::Write`] where the folder cannot be written.
    pub fn create(folder: impl Into<PathBuf>, settings: &str) -> Result<Self, Error> {
        let run = Self {
            folder: folder.into(),
        };
        parse::<toml::Table>(&run.settings_path(), settings)?;
        for table in [Trial::FOLDER, CurvePoint::FOLDER, ControllerUpdate::FOLDER] {
            let path = run.folder.join(table);
            fs::create_dir_all(&path).map_err(write_error(&path))?;
            if !files::list(&path)?.is_empty() {
                return Err(Error::RunExists { folder: run.folder });
            }
        }
        match durable::write(&run.settings_path(), settings.as_bytes(), Existing::Refuse) {
            Err(Error::Finished { .. }) => Err(Error::RunExists { folder: run.folder }),
            other => other.map(|()| run),
        }
    }

    /// The run in `folder`.
    ///
    /// # Errors
    /// [`Error::NotARun`] where there is no `run.toml`.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, Error> {
        let run = Self {
            folder: folder.into(),
        };
        if run.settings_path().is_file() {
            Ok(run)
        } else {
            let nearest = similar_runs(&run.folder);
            Err(Error::NotARun {
                folder: run.folder,
                nearest,
            })
        }
    }

    /// The run's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The run's name: that of its folder.
    pub fn name(&self) -> String {
        let name = |path: &Path| {
            path.file_name()
                .map(|name| name.to_string_lossy().into_owned())
        };
        name(&self.folder)
            .or_else(|| name(&self.folder.canonicalize().ok()?))
            .unwrap_or_else(|| self.folder.display().to_string())
    }

    /// The path of `run.toml`.
    pub fn settings_path(&self) -> PathBuf {
        self.folder.join(SETTINGS)
    }

    /// The folder of checkpoints; not made here.
    pub fn checkpoints(&self) -> PathBuf {
        self.folder.join("checkpoints")
    }

    /// The folder of charts and the HTML page; not made here.
    pub fn report(&self) -> PathBuf {
        self.folder.join("report")
    }

    /// The text of `run.toml`.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn settings_text(&self) -> Result<String, Error> {
        let path = self.settings_path();
        fs::read_to_string(&path).map_err(read_error(&path))
    }

    /// Puts another text in the place of `run.toml`, at once: a reader sees the old or the new one.
    ///
    /// # Errors
    /// [`Error::Settings`] where the text is no TOML; [`Error::Write`].
    pub fn write_settings(&self, settings: &str) -> Result<(), Error> {
        let path = self.settings_path();
        parse::<toml::Table>(&path, settings)?;
        durable::write(&path, settings.as_bytes(), Existing::Replace)
    }

    /// The content of `run.toml`.
    ///
    /// # Errors
    /// [`Error::Read`]; [`Error::Settings`] where it does not fit `T`.
    pub fn settings<T: DeserializeOwned>(&self) -> Result<T, Error> {
        parse(&self.settings_path(), &self.settings_text()?)
    }

    /// Where the row of a trial stands.
    pub fn trial_path(&self, id: u32) -> PathBuf {
        self.path::<Trial>(id)
    }

    /// Adds a finished trial. Finished rows never change.
    ///
    /// # Errors
    /// [`Error::Finished`] where the trial is there already; [`Error::Write`].
    pub fn write_trial(&self, trial: &Trial) -> Result<PathBuf, Error> {
        self.write(trial.id, std::slice::from_ref(trial), Existing::Refuse)
    }

    /// Writes a trial's learning curve as far as it has come; takes the place of an earlier state of it.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn write_curve(&self, trial: u32, points: &[CurvePoint]) -> Result<PathBuf, Error> {
        self.write(trial, points, Existing::Replace)
    }

    /// Writes the controller's update; takes the place of the same update of an interrupted run.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn write_controller_update(&self, update: &ControllerUpdate) -> Result<PathBuf, Error> {
        self.write(
            update.update,
            std::slice::from_ref(update),
            Existing::Replace,
        )
    }

    /// All trials, by id. Where two files claim one id, the second is skipped.
    ///
    /// # Errors
    /// [`Error::Read`] where the folder cannot be read; a damaged file is no error, but in [`Rows::skipped`].
    pub fn trials(&self) -> Result<Rows<Trial>, Error> {
        let mut seen = std::collections::HashSet::new();
        let mut found = self.read(|rows: &[Trial]| {
            if rows.is_empty() {
                return Some("holds no row".to_owned());
            }
            let twice = rows
                .iter()
                .find(|row| seen.contains(&row.id))
                .map(|row| row.id);
            seen.extend(rows.iter().map(|row| row.id));
            twice.map(|id| format!("another file holds trial {id}"))
        })?;
        found.rows.sort_by_key(|trial| trial.id);
        Ok(found)
    }

    /// Gives damaged files of trials another name, so that these trials can be written again; what was done, a
    /// line each. Files that are whole but not understood, of a newer version perhaps, are left.
    ///
    /// # Errors
    /// As [`Run::trials`]; [`Error::Write`] where a file cannot be renamed.
    pub fn set_aside_damaged_trials(&self) -> Result<Vec<String>, Error> {
        let mut told = Vec::new();
        for skipped in self.trials()?.skipped.iter().filter(|it| it.damaged) {
            let mut aside = skipped.path.clone().into_os_string();
            aside.push(".damaged");
            fs::rename(&skipped.path, &aside).map_err(write_error(&skipped.path))?;
            told.push(format!(
                "{skipped}; it is now {}, and the trial is run again if the run needs it",
                Path::new(&aside).display()
            ));
        }
        Ok(told)
    }

    /// All learning curves, by trial and step.
    ///
    /// # Errors
    /// As [`Run::trials`].
    pub fn curves(&self) -> Result<Rows<CurvePoint>, Error> {
        let mut found = self.read(|_| None)?;
        found
            .rows
            .sort_by_key(|point: &CurvePoint| (point.trial, point.step));
        Ok(found)
    }

    /// All updates of the controller, in order.
    ///
    /// # Errors
    /// As [`Run::trials`].
    pub fn controller_updates(&self) -> Result<Rows<ControllerUpdate>, Error> {
        let mut found = self.read(|_| None)?;
        found
            .rows
            .sort_by_key(|update: &ControllerUpdate| update.update);
        Ok(found)
    }

    /// One of the tables as a Polars frame.
    ///
    /// # Errors
    /// As [`Run::trials`].
    pub fn frame<R: Record>(&self) -> Result<DataFrame, Error> {
        let rows = self.read::<R>(|_| None)?.rows;
        let path = self.folder.join(R::FOLDER);
        R::to_frame(&rows).map_err(|reason| Error::Schema { path, reason })
    }

    /// An id that no trial of this run has or had, also not one whose file is damaged.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn next_trial_id(&self) -> Result<u32, Error> {
        let mut next = 0;
        for table in [Trial::FOLDER, CurvePoint::FOLDER] {
            for path in files::list(&self.folder.join(table))? {
                let number = path
                    .file_stem()
                    .and_then(|stem| stem.to_string_lossy().parse::<u32>().ok());
                next = next.max(number.map_or(0, |number| number.saturating_add(1)));
            }
        }
        let in_rows = self
            .trials()?
            .rows
            .last()
            .map_or(0, |trial| trial.id.saturating_add(1));
        Ok(next.max(in_rows))
    }

    fn path<R: Record>(&self, number: u32) -> PathBuf {
        self.folder
            .join(R::FOLDER)
            .join(format!("{number:05}.parquet"))
    }

    fn write<R: Record>(
        &self,
        number: u32,
        rows: &[R],
        existing: Existing,
    ) -> Result<PathBuf, Error> {
        let path = self.path::<R>(number);
        files::write(&path, rows, existing)?;
        Ok(path)
    }

    /// The rows of all files of a table; `refuse` may give a reason to leave a file out.
    fn read<R: Record>(
        &self,
        refuse: impl FnMut(&[R]) -> Option<String>,
    ) -> Result<Rows<R>, Error> {
        files::read(&self.folder.join(R::FOLDER), refuse)
    }
}

fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, Error> {
    toml::from_str(text).map_err(|error| Error::Settings {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

/// Runs beside `folder` whose names resemble its own.
fn similar_runs(folder: &Path) -> Vec<String> {
    let parent = folder
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let Ok(entries) = fs::read_dir(parent) else {
        return Vec::new();
    };
    let runs: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().join(SETTINGS).is_file())
        .map(|entry| entry.path().display().to_string())
        .collect();
    nearest(
        &folder.display().to_string(),
        runs.iter().map(String::as_str),
    )
}
