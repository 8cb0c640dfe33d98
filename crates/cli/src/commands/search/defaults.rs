//! What a search does where its flags say nothing: space, baselines, workers and folder.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cellwright_search::run::{DeviceSpec, RunConfig, SpaceSource};

use super::Args;

/// The space of a search where none is named.
const DEFAULT_SPACE: &str = "search-spaces/nasnet.toml";
/// The baselines of such a search on a CPU, and on a GPU.
const DEFAULT_BASELINES: [[&str; 3]; 2] = [
    [
        "search-spaces/baselines/small/vgg.toml",
        "search-spaces/baselines/small/googlenet.toml",
        "search-spaces/baselines/small/resnet.toml",
    ],
    [
        "search-spaces/baselines/vgg16-bn.toml",
        "search-spaces/baselines/googlenet.toml",
        "search-spaces/baselines/resnet18.toml",
    ],
];

/// The size of NASNet's networks where no space is named, on a CPU and on a GPU.
const SIZES: [[(&str, &str); 2]; 2] = [
    [("filters", "8"), ("repeats", "1")],
    [("filters", "16"), ("repeats", "1")],
];

/// The space and the baselines. Where no space is named, NASNet and the baselines in a size that
/// suits the device.
pub(super) fn spaces(args: &Args, device: DeviceSpec) -> Result<(SpaceSource, Vec<SpaceSource>)> {
    let Some(path) = &args.space else {
        let path = Path::new(DEFAULT_SPACE);
        anyhow::ensure!(
            path.exists(),
            "{DEFAULT_SPACE} is not here: name a space file with --space FILE, or start in the \
             folder of the project"
        );
        let on_gpu = device != DeviceSpec::Cpu;
        let mut set: Vec<(String, String)> = SIZES[usize::from(on_gpu)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec();
        set.extend_from_slice(args.set.pairs());
        let baselines = match &args.baselines {
            Some(paths) => named(paths)?,
            None => DEFAULT_BASELINES[usize::from(on_gpu)]
                .iter()
                .map(|path| SpaceSource::read(Path::new(path), &[]))
                .collect::<Result<_, _>>()?,
        };
        return Ok((SpaceSource::read(path, &set)?, baselines));
    };
    let baselines = args.baselines.as_deref().map_or(Ok(Vec::new()), named)?;
    Ok((SpaceSource::read(path, args.set.pairs())?, baselines))
}

/// The baselines in these files.
pub(super) fn named(paths: &[PathBuf]) -> Result<Vec<SpaceSource>> {
    let read = |path: &PathBuf| SpaceSource::read(path, &[]);
    Ok(paths.iter().map(read).collect::<Result<_, _>>()?)
}

/// Workers and the threads of each: on a CPU one trial a core, since candidates side by side use the
/// cores a few per cent better than threads within a step (benches/README.md); on a GPU one.
pub(super) fn share(args: &Args, device: DeviceSpec) -> (usize, usize) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = args.workers.map_or(
        if device == DeviceSpec::Cpu { cores } else { 1 },
        |workers| workers as usize,
    );
    let threads = args
        .threads
        .map_or((cores / workers).max(1), |threads| threads as usize);
    (workers, threads)
}

/// A folder in results that is not there yet: space, data set and a number.
pub(super) fn free_folder(config: &RunConfig) -> Result<PathBuf> {
    let plain = |text: &str| {
        text.replace(|it: char| !it.is_ascii_alphanumeric(), "-")
            .to_lowercase()
    };
    let space = config
        .space
        .path
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let dataset = Path::new(&config.dataset.name)
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    let name = format!("{}-{}", plain(&space), plain(&dataset));
    (1..u32::MAX)
        .map(|number| Path::new("results").join(format!("{name}-{number}")))
        .find(|folder| !folder.exists())
        .context("every run folder that could be new is taken; name one with --out DIR")
}
