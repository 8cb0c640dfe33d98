//! The bits of every operation's output and gradients do not depend on the number of threads. In a
//! process of its own, because the number of threads belongs to the process.

use cellwright_ops::optimiser::{Rule, Settings, WeightDecay};
use cellwright_ops::threads::{set_threads, threads};
use cellwright_ops::*;
use dfdx::prelude::{AsArray, Backward, Cpu, Gradients, HasShape, OwnedTape, PutTape, Shape};
use dfdx::prelude::{Axes4, Rank0, SumTo, TensorFromVec, ZerosTensor};

type Tape = OwnedTape<f32, Cpu>;

/// Values without pattern, by the fractional part of multiples of the golden ratio.
fn values(length: usize, seed: u32) -> Vec<f32> {
    (0..length)
        .map(|i| {
            (((i as f64 + 0.5) * 0.618_033_988_75 + f64::from(seed) * 0.377) % 1.0) as f32 - 0.5
        })
        .collect()
}

fn feature(shape: (usize, usize, usize, usize), seed: u32) -> Feature<Cpu> {
    let length = shape.0 * shape.1 * shape.2 * shape.3;
    Cpu::default().tensor_from_vec(values(length, seed), shape)
}

/// Bits of the output and of the gradient of its weighted sum by `x`.
fn bits(
    x: &Feature<Cpu>,
    operation: impl Fn(&mut Tape, &Feature<Cpu>) -> Result<Feature<Cpu>, Error>,
) -> Vec<u32> {
    let mut tape = Tape::default();
    let y = operation(&mut tape, x).expect("the arguments are right");
    let weights = feature(*y.shape(), 7);
    let loss = (y.clone().put_tape(tape) * weights).sum::<Rank0, Axes4<0, 1, 2, 3>>();
    let gradients = loss.backward();
    let all = y.as_vec().into_iter().chain(gradients.get(x).as_vec());
    all.map(f32::to_bits).collect()
}

/// The bits of everything, with shapes that make several tasks of each operation.
fn everything() -> Vec<(String, Vec<u32>)> {
    let x = feature((5, 41, 43, 24), 1);
    let other = feature((5, 41, 43, 24), 2);
    let gate = feature((5, 1, 1, 24), 3);
    let mut all = Vec::new();
    let mut push = |name: &str, bits: Vec<u32>| all.push((name.to_owned(), bits));
    for relu in [false, true] {
        let norm = |tape: &mut Tape, x: &Feature<Cpu>| {
            let mut running = Running::new(x.device(), 24)?;
            let options = BatchNorm::default();
            batch_norm(tape, x, None, None, &mut running, options, relu, true)
        };
        push("batch_norm", bits(&x, norm));
    }
    for kind in [PoolKind::Max, PoolKind::Average] {
        let options = Pool2d {
            kind,
            kernel: [3, 3],
            stride: [2, 1],
            padding: [1; 4],
        };
        push("pool2d", bits(&x, |tape, x| pool2d(tape, x, options)));
    }
    for kind in Activation::ALL {
        push("activation", bits(&x, |tape, x| activation(tape, x, kind)));
    }
    push("add", bits(&x, |tape, x| add(tape, &[x, &other, x])));
    push("concat", bits(&x, |tape, x| concat(tape, &[x, &other])));
    push("multiply", bits(&x, |tape, x| multiply(tape, x, &gate)));
    push("gate", bits(&gate, |tape, gate| multiply(tape, &x, gate)));
    push("global_avg_pool", bits(&x, global_avg_pool));
    push("subsample", bits(&x, |tape, x| subsample(tape, x, 2, 1)));
    push("truncate", bits(&x, |tape, x| truncate(tape, x, 3)));
    push("dropout", bits(&x, |tape, x| dropout(tape, x, 0.3, 9)));
    push("drop_path", bits(&x, |tape, x| drop_path(tape, x, 0.3, 9)));
    push("linear", linear_bits());
    push("loss", loss_bits());
    push("optimiser", optimiser_bits());
    all
}

fn linear_bits() -> Vec<u32> {
    let x = feature((300, 1, 1, 270), 4);
    let weight = Cpu::default().tensor_from_vec(values(270 * 290, 5), (270, 290));
    let bias = Cpu::default().tensor_from_vec(values(290, 6), (290,));
    bits(&x, |tape, x| linear(tape, x, &weight, Some(&bias)))
}

fn loss_bits() -> Vec<u32> {
    let logits = feature((200, 1, 1, 1000), 4);
    let labels: Vec<u32> = (0..200).map(|i| i * 5).collect();
    let mut tape = Tape::default();
    let (mean, each) = softmax_cross_entropy(&mut tape, &logits, &labels, 0.1).expect("right");
    let value = mean.array();
    let gradient = mean.put_tape(tape).backward().get(&logits).as_vec();
    let all = each.into_iter().chain([value]).chain(gradient);
    all.map(f32::to_bits).collect()
}

fn optimiser_bits() -> Vec<u32> {
    let device = Cpu::default();
    let mut weight: Feature<Cpu> = device.zeros_like(&(3, 3, 64, 96));
    weight.copy_from(&values(weight.shape().num_elements(), 3));
    let settings = Settings {
        rule: Rule::Sgd {
            momentum: 0.9,
            nesterov: true,
        },
        weight_decay: 1e-4,
        decay: WeightDecay::Coupled,
        clip_norm: Some(1.0),
    };
    let mut optimiser = Optimiser::new(settings).expect("in range");
    for step in 0..3 {
        let mut gradients = Gradients::leaky();
        let gradient: &mut Vec<f32> = gradients.get_or_alloc_mut(&weight).expect("memory");
        *gradient = values(gradient.len(), step);
        let list = &mut [ParameterMut::Feature(&mut weight)];
        optimiser
            .step(0.1, list, &[true], &mut gradients)
            .expect("the list is right");
    }
    weight.as_vec().into_iter().map(f32::to_bits).collect()
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    set_threads(1).expect("one thread");
    let alone = everything();
    for count in [2, 3] {
        set_threads(count).expect("threads");
        assert_eq!(threads(), count);
        for ((name, expected), (_, found)) in alone.iter().zip(everything()) {
            assert!(*expected == found, "{name} differs with {count} threads");
        }
    }
    assert!(alone.iter().all(|(_, bits)| bits.len() > 1000));
}
