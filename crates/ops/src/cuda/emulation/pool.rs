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
    // Half of the time many numbers are equal.
    let leaf = match random.flip() {
        true => random.feature(shape),
        false => random.coarse_feature(shape),
    };
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
    // The output, or its gradient, as some of another tensor's channels.
    let channels = shape.3;
    let stride = if channels.is_multiple_of(4) {
        channels + 8
    } else {
        channels
    };
    let begin = (stride - channels) / 2;
    let pool = pool.within(stride);
    let spread = |from: &[f32]| -> Vec<f32> {
        let mut to = vec![f32::NAN; from.len() / channels * stride];
        for (to, from) in to.chunks_mut(stride).zip(from.chunks(channels)) {
            to[begin..begin + channels].copy_from_slice(from);
        }
        to
    };
    let mut wide = Buffer::of(&vec![f32::NAN; expected.len() / channels * stride]);
    let to = Pointer(wide.pointer().0 + 4 * begin as u64);
    let launch = forward(&pool, x.pointer(), to, places.pointer());
    device.run(&[launch.unwrap()]);
    let bits = |of: &[f32]| of.iter().map(|it| it.to_bits()).collect::<Vec<_>>();
    assert_eq!(
        bits(&wide.read::<f32>()),
        bits(&spread(&y.read::<f32>())),
        "{what}"
    );
    let mut dy = Buffer::of(&spread(&dy.read::<f32>()));
    let dy = Pointer(dy.pointer().0 + 4 * begin as u64);
    let old = random.values(dx.len());
    for old in [None, Some(&old[..])] {
        let mut found = target(old, dx.len());
        let add = old.is_some();
        let launch = gradient(&pool, dy, places.pointer(), found.pointer(), add);
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
        // Small windows of maxima have kernels of their own, and so do means of 3×3.
        for _ in 0..24 {
            let kernel = [random.within(1, 8), random.within(1, 8)];
            let shape = (
                random.within(1, 3),
                random.within(kernel[0].max(3), 12),
                random.within(kernel[1].max(3), 40),
                4 * random.within(1, 9),
            );
            let mut side = |axis: usize| random.within(0, kernel[axis] - 1);
            let padding = [side(0), side(0), side(1), side(1)];
            let options = Pool2d {
                kind: PoolKind::Max,
                kernel,
                stride: [random.within(1, 3), random.within(1, 3)],
                padding,
            };
            one(device, shape, options, &mut random);
        }
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
        // One channel, and four of the same.
        for channels in [1, 4] {
            let pool = Pool::new((1, 1, 6, channels), options).unwrap();
            let x = [f32::NAN, 1.0, 1.0, f32::NAN, 2.0, 2.0].map(|it| vec![it; channels]);
            let mut x = Buffer::of(&x.concat());
            let mut y = Buffer::poisoned::<f32>(3 * channels);
            let mut places = Buffer::poisoned::<u8>(3 * channels);
            let launch = forward(&pool, x.pointer(), y.pointer(), places.pointer());
            device.run(&[launch.unwrap()]);
            let (y, places) = (y.read::<f32>(), places.read::<u8>());
            for c in 0..channels {
                let y = [0, 1, 2].map(|it| y[it * channels + c]);
                assert!(y[0].is_nan() && y[1].is_nan() && y[2] == 2.0, "{y:?}");
                assert_eq!([0, 1, 2].map(|it| places[it * channels + c]), [0, 1, 0]);
            }
        }
    });
}
