//! Products of tall matrices, with what comes before and after them.

use super::columns::Memory;
use super::{Buffer, Emulator, assert_close, assert_within, check, on_top, target};
use crate::BatchNorm;
use crate::cuda::kernels::affine::Prologue;
use crate::cuda::kernels::batch_norm::{Norm, Normaliser, scratch, statistics};
use crate::cuda::kernels::join::{JOBS, Join, join};
use crate::cuda::kernels::product::{
    gated_product, is_tall, product, product_statistics, statistics_scratch, suits_product,
    suits_weight_gradient, weight_gradient, weight_gradient_scratch,
};
use crate::testing::Random;

/// What a product reads: factor, offset and ReLU, each there or not.
pub(super) struct Before {
    factors: Option<[Vec<f32>; 2]>,
    buffers: Option<[Buffer; 2]>,
    pub relu: bool,
}

impl Before {
    pub(super) fn new(channels: usize, random: &mut Random) -> Self {
        let factors = random
            .flip()
            .then(|| [random.values(channels), random.values(channels)]);
        Self {
            buffers: factors
                .as_ref()
                .map(|it| [Buffer::of(&it[0]), Buffer::of(&it[1])]),
            factors,
            relu: random.flip(),
        }
    }

    pub(super) fn prologue(&mut self) -> Prologue {
        let vectors = self
            .buffers
            .as_mut()
            .map(|it| it.each_mut().map(|it| it.pointer()));
        let [factor, offset] = vectors.unwrap_or_default();
        Prologue {
            factor,
            offset,
            relu: self.relu,
        }
    }

    /// The numbers before the ReLU.
    fn normalised(&self, x: &[f32]) -> Vec<f32> {
        let Some([factors, offsets]) = &self.factors else {
            return x.to_vec();
        };
        let places = (0..factors.len()).cycle();
        x.iter()
            .zip(places)
            .map(|(x, c)| x.mul_add(factors[c], offsets[c]))
            .collect()
    }

    /// What is multiplied.
    pub(super) fn of(&self, x: &[f32]) -> Vec<f32> {
        let mut numbers = self.normalised(x);
        if self.relu {
            numbers.iter_mut().for_each(|it| *it = it.max(0.0));
        }
        numbers
    }

    /// A gradient that comes to the ReLU, where it is let through.
    pub(super) fn passed(&self, x: &[f32], gradient: &mut [f32]) {
        if self.relu {
            let before = self.normalised(x);
            let shut = gradient.iter_mut().zip(before).filter(|it| it.1 <= 0.0);
            shut.for_each(|(gradient, _)| *gradient = 0.0);
        }
    }
}

/// x · w of rows × k by k × n numbers, with w transposed in memory or not.
pub(super) fn times([rows, k, n]: [usize; 3], x: &[f32], w: &[f32], transposed: bool) -> Vec<f32> {
    let at = |l: usize, j: usize| w[if transposed { j * k + l } else { l * n + j }];
    let number = |row: usize, j: usize| {
        let terms = (0..k).map(|l| f64::from(x[row * k + l]) * f64::from(at(l, j)));
        terms.sum::<f64>() as f32
    };
    (0..rows * n).map(|it| number(it / n, it % n)).collect()
}

/// aᵀ · b of rows × m and rows × n numbers.
pub(super) fn across([rows, m, n]: [usize; 3], a: &[f32], b: &[f32]) -> Vec<f32> {
    let mut sums = vec![0.0f64; m * n];
    for row in 0..rows {
        for i in 0..m {
            for j in 0..n {
                sums[i * n + j] += f64::from(a[row * m + i]) * f64::from(b[row * n + j]);
            }
        }
    }
    sums.iter().map(|&it| it as f32).collect()
}

