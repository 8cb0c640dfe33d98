//! A network's program computes what the network does on dfdx's tape.
//!
//! The tape runs layer by layer: a chain fused into one operation rounds otherwise, which turns over a
//! ReLU whose input is next to zero, so that gradients differ by far more than rounding (`fusion.rs`).

use std::path::Path;
use std::sync::Arc;

use cellwright_graph::{Graph, Shape, vocabulary};
use cellwright_net::{Mode, Network, Purpose, Value};
use cellwright_ops::optimiser::{Rule, Settings, WeightDecay};
use cellwright_ops::program::{Control, Executor, Precision};
use cellwright_ops::{Optimiser, softmax_cross_entropy};
use cellwright_space::Space;
use dfdx::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const CLASSES: usize = 4;
const BATCH: usize = 3;
const LABELS: [u32; BATCH] = [2, 0, 3];
const SMOOTHING: f64 = 0.1;

fn graph(file: &str, set: &[(&str, &str)], size: usize, seed: u64) -> Graph {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../search-spaces");
    built(&folder.join(file), set, size, seed)
}

fn built(path: &Path, set: &[(&str, &str)], size: usize, seed: u64) -> Graph {
    let set: Vec<_> = set
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect();
    let space = Space::load(path, &set, vocabulary()).unwrap();
    let choices = space.sample(&mut ChaCha8Rng::seed_from_u64(seed));
    let input = Shape {
        height: size,
        width: size,
        channels: 3,
    };
    Graph::build(&space, &choices, input, CLASSES).unwrap()
}

fn close(a: &[f32], b: &[f32], what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    let scale = a.iter().fold(1e-4f32, |most, it| most.max(it.abs()));
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() < 1e-5 * scale, "{what}: {a} and {b}");
    }
}

/// Losses of the network's own output, and the gradient of the whole loss by parameter.
fn taped(
    network: &mut Network<Cpu>,
    pixels: &[f32],
    control: &Control,
    optimiser: &mut Optimiser,
    decays: &[bool],
) -> (Vec<f32>, Vec<Vec<f32>>) {
    let input = network.graph().input;
    let dims = (BATCH, input.height, input.width, input.channels);
    let images = network.device().tensor_from_vec(pixels.to_vec(), dims);
    let mode = Mode::Train {
        seed: control.seed,
        progress: control.progress,
    };
    let mut tape = OwnedTape::default();
    let outputs = network.run(images, mode, &mut tape).unwrap();
    let (mean, each) =
        softmax_cross_entropy(&mut tape, &outputs.logits, &LABELS, SMOOTHING).unwrap();
    let mut total = mean.put_tape(tape);
    for (logits, weight) in &outputs.auxiliary {
        let mut tape = OwnedTape::default();
        let (loss, _) = softmax_cross_entropy(&mut tape, logits, &LABELS, SMOOTHING).unwrap();
        total = total + loss.put_tape(tape) * *weight as f32;
    }
    let mut gradients = total.backward();
    let mut parameters = network.parameters_mut();
    optimiser
        .step(
            control.learning_rate,
            &mut parameters,
            decays,
            &mut gradients,
        )
        .unwrap();
    let found = network.parameters().iter().map(|it| match &it.value {
        Value::Vector(t) => gradients.get(t).as_vec(),
        Value::Matrix(t) => gradients.get(t).as_vec(),
        Value::Feature(t) => gradients.get(t).as_vec(),
    });
    (each, found.collect())
}

fn optimiser() -> Optimiser {
    Optimiser::new(Settings {
        rule: Rule::Sgd {
            momentum: 0.9,
            nesterov: true,
        },
        weight_decay: 1e-2,
        decay: WeightDecay::Coupled,
        clip_norm: Some(5.0),
    })
    .unwrap()
}

fn compare(graph: &Graph, what: &str) {
    let compiled = Network::build(graph, &Cpu::default(), 5).unwrap();
    let mut network = Network::build_unfused(graph, &Cpu::default(), 5).unwrap();
    let decays: Vec<bool> = network
        .parameters()
        .iter()
        .map(|it| it.dims.len() > 1)
        .collect();
    let purpose = Purpose::Train {
        decays: decays.clone(),
        label_smoothing: SMOOTHING,
    };
    let program = Arc::new(compiled.program(BATCH, &purpose, Precision::Fp32).unwrap());
    let mut executor = Executor::new(Arc::clone(&program));
    executor.load(&network.weights()).unwrap();
    executor.set_labels(&LABELS).unwrap();
    let (mut on_tape, mut in_program) = (optimiser(), optimiser());
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for step in 0..2 {
        let control = Control {
            seed: step,
            progress: 0.5 * step as f64,
            learning_rate: 0.01,
        };
        let images = executor.write(program.ports().images);
        images.fill_with(|| rng.random_range(-1.0..1.0));
        let pixels = images.to_vec();
        executor.run(&control, Some(&mut in_program)).unwrap();
        let (losses, gradients) = taped(&mut network, &pixels, &control, &mut on_tape, &decays);
        let what = format!("{what}, step {step}");
        close(
            &losses,
            executor.read(program.ports().losses),
            &format!("{what}, losses"),
        );
        let wanted = network.weights();
        let found = executor.weights();
        for (index, parameter) in network.parameters().iter().enumerate() {
            let what = format!("{what}, {}", parameter.name);
            let gradient = program.ports().parameters[index].gradient.unwrap();
            close(
                &gradients[index],
                executor.read(gradient),
                &format!("{what}, gradient"),
            );
            close(&wanted.parameters[index], &found.parameters[index], &what);
        }
        for (index, (name, _)) in network.running().iter().enumerate() {
            let what = format!("{what}, running statistics of {name}");
            close(&wanted.running[index], &found.running[index], &what);
        }
    }
    evaluated(&network, graph, what);
}

