//! The gradients of a pointwise convolution and of the norm after it.

use super::bf16::{numbers, stored, tensor};
use super::columns::Memory;
use super::product::{Before, across, times};
use super::{Buffer, Emulator, assert_within, check, on_top, some_stride, spaced, target};
use crate::cuda::kernels::batch_norm::{Backward, Normaliser, input_gradient};
use crate::cuda::kernels::combine::Share;
use crate::cuda::kernels::join::join;
use crate::cuda::kernels::pointwise::{Pointwise, gradient, gradient_scratch, suits_gradient};
use crate::cuda::{Launch, Pointer};
use crate::testing::Random;

/// Compares both gradients of a convolution of rows × k numbers to rows × n, of so many images, with a norm after it or without.
fn one(
    device: &Emulator,
    size: [usize; 3],
    images: usize,
    (normed, bf16): (bool, bool),
    random: &mut Random,
) {
    let [rows, k, n] = size;
    let mut before = Before::new(k, random);
    let [x, mut dy, z] = [k, n, n].map(|channels| stored(random.values(rows * channels), bf16));
    if normed && images > 1 {
        // Of an image without a share; nothing is left of it.
        let each = dy.len() / images;
        dy[images / 2 * each..][..each].fill(f32::INFINITY);
    }
    let w = random.values(k * n);
    let stride = if normed { some_stride(n, random) } else { n };
    let given = spaced(&dy, n, stride);
    let mut bw = Buffer::of(&w);
    let [mut bx, mut bdy, mut bz] = [&x, &given, &z].map(|it| tensor(it, bf16));
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
        let [mut bz, mut bdy] = [&z, &given].map(|it| Buffer::of(it));
        let norm = Backward {
            x: bz.pointer(),
            dy: bdy.pointer(),
            ..norm
        };
        let mut dz = target(None, rows * n);
        device.run(&[input_gradient(norm, dz.pointer(), false).unwrap()]);
        dz.read()
    } else {
        dy
    };
    let mut expected = times([rows, n, k], &dz, &w, true);
    before.passed(&x, &mut expected);
    let of_weight = across(size, &before.of(&x), &dz);

    let old = stored(random.values(rows * k), bf16);
    let old = random.flip().then_some(&old[..]);
    let mut dx = match (old, bf16) {
        (Some(old), _) => tensor(old, bf16),
        (None, true) => Buffer::poisoned::<u32>(rows * k / 2),
        (None, false) => Buffer::poisoned::<f32>(rows * k),
    };
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
    let what = format!("{rows} rows, {k} x {n}, norm {normed}, bf16 {bf16}");
    let tolerance = if bf16 { 1e-2 } else { 3e-3 };
    // Both, and the weight's alone.
    for dx in [dx.pointer(), Pointer::NULL] {
        let mut dw = target(None, k * n);
        let parts = gradient(&of, bf16, (dx, old.is_some()), scratch, dw.pointer());
        let (launch, job) = parts.unwrap();
        device.run(&[Launch { bf16, ..launch }, join(&[job]).unwrap()]);
        memory.check();
        let what = format!("{what}, dw, with dx {}", dx != Pointer::NULL);
        assert_within(tolerance, &what, &dw.read(), &of_weight);
    }
    let found = numbers(&mut dx, bf16);
    let expected = on_top(old, &expected);
    assert_within(tolerance, &format!("{what}, dx"), &found, &expected);
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
            for bf16 in [false, true] {
                one(device, size, images, (case % 3 != 2, bf16), &mut random);
            }
        }
        for bf16 in [false, true] {
            one(device, [300, 16, 12], 3, (false, bf16), &mut random);
        }
    });
}
