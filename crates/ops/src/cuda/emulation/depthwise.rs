//! Depthwise convolution and its gradients.

use super::columns::Memory;
use super::{Buffer, Emulator, assert_close, assert_within, check, on_top, target};
use crate::cuda::kernels::affine::Prologue;
use crate::cuda::kernels::batch_norm::{self, Backward, Normaliser};
use crate::cuda::kernels::columns::{Scratch, ScratchSize};
use crate::cuda::kernels::combine::Share;
use crate::cuda::kernels::convolution::{Convolution, Gate};
use crate::cuda::kernels::depthwise as kernels;
use crate::cuda::kernels::join::join;
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
    let prologue = [random.flip(), random.flip()];
    one_with(device, family, x, w, conv, prologue, random);
}

/// The same with a norm and a ReLU before, if they are to be there.
pub(super) fn one_with(
    device: &Emulator,
    family: &Family,
    x: (usize, usize, usize, usize),
    w: (usize, usize, usize, usize),
    conv: Conv2d,
    [normalised, relu]: [bool; 2],
    random: &mut Random,
) {
    let sizes = Convolution::new(x, w, conv).unwrap().with_tf32(family.tf32);
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

/// Both gradients at once are the CPU's, and the sums of a norm's gradient taken with them those of what is stored.
fn at_once(
    device: &Emulator,
    x: (usize, usize, usize, usize),
    kernel: usize,
    conv: Conv2d,
    random: &mut Random,
) {
    let (images, height, width, channels) = x;
    let (rows, len) = (images * height * width, images * height * width * channels);
    let w = (kernel, kernel, 1, channels);
    let sizes = Convolution::new(x, w, conv).unwrap();
    let Some(size) = kernels::gradient_scratch(&sizes) else {
        // At stride 2 channels come in fours, and padding is even or odd on both sides.
        let [top, _, left, _] = conv.padding;
        assert!(conv.stride[0] == 2 && (!channels.is_multiple_of(4) || (top + left) % 2 == 1));
        return;
    };
    let (normalised, relu) = (random.flip(), random.flip());
    let case = Case::new(x, w, conv, normalised, relu, random);
    let what = format!("{x:?} {kernel} {conv:?} at once");
    let [mut bx, mut bw, mut bdy, mut bf, mut bo] =
        [&case.x, &case.w, &case.dy, &case.factor, &case.offset].map(|v| Buffer::of(v));
    let [mut mean, mut inverse] = [(); 2].map(|()| Buffer::of(&random.values(channels)));
    let normaliser = Normaliser {
        mean: mean.pointer(),
        inverse: inverse.pointer(),
        factor: bf.pointer(),
        offset: bo.pointer(),
    };
    let prologue = Prologue {
        factor: if normalised {
            normaliser.factor
        } else {
            Pointer::NULL
        },
        offset: if normalised {
            normaliser.offset
        } else {
            Pointer::NULL
        },
        relu,
    };
    let summing = normalised && random.flip();
    let old = random.values(len);
    let old = (!summing && random.flip()).then_some(&old[..]);
    let mut dx = target(old, len);
    let start = random.values(channels);
    let outputs = || {
        let [slope, constant] = [(); 2].map(|()| Buffer::poisoned::<f32>(channels));
        [slope, constant, Buffer::of(&start), Buffer::of(&start)]
    };
    let (mut found, mut wanted) = (outputs(), outputs());
    let backward = |dx: &mut Buffer, to: &mut [Buffer; 4], x: &mut Buffer| {
        let [slope, constant, dscale, dshift] = to.each_mut().map(|it| it.pointer());
        let norm = Backward {
            x: x.pointer(),
            dy: dx.pointer(),
            stride: channels,
            share: (Share::All(1.0), images),
            normaliser,
            relu: false,
            rows,
            channels,
            slope,
            constant,
        };
        (norm, [dscale, dshift])
    };
    let sums = summing.then(|| backward(&mut dx, &mut found, &mut bx));
    let work = kernels::Depthwise {
        x: bx.pointer(),
        prologue,
        w: bw.pointer(),
        dy: bdy.pointer(),
        sums,
    };
    let mut memory = Memory::new(size);
    let mut dw = Buffer::poisoned::<f32>(case.w.len());
    let (scratch, wants_dx) = (memory.scratch(), summing || random.within(0, 5) > 0);
    let to = if wants_dx {
        dx.pointer()
    } else {
        Pointer::NULL
    };
    let given = (to, old.is_some());
    let (launch, job) = kernels::gradient(&sizes, &work, given, scratch, dw.pointer()).unwrap();
    device.run(&[launch, join(&[job]).unwrap()]);
    memory.check();
    assert_close(&format!("{what} dw"), &dw.read(), &case.dw);
    if !wants_dx {
        return;
    }
    let gated = case.dread.iter().zip(&case.read);
    let gated = gated.map(|(d, read)| if relu && *read <= 0.0 { 0.0 } else { *d });
    let gated: Vec<f32> = gated.collect();
    assert_close(&format!("{what} dx"), &dx.read(), &on_top(old, &gated));
    if summing {
        let mut memory = Memory::new(batch_norm::scratch(rows, channels));
        let (norm, [dscale, dshift]) = backward(&mut dx, &mut wanted, &mut bx);
        let launch = batch_norm::sums(norm, true, memory.scratch(), dscale, dshift);
        device.run(&[launch.unwrap()]);
        for (place, (one, other)) in found.iter_mut().zip(&mut wanted).enumerate() {
            let (one, other): (Vec<f32>, _) = (one.read(), other.read());
            assert_close(&format!("{what}, sums {place}"), &one, &other);
        }
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

/// Kernel, stride and dilation of the convolutions that have kernels of their own.
const MADE_FOR: [(usize, usize, usize); 8] = [
    (3, 1, 1),
    (5, 1, 1),
    (7, 1, 1),
    (3, 2, 1),
    (5, 2, 1),
    (7, 2, 1),
    (3, 1, 2),
    (5, 1, 2),
];

#[test]
fn agrees_with_the_cpu() {
    check("depthwise", |device| {
        let mut random = Random::new(4);
        // Every kernel that is made for its size, at an inner and an outer size.
        for (k, s, d) in MADE_FOR {
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
            // Several tiles in each direction.
            let conv = Conv2d {
                groups: 4,
                ..conv.same([k; 2])
            };
            one(
                device,
                &FAMILY,
                (3, 37, 70, 4),
                (k, k, 1, 4),
                conv,
                &mut random,
            );
        }
        // Few and many channels, strips that end within a row, blocks that take several strips and parts.
        for (k, s, d) in MADE_FOR {
            for x in [
                (2, 9, 11, 4),
                (3, 8, 8, 20),
                (2, 14, 6, 36),
                (5, 40, 41, 8),
                (1, 3, 2, 132),
                (2, 5, 4, 6),
                (1, 6, 19, 19),
            ] {
                let conv = Conv2d {
                    stride: [s; 2],
                    dilation: [d; 2],
                    groups: x.3,
                    ..Conv2d::default()
                };
                let conv = conv.same([k; 2]);
                let [top, bottom, left, right] = conv.padding;
                let uneven = Conv2d {
                    padding: [top + 1, bottom, left - 1, right + 2],
                    ..conv
                };
                at_once(device, x, k, conv, &mut random);
                at_once(device, x, k, uneven, &mut random);
            }
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

#[test]
fn tiles_are_no_more_than_a_grid_takes() {
    let conv = Conv2d {
        groups: 4,
        ..Conv2d::default()
    };
    let kernel = |side| {
        let x = (1, side, side, 4);
        let sizes = Convolution::new(x, (3, 3, 1, 4), conv.same([3; 2])).unwrap();
        let at = Pointer(16);
        let launch = kernels::forward(&sizes, at, Prologue::default(), at, at);
        launch.unwrap().kernel
    };
    assert_eq!(kernel(1024), "depthwise_k3");
    assert_eq!(kernel(8192), "depthwise_any_4");
}
