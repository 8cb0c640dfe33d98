//! Depthwise convolution and its gradients.

use super::columns::Memory;
use super::{Buffer, Emulator, assert_close, assert_within, check, on_top, target};
use crate::cuda::kernels::affine::Prologue;
use crate::cuda::kernels::batch_norm::{self, Backward, Normaliser};
use crate::cuda::kernels::columns::{Scratch, ScratchSize};
use crate::cuda::kernels::combine::Share;
use crate::cuda::kernels::convolution::{Convolution, Gate};
use crate::cuda::kernels::depthwise as kernels;
use crate::cuda::{Launch, Pointer};
use crate::testing::{Random, run};
use crate::{Conv2d, Error};

/// A convolution's inputs, and what the CPU makes of them.
pub(super) struct Case {
    pub x: Vec<f32>,
    pub w: Vec<f32>,
    pub dy: Vec<f32>,
    pub factor: Vec<f32>,
    pub offset: Vec<f32>,
    /// What the convolution reads: x, normalised and rectified.
    pub read: Vec<f32>,
    pub y: Vec<f32>,
    /// The gradient of `read`.
    pub dread: Vec<f32>,
    pub dw: Vec<f32>,
}

impl Case {
    pub(super) fn new(
        x: (usize, usize, usize, usize),
        w: (usize, usize, usize, usize),
        conv: Conv2d,
        normalised: bool,
        relu: bool,
        random: &mut Random,
    ) -> Self {
        let values = random.values(x.0 * x.1 * x.2 * x.3);
        let (factor, offset) = (random.values(x.3), random.values(x.3));
        let read = values.iter().enumerate().map(|(i, x)| {
            let c = i % factor.len();
            let x = if normalised {
                x.mul_add(factor[c], offset[c])
            } else {
                *x
            };
            if relu { x.max(0.0) } else { x }
        });
        let read: Vec<f32> = read.collect();
        let tensor = |values: &[f32], shape| {
            let cpu = dfdx::tensor::Cpu::default();
            crate::testing::Leaf::Feature(
                crate::buffers::tensor(&cpu, values.to_vec(), shape).unwrap(),
            )
        };
        let weight = random.values(w.0 * w.1 * w.2 * w.3);
        let leaves = [tensor(&read, x), tensor(&weight, w)];
        let (y, mut gradients) = run(&leaves, |tape, leaves| {
            crate::conv2d(tape, leaves[0].feature(), leaves[1].feature(), None, conv)
        });
        let dw = gradients.pop().unwrap();
        let dread = gradients.pop().unwrap();
        let y = y.as_vec();
        Self {
            dy: crate::testing::output_gradient(y.len()),
            x: values,
            w: weight,
            factor,
            offset,
            read,
            y,
            dread,
            dw,
        }
    }
}

type Launched = Result<Launch, Error>;
type Forward = fn(&Convolution, Pointer, Prologue, Pointer, Pointer) -> Launched;
type Input = fn(&Convolution, Pointer, Pointer, Option<Gate>, Pointer, bool) -> Launched;
type Weights = fn(
    &Convolution,
    Pointer,
    Prologue,
    Pointer,
    Scratch,
    Pointer,
    bool,
) -> Result<Vec<Launch>, Error>;

/// The launches of one family of kernels.
pub(super) struct Family {
    pub tf32: bool,
    /// Error allowed, relative to the largest number.
    pub tolerance: f32,
    pub forward: Forward,
    pub input: Input,
    pub weights: Weights,
    pub scratch: fn(&Convolution) -> ScratchSize,
}

