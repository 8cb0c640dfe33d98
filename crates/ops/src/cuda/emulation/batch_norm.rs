//! Batch norm's statistics and gradients.

use dfdx::prelude::*;

use super::columns::{Memory, SHAPES};
use super::{Buffer, Emulator, assert_close, check, on_top, some_stride, spaced, target};
use crate::BatchNorm;
use crate::batch_norm::Running;
use crate::batch_norm::cpu::{Statistics, adopt, input_gradient, widened};
use crate::batch_norm::kernel::{self, moments};
use crate::buffers::tensor;
use crate::cuda::Pointer;
use crate::cuda::kernels::batch_norm::{self as norms, Backward, Norm, Normaliser};
use crate::cuda::kernels::combine::Share;
use crate::testing::Random;

/// The buffers of a norm.
struct Device {
    vectors: Vec<Buffer>,
    to: Vec<Buffer>,
    options: BatchNorm,
}

impl Device {
    /// `vectors`: scale, shift, running mean, running variance.
    fn new(vectors: [&[f32]; 4], options: BatchNorm) -> Self {
        let channels = vectors[0].len();
        Self {
            vectors: vectors.iter().map(|v| Buffer::of(v)).collect(),
            to: (0..4).map(|_| Buffer::poisoned::<f32>(channels)).collect(),
            options,
        }
    }

    fn norm(&mut self, learned: bool) -> Norm {
        let [scale, shift, running_mean, running_variance] =
            [0, 1, 2, 3].map(|i| self.vectors[i].pointer());
        let learned = |p| if learned { p } else { Pointer::NULL };
        Norm {
            scale: learned(scale),
            shift: learned(shift),
            running_mean,
            running_variance,
            options: self.options,
        }
    }

    fn normaliser(&mut self) -> Normaliser {
        let [mean, inverse, factor, offset] = [0, 1, 2, 3].map(|i| self.to[i].pointer());
        Normaliser {
            mean,
            inverse,
            factor,
            offset,
        }
    }
}

fn one(
    device: &Emulator,
    shape: (usize, usize),
    learned: bool,
    training: bool,
    random: &mut Random,
) {
    let (rows, channels) = shape;
    let options = BatchNorm::default();
    // A mean that is large beside the deviation.
    let x: Vec<f32> = random
        .values(rows * channels)
        .iter()
        .map(|v| v + 50.0)
        .collect();
    let vectors = [0.5, 0.0, 0.2, 1.5].map(|by| {
        let values = random.values(channels).into_iter();
        values.map(|v| 0.5 * v + by).collect::<Vec<f32>>()
    });
    let [scale, shift, mean, variance] = &vectors;
    let mut norm = Device::new([scale, shift, mean, variance], options);
    let mut memory = Memory::new(norms::scratch(rows, channels));
    let mut bx = Buffer::of(&x);
    let (parameters, to) = (norm.norm(learned), norm.normaliser());
    let launch = match training {
        true => norms::statistics(
            bx.pointer(),
            rows,
            channels,
            parameters,
            memory.scratch(),
            to,
        ),
        false => norms::evaluation(channels, parameters, to),
    };
    device.run(&[launch.unwrap()]);
    memory.check();

    let cpu = Cpu::default();
    let [mean, variance] = [mean, variance].map(|v| tensor(&cpu, v.clone(), (channels,)).unwrap());
    let mut running = Running { mean, variance };
    let [mean, variance] = match training {
        true => adopt(moments(&x, channels), rows, &mut running, options.momentum).unwrap(),
        false => [&running.mean, &running.variance].map(|v| widened(&v.as_vec())),
    };
    let learned_vector = |v| learned.then_some(v);
    let expected = Statistics::new(
        &mean,
        &variance,
        options.epsilon,
        learned_vector(&scale[..]),
        learned_vector(&shift[..]),
    );
    let all = [
        &expected.mean,
        &expected.inverse,
        &expected.factor,
        &expected.offset,
    ];
    for (i, expected) in all.into_iter().enumerate() {
        assert_close(&format!("normaliser {i}"), &norm.to[i].read(), expected);
    }
    assert_close(
        "running mean",
        &norm.vectors[2].read(),
        &running.mean.as_vec(),
    );
    assert_close(
        "running variance",
        &norm.vectors[3].read(),
        &running.variance.as_vec(),
    );
    gradients(device, shape, training, &x, &expected, &mut norm, random);
}

