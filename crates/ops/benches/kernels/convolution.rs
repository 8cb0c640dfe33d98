//! Dense 3×3 convolutions of residual networks.

use cellwright_ops::{Conv2d, conv2d};
use criterion::{Criterion, Throughput};

use crate::measure::{both, feature, group};

pub fn benches(criterion: &mut Criterion) {
    let mut group = group(criterion, "conv 3x3");
    // Size of the image, channels, filters, stride.
    for (size, channels, filters, stride) in [
        (32, 64, 64, 1),
        (16, 128, 128, 1),
        (8, 256, 256, 1),
        (4, 512, 512, 1),
        (2, 512, 512, 1),
        (32, 64, 128, 2),
    ] {
        let x = feature((64, size, size, channels));
        let weight = feature((3, 3, channels, filters));
        let conv = Conv2d {
            stride: [stride; 2],
            ..Conv2d::default()
        }
        .same([3, 3]);
        let products = 64 * (size / stride).pow(2) * 9 * channels * filters;
        let floors = [2, 4].map(|each| Throughput::Elements((each * products) as u64));
        let name = format!("{size}x{size}x{channels} to {filters}, stride {stride}");
        both!(&mut group, &name, floors, |tape| {
            conv2d(tape, &x, &weight, None, conv)
        });
    }
    group.finish();
}