/// Compares forward pass and gradients with the CPU's.
pub(super) fn one(
    device: &Emulator,
    family: &Family,
    x: (usize, usize, usize, usize),
    w: (usize, usize, usize, usize),
    conv: Conv2d,
    random: &mut Random,
) {
    let sizes = Convolution::new(x, w, conv).unwrap().with_tf32(family.tf32);
    let (normalised, relu) = (random.flip(), random.flip());
    let case = Case::new(x, w, conv, normalised, relu, random);
    let what = format!("{x:?} {w:?} {conv:?}");
    let [mut bx, mut bw, mut bdy, mut bf, mut bo] =
        [&case.x, &case.w, &case.dy, &case.factor, &case.offset].map(|v| Buffer::of(v));
    let mut prologue = Prologue {
        relu,
        ..Prologue::default()
    };
    if normalised {
        (prologue.factor, prologue.offset) = (bf.pointer(), bo.pointer());
    }
    let mut y = Buffer::poisoned::<f32>(case.y.len());
    let launch = (family.forward)(&sizes, bx.pointer(), prologue, bw.pointer(), y.pointer());
    device.run(&[launch.unwrap()]);
    assert_within(family.tolerance, &format!("{what} y"), &y.read(), &case.y);

    let old = random.values(case.x.len());
    let old = random.flip().then_some(&old[..]);
    let gate = relu.then_some(Gate {
        x: bx.pointer(),
        prologue,
    });
    let mut dx = target(old, case.x.len());
    let (dy, weight) = (bdy.pointer(), bw.pointer());
    let launch = (family.input)(&sizes, dy, weight, gate, dx.pointer(), old.is_some());
    device.run(&[launch.unwrap()]);
    let gated = case.dread.iter().zip(&case.read);
    let gated: Vec<f32> = gated
        .map(|(d, read)| if relu && *read <= 0.0 { 0.0 } else { *d })
        .collect();
    assert_within(
        family.tolerance,
        &format!("{what} dx"),
        &dx.read(),
        &on_top(old, &gated),
    );

    let mut memory = Memory::new((family.scratch)(&sizes));
    let old = random.values(case.w.len());
    let old = random.flip().then_some(&old[..]);
    let mut dw = target(old, case.w.len());
    let launches = (family.weights)(
        &sizes,
        bx.pointer(),
        prologue,
        dy,
        memory.scratch(),
        dw.pointer(),
        old.is_some(),
    );
    device.run(&launches.unwrap());
    memory.check();
    assert_within(
        family.tolerance,
        &format!("{what} dw"),
        &dw.read(),
        &on_top(old, &case.dw),
    );
}

/// The input's gradient with the sums of a norm's gradient is the one and then the other.
fn with_sums(
    device: &Emulator,
    x: (usize, usize, usize, usize),
    conv: Conv2d,
    random: &mut Random,
) {
    let (images, height, width, channels) = x;
    let kernel = conv.padding[0] + conv.padding[1] + 1;
    let sizes = Convolution::new(x, (kernel, kernel, 1, channels), conv).unwrap();
    let size = kernels::sums_scratch(&sizes).unwrap();
    let (rows, len) = (images * height * width, images * height * width * channels);
    let relu = random.flip();
    let [mut bx, mut bdy] = [(); 2].map(|()| Buffer::of(&random.values(len)));
    let mut weight = Buffer::of(&random.values(kernel * kernel * channels));
    let mut vectors = [(); 4].map(|()| Buffer::of(&random.values(channels)));
    let [mean, inverse, factor, offset] = vectors.each_mut().map(|it| it.pointer());
    let gate = relu.then_some(Gate {
        x: bx.pointer(),
        prologue: Prologue {
            factor,
            offset,
            relu,
        },
    });
    let start = random.values(channels);
    let mut found: Vec<[Vec<f32>; 5]> = Vec::new();
    for together in [false, true] {
        let mut dx = target(None, len);
        let [mut slope, mut constant] = [(); 2].map(|()| Buffer::poisoned::<f32>(channels));
        let [mut dscale, mut dshift] = [(); 2].map(|()| Buffer::of(&start));
        let norm = Backward {
            x: bx.pointer(),
            dy: dx.pointer(),
            share: (Share::All(1.0), images),
            normaliser: Normaliser {
                mean,
                inverse,
                factor,
                offset,
            },
            relu: false,
            rows,
            channels,
            slope: slope.pointer(),
            constant: constant.pointer(),
        };
        let given = [bdy.pointer(), weight.pointer()];
        let to = [dscale.pointer(), dshift.pointer()];
        if together {
            let mut memory = Memory::new(size);
            let scratch = memory.scratch();
            let launch = kernels::input_gradient_and_sums(&sizes, given, relu, &norm, scratch, to);
            device.run(&[launch.unwrap()]);
            memory.check();
        } else {
            let mut memory = Memory::new(batch_norm::scratch(rows, channels));
            let [dy, w] = given;
            let launches = [
                kernels::input_gradient(&sizes, dy, w, gate, dx.pointer(), false),
                batch_norm::sums(norm, true, memory.scratch(), to[0], to[1]),
            ];
            device.run(&launches.map(Result::unwrap));
        }
        found.push(
            [&mut dx, &mut slope, &mut constant, &mut dscale, &mut dshift].map(|it| it.read()),
        );
    }
    for (place, (one, other)) in found[1].iter().zip(&found[0]).enumerate() {
        assert_close(&format!("{x:?} with sums, {place}"), one, other);
    }
}

