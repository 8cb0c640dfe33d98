//! Batch norm with a ReLU, in training.

use cellwright_ops::{BatchNorm, Running, batch_norm};
use criterion::Criterion;
use dfdx::prelude::Cpu;

use crate::measure::{both, feature, group, passes};

pub fn benches(criterion: &mut Criterion) {
    let mut group = group(criterion, "batch norm");
    for shape in [(64, 32, 32, 16), (64, 16, 16, 64), (64, 32, 32, 64)] {
        let x = feature(shape);
        let start = Running::new(&Cpu::default(), shape.3).expect("memory");
        let floors = [3.0, 6.0].map(|count| passes(&x, count));
        both!(&mut group, &format!("{shape:?}"), floors, |tape| {
            let running = &mut start.clone();
            let options = BatchNorm::default();
            batch_norm(tape, &x, None, None, running, options, true, true)
        });
    }
    group.finish();
}
