//! The plain operations on activations of a NASNet-A cell (F=16, batch 64) and on a wider, smaller
//! one: forward alone, and forward with gradient. The throughput is that of the floor in bytes: each
//! input read once, each output written once, for a gradient input and output gradient read once and
//! the input gradient read and written; sums over the batch make batch norm read its inputs twice.

use cellwright_ops::optimiser::{Rule, Settings, WeightDecay};
use cellwright_ops::*;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use dfdx::prelude::{
    Axes4, Backward, Cpu, Gradients, HasShape, NoneTape, OwnedTape, PutTape, Rank0, Shape, SumTo,
    TensorFromVec, ZerosTensor,
};
use std::time::Duration;

type Tape = OwnedTape<f32, Cpu>;
type Group<'a> = BenchmarkGroup<'a, criterion::measurement::WallTime>;

fn feature(shape: (usize, usize, usize, usize)) -> Feature<Cpu> {
    let length = shape.0 * shape.1 * shape.2 * shape.3;
    let values = (0..length).map(|i| (i * 7919 % 2003) as f32 / 1001.5 - 1.0);
    Cpu::default().tensor_from_vec(values.collect(), shape)
}

/// One operation: `forward` and `backward` are the floors, in passes over the input.
fn bench<F, G>(
    group: &mut Group,
    name: &str,
    x: &Feature<Cpu>,
    passes: [f64; 2],
    plain: F,
    taped: G,
) where
    F: Fn(&mut NoneTape, &Feature<Cpu>) -> Feature<Cpu>,
    G: Fn(&mut Tape, &Feature<Cpu>) -> Feature<Cpu>,
{
    let size = (x.shape().num_elements() * size_of::<f32>()) as f64;
    group.throughput(Throughput::Bytes((size * passes[0]) as u64));
    group.bench_function(format!("{name}/forward"), |bencher| {
        bencher.iter(|| plain(&mut NoneTape, x));
    });
    group.throughput(Throughput::Bytes((size * passes[1]) as u64));
    group.bench_function(format!("{name}/backward"), |bencher| {
        let prepare = || {
            let mut tape = Tape::default();
            let y = taped(&mut tape, x);
            y.put_tape(tape).sum::<Rank0, Axes4<0, 1, 2, 3>>()
        };
        bencher.iter_batched(
            prepare,
            Backward::backward,
            criterion::BatchSize::PerIteration,
        );
    });
}

/// The same closure for both kinds of tape.
macro_rules! both {
    ($group:expr, $name:expr, $x:expr, $passes:expr, |$tape:ident, $input:ident| $body:expr) => {
        bench(
            $group,
            $name,
            $x,
            $passes,
            |$tape, $input| $body.expect("the arguments are right"),
            |$tape, $input| $body.expect("the arguments are right"),
        )
    };
}

fn plain(criterion: &mut Criterion) {
    for shape in [(64, 32, 32, 16), (64, 16, 16, 64)] {
        let mut group = criterion.benchmark_group(format!("{shape:?}"));
        group.sample_size(10);
        group.warm_up_time(Duration::from_millis(100));
        group.measurement_time(Duration::from_millis(400));
        let x = &feature(shape);
        let other = &feature(shape);
        let gate = &feature((shape.0, 1, 1, shape.3));
        let running = Running::new(&Cpu::default(), shape.3).expect("memory");
        both!(&mut group, "batch_norm", x, [3.0, 6.0], |tape, x| {
            let running = &mut running.clone();
            let options = BatchNorm::default();
            batch_norm(tape, x, None, None, running, options, true, true)
        });
        for kind in [PoolKind::Max, PoolKind::Average] {
            for stride in [1, 2] {
                let options = Pool2d {
                    kind,
                    kernel: [3, 3],
                    stride: [stride; 2],
                    padding: [1; 4],
                };
                let out = 1.0 / (stride * stride) as f64;
                let name = format!("{kind:?} pool, stride {stride}");
                both!(&mut group, &name, x, [1.0 + out, 2.0 + out], |tape, x| {
                    pool2d(tape, x, options)
                });
            }
        }
        for kind in [Activation::Relu, Activation::Swish] {
            both!(
                &mut group,
                &format!("{kind:?}"),
                x,
                [2.0, 4.0],
                |tape, x| { activation(tape, x, kind) }
            );
        }
        both!(&mut group, "add", x, [3.0, 6.0], |tape, x| add(
            tape,
            &[x, other]
        ));
        both!(&mut group, "concat", x, [4.0, 6.0], |tape, x| concat(
            tape,
            &[x, other]
        ));
        both!(&mut group, "multiply", x, [2.0, 4.0], |tape, x| multiply(
            tape, x, gate
        ));
        both!(&mut group, "global_avg_pool", x, [1.0, 2.0], |tape, x| {
            global_avg_pool(tape, x)
        });
        both!(
            &mut group,
            "subsample",
            x,
            [0.5, 0.75],
            |tape, x| subsample(tape, x, 2, 0)
        );
        both!(&mut group, "dropout", x, [2.0, 3.0], |tape, x| dropout(
            tape, x, 0.3, 1
        ));
        group.finish();
    }
}

fn step(criterion: &mut Criterion) {
    let mut weight: Feature<Cpu> = Cpu::default().zeros_like(&(3, 3, 512, 512));
    let settings = Settings {
        rule: Rule::Sgd {
            momentum: 0.9,
            nesterov: true,
        },
        weight_decay: 1e-4,
        decay: WeightDecay::Coupled,
        clip_norm: None,
    };
    let mut optimiser = Optimiser::new(settings).expect("in range");
    let mut gradients = Gradients::leaky();
    let mut group = criterion.benchmark_group("sgd");
    group.sample_size(10);
    group.measurement_time(Duration::from_millis(500));
    group.throughput(Throughput::Bytes(9 * 512 * 512 * 4 * 5));
    group.bench_function("2.4 M parameters", |bencher| {
        bencher.iter(|| {
            let list = &mut [ParameterMut::Feature(&mut weight)];
            optimiser.step(0.1, list, &[true], &mut gradients)
        });
    });
}

criterion_group!(benches, plain, step);
criterion_main!(benches);
