//! Files that appear whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Error;

/// What to do when the file is there already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    /// Take its place at once; readers see the old or the new content.
    Replace,
    /// Leave it and fail.
    Refuse,
}

/// Writes `bytes` to `path`: to a temporary name beside it, synced, then renamed, then the folder synced.
///
/// The temporary name starts with a dot and does not end in `.parquet`, so no reader takes it for a table.
pub(crate) fn write(path: &Path, bytes: &[u8], existing: Existing) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(write_error(folder))?;
    let temporary = temporary_name(path);
    let written =
        write_synced(&temporary, bytes).and_then(|()| publish(&temporary, path, existing));
    if written.is_err() {
        // The error that led here says more than a second one could.
        let _ = fs::remove_file(&temporary);
    }
    match written {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Error::Finished {
            path: path.to_owned(),
        }),
        other => other
            .and_then(|()| sync_folder(folder))
            .map_err(write_error(path)),
    }
}

pub(crate) fn write_error(path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Write {
        path: path.to_owned(),
        source,
    }
}

pub(crate) fn read_error(path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Read {
        path: path.to_owned(),
        source,
    }
}

/// A name that no other writer uses, in the same folder, so that the rename stays on one file system.
fn temporary_name(path: &Path) -> PathBuf {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}-{count}.tmp", process::id()))
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn publish(temporary: &Path, path: &Path, existing: Existing) -> io::Result<()> {
    if existing == Existing::Replace {
        return fs::rename(temporary, path);
    }
    // A link fails where the name is taken, without a gap between the check and the act.
    match fs::hard_link(temporary, path) {
        Ok(()) => {
            // The file stands under its name; a left-over second name harms nobody.
            let _ = fs::remove_file(temporary);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // Some file systems know no links.
        Err(_) if path.exists() => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(temporary, path),
    }
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Elsewhere a folder cannot be opened as a file, and a rename is durable by itself.
#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}
