//! Files that are whole or not there: written under a temporary name beside their own, synced and renamed.

use std::fs::File;
use std::io::{Error, Result, Write};
use std::path::{Path, PathBuf};

/// Writes a file, over one that is there. What a failure has left under the temporary name, `path` with `.part`, is
/// removed.
///
/// # Errors
/// What the system says; of a folder, a device or whatever else is no regular file, that it is not replaced.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    attempt(path, |file, part| {
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(part, path)
    })
}

/// Whether [`write()`] will be able to write a file, as far as can be known before.
///
/// # Errors
/// As of [`write()`].
pub fn check(path: &Path) -> Result<()> {
    attempt(path, |_, part| std::fs::remove_file(part))
}

/// Makes the temporary file and does something with it.
fn attempt(path: &Path, work: impl FnOnce(&mut File, &Path) -> Result<()>) -> Result<()> {
    if path.metadata().is_ok_and(|it| it.is_dir()) {
        return Err(Error::other("it is a folder: name a file"));
    }
    if path.metadata().is_ok_and(|it| !it.is_file()) {
        let reason = "it is no regular file, and would be replaced by one: name another";
        return Err(Error::other(reason));
    }
    let part = part(path);
    let worked = work(&mut File::create(&part)?, &part);
    if worked.is_err() {
        // The first error is the one to tell.
        let _ = std::fs::remove_file(&part);
    }
    worked
}

fn part(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_there_whole_and_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        check(&path).unwrap();
        assert!(!path.exists());
        for bytes in ["one", "two"] {
            write(&path, bytes.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), bytes);
        }
        let failed = attempt(&path, |file, _| {
            file.write_all(b"half")?;
            Err(Error::other("the disk is full"))
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_regular_file_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let mut places = vec![folder.path().to_owned()];
        #[cfg(unix)]
        {
            places.push(folder.path().join("socket"));
            std::os::unix::net::UnixListener::bind(&places[1]).unwrap();
        }
        for path in &places {
            assert!(check(path).is_err() && write(path, b"").is_err());
            assert!(!part(path).exists() && !path.metadata().unwrap().is_file());
        }
    }
}
