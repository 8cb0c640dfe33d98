//! Evaluates requests in this process.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use cellwright_data::Dataset;
use cellwright_graph::Graph;
use cellwright_ledger::{CurvePoint, Status, Trial};
use cellwright_ops::Kernels;
#[cfg(feature = "cuda")]
use cellwright_ops::cuda::device::{self, Device};
use cellwright_train::{EpochRecord, Files, Observer, Outcome, Precision, Profile};
use dfdx::tensor::Cpu;

use super::row::{describe, failed, message, refused};
use super::{Evaluator, Progress, Request, Row, Watch};
use crate::Error;
use crate::objective::beyond;
use crate::run::{DatasetConfig, DeviceSpec};

/// This process. Data sets are read once and kept.
#[derive(Default)]
pub struct Local {
    datasets: Mutex<HashMap<String, Arc<Dataset>>>,
}

impl Local {
    /// An evaluator that has read nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A data set, read at its first use.
    ///
    /// # Errors
    /// [`Error::Data`].
    pub fn dataset(&self, config: &DatasetConfig) -> Result<Arc<Dataset>, Error> {
        let key = format!("{}\n{}", config.name, config.root.display());
        let mut datasets = self.datasets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(dataset) = datasets.get(&key) {
            return Ok(Arc::clone(dataset));
        }
        let dataset = Arc::new(cellwright_data::load(&config.name, &config.root)?);
        datasets.insert(key, Arc::clone(&dataset));
        Ok(dataset)
    }

    /// Reads a data set and meanwhile opens a device, as the first request would. What goes wrong, that says again.
    pub(super) fn prepare(&self, dataset: &DatasetConfig, device: DeviceSpec) {
        std::thread::scope(|scope| {
            let read = || drop(self.dataset(dataset));
            // Without a thread the first request reads it.
            let _ = std::thread::Builder::new().spawn_scoped(scope, read);
            drop(free_memory(device));
        });
    }
}

impl Evaluator for Local {
    fn slots(&self) -> usize {
        1
    }

    fn evaluate(&self, _slot: usize, request: &Request, watch: &dyn Watch) -> Result<Row, Error> {
        let started = Instant::now();
        let dataset = self.dataset(&request.dataset)?;
        let (trial, graph) = describe(request);
        let graph = match graph {
            Ok(graph) => graph,
            Err(error) => return Ok(failed(trial, error.to_string(), started)),
        };
        cellwright_ops::threads::set_threads(request.threads)
            .map_err(cellwright_train::Error::from)?;
        let training = || {
            with_device(
                request.device,
                Trained {
                    request,
                    trial: &trial,
                    graph: &graph,
                    dataset: &dataset,
                    watch,
                },
            )
        };
        // Whatever breaks in one trial costs that trial alone.
        let (latency_ms, outcome) =
            catch_unwind(AssertUnwindSafe(training)).unwrap_or_else(|panic| {
                let reason = format!("crashed: {}", message(&*panic));
                Ok((None, Err(Untrained::Failed(reason))))
            })?;
        cellwright_ops::buffers::clear();
        let trial = Trial {
            latency_ms,
            ..trial
        };
        match outcome {
            Ok(outcome) if outcome.status == cellwright_train::Status::Stopped => {
                Err(outcome.unsaved.map_or(Error::Stopped, Error::Lost))
            }
            Ok(outcome) => Ok(row(trial, outcome)),
            Err(Untrained::Failed(reason)) => Ok(failed(trial, reason, started)),
            Err(Untrained::Refused(reason)) => Ok(refused(trial, reason, started)),
        }
    }
}

/// Does something on a device, generic over its type.
trait OnDevice {
    type Output;
    fn on<D: Kernels>(self, device: &D) -> Result<Self::Output, Error>;
}

/// Opens a device.
fn with_device<W: OnDevice>(spec: DeviceSpec, work: W) -> Result<W::Output, Error> {
    match spec {
        DeviceSpec::Cpu => work.on(&Cpu::default()),
        #[cfg(feature = "cuda")]
        DeviceSpec::Cuda(ordinal) => {
            opened(ordinal)?;
            let device = dfdx::tensor::Cuda::try_build(ordinal, 0).map_err(|error| {
                Error::Device(format!("cuda:{ordinal} cannot be used: {error:?}"))
            })?;
            work.on(&device)
        }
        #[cfg(not(feature = "cuda"))]
        DeviceSpec::Cuda(_) => Err(no_cuda()),
    }
}