const FAMILY: Family = Family {
    tf32: false,
    tolerance: 1e-5,
    forward: kernels::forward,
    input: kernels::input_gradient,
    weights: |conv, x, prologue, dy, scratch, dw, add| {
        let launch = kernels::weight_gradient(conv, x, prologue, dy, scratch, dw, add)?;
        Ok(vec![launch])
    },
    scratch: kernels::weight_gradient_scratch,
};

#[test]
fn agrees_with_the_cpu() {
    check("depthwise", |device| {
        let mut random = Random::new(4);
        // Every kernel that is made for its size, at an inner and an outer size.
        for (k, s, d) in [
            (3, 1, 1),
            (5, 1, 1),
            (7, 1, 1),
            (3, 2, 1),
            (5, 2, 1),
            (7, 2, 1),
            (3, 1, 2),
            (5, 1, 2),
        ] {
            let conv = Conv2d {
                stride: [s; 2],
                dilation: [d; 2],
                ..Conv2d::default()
            };
            for channels in [4, 20] {
                let conv = Conv2d {
                    groups: channels,
                    ..conv.same([k; 2])
                };
                let [top, bottom, left, right] = conv.padding;
                let uneven = Conv2d {
                    padding: [top + 1, bottom, left - 1, right + 2],
                    ..conv
                };
                let w = (k, k, 1, channels);
                one(device, &FAMILY, (2, 9, 11, channels), w, conv, &mut random);
                one(device, &FAMILY, (1, 3, 2, channels), w, conv, &mut random);
                one(device, &FAMILY, (1, 8, 7, channels), w, uneven, &mut random);
            }
        }
        for (k, x) in [
            (3, (2, 9, 11, 4)),
            (5, (3, 8, 8, 20)),
            (7, (2, 9, 6, 36)),
            (3, (5, 40, 41, 8)),
            (5, (1, 3, 2, 132)),
        ] {
            let conv = Conv2d {
                groups: x.3,
                ..Conv2d::default()
            };
            with_sums(device, x, conv.same([k; 2]), &mut random);
        }
        for _ in 0..12 {
            let channels = random.within(2, 12);
            let mut pair = |high| [random.within(1, high), random.within(1, high)];
            let (kernel, stride, dilation) = (pair(5), pair(3), pair(2));
            let padding = [pair(4), pair(4)];
            let conv = Conv2d {
                stride,
                dilation,
                padding: [
                    padding[0][0] - 1,
                    padding[0][1],
                    padding[1][0] - 1,
                    padding[1][1],
                ],
                groups: channels,
            };
            let (h, w) = (random.within(7, 12), random.within(7, 12));
            let weight = (kernel[0], kernel[1], 1, channels);
            one(
                device,
                &FAMILY,
                (2, h, w, channels),
                weight,
                conv,
                &mut random,
            );
        }
    });
}
