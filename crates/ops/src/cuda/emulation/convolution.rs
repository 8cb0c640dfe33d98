//! Dense and grouped convolution and its gradients.

use super::depthwise::{Family, one, one_with};
use super::{Buffer, assert_close, check};
use crate::Conv2d;
use crate::cuda::Pointer;
use crate::cuda::kernels::affine::Prologue;
use crate::cuda::kernels::convolution::{self as kernels, Convolution};
use crate::cuda::kernels::join::join;
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