/// Our side of a CUDA device. It is opened before dfdx's, which panics where there is no driver or no such device.
#[cfg(feature = "cuda")]
fn opened(ordinal: usize) -> Result<Arc<Device>, Error> {
    Device::get(ordinal).map_err(unusable(ordinal))
}

#[cfg(feature = "cuda")]
fn unusable(ordinal: usize) -> impl Fn(device::Error) -> Error {
    move |error| Error::Device(format!("cuda:{ordinal} cannot be used: {error}"))
}

#[cfg(not(feature = "cuda"))]
fn no_cuda() -> Error {
    Error::Device(
        "this build has no CUDA: build with --features cuda, or use --device cpu".to_owned(),
    )
}

/// The free memory of a CUDA device in bytes; none of the processor, whose memory is not shared out.
pub(super) fn free_memory(spec: DeviceSpec) -> Result<Option<u64>, Error> {
    match spec {
        DeviceSpec::Cpu => Ok(None),
        #[cfg(feature = "cuda")]
        DeviceSpec::Cuda(ordinal) => {
            let memory = opened(ordinal)?.memory();
            Ok(Some(memory.map_err(unusable(ordinal))?.0 as u64))
        }
        #[cfg(not(feature = "cuda"))]
        DeviceSpec::Cuda(_) => Err(no_cuda()),
    }
}

/// Bytes that a request's training takes on its CUDA device beside the images; none where they are not
/// counted, or where its network cannot be built, which the training will say.
pub(super) fn device_bytes(request: &Request) -> Option<u64> {
    match request.device {
        DeviceSpec::Cpu => None,
        #[cfg(feature = "cuda")]
        DeviceSpec::Cuda(ordinal) => {
            use cellwright_train::device_bytes;
            let graph = describe(request).1.ok()?;
            let mut training = request.training.clone();
            training.precision = opened(ordinal).ok()?.computes_in(training.precision);
            device_bytes::<dfdx::tensor::Cuda>(&graph, &training).ok()?
        }
        #[cfg(not(feature = "cuda"))]
        DeviceSpec::Cuda(_) => None,
    }
}

/// Whether the first CUDA device can be used, or why not: a library is missing, no device answers, or
/// the kernels do not compile for it.
#[cfg(feature = "cuda")]
pub(crate) fn cuda_available() -> Result<(), Error> {
    opened(0).map(drop)
}

/// Whether a device computes in a precision.
///
/// # Errors
/// [`Error::Device`] if it cannot be used, or has no bfloat16.
pub fn check_precision(device: DeviceSpec, precision: Precision) -> Result<(), Error> {
    match (device, precision) {
        (_, Precision::Fp32 | Precision::Tf32) => Ok(()),
        (DeviceSpec::Cpu, Precision::Bf16) => Err(Error::Device(
            "--precision bf16 (in a run.toml, precision) needs a GPU, and the device is cpu, which computes in fp32: \
             give --device cuda, or leave --precision out"
                .to_owned(),
        )),
        #[cfg(feature = "cuda")]
        (DeviceSpec::Cuda(ordinal), Precision::Bf16) => {
            let checked = opened(ordinal)?.check(precision);
            checked.map_err(unusable(ordinal))
        }
        #[cfg(not(feature = "cuda"))]
        (DeviceSpec::Cuda(_), Precision::Bf16) => Err(no_cuda()),
    }
}

/// Times a training step of a network on a device.
///
/// # Errors
/// [`Error::Device`] when the device is not there, [`Error::Train`], also for a precision that it does not have.
pub fn profile(
    graph: &Graph,
    batch: usize,
    steps: usize,
    device: DeviceSpec,
    precision: Precision,
) -> Result<Profile, Error> {
    struct Profiled<'p>(&'p Graph, usize, usize, Precision);
    impl OnDevice for Profiled<'_> {
        type Output = Profile;
        fn on<D: Kernels>(self, device: &D) -> Result<Profile, Error> {
            let Profiled(graph, batch, steps, precision) = self;
            Ok(cellwright_train::profile(
                graph, batch, steps, device, precision,
            )?)
        }
    }
    with_device(device, Profiled(graph, batch, steps, precision))
}

/// A request on the way to being trained.
struct Trained<'t> {
    request: &'t Request,
    /// What is known of it so far.
    trial: &'t Trial,
    graph: &'t Graph,
    dataset: &'t Arc<Dataset>,
    watch: &'t dyn Watch,
}

