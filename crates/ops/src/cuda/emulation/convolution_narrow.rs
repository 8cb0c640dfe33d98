//! Narrow dense convolution, with what comes before it and the statistics of what it makes.

use super::bf16::{numbers, tensor};
use super::columns::Memory;
use super::depthwise::Case;
use super::{Buffer, Emulator, assert_close, assert_within, check};
use crate::cuda::kernels::affine::Prologue;
use crate::cuda::kernels::batch_norm::{self, Norm, Normaliser};
use crate::cuda::kernels::convolution::Convolution;
use crate::cuda::kernels::convolution_narrow::{Tensors, fits, forward, statistics_scratch, suits};
use crate::cuda::{Launch, Pointer};
use crate::testing::Random;
use crate::{BatchNorm, Conv2d};

type Size = (usize, usize, usize, usize);

/// A norm's scale, shift and running statistics, and where its coefficients go.
struct Normed([Buffer; 4], [Buffer; 4]);

impl Normed {
    fn new(vectors: &[Vec<f32>; 4]) -> Self {
        let channels = vectors[0].len();
        Self(
            vectors.each_ref().map(|it| Buffer::of(it)),
            [0; 4].map(|_| Buffer::poisoned::<f32>(channels)),
        )
    }

    fn parts(&mut self) -> (Norm, Normaliser) {
        let (norm, to) = (&mut self.0, &mut self.1);
        let norm = norm.each_mut().map(|it| it.pointer());
        let to = to.each_mut().map(|it| it.pointer());
        (Norm::of(norm, BatchNorm::default()), Normaliser::of(to))
    }

    fn read(&mut self) -> Vec<Vec<f32>> {
        let all = self.0.iter_mut().chain(&mut self.1);
        all.map(|it| it.read()).collect()
    }
}

/// Compares the output with the CPU's, and the statistics that come with it with those that are taken of it.
fn one(
    device: &Emulator,
    x: Size,
    w: Size,
    conv: Conv2d,
    (bf16, biased, with_statistics): (bool, bool, bool),
    random: &mut Random,
) {
    let (normalised, relu) = (random.flip(), random.flip());
    let case = Case::new(x, w, conv, normalised, relu, random);
    let what = format!("{x:?} {w:?} {conv:?}, bf16 {bf16}");
    let of = Convolution::new(x, w, conv).unwrap();
    let g = &of.geometry;
    assert!(fits(g, bf16), "{what}");
    let filters = g.filters;
    let mut bx = tensor(&case.x, bf16);
    let [mut bw, mut bf, mut bo] = [&case.w, &case.factor, &case.offset].map(|it| Buffer::of(it));
    let mut prologue = Prologue {
        relu,
        ..Prologue::default()
    };
    if normalised {
        (prologue.factor, prologue.offset) = (bf.pointer(), bo.pointer());
    }
    // A bias that makes the mean large beside the deviation.
    let bias: Vec<f32> = random.values(filters).iter().map(|it| it + 30.0).collect();
    let mut bbias = Buffer::of(&bias);
    let len = case.y.len();
    let mut y = match bf16 {
        true => Buffer::poisoned::<u32>(len / 2),
        false => Buffer::poisoned::<f32>(len),
    };
    let tensors = Tensors {
        x: bx.pointer(),
        prologue,
        w: bw.pointer(),
        bias: if biased {
            bbias.pointer()
        } else {
            Pointer::NULL
        },
        y: y.pointer(),
    };
    let vectors = [0.5, 0.0, 0.2, 1.5].map(|by| {
        let values = random.values(filters).into_iter();
        values.map(|v| 0.5 * v + by).collect::<Vec<f32>>()
    });
    let (mut found, mut wanted) = (Normed::new(&vectors), Normed::new(&vectors));
    let mut memory = Memory::new(statistics_scratch(g));
    let statistics = with_statistics.then(|| {
        let (norm, to) = found.parts();
        (norm, memory.scratch(), to)
    });
    let launch = forward(g, bf16, tensors, statistics).unwrap();
    device.run(&[Launch { bf16, ..launch }]);
    memory.check();
    let numbers = numbers(&mut y, bf16);
    let filters = (0..filters).cycle();
    let plus = filters.map(|f| if biased { bias[f] } else { 0.0 });
    let expected: Vec<f32> = case.y.iter().zip(plus).map(|(y, plus)| y + plus).collect();
    let tolerance = if bf16 { 1e-2 } else { 3e-3 };
    assert_within(tolerance, &what, &numbers, &expected);
    if !with_statistics {
        return;
    }
    let (rows, channels) = (g.images * g.out_pixels(), g.filters);
    let mut memory = Memory::new(batch_norm::scratch(rows, channels));
    let (norm, to) = wanted.parts();
    let scratch = memory.scratch();
    let launch = batch_norm::statistics(y.pointer(), rows, channels, norm, scratch, to).unwrap();
    device.run(&[Launch { bf16, ..launch }]);
    for (found, wanted) in found.read().iter().zip(&wanted.read()) {
        assert_close(&what, found, wanted);
    }
}

