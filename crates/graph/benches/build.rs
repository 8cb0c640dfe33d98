//! How fast architectures of the NASNet space are sampled and become graphs, on one core.

use std::hint::black_box;
use std::path::Path;

use cellwright_graph::{Graph, vocabulary};
use cellwright_space::Space;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

fn nasnet(set: &[(String, String)]) -> Space {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../search-spaces/nasnet.toml");
    Space::load(&file, set, vocabulary()).unwrap_or_else(|errors| panic!("{errors}"))
}

fn build(criterion: &mut Criterion) {
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

criterion_group!(benches, build);
criterion_main!(benches);
