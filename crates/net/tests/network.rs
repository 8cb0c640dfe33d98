//! Whole networks: gradients, fusion, files.

use std::path::Path;

use cellwright_graph::{Graph, Shape, vocabulary};
use cellwright_net::{Mode, Network, Parameter, Value};
use cellwright_ops::{Feature, softmax_cross_entropy};
use cellwright_space::{Choices, Space};
use dfdx::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The network of a space file in search-spaces, with a sampled architecture.
fn graph(file: &str, set: &[(&str, &str)], input: Shape, seed: u64) -> Graph {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../search-spaces")
        .join(file);
    let set: Vec<_> = set
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect();
    let space = Space::load(&path, &set, vocabulary()).unwrap();
    let choices = space.sample(&mut ChaCha8Rng::seed_from_u64(seed));
    Graph::build(&space, &choices, input, 4).unwrap()
}

fn small_nasnet(seed: u64) -> Graph {
    let set = [("filters", "4"), ("repeats", "1"), ("blocks", "3")];
    graph(
        "nasnet.toml",
        &set,
        Shape {
            height: 8,
            width: 8,
            channels: 2,
        },
        seed,
    )
}

fn images(device: &Cpu, count: usize, shape: Shape, seed: u64) -> Feature<Cpu> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let data = (0..count * shape.len() as usize)
        .map(|_| rng.random_range(-1.0..1.0))
        .collect();
    device.tensor_from_vec(data, (count, shape.height, shape.width, shape.channels))
}

const LABELS: [u32; 3] = [2, 0, 3];

fn loss(network: &mut Network<Cpu>, images: &Feature<Cpu>, mode: Mode) -> f64 {
    let outputs = network
        .clone()
        .run(images.clone(), mode, &mut NoneTape)
        .unwrap();
    let (_, each) = softmax_cross_entropy(&mut NoneTape, &outputs.logits, &LABELS, 0.1).unwrap();
    each.iter().map(|it| f64::from(*it)).sum::<f64>() / each.len() as f64
}

#[test]
fn the_gradient_of_a_whole_network_is_that_of_finite_differences() {
    let device = Cpu::default();
    let mode = Mode::Train {
        seed: 3,
        progress: 0.5,
    };
    for seed in 0..5 {
        let graph = small_nasnet(seed);
        let mut network = Network::build(&graph, &device, seed).unwrap();
        let x = images(&device, 3, graph.input, seed);
        let mut tape = OwnedTape::default();
        let outputs = network.clone().run(x.clone(), mode, &mut tape).unwrap();
        let (mean, _) = softmax_cross_entropy(&mut tape, &outputs.logits, &LABELS, 0.1).unwrap();
        let gradients = mean.put_tape(tape).backward();
        // Along the gradient, each tensor's part weighted at random: there the slope is large beside the
        // rounding and the kinks of the ReLUs, and a tensor whose gradient is wrong spoils it.
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let of = |parameter: &Parameter<Cpu>| match &parameter.value {
            Value::Vector(t) => gradients.get(t).as_vec(),
            Value::Matrix(t) => gradients.get(t).as_vec(),
            Value::Feature(t) => gradients.get(t).as_vec(),
        };
        let parts: Vec<Vec<f32>> = network.parameters().iter().map(of).collect();
        let square = |part: &Vec<f32>| part.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>();
        let norm = parts.iter().map(square).sum::<f64>().sqrt();
        let (mut ahead, mut behind) = (network.clone(), network.clone());
        let mut slope = 0.0;
        for (index, part) in parts.iter().enumerate() {
            let weight = rng.random_range(0.5..1.5);
            let step = weight * 1e-5 / norm;
            slope += step * square(part);
            moved(&mut ahead, index, part, step as f32);
            moved(&mut behind, index, part, -step as f32);
        }
        let measured = (loss(&mut ahead, &x, mode) - loss(&mut behind, &x, mode)) / 2.0;
        assert!(
            (measured - slope).abs() < 0.03 * slope,
            "seed {seed}: {measured} and {slope}"
        );
        assert!(network.run(x, mode, &mut NoneTape).is_ok());
    }
}

