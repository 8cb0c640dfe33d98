//! Times a training step and an inference step.

use std::time::Instant;

use cellwright_graph::Graph;
use cellwright_net::{Mode, Network, Purpose};
use cellwright_ops::program::{Batch, Control, Draw, Images, Runner};
use cellwright_ops::{Kernels, Optimiser};
use dfdx::tensor::NoneTape;
use serde::{Deserialize, Serialize};

use crate::programmed::runner;
use crate::step::{Stepper, decays, together};
use crate::{Error, Precision, Settings, memory};

/// Times of one network and batch size. Milliseconds are medians over the steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Images of a step.
    pub batch: usize,
    /// Steps that were timed.
    pub steps: usize,
    /// A whole training step: forward, backward, update.
    pub step_ms: f64,
    /// Each step's time.
    pub step_ms_all: Vec<f64>,
    /// Forward and loss. This and the next two are known where a step is not one piece of work.
    pub forward_ms: Option<f64>,
    /// Backward.
    pub backward_ms: Option<f64>,
    /// The optimiser.
    pub update_ms: Option<f64>,
    /// Images a second of training, by the median.
    pub images_per_second: f64,
    /// An inference step of the same batch.
    pub evaluate_ms: f64,
    /// Images a second of inference.
    pub evaluate_images_per_second: f64,
    /// The most memory that the training steps held beyond what the process had before the network was
    /// built, where the system tells; on a GPU the memory of the step there.
    pub peak_bytes: Option<u64>,
}

/// Steps before the clock starts.
const WARM_UP: usize = 3;

/// Times `steps` training steps of a batch of random images, after some to warm up.
///
/// # Errors
/// [`Error::Setting`] where batch or steps are 0, or for a precision that the device does not have; what the network
/// says.
pub fn profile<D: Kernels>(
    graph: &Graph,
    batch: usize,
    steps: usize,
    device: &D,
    precision: Precision,
) -> Result<Profile, Error> {
    for (name, value) in [("batch", batch), ("steps", steps)] {
        if value == 0 {
            return Err(Error::Setting {
                name,
                reason: "is 0, and must be at least 1".to_owned(),
            });
        }
    }
    let before = memory::resident_bytes();
    memory::reset();
    memory::check(graph, batch)?;
    let mut network = Network::build(graph, device, 0)?;
    let settings = Settings {
        precision,
        ..Settings::default()
    };
    if let Some(profile) = programmed(&network, &settings, batch, steps)? {
        return Ok(profile);
    }
    let mut stepper = Stepper {
        optimiser: Optimiser::new(settings.optimiser())?,
        decays: decays(&network, false),
        label_smoothing: 0.0,
    };
    let labels = labels(graph, batch);
    let pixels = noise(batch * graph.input.len() as usize);
    let mut times: Vec<[f64; 3]> = Vec::with_capacity(steps);
    for step in 0..WARM_UP + steps {
        let images = crate::trainer::images(&network, pixels.clone(), batch)?;
        let mode = Mode::Train {
            seed: step as u64,
            progress: 0.5,
        };
        let stepped = stepper.step(&mut network, images, &labels, mode, 1e-4)?;
        if step >= WARM_UP {
            times.push(stepped.seconds.map(|seconds| 1e3 * seconds));
        }
    }
    let peak = memory::peak_bytes();
    let mut inference = Vec::with_capacity(steps);
    for step in 0..WARM_UP + steps {
        let images = crate::trainer::images(&network, pixels.clone(), batch)?;
        let begin = Instant::now();
        together::<D, _>(|| network.evaluate(images, &mut NoneTape))?;
        if step >= WARM_UP {
            inference.push(1e3 * begin.elapsed().as_secs_f64());
        }
    }
    let part = |index: usize| {
        Some(median(
            &times.iter().map(|it| it[index]).collect::<Vec<_>>(),
        ))
    };
    let whole = times.iter().map(|parts| parts.iter().sum()).collect();
    let bytes = peak
        .zip(before)
        .map(|(peak, before)| peak.saturating_sub(before));
    Ok(Profile {
        forward_ms: part(0),
        backward_ms: part(1),
        update_ms: part(2),
        ..Profile::new(batch, whole, &inference, bytes)
    })
}

