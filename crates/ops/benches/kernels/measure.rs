//! One operation, forward and backward.

use std::time::Duration;

use cellwright_ops::Feature;
use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, SamplingMode, Throughput};
use dfdx::prelude::{
    Axes4, Backward, Cpu, HasShape, NoneTape, OwnedTape, PutTape, Rank0, Shape, SumTo,
    TensorFromVec,
};

pub type Tape = OwnedTape<f32, Cpu>;
pub type Group<'a> = BenchmarkGroup<'a, WallTime>;

/// Numbers between -1 and 1.
pub fn feature(shape: (usize, usize, usize, usize)) -> Feature<Cpu> {
    let length = shape.0 * shape.1 * shape.2 * shape.3;
    let values = (0..length).map(|i| (i * 7919 % 2003) as f32 / 1001.5 - 1.0);
    Cpu::default().tensor_from_vec(values.collect(), shape)
}

/// A group of short measurements, so that the whole run stays under two minutes.
pub fn group<'a>(criterion: &'a mut Criterion, name: &str) -> Group<'a> {
    let mut group = criterion.benchmark_group(name);
    group.sampling_mode(SamplingMode::Flat);
    group.sample_size(10);
    group.warm_up_time(Duration::from_millis(50));
    group.measurement_time(Duration::from_millis(300));
    group
}

/// So many passes over `x` as a throughput.
pub fn passes(x: &Feature<Cpu>, count: f64) -> Throughput {
    let size = (x.shape().num_elements() * size_of::<f32>()) as f64;
    Throughput::Bytes((size * count) as u64)
}

/// Times an operation; `floors` are the throughputs of forward and backward.
pub fn bench(
    group: &mut Group,
    name: &str,
    floors: [Throughput; 2],
    mut plain: impl FnMut(&mut NoneTape) -> Feature<Cpu>,
    mut taped: impl FnMut(&mut Tape) -> Feature<Cpu>,
) {
    let [forward, backward] = floors;
    group.throughput(forward);
    group.bench_function(format!("{name}/forward"), |bencher| {
        bencher.iter(|| plain(&mut NoneTape));
    });
    group.throughput(backward);
    group.bench_function(format!("{name}/backward"), |bencher| {
        let prepare = || {
            let mut tape = Tape::default();
            let y = taped(&mut tape);
            y.put_tape(tape).sum::<Rank0, Axes4<0, 1, 2, 3>>()
        };
        bencher.iter_batched(prepare, Backward::backward, BatchSize::PerIteration);
    });
}

/// [`bench`] with one expression for both kinds of tape.
macro_rules! both {
    ($group:expr, $name:expr, $floors:expr, |$tape:ident| $body:expr) => {
        $crate::measure::bench(
            $group,
            $name,
            $floors,
            |$tape| $body.expect("the arguments are right"),
            |$tape| $body.expect("the arguments are right"),
        )
    };
}
pub(crate) use both;
