//! run.toml: everything needed to repeat a run. Flags only fill it in.

use std::path::{Path, PathBuf};

use cellwright_data::Dataset;
use cellwright_graph::{Graph, Shape};
use cellwright_space::{Choices, Space};
use cellwright_train::Settings;
use serde::{Deserialize, Serialize};

use crate::schedule::Halving;
use crate::{Error, Objective};

/// The version of run.toml that this build writes and reads.
pub const VERSION: u32 = 1;

/// One run, as run.toml holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// The version of this file's form.
    pub version: u32,
    /// What searches, for how long, with which seed.
    pub search: SearchConfig,
    /// What the strategy is told of a trial, and what is not even trained.
    #[serde(default, skip_serializing_if = "Objective::is_accuracy")]
    pub objective: Objective,
    /// The images.
    pub dataset: DatasetConfig,
    /// Where trials are evaluated.
    pub machine: MachineConfig,
    /// How each trial is trained.
    pub training: Settings,
    /// How what was found best is trained again at the end.
    #[serde(default)]
    pub rerank: RerankConfig,
    /// The space that is searched.
    pub space: SpaceSource,
    /// Networks trained with the same settings, to be set beside what is found.
    #[serde(default)]
    pub baselines: Vec<SpaceSource>,
}

/// The `[search]` table of run.toml.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchConfig {
    /// The strategy's name, as `cellwright search --help` lists them.
    pub strategy: String,
    /// How many distinct architectures are trained for all epochs. With `halving`: the search may use
    /// as many epochs as so many full trainings have, on all rungs together; it ends with the first
    /// training that does not fit any more.
    pub trials: u32,
    /// The seed of everything: the strategy, each trial's weights, the order of the images.
    pub seed: u64,
    /// Successive halving over epochs; none: each architecture is trained for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halving: Option<Halving>,
}

/// The `[rerank]` table of run.toml: the verdict after the search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RerankConfig {
    /// How many of the best distinct architectures are trained again, and with them all baselines.
    /// 0: none, the search's own accuracies are the last word.
    pub architectures: u32,
    /// Epochs of such a training.
    pub epochs: usize,
    /// How often each is trained, with the seeds after the search's own.
    pub seeds: u32,
}

impl RerankConfig {
    /// The most epochs of such a training.
    pub const MOST_EPOCHS: usize = 1_000_000;

    /// No verdict.
    pub const NONE: RerankConfig = RerankConfig {
        architectures: 0,
        epochs: 1,
        seeds: 1,
    };
}

impl Default for RerankConfig {
    /// No verdict, as in runs of before there was one.
    fn default() -> Self {
        Self::NONE
    }
}

/// The `[dataset]` table of run.toml.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetConfig {
    /// The name of a known data set, or a folder of images.
    pub name: String,
    /// The folder in which data sets are kept.
    pub root: PathBuf,
    /// The digest of its images when the run began, where that is known: a run goes on with the same ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

impl DatasetConfig {
    /// Whether these are the images of the digest, where there is one.
    ///
    /// # Errors
    /// [`Error::OtherImages`].
    pub fn check(&self, dataset: &Dataset) -> Result<(), Error> {
        match &self.digest {
            Some(digest) if *digest != dataset.digest() => Err(Error::OtherImages {
                dataset: self.name.clone(),
            }),
            _ => Ok(()),
        }
    }
}

/// The `[machine]` table of run.toml.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineConfig {
    /// Where tensors live.
    pub device: DeviceSpec,
    /// Trials under way at a time, each in a process of its own.
    pub workers: usize,
    /// Threads of each trial; 0: the machine's cores.
    pub threads: usize,
}

/// Where tensors live: `cpu`, or `cuda:N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceSpec {
    /// The processor.
    Cpu,
    /// A CUDA device by its ordinal.
    Cuda(usize),
}

impl std::fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DeviceSpec::Cpu => f.write_str("cpu"),
            DeviceSpec::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

impl From<DeviceSpec> for String {
    fn from(device: DeviceSpec) -> String {
        device.to_string()
    }
}

impl TryFrom<String> for DeviceSpec {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl std::str::FromStr for DeviceSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("unknown device '{text}': write cpu, cuda or cuda:N");
        match text.split_once(':') {
            None if text == "cpu" => Ok(DeviceSpec::Cpu),
            None if text == "cuda" => Ok(DeviceSpec::Cuda(0)),
            Some(("cuda", ordinal)) => ordinal.parse().map(DeviceSpec::Cuda).map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }
}

/// A space file as plain data: its text travels with the run, so that the run can be repeated when
/// the file has changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpaceSource {
    /// Where the text came from; named in errors and tables, not read again.
    pub path: PathBuf,
    /// Parameters set by the user, `name=value`, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<(String, String)>,
    /// The file's text.
    pub text: String,
}

