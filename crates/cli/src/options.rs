//! Flags that several commands share.

use std::path::PathBuf;

use anyhow::Result;
use cellwright_graph::{Graph, Shape};
use cellwright_search::evaluator;
use cellwright_search::run::{
    DatasetConfig, DeviceSpec, Precision, Settings, SpaceSource, build, pick_dataset, pick_device,
};
use cellwright_space::{Choices, Space};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use rand::SeedableRng;

use crate::output::{Usage, note};
use crate::progress::fetching;

/// `--set NAME=VALUE`, any number of times.
#[derive(clap::Args, Debug, Clone)]
pub struct Set {
    /// Set a parameter of the space file, such as filters=16
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
}

impl Set {
    /// The assignments, in order.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.set
    }

    /// Assignments with these, which go before those of the same names.
    pub fn over(&self, mut set: Vec<(String, String)>) -> Vec<(String, String)> {
        set.retain(|(name, _)| self.set.iter().all(|(it, _)| it != name));
        set.extend_from_slice(&self.set);
        set
    }
}

fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err("expected NAME=VALUE, such as filters=16".to_owned()),
    }
}

/// A space file and its parameters.
#[derive(clap::Args, Debug, Clone)]
pub struct SpaceFlags {
    /// A space file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    pub set: Set,
}

impl SpaceFlags {
    /// Reads the file.
    pub fn source(&self) -> Result<SpaceSource> {
        Ok(SpaceSource::read(&self.file, self.set.pairs())?)
    }
}

/// Which architecture of a space.
#[derive(clap::Args, Debug, Clone)]
pub struct Which {
    /// The architecture's choices: option indices with commas between
    #[arg(long, value_name = "LIST", group = "which")]
    pub choices: Option<String>,
    /// The architecture in the space's published notation
    #[arg(
        long,
        value_name = "NOTATION",
        group = "which",
        allow_hyphen_values = true
    )]
    pub arch: Option<String>,
    /// Draw the architecture at random with this seed (default: 0)
    #[arg(long = "seed", value_name = "S", group = "which")]
    pub sample_seed: Option<u64>,
}

impl Which {
    /// The choices of the architecture that the flags name.
    pub fn choices(&self, space: &Space) -> Result<Choices> {
        if let Some(text) = &self.choices {
            let choices: Choices = text
                .parse()
                .map_err(|error| Usage(format!("--choices: {error}")))?;
            space
                .check(&choices)
                .map_err(|error| Usage(format!("--choices: {error}")))?;
            Ok(choices)
        } else if let Some(text) = &self.arch {
            Ok(space
                .parse_notation(text)
                .map_err(|error| Usage(format!("--arch: {error}")))?)
        } else {
            let seed = self.sample_seed.unwrap_or(0);
            Ok(space.sample(&mut rand_chacha::ChaCha8Rng::seed_from_u64(seed)))
        }
    }
}

/// The images that a network is built for.
#[derive(clap::Args, Debug, Clone)]
pub struct ImageFlags {
    /// Shape of the images (default: the space file's)
    #[arg(long, value_name = "CxHxW", value_parser = shape)]
    pub input: Option<Shape>,
    /// Number of classes (default: the space file's)
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub classes: Option<u32>,
}

/// The longest side of an image.
const LARGEST: usize = 65_536;

fn shape(text: &str) -> Result<Shape, String> {
    let sizes: Vec<usize> = text
        .split(['x', 'X'])
        .map(|part| {
            part.trim()
                .parse()
                .ok()
                .filter(|size| (1..=LARGEST).contains(size))
        })
        .collect::<Option<_>>()
        .unwrap_or_default();
    match sizes[..] {
        [channels, height, width] => Ok(Shape {
            height,
            width,
            channels,
        }),
        _ => Err(format!(
            "expected channels x height x width, each 1 to {LARGEST}, such as 3x32x32"
        )),
    }
}

impl ImageFlags {
    /// Shape and classes: the flags', else the space's own, else 3x32x32 and 10.
    pub fn resolve(&self, space: &Space) -> (Shape, usize) {
        let input = self
            .input
            .or_else(|| space.default_input())
            .unwrap_or(Shape {
                height: 32,
                width: 32,
                channels: 3,
            });
        let classes = self.classes.map(|classes| classes as usize);
        (
            input,
            classes.or_else(|| space.default_classes()).unwrap_or(10),
        )
    }

    /// An architecture as a graph for these images.
    pub fn graph(&self, space: &Space, choices: &Choices) -> Result<Graph> {
        let (input, classes) = self.resolve(space);
        Ok(build(space, choices, input, classes)?)
    }
}

/// Where tensors live.
#[derive(clap::Args, Debug, Clone)]
pub struct DeviceFlag {
    /// auto, cpu, cuda or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = device)]
    device: Device,
}

/// `auto` is none.
type Device = Option<DeviceSpec>;

fn device(text: &str) -> Result<Device, String> {
    if text == "auto" {
        Ok(None)
    } else {
        text.parse().map(Some)
    }
}

impl DeviceFlag {
    /// The device that is named, or what is there.
    pub fn resolve(&self) -> DeviceSpec {
        self.device.unwrap_or_else(|| pick_device().value)
    }

    /// As [`DeviceFlag::resolve`], and says what was picked and why.
    pub fn resolve_and_tell(&self) -> DeviceSpec {
        if let Some(device) = self.device {
            return device;
        }
        let picked = pick_device();
        note(format!(
            "device: {} ({}); --device cpu or cuda:N chooses otherwise",
            picked.value, picked.why
        ));
        picked.value
    }
}

