//! What can go wrong with data, each with the place and the next step.

use std::path::{Path, PathBuf};

/// An error of this crate. Its text names the file (or name), what is wrong with it, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No source has this name, and no folder either.
    #[error("no data set is called `{name}`{}{}", suggested(.suggestion), choices(.known, *.or_folder))]
    Unknown {
        /// What was asked for.
        name: String,
        /// The names that there are.
        known: Vec<&'static str>,
        /// The nearest of them.
        suggestion: Option<&'static str>,
        /// Whether the path of a folder of images would have done.
        or_folder: bool,
    },
    /// The data set is known, and none of the folders holds it.
    #[error("{dataset} is not on this machine; looked for in {}; {next}", listed(.looked))]
    Missing {
        /// The data set's name.
        dataset: String,
        /// The folders looked into.
        looked: Vec<PathBuf>,
        /// What to do.
        next: String,
    },
    /// The operating system refused.
    #[error("cannot {action} {}: {cause}", .path.display())]
    Io {
        /// What was tried, as a verb ("read", "write" ...).
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        cause: std::io::Error,
    },
    /// The contents of a file are not what its format demands.
    #[error("{}: {problem}; {next}", .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was expected and what was found, with the offset.
        problem: String,
        /// What to do.
        next: String,
    },
    /// Nothing could be downloaded.
    #[error("could not fetch {dataset}; tried:\n{}\nBy hand: {by_hand}", bulleted(.tried))]
    Fetch {
        /// The data set's name.
        dataset: String,
        /// Each attempt with its failure.
        tried: Vec<String>,
        /// How to get it without this program.
        by_hand: String,
    },
    /// An argument that cannot be served.
    #[error("{0}")]
    Argument(String),
}

impl Error {
    /// For `map_err`: an [`Error::Io`] about `path`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::Io {
            action,
            path,
            cause,
        }
    }

    /// An [`Error::Corrupt`] about `path`.
    pub(crate) fn corrupt(
        path: &Path,
        problem: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        Self::Corrupt {
            path: path.to_owned(),
            problem: problem.into(),
            next: next.into(),
        }
    }
}

fn suggested(suggestion: &Option<&'static str>) -> String {
    suggestion.map_or_else(String::new, |name| format!(" (did you mean `{name}`?)"))
}

fn choices(known: &[&str], or_folder: bool) -> String {
    let known = known.join(", ");
    if or_folder {
        format!(
            ", and there is no folder of that name; known: {known}, or the path of a folder of images with one \
             subfolder a class"
        )
    } else {
        format!("; known: {known}")
    }
}

fn listed(folders: &[PathBuf]) -> String {
    folders
        .iter()
        .map(|folder| folder.display().to_string())
        .collect::<Vec<_>>()
        .join(", ")
}

fn bulleted(lines: &[String]) -> String {
    lines
        .iter()
        .map(|line| format!("  - {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}
