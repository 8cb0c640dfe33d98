//! A network whose layers are fused computes what one layer at a time does, gradients and all.
//!
//! As first drawn, a network is a poor yardstick: where a ReLU's input is within rounding of zero, two
//! ways to round decide otherwise, and a gradient jumps by any amount, as it does when a pixel moves by
//! its last bit. More images make such inputs more frequent. Here the batch norms keep every channel
//! far from the kinks: a scale of 1/4 and a shift of 3 or, in every other channel, −3.

use std::path::Path;

use cellwright_graph::{Graph, Shape, vocabulary};
use cellwright_net::{Mode, Network, Value};
use cellwright_ops::{Feature, ParameterMut, softmax_cross_entropy};
use cellwright_space::Space;
use dfdx::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const BATCH: usize = 32;
const CLASSES: usize = 4;
/// How far apart numbers may be, beside the largest of their tensor.
const TOLERANCE: f32 = 1e-3;
/// What counts as the largest of a tensor that is zero but for rounding, as the gradient of a shift is
/// before another batch norm.
const LEAST: f32 = 1e-4;

fn graph(file: &str, set: &[(&str, &str)], size: usize, seed: u64) -> Graph {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../search-spaces");
    let set: Vec<_> = set
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect();
    let space = Space::load(&path.join(file), &set, vocabulary()).unwrap();
    let choices = space.sample(&mut ChaCha8Rng::seed_from_u64(seed));
    let input = Shape {
        height: size,
        width: size,
        channels: 3,
    };
    Graph::build(&space, &choices, input, CLASSES).unwrap()
}

/// Sets the batch norms so that no ReLU is near its kink.
fn away_from_kinks(network: &mut Network<Cpu>) {
    let names: Vec<String> = network
        .parameters()
        .iter()
        .map(|it| it.name.clone())
        .collect();
    for (parameter, name) in network.parameters_mut().into_iter().zip(names) {
        let ParameterMut::Vector(tensor) = parameter else {
            continue;
        };
        let side = |channel: usize| if channel.is_multiple_of(2) { 3.0 } else { -3.0 };
        let values: Vec<f32> = match name.rsplit('.').next() {
            Some("scale") => vec![0.25; tensor.shape().0],
            Some("shift") => (0..tensor.shape().0).map(side).collect(),
            _ => continue,
        };
        tensor.copy_from(&values);
    }
}

/// Every result of a training step with its name: logits, gradients, running statistics; and logits in
/// evaluation after it.
fn results(network: &mut Network<Cpu>, images: &Feature<Cpu>) -> Vec<(String, Vec<f32>)> {
    let labels: Vec<u32> = (0..BATCH).map(|image| (image % CLASSES) as u32).collect();
    let mode = Mode::Train {
        seed: 1,
        progress: 0.5,
    };
    let mut tape = OwnedTape::default();
    let outputs = network.run(images.clone(), mode, &mut tape).unwrap();
    let (mean, _) = softmax_cross_entropy(&mut tape, &outputs.logits, &labels, 0.1).unwrap();
    let mut total = mean.put_tape(tape);
    for (logits, weight) in &outputs.auxiliary {
        let mut tape = OwnedTape::default();
        let (loss, _) = softmax_cross_entropy(&mut tape, logits, &labels, 0.1).unwrap();
        total = total + loss.put_tape(tape) * *weight as f32;
    }
    let gradients = total.backward();
    let mut all = vec![("logits".to_owned(), outputs.logits.as_vec())];
    for parameter in network.parameters() {
        let gradient = match &parameter.value {
            Value::Vector(t) => gradients.get(t).as_vec(),
            Value::Matrix(t) => gradients.get(t).as_vec(),
            Value::Feature(t) => gradients.get(t).as_vec(),
        };
        all.push((format!("gradient of {}", parameter.name), gradient));
    }
    for (name, running) in network.running() {
        all.push((format!("mean of {name}"), running.mean.as_vec()));
        all.push((format!("variance of {name}"), running.variance.as_vec()));
    }
    let logits = network.evaluate(images.clone(), &mut NoneTape).unwrap();
    all.push(("logits in evaluation".to_owned(), logits.as_vec()));
    all
}

fn compare(graph: &Graph, what: &str) {
    let device = Cpu::default();
    let mut fused = Network::build(graph, &device, 5).unwrap();
    let mut plain = Network::build_unfused(graph, &device, 5).unwrap();
    assert!(fused.steps().len() < plain.steps().len());
    away_from_kinks(&mut fused);
    away_from_kinks(&mut plain);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let count = BATCH * graph.input.len() as usize;
    let pixels = (0..count).map(|_| rng.random_range(-1.0..1.0)).collect();
    let input = graph.input;
    let images = device.tensor_from_vec(pixels, (BATCH, input.height, input.width, input.channels));
    let (found, wanted) = (results(&mut fused, &images), results(&mut plain, &images));
    for ((name, found), (_, wanted)) in found.iter().zip(&wanted) {
        assert_eq!(found.len(), wanted.len(), "{what}, {name}");
        let scale = wanted.iter().fold(LEAST, |most, it| most.max(it.abs()));
        for (a, b) in found.iter().zip(wanted) {
            let fits = (a - b).abs() < TOLERANCE * scale;
            assert!(fits, "{what}, {name}: {a} and {b}, the largest {scale}");
        }
    }
}

#[test]
fn searched_networks() {
    let set = [("filters", "4"), ("repeats", "1")];
    let all = [&set[..], &[("drop_path", "0.4"), ("auxiliary", "true")]].concat();
    for seed in 0..2 {
        let name = format!("NASNet {seed}");
        compare(&graph("nasnet.toml", &all, 32, seed), &name);
        let name = format!("DARTS {seed}");
        compare(&graph("darts.toml", &set, 16, seed), &name);
    }
    compare(&graph("nasnet-a.toml", &set, 16, 0), "NASNet-A");
    compare(&graph("nasbench201.toml", &set, 16, 0), "NAS-Bench-201");
}

#[test]
fn networks_of_the_literature() {
    for (file, set, size) in [
        ("resnet18", &[("filters", "4")][..], 16),
        ("googlenet", &[("filters", "8"), ("auxiliary", "true")], 16),
        ("densenet-bc-cifar", &[], 8),
    ] {
        let file_name = format!("baselines/{file}.toml");
        compare(&graph(&file_name, set, size, 0), file);
    }
}