/// The program of evaluation gives the network's logits.
fn evaluated(network: &Network<Cpu>, graph: &Graph, what: &str) {
    let program = Arc::new(
        network
            .program(BATCH, &Purpose::Evaluate, Precision::Fp32)
            .unwrap(),
    );
    let mut executor = Executor::new(Arc::clone(&program));
    executor.load(&network.weights()).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let images = executor.write(program.ports().images);
    images.fill_with(|| rng.random_range(-1.0..1.0));
    let dims = (
        BATCH,
        graph.input.height,
        graph.input.width,
        graph.input.channels,
    );
    let images = network.device().tensor_from_vec(images.to_vec(), dims);
    let control = Control {
        seed: 0,
        progress: 1.0,
        learning_rate: 0.0,
    };
    executor.run(&control, None).unwrap();
    let logits = network.evaluate(images, &mut NoneTape).unwrap();
    close(
        &logits.as_vec(),
        executor.read(program.ports().logits),
        &format!("{what}, logits in evaluation"),
    );
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
    compare(&graph("nasbench201.toml", &[], 16, 0), "NAS-Bench-201");
    for seed in 0..4 {
        let set = [("filters", "7"), ("cells", "1")];
        compare(&graph("nasbench101.toml", &set, 16, seed), "NAS-Bench-101");
    }
    compare(&graph("mobile.toml", &[], 16, 0), "mobile");
}

#[test]
fn networks_of_the_literature() {
    for (file, set, size) in [
        ("resnet18", &[("filters", "8")][..], 16),
        ("se-resnet50", &[("filters", "8")], 16),
        ("vgg11-bn", &[("filters", "8")], 32),
        ("googlenet", &[("filters", "8")], 32),
        ("densenet-bc-cifar", &[], 16),
        ("fractalnet", &[("filters", "4")], 32),
        (
            "resnet20-cifar",
            &[("filters", "4"), ("depth", "1"), ("survival", "0.3")],
            16,
        ),
        ("nin", &[], 32),
        ("mobilenet-v2", &[], 32),
        ("squeezenet1-0", &[], 64),
    ] {
        compare(
            &graph(&format!("baselines/{file}.toml"), set, size, 0),
            file,
        );
    }
}

/// A sum passes its gradient on to what nothing else reads; the others get a copy, since more is added to
/// theirs before all that take the sum's have had it.
#[test]
fn sums_of_what_is_read_elsewhere() {
    let text = r#"
name = "sums"
input = "3x8x8"
classes = 4

[network]
layers = [
  { name = "y", op = "conv", kernel = 3, filters = 4 },
  { name = "x", op = "conv", kernel = 3, filters = 4 },
  { name = "early", op = "conv", kernel = 1, filters = 4, from = "y" },
  { name = "n", op = "batch_norm", from = "early" },
  { name = "late", op = "conv", kernel = 3, filters = 4, from = "x" },
  { name = "s", op = "batch_norm", from = "late" },
  { name = "sum", op = "add", from = ["n", "s", "x"] },
  { name = "pooled", op = "avg_pool", kernel = 3, stride = 1 },
  { op = "add", from = ["pooled", "n", "sum"] },
  { op = "relu" },
  { op = "global_avg_pool" },
  { op = "linear", units = "classes" },
]
"#;
    compare_written(text, "sums");
}

/// Of one map with another, with itself and with a gate.
#[test]
fn products_and_two_classifiers_in_one_place() {
    let text = r#"
name = "products"
input = "3x8x8"
classes = 4

[network]
layers = [
  { name = "x", op = "conv", kernel = 3, filters = 4 },
  { name = "y", op = "conv", kernel = 3, filters = 4, from = "x" },
  { name = "xy", op = "multiply", from = ["x", "y"] },
  { op = "multiply", from = ["xy", "xy"] },
  { name = "gate", op = "global_avg_pool" },
  { op = "multiply", from = ["x", "gate"] },
  { op = "global_avg_pool" },
  { op = "linear", units = "classes" },
  { op = "identity", auxiliary = 0.3 },
  { op = "identity", auxiliary = 0.2 },
]
"#;
    compare_written(text, "products");
}

fn compare_written(text: &str, name: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("space.toml");
    std::fs::write(&path, text).unwrap();
    compare(&built(&path, &[], 8, 0), name);
}

#[test]
fn buffers_share_memory() {
    let graph = graph(
        "nasnet-a.toml",
        &[("filters", "4"), ("repeats", "1")],
        16,
        0,
    );
    let network = Network::build(&graph, &Cpu::default(), 0).unwrap();
    let decays = vec![true; network.parameters().len()];
    let label_smoothing = 0.0;
    let purpose = Purpose::Train {
        decays,
        label_smoothing,
    };
    let train = network.program(BATCH, &purpose, Precision::Fp32).unwrap();
    let evaluate = network
        .program(BATCH, &Purpose::Evaluate, Precision::Fp32)
        .unwrap();
    // Evaluation keeps the values of some calls back, training those of all.
    let learned = graph.params() as usize;
    assert!(
        evaluate.memory() < train.memory() / 2,
        "{} numbers, training {}",
        evaluate.memory(),
        train.memory()
    );
    assert!(evaluate.memory() > learned);
}