#[test]
fn agrees_with_the_cpu() {
    check("convolution, narrow", |device| {
        let mut random = Random::new(31);
        let same = |kernel: [usize; 2], stride: [usize; 2], dilation: usize| {
            let dilation = [dilation; 2];
            Conv2d {
                stride,
                dilation,
                ..Conv2d::default()
            }
            .same(kernel)
        };
        // Images, and rows of one; several tiles a block, the last one smaller; channels in several passes and in no whole
        // slabs; filters in several blocks; taps of one row or column with and without stride.
        for (x, filters, kernel, stride, dilation) in [
            ((7, 8, 8, 64), 64, [3, 3], [1, 1], 1),
            ((3, 32, 32, 16), 16, [3, 3], [1, 1], 1),
            ((2, 32, 32, 16), 16, [7, 1], [1, 1], 1),
            ((3, 16, 16, 32), 32, [3, 3], [1, 1], 2),
            ((2, 32, 32, 32), 32, [3, 3], [2, 2], 1),
            ((3, 15, 12, 24), 40, [1, 3], [1, 2], 1),
            ((5, 16, 16, 8), 24, [1, 1], [2, 2], 1),
            ((30, 9, 7, 8), 8, [1, 1], [2, 2], 1),
            ((2, 16, 7, 16), 8, [7, 1], [2, 1], 1),
            ((5, 8, 8, 128), 64, [1, 7], [1, 1], 1),
            ((9, 5, 6, 40), 16, [2, 4], [2, 2], 2),
            ((1, 4, 4, 72), 56, [3, 3], [1, 1], 1),
            ((2, 3, 3, 8), 8, [7, 5], [1, 1], 1),
        ] {
            let w = (kernel[0], kernel[1], x.3, filters);
            for bf16 in [false, true] {
                let conv = same(kernel, stride, dilation);
                let (biased, with_statistics) = (random.flip(), random.flip());
                let how = (bf16, biased, with_statistics);
                one(device, x, w, conv, how, &mut random);
            }
        }
        // Any border.
        for bf16 in [false, true] {
            let conv = Conv2d {
                padding: [0, 3, 5, 1],
                stride: [1, 2],
                ..Conv2d::default()
            };
            let w = (3, 3, 16, 16);
            one(
                device,
                (3, 14, 20, 16),
                w,
                conv,
                (bf16, true, true),
                &mut random,
            );
        }
    });
}

#[test]
fn others_do_not_suit() {
    let suited = |x: Size, w: Size, conv: Conv2d| {
        let of = Convolution::new(x, w, conv).unwrap();
        [false, true].map(|bf16| fits(&of.geometry, bf16))
    };
    let same = |kernel: usize| Conv2d::default().same([kernel; 2]);
    assert_eq!(
        suited((512, 32, 32, 16), (3, 3, 16, 16), same(3)),
        [true; 2]
    );
    // Pointwise; more channels, filters or taps; no eights; groups; images too wide.
    let plain = Conv2d::default();
    assert_eq!(suited((512, 32, 32, 16), (1, 1, 16, 16), plain), [false; 2]);
    assert_eq!(suited((8, 8, 8, 256), (3, 3, 256, 64), same(3)), [false; 2]);
    assert_eq!(suited((8, 8, 8, 64), (3, 3, 64, 128), same(3)), [false; 2]);
    assert_eq!(suited((8, 16, 16, 8), (9, 9, 8, 8), same(9)), [false; 2]);
    assert_eq!(suited((8, 16, 16, 8), (3, 3, 8, 12), same(3)), [false; 2]);
    let groups = Conv2d {
        groups: 2,
        ..same(3)
    };
    assert_eq!(suited((8, 16, 16, 16), (3, 3, 8, 16), groups), [false; 2]);
    assert_eq!(suited((1, 8, 600, 8), (3, 3, 8, 8), same(3)), [false; 2]);
    // Those with much arithmetic are left to cuDNN.
    let chosen = |channels: usize, kernel: usize| {
        let w = (kernel, kernel, channels, channels);
        let of = Convolution::new((64, 16, 16, channels), w, same(kernel)).unwrap();
        [false, true].map(|bf16| suits(&of.geometry, bf16))
    };
    assert_eq!(chosen(16, 3), [true; 2]);
    assert_eq!(chosen(32, 3), [false; 2]);
    let pixel = Convolution::new((64, 1, 1, 64), (3, 3, 64, 64), same(3)).unwrap();
    assert!(!suits(&pixel.geometry, true));
}
