//! What can go wrong with a run's folder or a table, each naming the path and the remedy.

use std::io;
use std::path::PathBuf;

/// An error of the ledger.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The folder holds a run already.
    #[error(
        "{} already holds a run; give another folder, or go on with that run by resuming it",
        folder.display()
    )]
    RunExists {
        /// The folder in question.
        folder: PathBuf,
    },
    /// The folder is no run.
    #[error("{} is not a run: it has no run.toml{}", folder.display(), did_you_mean(nearest))]
    NotARun {
        /// The folder in question.
        folder: PathBuf,
        /// Runs nearby with a similar name, the most similar first.
        nearest: Vec<String>,
    },
    /// The run's settings cannot be understood.
    #[error("{} cannot be understood: {reason}", path.display())]
    Settings {
        /// The settings' file.
        path: PathBuf,
        /// What the TOML parser says, with line and column.
        reason: String,
    },
    /// The operating system refused to read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The operating system refused to write.
    #[error(
        "cannot write {}: {source}; check the folder's permissions and the free space, or give another folder",
        path.display()
    )]
    Write {
        /// What was to be written.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A finished row would be overwritten.
    #[error(
        "{} exists already, and finished rows never change; another process seems to work on this run: wait until it \
         has ended",
        path.display()
    )]
    Finished {
        /// The file of the row.
        path: PathBuf,
    },
    /// A file is no Parquet file, or is cut short.
    #[error("{} is not a readable Parquet file: {reason}", path.display())]
    Parquet {
        /// The file in question.
        path: PathBuf,
        /// What Polars says.
        reason: String,
    },
    /// A Parquet file's columns are not those expected.
    #[error("{}: {reason}", path.display())]
    Schema {
        /// The file in question.
        path: PathBuf,
        /// What was expected and what was found.
        reason: String,
    },
    /// A table lacks a column.
    #[error(
        "{} has no column `{column}`{}; its columns are {}",
        path.display(), did_you_mean(nearest), columns.join(", ")
    )]
    NoColumn {
        /// The table's file.
        path: PathBuf,
        /// The column asked for.
        column: String,
        /// Names that the user may have meant, the most similar first.
        nearest: Vec<String>,
        /// All names there are.
        columns: Vec<String>,
    },
    /// A table's column has another type than asked for, or holes.
    #[error("column `{column}` of {}: {reason}", path.display())]
    Column {
        /// The table's file.
        path: PathBuf,
        /// The column asked for.
        column: String,
        /// What is wrong with it.
        reason: String,
    },
}

fn did_you_mean(nearest: &[String]) -> String {
    match nearest {
        [] => String::new(),
        names => format!(" (did you mean `{}`?)", names.join("` or `")),
    }
}

/// At most three of `candidates` that resemble `name`, the most similar first.
pub(crate) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Vec<String> {
    let wanted = name.to_lowercase();
    let mut scored: Vec<(f64, &str)> = candidates
        .map(|candidate| {
            (
                strsim::jaro_winkler(&wanted, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(score, _)| *score >= 0.75)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    scored
        .into_iter()
        .take(3)
        .map(|(_, candidate)| candidate.to_owned())
        .collect()
}