fn gradients(
    device: &Emulator,
    (rows, channels): (usize, usize),
    training: bool,
    x: &[f32],
    statistics: &Statistics,
    norm: &mut Device,
    random: &mut Random,
) {
    // Rows of images, some of which have no share; all of them have the same with one image.
    let images = (1..=5).rev().find(|images| rows % images == 0).unwrap();
    let mut shares = random.values(images);
    if images > 1 {
        shares[images / 2] = 0.0;
    }
    let mut bshares = Buffer::of(&shares);
    let share = match images {
        1 => Share::All(shares[0]),
        _ => Share::Images(bshares.pointer()),
    };
    let mut dy = random.values(x.len());
    let whole = dy.clone();
    for (at, dy) in dy.iter_mut().enumerate() {
        *dy *= shares[at / (x.len() / images)];
    }
    let old = random.values(x.len());
    let old = random.flip().then_some(&old[..]);
    let relu = random.flip();
    let (dscale, dshift) = (random.values(channels), random.values(channels));
    // The same factors on both sides, so that both find the same mask.
    norm.to = [
        &statistics.mean,
        &statistics.inverse,
        &statistics.factor,
        &statistics.offset,
    ]
    .map(|v| Buffer::of(v))
    .into();
    let mut memory = Memory::new(norms::scratch(rows, channels));
    let stride = some_stride(channels, random);
    let whole = spaced(&whole, channels, stride);
    let [mut bx, mut bdy, mut bscale, mut bshift] = [x, &whole, &dscale, &dshift].map(Buffer::of);
    let [mut slope, mut constant] = [channels; 2].map(Buffer::poisoned::<f32>);
    let mut dx = target(old, x.len());
    let of = Backward {
        x: bx.pointer(),
        dy: bdy.pointer(),
        stride,
        share: (share, images),
        normaliser: norm.normaliser(),
        relu,
        rows,
        channels,
        slope: slope.pointer(),
        constant: constant.pointer(),
    };
    let launches = [
        norms::sums(
            of,
            training,
            memory.scratch(),
            bscale.pointer(),
            bshift.pointer(),
        ),
        norms::input_gradient(of, dx.pointer(), old.is_some()),
    ];
    device.run(&launches.map(Result::unwrap));
    memory.check();

    let mask = relu.then_some((&statistics.factor[..], &statistics.offset[..]));
    let (sums, products) = kernel::gradient_sums(x, &dy, &statistics.mean, mask);
    let by_scale = products.iter().zip(&statistics.inverse);
    let by_scale: Vec<f32> = by_scale.map(|(p, i)| (p * f64::from(*i)) as f32).collect();
    let by_shift: Vec<f32> = sums.iter().map(|&s| s as f32).collect();
    assert_close("dscale", &bscale.read(), &on_top(Some(&dscale), &by_scale));
    assert_close("dshift", &bshift.read(), &on_top(Some(&dshift), &by_shift));
    let terms = input_gradient(statistics, &sums, &products, x.len(), training);
    let mut expected = vec![0.0; x.len()];
    kernel::add_input_gradient(x, &dy, &terms, mask, &mut expected);
    assert_close("dx", &dx.read(), &on_top(old, &expected));
}

#[test]
fn agrees_with_the_cpu() {
    check("batch_norm", |device| {
        let mut random = Random::new(3);
        for (i, shape) in SHAPES.into_iter().enumerate() {
            one(device, shape, i % 2 == 0, true, &mut random);
            one(device, shape, i % 2 == 1, false, &mut random);
        }
    });
}
