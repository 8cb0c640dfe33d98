//! Operations on each number of an activation.

use cellwright_ops::{Activation, activation, add, concat, dropout, multiply, subsample};
use criterion::Criterion;

use crate::measure::{both, feature, group, passes};

pub fn benches(criterion: &mut Criterion) {
    let mut group = group(criterion, "elementwise");
    for shape in [(64, 32, 32, 16), (64, 16, 16, 64)] {
        let [x, other] = [feature(shape), feature(shape)];
        let gate = feature((shape.0, 1, 1, shape.3));
        let floors = |forward, backward| [forward, backward].map(|count| passes(&x, count));
        let named = |name: &str| format!("{shape:?}, {name}");
        for kind in [Activation::Relu, Activation::Swish] {
            let name = named(&format!("{kind:?}"));
            both!(&mut group, &name, floors(2.0, 4.0), |tape| {
                activation(tape, &x, kind)
            });
        }
        both!(&mut group, &named("add"), floors(3.0, 6.0), |tape| {
            add(tape, &[&x, &other])
        });
        both!(&mut group, &named("concat"), floors(4.0, 6.0), |tape| {
            concat(tape, &[&x, &other])
        });
        both!(&mut group, &named("multiply"), floors(2.0, 4.0), |tape| {
            multiply(tape, &x, &gate)
        });
        both!(&mut group, &named("subsample"), floors(0.5, 0.75), |tape| {
            subsample(tape, &x, 2, 0)
        });
        both!(&mut group, &named("dropout"), floors(2.0, 3.0), |tape| {
            dropout(tape, &x, 0.3, 1)
        });
    }
    group.finish();
}
