//! Downloads: with the tools that the machine has (curl or wget, apt-get, npm), so that no TLS library is built.
//! Everything happens in a temporary folder beside the target, and is renamed into place after it has been checked.

mod tools;

pub(crate) use tools::{debian_package, download, npm_package};

use crate::Error;
use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Told what is being done, as a line of text, several times a second.
pub type Progress<'a> = dyn FnMut(&str) + 'a;

/// A file whose contents are known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct File {
    pub name: &'static str,
    /// In lower-case hexadecimal.
    pub sha256: &'static str,
}

impl File {
    /// Whether `bytes` are this file's; the error names it.
    pub(crate) fn check(&self, bytes: &[u8]) -> Result<(), String> {
        self.mismatch(bytes)
            .map_or(Ok(()), |problem| Err(format!("{}: {problem}", self.name)))
    }

    /// How `bytes` differ from this file's.
    pub(crate) fn mismatch(&self, bytes: &[u8]) -> Option<String> {
        let found: String = Sha256::digest(bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let expected = self.sha256;
        (found != expected).then(|| {
            format!("sha256 {expected} expected, {found} found: the file is damaged or another")
        })
    }
}

/// With what the name of a [`Workplace`]'s folder begins.
const PREFIX: &str = ".fetch-";

/// A temporary folder below the root of all data, on the same file system as what is to be made of it.
pub(crate) struct Workplace {
    folder: tempfile::TempDir,
    /// The folder, locked, where the system does that: when its process has ended, however that was, it is not any more.
    _lock: Option<fs::File>,
}

impl Workplace {
    pub(crate) fn new(root: &Path) -> Result<Self, Error> {
        fs::create_dir_all(root).map_err(Error::io("create the folder", root))?;
        remove_abandoned(root);
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(root);
        let folder = folder.map_err(Error::io("write into", root))?;
        let lock = locked(folder.path());
        Ok(Self {
            folder,
            _lock: lock,
        })
    }

    pub(crate) fn folder(&self) -> PathBuf {
        let folder = self.folder.path();
        // Absolute, because the tools are started in other folders.
        std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }
}

/// A folder's lock, if nobody has it.
fn locked(folder: &Path) -> Option<fs::File> {
    let file = fs::File::open(folder).ok()?;
    file.try_lock().ok().map(|()| file)
}

/// Removes the folders that interrupted fetches have left. What cannot be removed does no harm.
fn remove_abandoned(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let named = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if named && let Some(_lock) = locked(&entry.path()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Moves checked files into `target`, each by one rename.
pub(crate) fn install(from: &Path, target: &Path, names: &[String]) -> Result<(), Error> {
    fs::create_dir_all(target).map_err(Error::io("create the folder", target))?;
    for name in names {
        let place = target.join(name);
        fs::File::open(from.join(name))
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(from.join(name), &place))
            .map_err(Error::io("move the fetched file to", &place))?;
    }
    Ok(())
}

/// Writes the `wanted` members of an archive into `folder`, under their last name.
pub(crate) fn unpack_tar_gz(
    archive: &Path,
    wanted: &[String],
    folder: &Path,
) -> Result<(), String> {
    let damaged = |error: std::io::Error| format!("{}: {error}", archive.display());
    let mut left: Vec<&String> = wanted.iter().collect();
    let mut reader = tar::Archive::new(GzDecoder::new(fs::File::open(archive).map_err(damaged)?));
    for member in reader.entries().map_err(damaged)? {
        let mut member = member.map_err(damaged)?;
        let path = member.path().map_err(damaged)?.into_owned();
        let Some(at) = left.iter().position(|name| Path::new(name) == path) else {
            continue;
        };
        let name = left.swap_remove(at).rsplit('/').next().unwrap_or_default();
        let mut file = fs::File::create(folder.join(name)).map_err(damaged)?;
        std::io::copy(&mut member, &mut file).map_err(damaged)?;
    }
    match left.as_slice() {
        [] => Ok(()),
        missing => Err(format!("{}: without {missing:?}", archive.display())),
    }
}

/// What was tried to fetch one data set.
pub(crate) struct Attempts {
    dataset: &'static str,
    by_hand: String,
    failed: Vec<String>,
    /// What worked.
    from: Option<String>,
}

impl Attempts {
    pub(crate) fn new(dataset: &'static str, by_hand: String) -> Self {
        Self {
            dataset,
            by_hand,
            failed: Vec::new(),
            from: None,
        }
    }

    /// Notes how an attempt went; whether it went well.
    pub(crate) fn take(&mut self, from: &str, result: Result<(), String>) -> bool {
        match result {
            Ok(()) => self.from = Some(from.to_owned()),
            Err(reason) => self.failed.push(format!("{from}: {reason}")),
        }
        self.from.is_some()
    }

    /// What worked, or all that failed.
    pub(crate) fn finish(self) -> Result<String, Error> {
        let Self {
            dataset,
            by_hand,
            failed,
            from,
        } = self;
        from.ok_or(Error::Fetch {
            dataset: dataset.to_owned(),
            tried: failed,
            by_hand,
        })
    }
}

#[cfg(test)]
mod tests;