fn weights(device: &Emulator, [rows, m, n]: [usize; 3], random: &mut Random) {
    let mut before = Before::new(m, random);
    let (a, b) = (random.values(rows * m), random.values(rows * n));
    let expected = across([rows, m, n], &before.of(&a), &b);
    let old = random.values(m * n);
    let old = random.flip().then_some(&old[..]);
    let (mut a, mut b, mut c) = (Buffer::of(&a), Buffer::of(&b), target(old, m * n));
    let mut memory = Memory::new(weight_gradient_scratch([rows, m, n]));
    let parts = weight_gradient(
        [rows, m, n],
        (a.pointer(), before.prologue()),
        b.pointer(),
        memory.scratch(),
        c.pointer(),
        old.is_some(),
    );
    let (launch, job) = parts.unwrap();
    device.run(&[launch, join(&[job]).unwrap()]);
    memory.check();
    let what = format!("{rows} rows, {m} x {n}");
    assert_within(3e-3, &what, &c.read(), &on_top(old, &expected));
}

fn products(device: &Emulator, [rows, k, n]: [usize; 3], transposed: bool, random: &mut Random) {
    let mut before = Before::new(k, random);
    let (x, w) = (random.values(rows * k), random.values(k * n));
    let expected = times([rows, k, n], &before.of(&x), &w, transposed);
    let old = random.values(rows * n);
    let old = random.flip().then_some(&old[..]);
    let (mut bx, mut bw) = (Buffer::of(&x), Buffer::of(&w));
    let mut y = target(old, rows * n);
    let tensors = [bx.pointer(), bw.pointer(), y.pointer()];
    let (size, add) = ([rows, k, n], old.is_some());
    let launch = product(size, tensors, before.prologue(), transposed, add);
    device.run(&[launch.unwrap()]);
    let what = format!("{rows} rows, {k} x {n}, transposed {transposed}");
    assert_within(3e-3, &what, &y.read(), &on_top(old, &expected));

    // The same as a gradient, let through by a ReLU of other numbers.
    let mut gate = Before::new(n, random);
    gate.relu = true;
    let z = random.values(rows * n);
    let mut expected = times([rows, k, n], &x, &w, true);
    gate.passed(&z, &mut expected);
    let (mut bz, mut dx) = (Buffer::of(&z), target(old, rows * n));
    let tensors = [bx.pointer(), bw.pointer(), bz.pointer(), dx.pointer()];
    let launch = gated_product(size, tensors, gate.prologue(), add);
    device.run(&[launch.unwrap()]);
    assert_within(
        3e-3,
        &format!("{what}, gated"),
        &dx.read(),
        &on_top(old, &expected),
    );
}

/// The statistics that come with a product are those that are taken of it.
fn with_statistics(device: &Emulator, [rows, k, n]: [usize; 3], random: &mut Random) {
    let mut before = Before::new(k, random);
    let (mut x, w) = (random.values(rows * k), random.values(k * n));
    // A mean that is large beside the deviation.
    x.iter_mut().for_each(|it| *it = 0.05 * *it + 2.0);
    let expected = times([rows, k, n], &before.of(&x), &w, false);
    let (mut bx, mut bw, mut y) = (Buffer::of(&x), Buffer::of(&w), target(None, rows * n));
    let vectors = [0.5, 0.0, 0.2, 1.5].map(|by| {
        let values = random.values(n).into_iter();
        values.map(|v| 0.5 * v + by).collect::<Vec<f32>>()
    });
    let mut both = [0, 1].map(|_| {
        let of_norm = vectors.each_ref().map(|it| Buffer::of(it));
        (of_norm, [0; 4].map(|_| Buffer::poisoned::<f32>(n)))
    });
    let [first, second] = &mut both;
    let parts = |(norm, to): &mut ([Buffer; 4], [Buffer; 4])| {
        let norm = norm.each_mut().map(|it| it.pointer());
        let to = to.each_mut().map(|it| it.pointer());
        (Norm::of(norm, BatchNorm::default()), Normaliser::of(to))
    };
    let size = [rows, k, n];
    let tensors = [bx.pointer(), bw.pointer(), y.pointer()];
    let mut memory = Memory::new(statistics_scratch(size));
    let (norm, to) = parts(first);
    let scratched = memory.scratch();
    let launch = product_statistics(size, tensors, before.prologue(), norm, scratched, to);
    device.run(&[launch.unwrap()]);
    memory.check();
    let what = format!("{rows} rows, {k} x {n}, with statistics");
    assert_within(3e-3, &what, &y.read(), &expected);
    let mut memory = Memory::new(scratch(rows, n));
    let (norm, to) = parts(second);
    let launch = statistics(y.pointer(), rows, n, norm, memory.scratch(), to);
    device.run(&[launch.unwrap()]);
    let numbers = |(norm, to): &mut ([Buffer; 4], [Buffer; 4])| {
        let all = norm.iter_mut().chain(to);
        all.map(|it| it.read()).collect::<Vec<Vec<f32>>>()
    };
    for (found, expected) in numbers(first).iter().zip(&numbers(second)) {
        assert_close(&what, found, expected);
    }
}