fn moved(network: &mut Network<Cpu>, index: usize, direction: &[f32], factor: f32) {
    let mut values = network.parameters()[index].value.to_vec();
    values
        .iter_mut()
        .zip(direction)
        .for_each(|(value, d)| *value += factor * d);
    match &mut network.parameters_mut()[index] {
        cellwright_ops::ParameterMut::Vector(t) => t.copy_from(&values),
        cellwright_ops::ParameterMut::Matrix(t) => t.copy_from(&values),
        cellwright_ops::ParameterMut::Feature(t) => t.copy_from(&values),
    }
}

fn close(a: &[f32], b: &[f32], what: &str) {
    assert_eq!(a.len(), b.len());
    let scale = a.iter().fold(1e-3f32, |most, it| most.max(it.abs()));
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() < 2e-4 * scale, "{what}: {a} and {b}");
    }
}

#[test]
fn fused_steps_compute_what_single_layers_do() {
    let device = Cpu::default();
    for seed in 0..4 {
        let graph = small_nasnet(seed);
        let mut fused = Network::build(&graph, &device, 7).unwrap();
        let mut plain = Network::build_unfused(&graph, &device, 7).unwrap();
        assert!(fused.steps().len() < plain.steps().len());
        let x = images(&device, 3, graph.input, seed);
        let mode = Mode::Train {
            seed: 1,
            progress: 0.0,
        };
        let run = |network: &mut Network<Cpu>| {
            let mut tape = OwnedTape::default();
            let outputs = network.run(x.clone(), mode, &mut tape).unwrap();
            let (mean, _) =
                softmax_cross_entropy(&mut tape, &outputs.logits, &LABELS, 0.0).unwrap();
            let gradients = mean.put_tape(tape).backward();
            let first = match &network.parameters()[0].value {
                Value::Feature(t) => gradients.get(t).as_vec(),
                _ => panic!("the first parameter is a convolution's"),
            };
            (outputs.logits.as_vec(), first)
        };
        let (a, b) = (run(&mut fused), run(&mut plain));
        close(&a.0, &b.0, "logits");
        close(&a.1, &b.1, "gradient of the first convolution");
        // Running statistics have moved alike.
        let evaluate =
            |network: &Network<Cpu>| network.evaluate(x.clone(), &mut NoneTape).unwrap().as_vec();
        close(&evaluate(&fused), &evaluate(&plain), "evaluation");
    }
}

#[test]
fn weights_survive_a_file() {
    let device = Cpu::default();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let graph = small_nasnet(1);
    let x = images(&device, 3, graph.input, 1);
    let mut network = Network::build(&graph, &device, 1).unwrap();
    network
        .run(
            x.clone(),
            Mode::Train {
                seed: 0,
                progress: 0.0,
            },
            &mut NoneTape,
        )
        .unwrap();
    network.save(&path, "of a test").unwrap();
    let mut other = Network::build(&graph, &device, 2).unwrap();
    let logits =
        |network: &Network<Cpu>| network.evaluate(x.clone(), &mut NoneTape).unwrap().as_vec();
    assert_ne!(logits(&network), logits(&other));
    other.load(&path).unwrap();
    assert_eq!(logits(&network), logits(&other));
    let mut wrong = Network::build(&small_nasnet(2), &device, 2).unwrap();
    let error = wrong.load(&path).unwrap_err().to_string();
    assert!(
        error.contains("weights.safetensors") && error.contains("missing"),
        "{error}"
    );
    let mut twice = graph.clone();
    for node in &mut twice.nodes {
        node.name = "same".into();
    }
    let twice = Network::build(&twice, &device, 1).unwrap();
    let error = twice.save(&path, "").unwrap_err().to_string();
    assert!(error.contains("two tensors are called"), "{error}");
    std::fs::write(&path, b"nonsense").unwrap();
    assert!(
        other
            .load(&path)
            .unwrap_err()
            .to_string()
            .contains("safetensors")
    );
}