impl Profile {
    /// Of the milliseconds of training and inference steps.
    fn new(batch: usize, step_ms_all: Vec<f64>, inference: &[f64], bytes: Option<u64>) -> Self {
        let (step_ms, evaluate_ms) = (median(&step_ms_all), median(inference));
        Self {
            batch,
            steps: step_ms_all.len(),
            step_ms,
            step_ms_all,
            forward_ms: None,
            backward_ms: None,
            update_ms: None,
            images_per_second: 1e3 * batch as f64 / step_ms,
            evaluate_ms,
            evaluate_images_per_second: 1e3 * batch as f64 / evaluate_ms,
            peak_bytes: bytes,
        }
    }
}

/// The profile of a network whose device runs programs. Batches are of a data set that the device keeps, if
/// it keeps one, as in training; a step ends with its loss on the host.
fn programmed<D: Kernels>(
    network: &Network<D>,
    settings: &Settings,
    batch: usize,
    steps: usize,
) -> Result<Option<Profile>, Error> {
    let train = Purpose::Train {
        decays: decays(network, false),
        label_smoothing: 0.0,
    };
    let (optimiser, precision) = (Some(settings.optimiser()), settings.precision);
    let graph = network.graph();
    let pixels = noise(batch * graph.input.len() as usize);
    let labels = labels(graph, batch);
    let bytes: Vec<u8> = pixels.iter().map(|it| (127.5 * it + 127.5) as u8).collect();
    let table = std::array::from_fn(|byte| byte as f32 / 127.5 - 1.0);
    let images = Images {
        parts: vec![(&bytes, &labels)],
        table: &vec![table; graph.input.channels],
        shape: [graph.input.height, graph.input.width, graph.input.channels],
    };
    let kept = network.device().keep(&images)?;
    let kept = kept.as_ref().map(|kept| (kept, 0));
    let draws = (0..batch as u32).map(|image| Draw {
        image,
        ..Draw::default()
    });
    let draws: Vec<Draw> = draws.collect();
    let fed = match kept {
        Some(_) => Batch::Kept(&draws),
        None => Batch::Pixels(&pixels, &labels),
    };
    let Some(mut train) = runner(network, batch, &train, optimiser, kept, precision)? else {
        return Ok(None);
    };
    let Some(mut evaluate) = runner(network, batch, &Purpose::Evaluate, None, kept, precision)?
    else {
        return Ok(None);
    };
    let times = |runner: &mut dyn Runner| -> Result<Vec<f64>, Error> {
        runner.load(&network.weights())?;
        let mut times = Vec::with_capacity(steps);
        for step in 0..WARM_UP + steps {
            let control = Control {
                seed: step as u64,
                progress: 0.5,
                learning_rate: 1e-4,
            };
            let begin = Instant::now();
            runner.run(&control, fed)?;
            runner.loss()?;
            if step >= WARM_UP {
                times.push(1e3 * begin.elapsed().as_secs_f64());
            }
        }
        Ok(times)
    };
    let (training, inference) = (times(&mut *train)?, times(&mut *evaluate)?);
    Ok(Some(Profile::new(
        batch,
        training,
        &inference,
        Some(train.bytes()),
    )))
}

/// A label for each image, all classes in turn.
fn labels(graph: &Graph, batch: usize) -> Vec<u32> {
    let labels = (0..batch).map(|image| (image % graph.classes) as u32);
    labels.collect()
}

/// Numbers in -1..1 without a pattern.
pub(crate) fn noise(count: usize) -> Vec<f32> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        count if count % 2 == 1 => sorted[count / 2],
        count => 0.5 * (sorted[count / 2 - 1] + sorted[count / 2]),
    }
}
