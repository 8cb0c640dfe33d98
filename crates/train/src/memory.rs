//! How much memory this process has held, and how much a training will take on a device.

use std::sync::Arc;

use cellwright_graph::Graph;
use cellwright_net::{Network, Purpose};
use cellwright_ops::Kernels;
use dfdx::tensor::Cpu;

use crate::step::decays;
use crate::{Error, Settings, evaluate};

/// Bytes that a training of a network takes on a device of type `D` beside the data set, known before and
/// without one: the steps of training and evaluation, and the parameters and one image's activations, as
/// the tape keeps them. None where networks run on the tape alone.
///
/// # Errors
/// What the network says.
pub fn device_bytes<D: Kernels>(graph: &Graph, settings: &Settings) -> Result<Option<u64>, Error> {
    let network = Network::build(graph, &Cpu::default(), 0)?;
    let train = Purpose::Train {
        decays: decays(&network, settings.decay_norms),
        label_smoothing: settings.label_smoothing,
    };
    let bytes = |batch, purpose: &Purpose, optimiser| {
        let program = Arc::new(network.program(batch, purpose, settings.precision)?);
        Ok::<_, Error>(D::bytes(&program, optimiser, settings.precision)?)
    };
    let train = bytes(settings.batch, &train, Some(settings.optimiser()))?;
    let evaluate = bytes(evaluate::BATCH, &Purpose::Evaluate, None)?;
    // More than can be counted is more than any device has.
    let activations = graph.activation_bytes(1).unwrap_or(u64::MAX);
    let tape = activations.saturating_add(4 * graph.params());
    Ok(train
        .zip(evaluate)
        .map(|(train, evaluate)| (train + evaluate).saturating_add(tape)))
}

/// The most resident memory in bytes since the process began or since [`reset`], where the system
/// tells (Linux: `VmHWM`).
pub(crate) fn peak_bytes() -> Option<u64> {
    status_bytes("VmHWM:")
}

/// The resident memory in bytes now (Linux: `VmRSS`).
pub(crate) fn resident_bytes() -> Option<u64> {
    status_bytes("VmRSS:")
}

/// Lets the peak begin anew at what is resident now, where the system can.
pub(crate) fn reset() {
    // 5 resets the high-water mark; without the right to do so the mark only stays higher.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

fn status_bytes(key: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024 * kibibytes)
}