#[test]
fn every_space_runs_forward_and_backward() {
    let device = Cpu::default();
    let shape = Shape {
        height: 16,
        width: 16,
        channels: 3,
    };
    let spaces = [
        ("darts.toml", vec![("filters", "4"), ("repeats", "1")]),
        ("nasbench201.toml", vec![("filters", "4"), ("repeats", "1")]),
        ("nasbench101.toml", vec![("filters", "7"), ("cells", "1")]),
        ("mobile.toml", vec![("filters", "8")]),
        (
            "baselines/googlenet.toml",
            vec![("filters", "8"), ("auxiliary", "true")],
        ),
        ("baselines/resnet18.toml", vec![("filters", "4")]),
        ("baselines/densenet-bc-cifar.toml", vec![]),
    ];
    for (file, set) in spaces {
        let graph = graph(file, &set, shape, 5);
        let mut network = Network::build(&graph, &device, 0).unwrap();
        let x = images(&device, 3, shape, 0);
        let mut tape = OwnedTape::default();
        let mode = Mode::Train {
            seed: 0,
            progress: 1.0,
        };
        let outputs = network.run(x.clone(), mode, &mut tape).unwrap();
        assert_eq!(outputs.auxiliary.len(), graph.auxiliary.len(), "{file}");
        let (mean, each) = softmax_cross_entropy(&mut tape, &outputs.logits, &LABELS, 0.0).unwrap();
        assert!(each.iter().all(|loss| loss.is_finite()), "{file}");
        mean.put_tape(tape).backward();
        let logits = network.run(x.clone(), mode, &mut NoneTape).unwrap().logits;
        assert_eq!(*logits.shape(), (3, 1, 1, 4), "{file}");
        // As a dfdx module: the same as in evaluation.
        let module = Module::forward(&network, x.clone());
        assert_eq!(
            module.as_vec(),
            network.evaluate(x, &mut NoneTape).unwrap().as_vec(),
            "{file}"
        );
    }
}

#[test]
fn images_of_another_size_are_refused() {
    let device = Cpu::default();
    let graph = small_nasnet(0);
    let mut network = Network::build(&graph, &device, 0).unwrap();
    let wrong = images(
        &device,
        1,
        Shape {
            height: 4,
            width: 8,
            channels: 2,
        },
        0,
    );
    let error = network
        .run(wrong, Mode::Evaluate, &mut NoneTape)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("8x8x2") && error.contains("4x8x2"),
        "{error}"
    );
}

/// How many of 100 images a drop path of rate 1/2 drops at a moment of the training: their logits are
/// zero.
fn dropped(argument: &str, progress: f64) -> usize {
    let text = format!(
        r#"
name = "dropped"
[network]
layers = [
  {{ op = "drop_path", rate = 0.5{argument} }},
  {{ op = "global_avg_pool" }},
  {{ op = "linear", units = "classes" }},
]
"#
    );
    let space = Space::parse(&text, Path::new("dropped.toml"), &[], vocabulary()).unwrap();
    let shape = Shape {
        height: 2,
        width: 2,
        channels: 3,
    };
    let graph = Graph::build(&space, &Choices::default(), shape, 4).unwrap();
    let device = Cpu::default();
    let mut network = Network::build(&graph, &device, 0).unwrap();
    let images = images(&device, 100, shape, 1);
    let mode = Mode::Train { seed: 5, progress };
    let outputs = network.run(images, mode, &mut NoneTape).unwrap();
    let logits = outputs.logits.as_vec();
    let images = logits.chunks(4);
    images.filter(|it| it.iter().all(|it| *it == 0.0)).count()
}

#[test]
fn a_drop_path_grows_with_the_training_or_holds_from_the_first_step() {
    assert_eq!(dropped("", 0.0), 0);
    assert!((15..35).contains(&dropped("", 0.5)));
    let half = 35..65;
    assert!(half.contains(&dropped("", 1.0)));
    assert!(half.contains(&dropped(", scheduled = false", 0.0)));
}
