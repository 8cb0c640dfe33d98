//! How long a network takes for one image.

use std::time::{Duration, Instant};

use cellwright_graph::Graph;
use cellwright_net::{Network, Purpose};
use cellwright_ops::Kernels;
use cellwright_ops::program::Batch;
use dfdx::tensor::NoneTape;

use crate::profile::{median, noise};
use crate::programmed::{STILL, runner};
use crate::step::together;
use crate::{Error, Precision, memory, trainer};

/// Passes before the clock starts.
const WARM_UP: usize = 3;
/// Passes that are timed at least.
const PASSES: usize = 5;
/// Passes that are timed at most on a device that runs programs, where nothing else runs: each trial waits for them.
const PASSES_OF_PROGRAMS: usize = 100;
/// The time after which no further pass begins, once there are enough.
const BUDGET: Duration = Duration::from_millis(150);

/// Milliseconds of inference for one image (a batch of 1): the median of the passes of about 150 ms, of 5 at least, after 3
/// to warm up; of 100 at most on a device that runs programs. A pass begins with the image on the device and ends with the
/// logits on the host; on a device that runs programs it begins with the image on the host and ends with its
/// loss there. Weights are fresh: time does not depend on their values.
///
/// The number is of this device with the threads that are set, and of what else runs at the time: several
/// workers on one machine slow each other.
///
/// # Errors
/// What the network says; [`Error::Setting`] for a precision that the device does not have.
pub fn latency<D: Kernels>(graph: &Graph, device: &D, precision: Precision) -> Result<f64, Error> {
    memory::check(graph, 1)?;
    let network = Network::build(graph, device, 0)?;
    let pixels = noise(graph.input.len() as usize);
    if let Some(mut runner) = runner(&network, 1, &Purpose::Evaluate, None, None, precision)? {
        runner.load(&network.weights())?;
        return time(PASSES_OF_PROGRAMS, || {
            let start = Instant::now();
            runner.run(&STILL, Batch::Pixels(&pixels, &[0]))?;
            runner.loss()?;
            Ok(start.elapsed())
        });
    }
    time(usize::MAX, || {
        let image = trainer::images(&network, pixels.clone(), 1)?;
        let start = Instant::now();
        together::<D, _>(|| network.evaluate(image, &mut NoneTape))?;
        Ok(start.elapsed())
    })
}

/// The median of a pass's times, of so many at most, in milliseconds.
fn time(most: usize, mut pass: impl FnMut() -> Result<Duration, Error>) -> Result<f64, Error> {
    let mut times = Vec::new();
    let begin = Instant::now();
    for _ in 0..WARM_UP {
        pass()?;
    }
    while times.len() < PASSES || (times.len() < most && begin.elapsed() <= BUDGET) {
        times.push(1e3 * pass()?.as_secs_f64());
    }
    Ok(median(&times))
}