impl SpaceSource {
    /// Reads a space file; nothing is checked yet.
    ///
    /// # Errors
    /// [`Error::Read`] when the file cannot be read as text.
    pub fn read(path: &Path, set: &[(String, String)]) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?;
        Ok(SpaceSource {
            path: path.to_owned(),
            set: set.to_vec(),
            text,
        })
    }

    /// Parses and checks the text.
    ///
    /// # Errors
    /// [`Error::Space`] with all that is wrong in it, each with its place.
    pub fn space(&self) -> Result<Space, Error> {
        Space::parse(
            &self.text,
            &self.path,
            &self.set,
            cellwright_graph::vocabulary(),
        )
        .map_err(|errors| Error::Space(Box::new(errors)))
    }

    /// One architecture of this space as a graph, for images of a shape and a number of classes.
    ///
    /// # Errors
    /// [`Error::Space`] and [`Error::Graph`] as the parts give them.
    pub fn graph(&self, choices: &Choices, input: Shape, classes: usize) -> Result<Graph, Error> {
        build(&self.space()?, choices, input, classes)
    }
}

/// One architecture as a graph.
///
/// # Errors
/// [`Error::Graph`] when its shapes cannot match.
pub fn build(
    space: &Space,
    choices: &Choices,
    input: Shape,
    classes: usize,
) -> Result<Graph, Error> {
    Graph::build(space, choices, input, classes).map_err(|error| Error::Graph(Box::new(error)))
}

impl RunConfig {
    /// Reads a run.toml.
    ///
    /// # Errors
    /// [`Error::Read`], or [`Error::Config`] with the place of what is wrong.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, path)
    }

    /// Parses the text of a run.toml; `path` is named in errors.
    ///
    /// # Errors
    /// [`Error::Config`] with the place of what is wrong, or when the version is not this build's.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        let wrong = |message: String| Error::Config {
            path: path.to_owned(),
            message,
        };
        let config: RunConfig = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        config.check().map_err(wrong)?;
        Ok(config)
    }

    /// Whether this build reads a run.toml of this configuration.
    ///
    /// # Errors
    /// In words, with the place in run.toml of what is out of range, or the path that is no text.
    pub fn check(&self) -> Result<(), String> {
        if self.version != VERSION {
            return Err(format!(
                "its version is {}, and this build reads version {VERSION}",
                self.version
            ));
        }
        if let Some(halving) = self.search.halving {
            let rungs = halving.rungs(self.training.epochs);
            rungs.map_err(|reason| format!("[search.halving] {reason}"))?;
        }
        let (rerank, machine) = (&self.rerank, &self.machine);
        for (name, value, least, most) in [
            (
                "[rerank] epochs",
                rerank.epochs,
                1,
                RerankConfig::MOST_EPOCHS,
            ),
            ("[rerank] seeds", rerank.seeds as usize, 1, 1_000_000),
            ("[machine] workers", machine.workers, 1, 1024),
            ("[machine] threads", machine.threads, 0, 1024),
        ] {
            if !(least..=most).contains(&value) {
                return Err(format!("{name} is {value}, and must be {least} to {most}"));
            }
        }
        let spaces = self.baselines.iter().chain([&self.space]);
        let mut paths = spaces.map(|it| &it.path).chain([&self.dataset.root]);
        match paths.find(|it| it.to_str().is_none()) {
            Some(path) => Err(format!(
                "the path {} is not UTF-8, as all texts in it must be; give it another name",
                path.display()
            )),
            None => Ok(()),
        }
    }

    /// The epochs of the search and its baselines, as far as the space has so many architectures.
    #[must_use]
    pub fn search_epochs(&self) -> u64 {
        let networks = u64::from(self.search.trials) + self.baselines.len() as u64;
        networks * self.training.epochs as u64
    }

    /// The epochs of the verdict, as far as so many architectures are found.
    #[must_use]
    pub fn verdict_epochs(&self) -> u64 {
        let baselines = self.baselines.len() as u64;
        let found = u64::from(self.rerank.architectures.min(self.search.trials));
        let again = if found == 0 { 0 } else { found + baselines };
        again * u64::from(self.rerank.seeds) * self.rerank.epochs as u64
    }

    /// The text of a run.toml.
    ///
    /// # Errors
    /// [`Error::Config`] when a value has no form in TOML (an integer beyond 64 bits).
    pub fn to_toml(&self) -> Result<String, Error> {
        toml::to_string(self).map_err(|error| Error::Config {
            path: "run.toml".into(),
            message: error.to_string(),
        })
    }
}
