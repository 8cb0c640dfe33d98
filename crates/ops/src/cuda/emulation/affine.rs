//! Factors, offsets, ReLU and activation functions against the CPU's.

use super::{Buffer, assert_close, check, on_top, some_stride, target, together};
use crate::Activation;
use crate::activation::kernel;
use crate::batch_norm::kernel as norm;
use crate::cuda::Launch;
use crate::cuda::kernels::affine::{Prologue, activation, activation_gradient, affine, gate};
use crate::testing::Random;

#[test]
fn agrees_with_the_cpu() {
    check("affine", |device| {
        let mut random = Random::new(1);
        for case in 0..12 {
            let (pixels, channels) = (random.within(1, 90), random.within(1, 24));
            let count = pixels * channels;
            let (x, dy) = (random.values(count), random.values(count));
            let (factor, offset) = (random.values(channels), random.values(channels));
            let old = random.values(count);
            let old = (case % 2 == 0).then_some(&old[..]);
            let [mut bx, mut bdy, mut bf, mut bo] =
                [&x, &dy, &factor, &offset].map(|v| Buffer::of(v));
            let prologue = Prologue {
                factor: bf.pointer(),
                offset: bo.pointer(),
                relu: random.flip(),
            };
            let stride = some_stride(channels, &mut random);
            let mut y = Buffer::poisoned::<f32>(pixels * stride);
            let to = (y.pointer(), stride);
            let launch = affine(bx.pointer(), prologue, to, pixels, channels);
            // One block, so that its threads take several pieces of work.
            let launch = Launch {
                grid: [1; 3],
                ..launch.unwrap()
            };
            device.run(&[launch]);
            let mut expected = vec![0.0; count];
            norm::affine(&x, &factor, &offset, prologue.relu, &mut expected);
            assert_close("affine", &together(&y.read(), channels, stride), &expected);

            let mut dx = target(old, count);
            let launch = gate(
                bx.pointer(),
                prologue,
                bdy.pointer(),
                dx.pointer(),
                pixels,
                channels,
                old.is_some(),
            );
            device.run(&[launch.unwrap()]);
            let through = x.iter().zip(&dy).enumerate().map(|(i, (x, dy))| {
                let c = i % channels;
                if x.mul_add(factor[c], offset[c]) > 0.0 {
                    *dy
                } else {
                    0.0
                }
            });
            let through: Vec<f32> = through.collect();
            assert_close("gate", &dx.read(), &on_top(old, &through));
        }
        for kind in Activation::ALL {
            let x: Vec<f32> = random.values(700).iter().map(|x| 8.0 * x).collect();
            let (dy, old) = (random.values(700), random.values(700));
            let (mut bx, mut bdy) = (Buffer::of(&x), Buffer::of(&dy));
            let mut y = Buffer::poisoned::<f32>(700);
            let mut dx = Buffer::of(&old);
            device.run(&[
                activation(kind, bx.pointer(), y.pointer(), 700).unwrap(),
                activation_gradient(kind, bx.pointer(), bdy.pointer(), dx.pointer(), 700, true)
                    .unwrap(),
            ]);
            let mut expected = vec![0.0; 700];
            kernel::forward(kind, &x, &mut expected);
            assert_close(&format!("{kind:?}"), &y.read(), &expected);
            let mut expected = old;
            kernel::backward(kind, &x, &dy, &mut expected);
            assert_close(&format!("{kind:?}, gradient"), &dx.read(), &expected);
        }
    });
}
