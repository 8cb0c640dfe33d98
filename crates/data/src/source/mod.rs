//! Where data sets come from: one file a source, one line in [`sources`].

mod cifar10;
mod digits;
mod fashion_mnist;
pub mod folder;

use crate::{Dataset, Error, Progress};
use std::path::{Path, PathBuf};

/// A place that a data set can be read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// In the binary itself.
    Embedded,
    /// A folder.
    Folder(PathBuf),
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Embedded => f.write_str("part of this program"),
            Self::Folder(path) => path.display().fmt(f),
        }
    }
}

/// What [`fetch`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Where the data set now is.
    pub location: Location,
    /// Where it came from, in words; none if it was there already.
    pub from: Option<String>,
}

/// A data set with a name, and how it is found, read and fetched.
pub trait Source: Sync {
    /// The name by which it is asked for, in lower case.
    fn name(&self) -> &'static str;

    /// One line: what the images are.
    fn about(&self) -> &'static str;

    /// The folders that [`Source::locate`] looks into, in that order, given the root of all data.
    fn folders(&self, root: &Path) -> Vec<PathBuf>;

    /// Where it is, if anywhere: looks for the files, does not read them.
    fn locate(&self, root: &Path) -> Option<Location>;

    /// Reads it from the place that [`Source::locate`] gave.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Corrupt`], naming the file.
    fn read(&self, location: &Location) -> Result<Dataset, Error>;

    /// Downloads it below `root`, and says where from. Called only where [`Source::locate`] finds nothing. Nothing
    /// stands under its final name before it has been checked.
    ///
    /// # Errors
    /// [`Error::Fetch`] with every attempt, or [`Error::Io`] if `root` cannot be written.
    fn fetch(&self, root: &Path, progress: &mut Progress<'_>) -> Result<String, Error>;
}

/// All named sources. (A folder of images has no name but its path: see [`load`].)
pub fn sources() -> &'static [&'static dyn Source] {
    &[
        &digits::Digits,
        &fashion_mnist::FashionMnist,
        &cifar10::Cifar10,
    ]
}

/// Loads a data set by its name, or a folder of images by its path.
///
/// `root` is the folder that holds data sets. Case, `-`, `_` and spaces in names do not matter (`CIFAR-10`). Anything
/// else is taken as a folder of images, as it stands or below `root`, read as [`folder::load`] says;
/// `PATH@SIZE` scales its images to SIZE×SIZE.
///
/// # Errors
/// [`Error::Unknown`] for a name that is none, [`Error::Missing`] where the files are not found, [`Error::Io`] and
/// [`Error::Corrupt`] for files that cannot be read.
pub fn load(name_or_path: &str, root: &Path) -> Result<Dataset, Error> {
    let mut set = match named(name_or_path) {
        Some(source) => {
            let location = source.locate(root).ok_or_else(|| Error::Missing {
                dataset: source.name().to_owned(),
                looked: source.folders(root),
                next: format!("`cellwright data fetch {}` gets it", source.name()),
            })?;
            source.read(&location)?
        }
        None => {
            let (path, size) = folder_named(name_or_path, root)?;
            Dataset {
                name: name_or_path.to_owned(),
                ..folder::load(&path, size)?
            }
        }
    };
    set.notes.extend(namesake(name_or_path, root));
    Ok(set)
}

/// Whether [`load`] would find this data set.
///
/// # Errors
/// [`Error::Unknown`] for a name that is none.
pub fn is_present(name_or_path: &str, root: &Path) -> Result<bool, Error> {
    match named(name_or_path) {
        Some(source) => Ok(source.locate(root).is_some()),
        None => folder_named(name_or_path, root).map(|_| true),
    }
}