/// Several sums at once, of different sizes, some added.
fn joins(device: &Emulator, random: &mut Random) {
    let sizes = [
        (1, 1),
        (3, 70),
        (264, 33),
        (20, 32),
        (9, 100),
        (2, 5),
        (8, 64),
        (5, 31),
    ];
    let parts = sizes.map(|(count, size)| random.values(count * size));
    let olds = sizes.map(|(_, size)| random.values(size));
    let mut from = parts.each_ref().map(|it| Buffer::of(it));
    let added = |job: usize| job.is_multiple_of(3).then_some(&olds[job][..]);
    let mut to = [0, 1, 2, 3, 4, 5, 6, 7].map(|job| target(added(job), sizes[job].1));
    let jobs: Vec<Join> = (0..JOBS)
        .map(|job| Join {
            parts: from[job].pointer(),
            count: sizes[job].0,
            size: sizes[job].1,
            to: to[job].pointer(),
            add: added(job).is_some(),
        })
        .collect();
    device.run(&[join(&jobs).unwrap()]);
    for (job, (count, size)) in sizes.into_iter().enumerate() {
        let sums = (0..size).map(|i| (0..count).map(|p| parts[job][p * size + i]).sum());
        let sums: Vec<f32> = sums.collect();
        let what = format!("{count} parts of {size}");
        assert_close(&what, &to[job].read(), &on_top(added(job), &sums));
    }
    assert!(join(&[jobs[0]; JOBS + 1]).is_err());
}

#[test]
fn agree_with_the_sums() {
    assert!(suits_product([65_536, 48, 16]) && !suits_product([64, 1024, 12]));
    assert!(!suits_product([4096, 18, 16]) && !suits_product([4096, 16, 32]));
    assert!(is_tall([4096, 16, 32]) && !is_tall([4096, 16, 30]));
    assert!(suits_weight_gradient([65_536, 16, 48]) && !suits_weight_gradient([4096, 512, 512]));
    check("product", |device| {
        let mut random = Random::new(21);
        joins(device, &mut random);
        for size in [[2100, 16, 48], [300, 33, 5], [7, 1, 70], [2048, 40, 32]] {
            weights(device, size, &mut random);
        }
        for size in [
            [2100, 16, 48],
            [130, 100, 68],
            [7, 4, 12],
            [64, 32, 64],
            [100, 24, 28],
            [70, 260, 40],
            [17_000, 4, 64],
        ] {
            for transposed in [false, true] {
                products(device, size, transposed, &mut random);
            }
        }
        for size in [
            [2100, 16, 48],
            [130, 100, 68],
            [7, 4, 12],
            [18_000, 8, 20],
            [300_000, 4, 4],
            [9000, 4, 64],
            [150, 192, 64],
            [150, 260, 36],
        ] {
            with_statistics(device, size, &mut random);
        }
    });
}
