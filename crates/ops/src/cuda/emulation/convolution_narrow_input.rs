//! The input gradient of dense convolutions to few filters.

use super::bf16::{numbers, stored, tensor};
use super::product::Before;
use super::{Buffer, Emulator, assert_within, check, on_top};
use crate::Conv2d;
use crate::conv2d::geometry::Geometry;
use crate::cuda::kernels::convolution::{Convolution, Gate};
use crate::cuda::kernels::convolution_narrow_input::{fits, input_gradient};
use crate::testing::Random;

/// The gradient of what the convolution reads, term by term.
fn expected(g: &Geometry, dy: &[f32], w: &[f32]) -> Vec<f32> {
    let mut dx = vec![0.0; g.images * g.height * g.width * g.channels];
    let [top, _, left, _] = g.conv.padding;
    for pixel in 0..g.images * g.out_pixels() {
        let (image, place) = (pixel / g.out_pixels(), pixel % g.out_pixels());
        for tap in 0..g.taps() {
            let i = place / g.out_width * g.conv.stride[0] + tap / g.kernel[1] * g.conv.dilation[0];
            let j = place % g.out_width * g.conv.stride[1] + tap % g.kernel[1] * g.conv.dilation[1];
            let (Some(i), Some(j)) = (i.checked_sub(top), j.checked_sub(left)) else {
                continue;
            };
            if i >= g.height || j >= g.width {
                continue;
            }
            let to = ((image * g.height + i) * g.width + j) * g.channels;
            let from = &dy[pixel * g.filters..][..g.filters];
            for c in 0..g.channels {
                let row = &w[(tap * g.channels + c) * g.filters..][..g.filters];
                dx[to + c] += from.iter().zip(row).map(|(a, b)| a * b).sum::<f32>();
            }
        }
    }
    dx
}

/// Compares with the sums above, of tensors in fp32 and in bfloat16.
fn one(
    device: &Emulator,
    x: (usize, usize, usize, usize),
    w: (usize, usize, usize, usize),
    conv: Conv2d,
    random: &mut Random,
) {
    let geometry = Geometry::new("conv2d", x, w, conv).unwrap();
    let sizes = Convolution::new(x, w, conv).unwrap();
    for bf16 in [false, true] {
        if !bf16 && geometry.taps() == 49 {
            // There is no room for so many filters in fp32.
            assert!(!fits(&geometry, bf16));
            continue;
        }
        assert!(fits(&geometry, bf16), "{geometry:?}");
        let some = |len: usize, random: &mut Random| stored(random.values(len), bf16);
        let len = x.0 * x.1 * x.2 * x.3;
        let (read, weight) = (some(len, random), some(geometry.weights(), random));
        let (dy, old) = (some(geometry.out_len(), random), some(len, random));
        let (mut before, add) = (Before::new(x.3, random), random.flip());
        let mut dx = expected(&geometry, &dy, &weight);
        if before.relu {
            let passed = before.of(&read);
            dx.iter_mut().zip(&passed).for_each(|(dx, passed)| {
                if *passed <= 0.0 {
                    *dx = 0.0;
                }
            });
        }
        let dx = on_top(add.then_some(&old[..]), &dx);
        let [mut bx, mut bdy] = [&read, &dy].map(|it| tensor(it, bf16));
        let mut to = match add {
            true => tensor(&old, bf16),
            false => tensor(&vec![f32::NAN; len], bf16),
        };
        let mut bw = Buffer::of(&weight);
        let prologue = before.prologue();
        let gate = prologue.relu.then_some(Gate {
            x: bx.pointer(),
            prologue,
        });
        let tensors = [bdy.pointer(), bw.pointer()];
        let launch = input_gradient(&sizes, bf16, tensors, gate, to.pointer(), add);
        let mut launch = launch.unwrap();
        launch.bf16 = bf16;
        device.run(&[launch]);
        let found = numbers(&mut to, bf16);
        let what = format!("{x:?} {w:?} {conv:?}, bf16 {bf16}, {gate:?}, add {add}");
        let tolerance = if bf16 { 4e-3 } else { 3e-3 };
        assert_within(tolerance, &what, &found, &dx);
    }
}

#[test]
fn agrees_with_the_sums() {
    check("convolution, narrow input", |device| {
        let mut random = Random::new(12);
        let conv = |stride: usize| Conv2d {
            stride: [stride; 2],
            ..Conv2d::default()
        };
        for (x, kernel, filters, stride) in [
            ((2, 9, 33, 16), [3, 3], 16, 1),
            ((5, 8, 8, 64), [3, 3], 64, 1),
            ((3, 16, 16, 32), [3, 3], 64, 2),
            ((3, 7, 9, 24), [1, 7], 40, 2),
            ((1, 40, 8, 16), [7, 1], 32, 1),
            ((2, 9, 9, 16), [5, 5], 24, 2),
            ((11, 16, 16, 16), [1, 1], 16, 2),
            ((2, 10, 9, 16), [7, 7], 16, 1),
            ((5, 16, 16, 72), [1, 1], 16, 2),
        ] {
            let w = (kernel[0], kernel[1], x.3, filters);
            one(device, x, w, conv(stride).same(kernel), &mut random);
        }
        for _ in 0..6 {
            let mut pair = |high| [random.within(1, high), random.within(1, high)];
            let (kernel, stride, dilation) = (pair(4), pair(2), pair(2));
            let [[top, bottom], [left, right]] = [pair(4), pair(4)];
            let [channels, filters] = [pair(6), pair(7)].map(|it| 8 + 8 * it[0]);
            let x = (pair(3)[0], 6 + pair(9)[0], 6 + pair(9)[1], channels);
            let conv = Conv2d {
                stride,
                dilation,
                padding: [top - 1, bottom - 1, left - 1, right - 1],
                groups: 1,
            };
            let w = (kernel[0], kernel[1], channels, filters);
            one(device, x, w, conv, &mut random);
        }
    });
}

#[test]
fn is_for_what_it_has_room_for() {
    let fits = |x: (usize, usize, usize, usize), kernel: [usize; 2], filters, stride| {
        let conv = Conv2d {
            stride: [stride; 2],
            ..Conv2d::default()
        };
        let w = (kernel[0], kernel[1], x.3, filters);
        let geometry = Geometry::new("conv2d", x, w, conv.same(kernel)).unwrap();
        [true, false].map(|bf16| fits(&geometry, bf16))
    };
    for (side, channels, filters) in [(32, 16, 16), (16, 32, 32), (8, 64, 64), (8, 128, 64)] {
        let x = (512, side, side, channels);
        for kernel in [[3, 3], [1, 7], [7, 1], [1, 3], [3, 1]] {
            assert_eq!(fits(x, kernel, filters, 1), [true; 2]);
            assert_eq!(fits(x, kernel, filters, 2), [true; 2]);
        }
        assert_eq!(fits(x, [1, 1], filters, 2), [true; 2]);
        assert_eq!(fits(x, [1, 1], filters, 1), [false; 2]);
    }
    assert_eq!(fits((512, 32, 32, 12), [3, 3], 16, 1), [false; 2]);
    assert_eq!(fits((512, 32, 32, 16), [3, 3], 128, 1), [false; 2]);
    assert_eq!(fits((512, 32, 32, 16), [3, 3], 16, 3), [false; 2]);
    // The terms of 49 taps in fp32 do not fit.
    assert_eq!(fits((2, 32, 32, 16), [7, 7], 16, 1), [true, false]);
    assert_eq!(fits((1 << 20, 32, 32, 16), [3, 3], 16, 1), [false; 2]);
}
