//! Dense and grouped convolution and its gradients.

use super::bf16::rounded;
use super::columns::Memory;
use super::depthwise::{Family, one, one_with};
use super::product::Before;
use super::{Buffer, Emulator, assert_close, assert_within, check, on_top, target};
use crate::Conv2d;
use crate::conv2d::geometry::Geometry;
use crate::cuda::kernels::affine::Prologue;
use crate::cuda::kernels::convolution::{self as kernels, Convolution};
use crate::cuda::kernels::convolution_narrow_weights as narrow;
use crate::cuda::kernels::join::join;
use crate::cuda::script::packed;
use crate::cuda::{Launch, Pointer};
use crate::testing::Random;

/// Of fp32, or of TF32, whose errors are those of 10 bits of mantissa.
const fn family(tf32: bool) -> Family {
    Family {
        tf32,
        tolerance: if tf32 { 3e-3 } else { 1e-5 },
        ..FAMILY
    }
}

const FAMILY: Family = Family {
    tf32: false,
    tolerance: 1e-5,
    forward: |conv, x, prologue, weight, y| {
        kernels::forward(conv, x, prologue, weight, Pointer::NULL, y)
    },
    input: kernels::input_gradient,
    weights: |conv, x, prologue, dy, scratch, dw, add| {
        let parts = kernels::weight_gradient(conv, x, prologue, dy, scratch, dw, add)?;
        Ok(vec![parts.0, join(&[parts.1])?])
    },
    scratch: kernels::weight_gradient_scratch,
};

#[test]
fn agrees_with_the_cpu() {
    check("convolution", |device| {
        let mut random = Random::new(8);
        for (groups, depth, width) in [
            (1, 3, 16),
            (1, 20, 70),
            (2, 4, 3),
            (3, 1, 2),
            (1, 1, 1),
            (5, 1, 1),
        ] {
            let mut pair = |high| [random.within(1, high), random.within(1, high)];
            let (kernel, stride, dilation) = (pair(4), pair(3), pair(2));
            let [[top, bottom], [left, right]] = [pair(3), pair(3)];
            let conv = Conv2d {
                stride,
                dilation,
                padding: [top - 1, bottom, left - 1, right],
                groups,
            };
            let x = (
                2,
                random.within(7, 12),
                random.within(7, 12),
                groups * depth,
            );
            let w = (kernel[0], kernel[1], depth, groups * width);
            for tf32 in [false, true] {
                one(device, &family(tf32), x, w, conv, &mut random);
            }
        }
        // A pointwise one, of more pixels than a part of the weight gradient takes.
        one(
            device,
            &FAMILY,
            (3, 11, 13, 8),
            (1, 1, 8, 12),
            Conv2d::default(),
            &mut random,
        );
    });
}

#[test]
fn of_few_terms_agrees_with_the_cpu() {
    check("convolution, few terms", |device| {
        let mut random = Random::new(9);
        for (kernel, channels, filters) in [(3, 3, 48), (3, 3, 20), (5, 1, 68), (1, 7, 4)] {
            let mut pair = |high| [random.within(1, high), random.within(1, high)];
            let (stride, dilation) = (pair(2), pair(2));
            let [[top, bottom], [left, right]] = [pair(3), pair(3)];
            let conv = Conv2d {
                stride,
                dilation,
                padding: [top - 1, bottom, left - 1, right],
                groups: 1,
            };
            let x = (3, random.within(9, 14), random.within(9, 14), channels);
            let w = (kernel, kernel, channels, filters);
            one_with(device, &family(true), x, w, conv, [false; 2], &mut random);
        }
    });
}

/// The narrow kernels' gradient of the weight is the CPU's.
fn narrow_weights(
    device: &Emulator,
    x: (usize, usize, usize, usize),
    w: (usize, usize, usize, usize),
    conv: Conv2d,
    bf16: bool,
    random: &mut Random,
) {
    let geometry = Geometry::new("conv2d", x, w, conv).unwrap();
    let what = format!("{x:?} {w:?} {conv:?}, bfloat16 {bf16}");
    assert!(narrow::fits(&geometry, bf16), "{what}");
    let mut before = Before::new(x.3, random);
    let numbers = |len: usize, random: &mut Random| {
        let values = random.values(len);
        match bf16 {
            true => rounded(&values),
            false => values,
        }
    };
    let given = numbers(x.0 * x.1 * x.2 * x.3, random);
    let dy = numbers(geometry.out_len(), random);
    let mut expected = vec![0.0f64; geometry.weights()];
    each_term(&geometry, &before.of(&given), &dy, &mut expected);
    let expected: Vec<f32> = expected.iter().map(|it| *it as f32).collect();
    let tensor = |values: &[f32]| match bf16 {
        true => Buffer::of(&packed(values)),
        false => Buffer::of(values),
    };
    let (mut given, mut dy) = (tensor(&given), tensor(&dy));
    let old = random.values(expected.len());
    let old = random.flip().then_some(&old[..]);
    let mut dw = target(old, expected.len());
    let mut memory = Memory::new(narrow::weight_gradient_scratch(&geometry, bf16));
    let parts = narrow::weight_gradient(
        (&geometry, bf16),
        (given.pointer(), before.prologue()),
        dy.pointer(),
        memory.scratch(),
        dw.pointer(),
        old.is_some(),
    );
    let (launch, job) = parts.unwrap();
    device.run(&[Launch { bf16, ..launch }, join(&[job]).unwrap()]);
    memory.check();
    // What the prologue makes is rounded to 8 or to 10 places.
    assert_within(5e-3, &what, &dw.read(), &on_top(old, &expected));
}

