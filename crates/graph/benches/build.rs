//! How fast architectures of the NASNet space are sampled and become graphs, on one core: in processor
//! time, so that what else the machine does disturbs it less.

use std::hint::black_box;
use std::path::Path;

use cellwright_graph::{Graph, vocabulary};
use cellwright_space::Space;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The processor time of this process, in seconds.
struct ProcessorTime;

impl Measurement for ProcessorTime {
    type Intermediate = f64;
    type Value = f64;

    fn start(&self) -> f64 {
        processor_seconds()
    }

    fn end(&self, start: f64) -> f64 {
        processor_seconds() - start
    }

    fn add(&self, a: &f64, b: &f64) -> f64 {
        a + b
    }

    fn zero(&self) -> f64 {
        0.0
    }

    fn to_f64(&self, seconds: &f64) -> f64 {
        seconds * 1e9
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

fn processor_seconds() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call fills in the struct that it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

fn nasnet(set: &[(String, String)]) -> Space {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../search-spaces/nasnet.toml");
    Space::load(&file, set, vocabulary()).unwrap_or_else(|errors| panic!("{errors}"))
}

fn build(criterion: &mut Criterion<ProcessorTime>) {
    let mut group = criterion.benchmark_group("nasnet");
    group.throughput(Throughput::Elements(1));
    for repeats in [1, 6] {
        let space = nasnet(&[("repeats".to_owned(), repeats.to_string())]);
        let (input, classes) = (
            space.default_input().unwrap(),
            space.default_classes().unwrap(),
        );
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        group.bench_function(format!("sample, N={repeats}"), |bencher| {
            bencher.iter(|| black_box(space.sample(&mut rng)));
        });
        group.bench_function(format!("sample and build, N={repeats}"), |bencher| {
            bencher.iter(|| {
                let choices = space.sample(&mut rng);
                black_box(Graph::build(&space, &choices, input, classes))
            });
        });
        group.bench_function(format!("identity, N={repeats}"), |bencher| {
            let graph = Graph::build(&space, &space.sample(&mut rng), input, classes);
            let graph = graph.unwrap_or_else(|error| panic!("{error}"));
            bencher.iter(|| black_box(graph.identity()));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(ProcessorTime);
    targets = build
}
criterion_main!(benches);
