//! A step of the optimiser over the weights of one large convolution.

use cellwright_ops::optimiser::{Rule, Settings, WeightDecay};
use cellwright_ops::{Feature, Optimiser, ParameterMut};
use criterion::{Criterion, Throughput};
use dfdx::prelude::{Cpu, Gradients, ZerosTensor};

use crate::measure::group;

pub fn benches(criterion: &mut Criterion) {
    let mut group = group(criterion, "optimiser, 2.4 M parameters");
    let sgd = Rule::Sgd {
        momentum: 0.9,
        nesterov: true,
    };
    let adam = Rule::Adam {
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
    };
    // Parameter and moments are read and written, the gradient is read.
    for (name, rule, passes) in [("sgd", sgd, 5), ("adam", adam, 7)] {
        let mut weight: Feature<Cpu> = Cpu::default().zeros_like(&(3, 3, 512, 512));
        let settings = Settings {
            rule,
            weight_decay: 1e-4,
            decay: WeightDecay::Coupled,
            clip_norm: None,
        };
        let mut optimiser = Optimiser::new(settings).expect("in range");
        let mut gradients = Gradients::leaky();
        group.throughput(Throughput::Bytes(9 * 512 * 512 * 4 * passes));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let list = &mut [ParameterMut::Feature(&mut weight)];
                optimiser.step(0.1, list, &[true], &mut gradients)
            });
        });
    }
    group.finish();
}