/// Adds what each pixel and tap adds to the weight's gradient.
fn each_term(g: &Geometry, x: &[f32], dy: &[f32], dw: &mut [f64]) {
    let [top, _, left, _] = g.conv.padding;
    for pixel in 0..g.images * g.out_pixels() {
        let (image, place) = (pixel / g.out_pixels(), pixel % g.out_pixels());
        for tap in 0..g.taps() {
            let (a, b) = (tap / g.kernel[1], tap % g.kernel[1]);
            let row = place / g.out_width * g.conv.stride[0] + a * g.conv.dilation[0];
            let column = place % g.out_width * g.conv.stride[1] + b * g.conv.dilation[1];
            let (row, column) = (row.wrapping_sub(top), column.wrapping_sub(left));
            if row >= g.height || column >= g.width {
                continue;
            }
            let from = ((image * g.height + row) * g.width + column) * g.channels;
            for c in 0..g.channels {
                for f in 0..g.filters {
                    dw[(tap * g.channels + c) * g.filters + f] +=
                        f64::from(x[from + c]) * f64::from(dy[pixel * g.filters + f]);
                }
            }
        }
    }
}

#[test]
fn narrow_weights_agree_with_the_cpu() {
    check("convolution, narrow weights", |device| {
        let mut random = Random::new(10);
        // Rows and columns of images at least, of the kernel, channels, filters, stride and dilation.
        for (least, kernel, channels, filters, stride, dilation) in [
            ([4, 4], [3, 3], 16, 16, [1, 1], [1, 1]),
            ([4, 4], [3, 3], 32, 32, [2, 2], [1, 1]),
            ([4, 4], [7, 1], 64, 64, [2, 1], [1, 1]),
            ([4, 4], [1, 7], 24, 40, [1, 2], [1, 1]),
            ([4, 4], [1, 1], 40, 24, [2, 2], [1, 1]),
            ([4, 4], [3, 3], 16, 32, [1, 1], [2, 2]),
            ([4, 4], [7, 7], 16, 16, [1, 1], [1, 1]),
            ([4, 4], [1, 3], 128, 16, [1, 1], [1, 1]),
            ([4, 4], [2, 3], 16, 56, [1, 2], [1, 2]),
            // Several tiles of an image, and with fp32 one of them in shared memory at a time.
            ([19, 17], [3, 3], 16, 16, [1, 1], [1, 1]),
            ([10, 30], [7, 1], 16, 16, [1, 1], [1, 1]),
        ] {
            for bf16 in [false, true] {
                let size = |axis: usize, random: &mut Random| {
                    let span = dilation[axis] * (kernel[axis] - 1) + 1;
                    let least = least[axis].max(span);
                    random.within(least, least + 5)
                };
                let (height, width) = (size(0, &mut random), size(1, &mut random));
                let mut conv = Conv2d {
                    stride,
                    dilation,
                    ..Conv2d::default()
                };
                if random.flip() {
                    conv = conv.same(kernel);
                } else {
                    conv.padding = [0; 4].map(|_| random.within(0, 2));
                }
                let x = (random.within(1, 9), height, width, channels);
                let w = (kernel[0], kernel[1], channels, filters);
                narrow_weights(device, x, w, conv, bf16, &mut random);
            }
        }
    });
}

#[test]
fn wide_ones_are_not_narrow() {
    let fits = |size: usize, channels: usize, filters: usize, kernel: [usize; 2], bf16: bool| {
        let x = (64, size, size, channels);
        let w = (kernel[0], kernel[1], channels, filters);
        let conv = Conv2d::default().same(kernel);
        narrow::fits(&Geometry::new("conv2d", x, w, conv).unwrap(), bf16)
    };
    for bf16 in [false, true] {
        for (size, channels, filters) in [(32, 16, 16), (16, 32, 32), (8, 64, 64), (8, 128, 64)] {
            for kernel in [[3, 3], [7, 1], [1, 7], [1, 3], [3, 1]] {
                assert!(fits(size, channels, filters, kernel, bf16));
            }
        }
        // A matrix product, too few channels or not eights of them, too many, and rows that are too long.
        assert!(!fits(8, 16, 16, [1, 1], bf16));
        assert!(!fits(32, 8, 16, [3, 3], bf16) && !fits(32, 20, 16, [3, 3], bf16));
        assert!(!fits(8, 136, 64, [3, 3], bf16) && !fits(8, 64, 72, [3, 3], bf16));
        assert!(!fits(224, 64, 64, [7, 7], bf16));
    }
}

#[test]
fn adds_the_bias() {
    check("convolution, bias", |device| {
        for tf32 in [false, true] {
            let sizes = ((1, 1, 2, 1), (1, 1, 1, 4));
            let conv = Convolution::new(sizes.0, sizes.1, Conv2d::default()).unwrap();
            let [mut x, mut w, mut bias] = [
                &[1.0, 2.0][..],
                &[1.0, 10.0, 100.0, 3.0],
                &[0.5, 0.25, 0.0, 1.0],
            ]
            .map(Buffer::of::<f32>);
            let mut y = Buffer::poisoned::<f32>(8);
            let (x, w, bias) = (x.pointer(), w.pointer(), bias.pointer());
            let conv = conv.with_tf32(tf32);
            let launch =
                kernels::forward(&conv, x, Prologue::default(), w, bias, y.pointer()).unwrap();
            device.run(&[launch]);
            let expected = [1.5, 10.25, 100.0, 4.0, 2.5, 20.25, 200.0, 7.0];
            assert_close("y", &y.read(), &expected);
        }
    });
}
