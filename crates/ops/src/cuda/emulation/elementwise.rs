//! Products, gates, means over pixels, subsampling, dropout, bias.

use super::{Buffer, Emulator, assert_close, check, on_top, target};
use crate::cuda::Pointer;
use crate::cuda::kernels::elementwise::{
    Subsample, drop_paths, dropout, image_sums, mask, product, spread, subsample,
    subsample_gradient, truncate,
};
use crate::testing::{Random, output_gradient, run};

fn products(device: &Emulator, shape: (usize, usize, usize, usize), random: &mut Random) {
    let leaves = [random.feature(shape), random.feature(shape)];
    let (expected, gradients) = run(&leaves, |tape, l| {
        crate::multiply(tape, l[0].feature(), l[1].feature())
    });
    let [a, b] = [0, 1].map(|i| leaves[i].feature().as_vec());
    let (count, old) = (a.len(), random.values(a.len()));
    let [mut a, mut b] = [&a, &b].map(|v| Buffer::of(v));
    let mut dy = Buffer::of(&output_gradient(count));
    let [mut y, mut da] = [(); 2].map(|()| target(None, count));
    let mut db = target(Some(&old), count);
    let (a, b, dy) = (a.pointer(), b.pointer(), dy.pointer());
    let launches = [
        product(a, b, y.pointer(), count, false),
        product(dy, b, da.pointer(), count, false),
        product(dy, a, db.pointer(), count, true),
    ];
    device.run(&launches.map(Result::unwrap));
    assert_close("product", &y.read(), &expected.as_vec());
    assert_close("its da", &da.read(), &gradients[0]);
    assert_close("its db", &db.read(), &on_top(Some(&old), &gradients[1]));
}

fn gates(device: &Emulator, shape: (usize, usize, usize, usize), random: &mut Random) {
    let (n, h, w, c) = shape;
    let leaves = [random.feature(shape), random.feature((n, 1, 1, c))];
    let (product, gradients) = run(&leaves, |tape, l| {
        crate::multiply(tape, l[0].feature(), l[1].feature())
    });
    let [x, gate] = [0, 1].map(|i| leaves[i].feature().as_vec());
    let dy = output_gradient(x.len());
    let [mut bx, mut bgate, mut bdy] = [&x, &gate, &dy].map(|v| Buffer::of(v));
    let sizes = (n, h * w, c);
    let (old, old_gate) = (random.values(x.len()), random.values(gate.len()));
    let (mut y, mut dx) = (target(None, x.len()), target(Some(&old), x.len()));
    let mut dgate = target(Some(&old_gate), gate.len());
    let (bx, bgate, bdy) = (bx.pointer(), bgate.pointer(), bdy.pointer());
    let launches = [
        spread(bx, bgate, 1.0, y.pointer(), sizes, false),
        spread(bdy, bgate, 1.0, dx.pointer(), sizes, true),
        image_sums(bx, bdy, 1.0, dgate.pointer(), sizes, true),
    ];
    device.run(&launches.map(Result::unwrap));
    assert_close("product", &y.read(), &product.as_vec());
    assert_close("its dx", &dx.read(), &on_top(Some(&old), &gradients[0]));
    assert_close(
        "its dgate",
        &dgate.read(),
        &on_top(Some(&old_gate), &gradients[1]),
    );

    let (mean, gradients) = run(&leaves[..1], |tape, l| {
        crate::global_avg_pool(tape, l[0].feature())
    });
    let mut dmean = Buffer::of(&output_gradient(n * c));
    let (mut y, mut dx) = (target(None, n * c), target(None, x.len()));
    let share = 1.0 / (h * w) as f32;
    let launches = [
        image_sums(bx, Pointer::NULL, share, y.pointer(), sizes, false),
        spread(
            Pointer::NULL,
            dmean.pointer(),
            share,
            dx.pointer(),
            sizes,
            false,
        ),
    ];
    device.run(&launches.map(Result::unwrap));
    assert_close("mean", &y.read(), &mean.as_vec());
    assert_close("its dx", &dx.read(), &gradients[0]);
}