/// What a GPU computes in.
#[derive(clap::Args, Debug, Clone)]
pub struct PrecisionFlag {
    /// What a GPU computes in: fp32; tf32, where factors of products are rounded; or bf16, where activations and
    /// gradients are bfloat16 too (default: tf32; a CPU computes in fp32)
    #[arg(long, value_name = "PRECISION", value_parser = precisions())]
    precision: Option<Precision>,
}

fn precisions() -> impl TypedValueParser<Value = Precision> {
    let names = Precision::ALL.map(Precision::name);
    PossibleValuesParser::new(names).try_map(|name| name.parse::<Precision>())
}

impl PrecisionFlag {
    /// The precision that is named, or this one.
    pub fn over(&self, precision: Precision) -> Precision {
        self.precision.unwrap_or(precision)
    }
}

/// Refuses what a device does not compute in; on a CPU it is wrong use.
pub fn check_precision(precision: Precision, device: DeviceSpec) -> Result<()> {
    let checked = evaluator::check_precision(device, precision);
    checked.map_err(|error| match device {
        DeviceSpec::Cpu => Usage(error.to_string()).into(),
        DeviceSpec::Cuda(_) => error.into(),
    })
}

/// Which images.
#[derive(clap::Args, Debug, Clone)]
pub struct DataFlags {
    /// A known data set or a folder of images (default: cifar10 on a GPU, fashion-mnist on a CPU)
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// Where data sets are kept (default: data)
    #[arg(long = "data", value_name = "DIR", env = data_variable())]
    root: Option<PathBuf>,
}

/// The variable that says where data sets are kept; none where it is empty, as if it were not set.
pub fn data_variable() -> Option<&'static str> {
    let name = "CELLWRIGHT_DATA";
    let is_empty = std::env::var_os(name).is_some_and(|it| it.is_empty());
    (!is_empty).then_some(name)
}

impl DataFlags {
    /// The data set that is named, if one is.
    pub fn named(&self) -> Option<&str> {
        self.dataset.as_deref()
    }

    /// The folder that is named, or the usual one.
    pub fn root(&self) -> PathBuf {
        self.root.clone().unwrap_or_else(|| PathBuf::from("data"))
    }

    /// This data set, with what the flags say.
    pub fn over(&self, config: DatasetConfig) -> DatasetConfig {
        DatasetConfig {
            root: self.root.clone().unwrap_or(config.root),
            // It is that of the images that the run began with.
            digest: config.digest.filter(|_| self.dataset.is_none()),
            name: self.dataset.clone().unwrap_or(config.name),
        }
    }

    /// The data set that is named, or the one that suits the device and is to be had; says what was
    /// picked and why.
    pub fn name(&self, device: DeviceSpec) -> String {
        if let Some(name) = &self.dataset {
            return name.clone();
        }
        let picked = pick_dataset(device, &self.root(), &mut fetching());
        note(format!(
            "data set: {} ({}); --dataset NAME or FOLDER chooses otherwise",
            picked.value, picked.why
        ));
        picked.value
    }
}

/// How a network is trained.
#[derive(clap::Args, Debug, Clone)]
pub struct TrainingFlags {
    /// Passes over the training images
    #[arg(long, value_name = "E", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    epochs: Option<u32>,
    /// Images of a step
    #[arg(long, value_name = "B", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    batch: Option<u32>,
    /// The learning rate after the warm-up
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f64>,
    /// Train on so many images at most; 0: all
    #[arg(long, value_name = "N")]
    images: Option<usize>,
    /// Share of the training images that is held out for validation
    #[arg(long, value_name = "FRACTION")]
    valid_fraction: Option<f64>,
    #[command(flatten)]
    precision: PrecisionFlag,
    /// Give a trial up after so many seconds; a training that goes on from a checkpoint has as many again
    #[arg(long, value_name = "SECONDS")]
    limit: Option<f64>,
}

impl TrainingFlags {
    /// The settings: the defaults, and what the flags say.
    pub fn settings(&self, seed: u64) -> Settings {
        self.over(Settings {
            seed,
            ..Settings::default()
        })
    }

    /// Settings with what the flags say.
    pub fn over(&self, settings: Settings) -> Settings {
        Settings {
            epochs: self.epochs.map_or(settings.epochs, |it| it as usize),
            batch: self.batch.map_or(settings.batch, |it| it as usize),
            learning_rate: self.learning_rate.unwrap_or(settings.learning_rate),
            train_limit: self.images.unwrap_or(settings.train_limit),
            valid_fraction: self.valid_fraction.unwrap_or(settings.valid_fraction),
            precision: self.precision.over(settings.precision),
            seconds_limit: self.limit.unwrap_or(settings.seconds_limit),
            ..settings
        }
    }

    /// As [`TrainingFlags::settings`], in a size that lets ten trials end within minutes where
    /// nothing is said; with at least so many epochs then.
    pub fn short_settings(&self, device: DeviceSpec, seed: u64, least: usize) -> Settings {
        let mut settings = self.settings(seed);
        if device == DeviceSpec::Cpu {
            settings.epochs = self.epochs.map_or(SHORT_EPOCHS, |it| it as usize);
            settings.train_limit = self.images.unwrap_or(SHORT_IMAGES);
        }
        if self.epochs.is_none() {
            settings.epochs = settings.epochs.max(least);
        }
        settings
    }
}

/// Epochs of a search's trial on a CPU where nothing is said.
const SHORT_EPOCHS: usize = 2;
/// Images of such a trial.
const SHORT_IMAGES: usize = 8_000;
