//! The gradients of a pointwise convolution and of the norm after it.

use super::columns::Memory;
use super::product::{Before, across, times};
use super::{Buffer, Emulator, assert_within, check, on_top, some_stride, spaced, target};
use crate::cuda::Pointer;
use crate::cuda::kernels::batch_norm::{Backward, Normaliser, input_gradient};
use crate::cuda::kernels::combine::Share;
use crate::cuda::kernels::join::join;
use crate::cuda::kernels::pointwise::{Pointwise, gradient, gradient_scratch, suits_gradient};
use crate::testing::Random;

/// A convolution of rows × k numbers to rows × n, of so many images, with a norm after it or without.
fn one(device: &Emulator, size: [usize; 3], images: usize, normed: bool, random: &mut Random) {
    let [rows, k, n] = size;
    let mut before = Before::new(k, random);
    let [x, dy] = [k, n].map(|channels| random.values(rows * channels));
    let w = random.values(k * n);
    let stride = if normed { some_stride(n, random) } else { n };
    let given = spaced(&dy, n, stride);
    let [mut bx, mut bw, mut bdy] = [&x, &w, &given].map(|it| Buffer::of(it));
    let z = random.values(rows * n);
    let mut bz = Buffer::of(&z);
    let vectors = [0; 5].map(|_| random.values(n));
    let mut vectors = vectors.each_ref().map(|it| Buffer::of(it));
    let [mean, factor, offset, slope, constant] = vectors.each_mut().map(|it| it.pointer());
    let mut shares = random.values(images);
    shares[images / 2] = 0.0;
    let mut bshares = Buffer::of(&shares);
    let share = match images {
        1 => Share::All(0.7),
        _ => Share::Images(bshares.pointer()),
    };
    let norm = Backward {
        x: bz.pointer(),
        dy: bdy.pointer(),
        stride,
        share: (share, images),
        normaliser: Normaliser {
            mean,
            inverse: Pointer::NULL,
            factor,
            offset,
        },
        relu: random.flip(),
        rows,
        channels: n,
        slope,
        constant,
    };
    // What comes between them, by its own kernel.
    let dz: Vec<f32> = if normed {
        let mut dz = target(None, rows * n);
        device.run(&[input_gradient(norm, dz.pointer(), false).unwrap()]);
        dz.read()
    } else {
        dy
    };
    let mut expected = times([rows, n, k], &dz, &w, true);
    before.passed(&x, &mut expected);
    let of_weight = across(size, &before.of(&x), &dz);

    let old = random.values(rows * k);
    let old = random.flip().then_some(&old[..]);
    let (mut dx, mut dw) = (target(old, rows * k), target(None, k * n));
    let mut memory = Memory::new(gradient_scratch(size));
    let of = Pointwise {
        size,
        x: bx.pointer(),
        prologue: before.prologue(),
        w: bw.pointer(),
        dy: bdy.pointer(),
        norm: normed.then_some(norm),
    };
    let scratch = memory.scratch();
    let parts = gradient(&of, (dx.pointer(), old.is_some()), scratch, dw.pointer());
    let (launch, job) = parts.unwrap();
    device.run(&[launch, join(&[job]).unwrap()]);
    memory.check();
    let what = format!("{rows} rows, {k} x {n}, norm {normed}");
    assert_within(
        3e-3,
        &format!("{what}, dx"),
        &dx.read(),
        &on_top(old, &expected),
    );
    assert_within(3e-3, &format!("{what}, dw"), &dw.read(), &of_weight);

    // The weight's alone.
    let mut dw = target(None, k * n);
    let parts = gradient(&of, (Pointer::NULL, false), memory.scratch(), dw.pointer());
    let (launch, job) = parts.unwrap();
    device.run(&[launch, join(&[job]).unwrap()]);
    assert_within(3e-3, &format!("{what}, dw alone"), &dw.read(), &of_weight);
}

#[test]
fn agrees_with_one_after_the_other() {
    assert!(suits_gradient([4096, 256, 64]) && suits_gradient([4096, 512, 64]));
    assert!(suits_gradient([4096, 512, 16]) && !suits_gradient([4096, 64, 96]));
    assert!(!suits_gradient([4096, 6, 16]) && !suits_gradient([16, 16, 16]));
    check("pointwise", |device| {
        let mut random = Random::new(22);
        let sizes = [
            ([128, 16, 16], 2),
            ([300, 12, 8], 3),
            ([40_000, 4, 16], 5),
            ([700, 32, 20], 1),
            ([129, 8, 32], 1),
            ([400, 64, 64], 4),
            ([50, 36, 4], 2),
            ([33, 4, 60], 3),
            ([300, 96, 16], 4),
            ([70, 200, 64], 2),
            ([1000, 48, 16], 2),
            ([90, 32, 12], 3),
            ([140, 416, 8], 1),
            ([500, 128, 32], 5),
            ([9, 8, 48], 3),
        ];
        for (case, (size, images)) in sizes.into_iter().enumerate() {
            one(device, size, images, case % 3 != 2, &mut random);
        }
        one(device, [300, 16, 12], 3, false, &mut random);
    });
}
