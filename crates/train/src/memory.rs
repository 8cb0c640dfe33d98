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
    check(graph, 1)?;
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

/// Refuses a network that this machine's memory cannot hold, before a byte of it is asked for: its weights with their
/// gradients and the optimiser's momentum, and the largest activation of a batch. What it takes in truth is more.
///
/// # Errors
/// [`Error::Memory`]. None where the system does not tell how much memory there is.
pub(crate) fn check(graph: &Graph, batch: usize) -> Result<(), Error> {
    match total_bytes() {
        Some(there) => check_against(graph, batch, there),
        None => Ok(()),
    }
}

fn check_against(graph: &Graph, batch: usize, there: u64) -> Result<(), Error> {
    let activations = graph.nodes.iter().map(|node| node.shape.len());
    let largest = activations.max().unwrap_or(0).saturating_mul(batch as u64);
    let numbers = graph.params().saturating_mul(3).saturating_add(largest);
    let needed = numbers.saturating_mul(4);
    if needed <= there {
        return Ok(());
    }
    Err(Error::Memory {
        parameters: graph.params(),
        batch,
        needed: needed.div_ceil(1 << 30),
        there: there >> 30,
        next: match batch {
            1 => "make the network smaller",
            _ => "make the network smaller, or give --batch less",
        },
    })
}

/// The memory of this machine in bytes (Linux: `MemTotal`).
fn total_bytes() -> Option<u64> {
    bytes_in("/proc/meminfo", "MemTotal:")
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
    bytes_in("/proc/self/status", key)
}

/// A number of kibibytes that the system tells in a file of lines, in bytes.
fn bytes_in(file: &str, key: &str) -> Option<u64> {
    let status = std::fs::read_to_string(file).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024 * kibibytes)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use cellwright_graph::{Shape, vocabulary};
    use cellwright_space::{Choices, Space};

    use super::*;

    #[test]
    fn a_network_larger_than_the_memory_is_refused_before_it_is_built() {
        let text = "name = \"large\"\n[network]\nlayers = [\n  { op = \"conv\", filters = 1000, kernel = 3 },\n  \
                    { op = \"global_avg_pool\" },\n  { op = \"linear\", units = \"classes\" },\n]\n";
        let space = Space::parse(text, Path::new("large.toml"), &[], vocabulary()).unwrap();
        let input = Shape {
            height: 8,
            width: 8,
            channels: 3,
        };
        let graph = Graph::build(&space, &Choices::default(), input, 10).unwrap();
        // 27,000 + 1,000 and 10,010 parameters, and 64,000 numbers of an image.
        let needed = |batch: u64| 4 * (3 * graph.params() + 64_000 * batch);
        assert!((37_010..=38_010).contains(&graph.params()));
        assert!(check_against(&graph, 500, needed(500)).is_ok());
        let error = check_against(&graph, 500, needed(500) - 1).unwrap_err();
        assert!(error.to_string().contains("--batch less"), "{error}");
        assert!(check(&graph, 1).is_ok());
    }
}
