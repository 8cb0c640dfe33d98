//! Pooling and its gradients.

use super::{Buffer, Emulator, assert_close, check, on_top, target};
use crate::cuda::Pointer;
use crate::cuda::kernels::pool::{Pool, forward, gradient};
use crate::testing::{Random, output_gradient, run};
use crate::{Pool2d, PoolKind, pool2d};

fn one(
    device: &Emulator,
    shape: (usize, usize, usize, usize),
    options: Pool2d,
    random: &mut Random,
) {
    let what = format!("{shape:?} {options:?}");
    let leaf = random.feature(shape);
    let leaves = [leaf];
    let (expected, dx) = run(&leaves, |tape, leaves| {
        pool2d(tape, leaves[0].feature(), options)
    });
    let (expected, dx) = (expected.as_vec(), &dx[0]);
    let pool = Pool::new(shape, options).unwrap();
    let mut x = Buffer::of(&leaves[0].feature().as_vec());
    let mut y = Buffer::poisoned::<f32>(expected.len());
    let mut places = Buffer::poisoned::<u8>(expected.len());
    let mut dy = Buffer::of(&output_gradient(expected.len()));
    let launch = forward(&pool, x.pointer(), y.pointer(), places.pointer());
    device.run(&[launch.unwrap()]);
    assert_close(&what, &y.read(), &expected);
    let mut without = Buffer::poisoned::<f32>(expected.len());
    let launch = forward(&pool, x.pointer(), without.pointer(), Pointer::NULL);
    device.run(&[launch.unwrap()]);
    assert_eq!(without.read::<f32>(), y.read::<f32>());
    let old = random.values(dx.len());
    for old in [None, Some(&old[..])] {
        let mut found = target(old, dx.len());
        let add = old.is_some();
        let launch = gradient(&pool, dy.pointer(), places.pointer(), found.pointer(), add);
        device.run(&[launch.unwrap()]);
        assert_close(&format!("{what} dx"), &found.read(), &on_top(old, dx));
    }
}

#[test]
fn agrees_with_the_cpu() {
    check("pool", |device| {
        let mut random = Random::new(5);
        for case in 0..24 {
            let kind = [PoolKind::Max, PoolKind::Average][case % 2];
            let channels = if case < 12 {
                4 * random.within(1, 3)
            } else {
                random.within(1, 7)
            };
            let shape = (
                random.within(1, 3),
                random.within(4, 9),
                random.within(4, 9),
                channels,
            );
            let kernel = [random.within(1, 4), random.within(1, 4)];
            let mut side = |axis: usize| random.within(0, kernel[axis] - 1);
            let padding = [side(0), side(0), side(1), side(1)];
            let options = Pool2d {
                kind,
                kernel,
                stride: [random.within(1, 3), random.within(1, 3)],
                padding,
            };
            one(device, shape, options, &mut random);
        }
        // Windows of 3×3 have kernels of their own.
        for case in 0..32 {
            let shape = (
                random.within(1, 3),
                random.within(3, 10),
                random.within(3, 10),
                4 * random.within(1, 3),
            );
            let mut side = || random.within(0, 2);
            let options = Pool2d {
                kind: [PoolKind::Max, PoolKind::Average][case % 2],
                kernel: [3, 3],
                stride: [1 + case / 2 % 2; 2],
                padding: [side(), side(), side(), side()],
            };
            one(device, shape, options, &mut random);
        }
    });
}

#[test]
fn nan_wins_and_the_first_of_equals_gets_the_gradient() {
    check("pool, NaN", |device| {
        let options = Pool2d {
            kind: PoolKind::Max,
            kernel: [1, 2],
            stride: [1, 2],
            padding: [0; 4],
        };
        let pool = Pool::new((1, 1, 6, 1), options).unwrap();
        let mut x = Buffer::of(&[f32::NAN, 1.0, 1.0, f32::NAN, 2.0, 2.0]);
        let (mut y, mut places) = (Buffer::poisoned::<f32>(3), Buffer::poisoned::<u8>(3));
        let launch = forward(&pool, x.pointer(), y.pointer(), places.pointer());
        device.run(&[launch.unwrap()]);
        let y = y.read::<f32>();
        assert!(y[0].is_nan() && y[1].is_nan() && y[2] == 2.0, "{y:?}");
        assert_eq!(places.read::<u8>(), [0, 1, 0]);
    });
}