/// Downloads a named data set below `root`, unless it is there; `progress` is told what is being done, as lines of
/// text, several times a second.
///
/// # Errors
/// [`Error::Unknown`], [`Error::Fetch`] with every attempt and what to do by hand, [`Error::Io`] if `root` cannot be
/// written.
pub fn fetch(name: &str, root: &Path, progress: &mut Progress<'_>) -> Result<Fetched, Error> {
    let source = named(name).ok_or_else(|| unknown(name, false))?;
    if let Some(location) = source.locate(root) {
        return Ok(Fetched {
            location,
            from: None,
        });
    }
    let from = source.fetch(root, progress)?;
    match source.locate(root) {
        Some(location) => Ok(Fetched {
            location,
            from: Some(from),
        }),
        None => Err(Error::Missing {
            dataset: source.name().to_owned(),
            looked: source.folders(root),
            next: "it was fetched and is gone again: does something else clean this folder?".into(),
        }),
    }
}

/// What is taken where a source and a folder of images have one name.
fn namesake(name: &str, root: &Path) -> Option<String> {
    let plain = name.rsplit_once('@').map_or(name, |(plain, _)| plain);
    named(plain)?;
    let folder = [Path::new("."), root].map(|it| it.join(plain));
    let folder = folder.iter().find(|it| folder::has_classes(it))?.display();
    Some(if plain == name {
        format!(
            "{name}: the data set that is called so; for the folder of that name write {folder}"
        )
    } else {
        format!(
            "{name}: the folder {folder}; {plain} without a size is the data set that is called so"
        )
    })
}

fn named(name: &str) -> Option<&'static dyn Source> {
    let plain = |name: &str| name.to_lowercase().replace(['-', '_', ' '], "");
    sources()
        .iter()
        .copied()
        .find(|source| plain(source.name()) == plain(name))
}

fn folder_named(name: &str, root: &Path) -> Result<(PathBuf, Option<u32>), Error> {
    let existing = |name: &str| {
        let named = (!name.is_empty()).then(|| PathBuf::from(name));
        named.and_then(|path| {
            [path.clone(), root.join(path)]
                .into_iter()
                .find(|path| path.is_dir())
        })
    };
    if let Some(path) = existing(name) {
        return Ok((path, None));
    }
    let sized = name
        .rsplit_once('@')
        .and_then(|(path, size)| Some((existing(path)?, size)));
    let Some((path, size)) = sized else {
        return Err(unknown(name, true));
    };
    match size.parse() {
        Ok(size) if (1..=folder::MAX_SIZE).contains(&size) => Ok((path, Some(size))),
        _ => {
            let most = folder::MAX_SIZE;
            Err(Error::Argument(format!(
                "`{name}`: after @ stands the side of the images, 1 to {most}, not `{size}`"
            )))
        }
    }
}

/// `or_folder`: whether a folder would have done.
fn unknown(name: &str, or_folder: bool) -> Error {
    let known: Vec<&'static str> = sources().iter().map(|source| source.name()).collect();
    let close =
        |candidate: &&&'static str| strsim::jaro_winkler(&name.to_lowercase(), candidate) > 0.8;
    let likeness = |candidate: &&'static str| strsim::jaro_winkler(&name.to_lowercase(), candidate);
    let suggestion = known
        .iter()
        .filter(close)
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
        .copied();
    Error::Unknown {
        name: name.to_owned(),
        known,
        suggestion,
        or_folder,
    }
}

/// The folder among `folders` in which every one of `files` exists, plain or with `.gz`.
fn holding(folders: &[PathBuf], files: &[&str]) -> Option<Location> {
    let complete = |folder: &&PathBuf| {
        files
            .iter()
            .all(|file| plain_or_gzipped(folder, file).is_file())
    };
    folders.iter().find(complete).cloned().map(Location::Folder)
}

/// `folder/file`, or `folder/file.gz` where only that exists.
fn plain_or_gzipped(folder: &Path, file: &str) -> PathBuf {
    let plain = folder.join(file);
    let gzipped = folder.join(format!("{file}.gz"));
    if !plain.is_file() && gzipped.is_file() {
        gzipped
    } else {
        plain
    }
}

fn folder_of(location: &Location, name: &str) -> Result<PathBuf, Error> {
    match location {
        Location::Folder(folder) => Ok(folder.clone()),
        Location::Embedded => Err(Error::Argument(format!(
            "{name} is not part of this program"
        ))),
    }
}

#[cfg(test)]
mod tests;
