//! How fast architectures are sampled, expanded and built: the NASNet space with its parameters.

use std::path::Path;

use cellwright_graph::{Graph, vocabulary};
use cellwright_space::{Call, Choices, Shape, Sink, Space};
use criterion::{Criterion, criterion_group, criterion_main};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Takes layers without doing anything but the channels and the stride, which expressions ask for.
struct Nowhere(Vec<Shape>);

impl Sink for Nowhere {
    type Node = usize;

    fn layer(&mut self, call: &Call<'_, usize>) -> Result<usize, String> {
        let shape = self.0[call.inputs[0]];
        self.0.push(shape);
        Ok(self.0.len() - 1)
    }

    fn shape(&self, node: usize) -> Shape {
        self.0[node]
    }

    fn auxiliary(&mut self, _: usize, _: f64) -> Result<(), String> {
        Ok(())
    }
}

fn nasnet(c: &mut Criterion) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../search-spaces/nasnet.toml");
    let space = match Space::load(&path, &[], vocabulary()) {
        Ok(space) => space,
        Err(errors) => panic!("{errors}"),
    };
    let shape = Shape {
        height: 32,
        width: 32,
        channels: 3,
    };
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let many: Vec<Choices> = (0..256).map(|_| space.sample(&mut rng)).collect();
    c.bench_function("nasnet/sample", |b| b.iter(|| space.sample(&mut rng)));
    c.bench_function("nasnet/mutate", |b| {
        b.iter(|| space.mutate(&many[0], &mut rng))
    });
    let mut next = 0;
    c.bench_function("nasnet/expand", |b| {
        b.iter(|| {
            next = (next + 1) % many.len();
            let mut sink = Nowhere(vec![shape]);
            space.expand(&many[next], 0, 10, &mut sink)
        })
    });
    c.bench_function("nasnet/sample and build", |b| {
        b.iter(|| {
            let choices = space.sample(&mut rng);
            Graph::build(&space, &choices, shape, 10)
        })
    });
    let text = space.text();
    c.bench_function("nasnet/parse", |b| {
        b.iter(|| Space::parse(text, &path, &[], vocabulary()))
    });
}

criterion_group!(benches, nasnet);
criterion_main!(benches);
