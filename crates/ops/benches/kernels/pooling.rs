//! Pooling with 3×3 windows, and over whole images.

use cellwright_ops::{Pool2d, PoolKind, global_avg_pool, pool2d};
use criterion::Criterion;

use crate::measure::{both, feature, group, passes};

pub fn benches(criterion: &mut Criterion) {
    let mut group = group(criterion, "pooling");
    for shape in [(64, 32, 32, 16), (64, 16, 16, 64)] {
        let x = feature(shape);
        for kind in [PoolKind::Max, PoolKind::Average] {
            for stride in [1, 2] {
                let options = Pool2d {
                    kind,
                    kernel: [3, 3],
                    stride: [stride; 2],
                    padding: [1; 4],
                };
                let out = 1.0 / (stride * stride) as f64;
                let floors = [1.0 + out, 2.0 + out].map(|count| passes(&x, count));
                let name = format!("{shape:?}, {kind:?}, stride {stride}");
                both!(&mut group, &name, floors, |tape| pool2d(tape, &x, options));
            }
        }
        let floors = [1.0, 2.0].map(|count| passes(&x, count));
        let name = format!("{shape:?}, global");
        both!(&mut group, &name, floors, |tape| global_avg_pool(tape, &x));
    }
    group.finish();
}