fn subsamples(device: &Emulator, of: Subsample, random: &mut Random) {
    let leaves = [random.feature(of.x)];
    let (expected, gradients) = run(&leaves, |tape, l| {
        crate::subsample(tape, l[0].feature(), of.stride, of.offset)
    });
    let expected = expected.as_vec();
    let mut x = Buffer::of(&leaves[0].feature().as_vec());
    let mut dy = Buffer::of(&output_gradient(expected.len()));
    let mut y = Buffer::poisoned::<f32>(expected.len());
    device.run(&[subsample(of, x.pointer(), y.pointer()).unwrap()]);
    assert_close("subsample", &y.read(), &expected);
    let old = random.values(gradients[0].len());
    for old in [None, Some(&old[..])] {
        let mut dx = target(old, gradients[0].len());
        let launch = subsample_gradient(of, dy.pointer(), dx.pointer(), old.is_some());
        device.run(&[launch.unwrap()]);
        assert_close("its dx", &dx.read(), &on_top(old, &gradients[0]));
    }
}

fn truncates(device: &Emulator, of: usize, width: usize, random: &mut Random) {
    let leaves = [random.feature((2, 3, 5, of))];
    let (expected, gradients) = run(&leaves, |tape, l| {
        crate::truncate(tape, l[0].feature(), width)
    });
    let expected = expected.as_vec();
    let mut x = Buffer::of(&leaves[0].feature().as_vec());
    let mut dy = Buffer::of(&output_gradient(expected.len()));
    let mut y = Buffer::poisoned::<f32>(expected.len());
    let launch = truncate(x.pointer(), y.pointer(), 30, [of, width], false);
    device.run(&[launch.unwrap()]);
    assert_close("truncate", &y.read(), &expected);
    let old = random.values(gradients[0].len());
    for old in [None, Some(&old[..])] {
        let mut dx = target(old, gradients[0].len());
        let launch = truncate(dy.pointer(), dx.pointer(), 30, [width, of], old.is_some());
        device.run(&[launch.unwrap()]);
        assert_close("its dx", &dx.read(), &on_top(old, &gradients[0]));
    }
}

fn dropouts(device: &Emulator, random: &mut Random) {
    let leaves = [random.feature((3, 1, 1, 211))];
    let (rate, seed) = (0.3, 77);
    let (expected, gradients) = run(&leaves, |tape, l| {
        crate::dropout(tape, l[0].feature(), rate, seed)
    });
    let count = 3 * 211;
    let mut words = Buffer::of(&mask(seed, rate));
    let mut x = Buffer::of(&leaves[0].feature().as_vec());
    let (dy, old) = (output_gradient(count), random.values(count));
    let mut dy = Buffer::of(&dy);
    let (mut y, mut dx) = (target(None, count), target(Some(&old), count));
    let words = words.pointer();
    let launches = [
        dropout(words, x.pointer(), y.pointer(), count, false),
        dropout(words, dy.pointer(), dx.pointer(), count, true),
    ];
    device.run(&launches.map(Result::unwrap));
    assert_eq!(y.read::<f32>(), expected.as_vec());
    assert_close("dropout dx", &dx.read(), &on_top(Some(&old), &gradients[0]));

    let paths = [(5, 0.3), (77, 0.0), (1, 0.8)];
    let masks: Vec<u64> = paths.iter().flat_map(|it| mask(it.0, it.1)).collect();
    let (mut masks, mut factors) = (Buffer::of(&masks), target(None, 3 * 211));
    device.run(&[drop_paths(masks.pointer(), factors.pointer(), 3, 211).unwrap()]);
    let expected = paths.map(|it| crate::elementwise::random::factors(it.0, it.1, 211));
    assert_eq!(factors.read::<f32>(), expected.concat());
}

#[test]
fn agrees_with_the_cpu() {
    check("elementwise", |device| {
        let mut random = Random::new(7);
        for shape in [
            (2, 3, 5, 8),
            (3, 1, 1, 5),
            (1, 9, 7, 1),
            (2, 2, 2, 132),
            (2, 4, 3, 37),
        ] {
            products(device, shape, &mut random);
            gates(device, shape, &mut random);
        }
        for (x, stride, offset) in [
            ((2, 6, 6, 4), 2, 0),
            ((2, 5, 7, 4), 2, 1),
            ((1, 4, 4, 3), 3, 2),
            ((1, 3, 3, 5), 1, 0),
        ] {
            subsamples(device, Subsample { x, stride, offset }, &mut random);
        }
        for (of, width) in [(8, 4), (8, 8), (8, 5), (7, 4), (43, 42)] {
            truncates(device, of, width, &mut random);
        }
        dropouts(device, &mut random);
    });
}