/// Why a trial has no training, in words.
enum Untrained {
    /// Its own error.
    Failed(String),
    /// A limit that it is beyond.
    Refused(String),
}

impl OnDevice for Trained<'_> {
    /// The latency in milliseconds, and the training's outcome or why there is none.
    type Output = (Option<f64>, Result<Outcome, Untrained>);

    fn on<D: Kernels>(self, device: &D) -> Result<Self::Output, Error> {
        let request = self.request;
        let precision = request.training.precision;
        let latency_ms = match own(cellwright_train::latency(self.graph, device, precision))? {
            Ok(milliseconds) => Some(milliseconds),
            Err(reason) => return Ok((None, Err(Untrained::Failed(reason)))),
        };
        let measured = Trial {
            latency_ms,
            ..self.trial.clone()
        };
        if let Some(reason) = beyond(&request.limits, &measured) {
            return Ok((latency_ms, Err(Untrained::Refused(reason))));
        }
        let files = Files {
            weights: request.weights.clone(),
            checkpoint: request.checkpoint.clone(),
            about: about(self.trial),
        };
        let outcome = cellwright_train::train(
            self.graph,
            self.dataset,
            &request.training,
            device,
            &mut Watched(self.watch),
            &files,
        );
        Ok((latency_ms, own(outcome)?.map_err(Untrained::Failed)))
    }
}

/// What weights are of, as JSON: a safetensors file names tensors alone.
fn about(trial: &Trial) -> String {
    serde_json::json!({
        "space": trial.space,
        "set": trial.overrides,
        "choices": trial.choices,
        "architecture": trial.architecture,
        "input": trial.input,
        "classes": trial.classes,
        "dataset": trial.dataset,
        "epochs": trial.epochs,
        "seed": trial.seed,
        "version": trial.version,
    })
    .to_string()
}

/// Tells a trial's own error, in words, from what is wrong for all: what concerns the network is the trial's,
/// what concerns settings or images is everyone's.
fn own<T>(result: Result<T, cellwright_train::Error>) -> Result<Result<T, String>, Error> {
    use cellwright_train::Error::{Memory, Network, Operation};
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error @ (Memory { .. } | Network(_) | Operation(_))) => Ok(Err(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

/// Hands a training's progress on.
struct Watched<'w>(&'w dyn Watch);

impl Observer for Watched<'_> {
    fn step(&mut self, progress: cellwright_train::Progress) {
        self.0.progress(Progress {
            step: progress.step,
            steps: progress.steps,
            loss: progress.loss,
        });
    }

    fn stopped(&self) -> bool {
        self.0.stopped()
    }
}

/// The row of a training that has ended.
fn row(trial: Trial, outcome: Outcome) -> Row {
    use cellwright_train::Status as Ended;
    let reason = match &outcome.status {
        Ended::Finished => None,
        Ended::Diverged(reason) => Some(format!("diverged: {reason}")),
        Ended::TimedOut(reason) => Some(format!("timed out: {reason}")),
        Ended::Stopped => Some("stopped".to_owned()),
    };
    let id = trial.id;
    Row {
        curve: outcome
            .curve
            .iter()
            .map(|record| point(id, record))
            .collect(),
        unsaved: outcome.unsaved,
        trial: Trial {
            status: if reason.is_none() {
                Status::Done
            } else {
                Status::Failed
            },
            reason,
            train_images: outcome.train_images,
            steps: outcome.steps,
            valid_top1: outcome.valid_top1,
            valid_top5: outcome.valid_top5,
            valid_loss: outcome.valid_loss,
            test_top1: outcome.test_top1,
            test_top5: outcome.test_top5,
            test_loss: outcome.test_loss,
            train_loss: outcome.train_loss,
            train_seconds: Some(outcome.train_seconds),
            total_seconds: Some(outcome.total_seconds),
            images_per_second: Some(outcome.images_per_second),
            peak_bytes: outcome.peak_bytes,
            ..trial
        },
    }
}

fn point(trial: u32, record: &EpochRecord) -> CurvePoint {
    CurvePoint {
        trial,
        epoch: record.epoch,
        step: record.step,
        train_loss: Some(record.train_loss),
        train_top1: Some(record.train_top1),
        valid_loss: record.valid_loss,
        valid_top1: record.valid_top1,
        learning_rate: record.learning_rate,
        seconds: record.seconds,
    }
}
