//! Units of ReLU, depthwise and 1×1 convolution and batch norm, two in a chain, as in NASNet-A.

use cellwright_ops::{BatchNorm, Conv2d, Norm, Running, Unit, chain};
use criterion::{Criterion, Throughput};
use dfdx::prelude::Cpu;

use crate::measure::{both, feature, group};

pub fn benches(criterion: &mut Criterion) {
    let mut group = group(criterion, "two separable units");
    // Size of the image, channels, size of the kernel.
    for (size, channels, kernel) in [
        (32, 16, 5),
        (16, 32, 5),
        (8, 64, 5),
        (32, 32, 5),
        (32, 16, 3),
    ] {
        let x = feature((64, size, size, channels));
        let depthwise = feature((kernel, kernel, 1, channels));
        let pointwise = feature((1, 1, channels, channels));
        let conv = Conv2d {
            groups: channels,
            ..Conv2d::default()
        }
        .same([kernel; 2]);
        let running = Running::new(&Cpu::default(), channels).expect("memory");
        let products = 2 * 64 * size * size * channels * (kernel * kernel + channels);
        let floors = [2, 4].map(|each| Throughput::Elements((each * products) as u64));
        let name = format!("{size}x{size}x{channels}, {kernel}x{kernel}");
        both!(&mut group, &name, floors, |tape| {
            let mut running = [running.clone(), running.clone()];
            let units = running.iter_mut().map(|running| Unit {
                relu_before: true,
                weight: &depthwise,
                conv,
                pointwise: Some(&pointwise),
                norm: Some(Norm {
                    scale: None,
                    shift: None,
                    running,
                    options: BatchNorm::default(),
                    relu: false,
                    training: true,
                }),
            });
            chain(tape, &x, units.collect())
        });
    }
    group.finish();
}
