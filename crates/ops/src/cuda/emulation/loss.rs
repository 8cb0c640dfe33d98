//! The loss, its gradient, ranks and totals.

use super::columns::Memory;
use super::{Buffer, Emulator, assert_close, check, on_top, target};
use crate::cuda::Pointer;
use crate::cuda::kernels::columns::ScratchSize;
use crate::cuda::kernels::loss::{Loss, softmax_cross_entropy};
use crate::testing::{Leaf, Random};
use dfdx::prelude::*;

fn one(device: &Emulator, images: usize, classes: usize, smoothing: f64, random: &mut Random) {
    let leaf = random.feature((images, 1, 1, classes));
    let logits: Vec<f32> = leaf.feature().as_vec().iter().map(|x| 9.0 * x).collect();
    let cpu = Cpu::default();
    let feature = crate::buffers::tensor(&cpu, logits.clone(), (images, 1, 1, classes)).unwrap();
    let leaf = Leaf::Feature(feature);
    let labels: Vec<u32> = (0..images)
        .map(|_| random.within(0, classes - 1) as u32)
        .collect();
    let mut tape = OwnedTape::default();
    let (mean, each) =
        crate::softmax_cross_entropy(&mut tape, leaf.feature(), &labels, smoothing).unwrap();
    let value = mean.array();
    let gradients = mean.put_tape(tape).backward();
    let expected = gradients.get(leaf.feature()).as_vec();
    let correct = crate::top_k_correct(leaf.feature(), &labels, &[1, 3]).unwrap();

    let mut memory = Memory::new(ScratchSize {
        parts: 0,
        counters: 1,
    });
    let (mut blogits, mut blabels) = (Buffer::of(&logits), Buffer::of(&labels));
    let (mut losses, mut ranks) = (target(None, images), Buffer::poisoned::<u32>(images));
    let (mut found, mut totals) = (target(None, 1), Buffer::of(&[0u64; 4]));
    let old = random.values(logits.len());
    let old = random.flip().then_some(&old[..]);
    let mut dlogits = target(old, logits.len());
    let of = Loss {
        logits: blogits.pointer(),
        labels: blabels.pointer(),
        images,
        classes,
        smoothing: smoothing as f32,
        losses: losses.pointer(),
        ranks: ranks.pointer(),
        mean: found.pointer(),
        totals: totals.pointer(),
        top: [1, 3],
    };
    let weight = 1.0 / images as f32;
    let launches = [
        softmax_cross_entropy(
            of,
            weight,
            dlogits.pointer(),
            old.is_some(),
            memory.scratch(),
        ),
        softmax_cross_entropy(of, weight, Pointer::NULL, false, memory.scratch()),
    ];
    device.run(&launches.map(Result::unwrap));
    memory.check();
    assert_close("losses", &losses.read(), &each);
    assert_close("mean", &found.read(), &[value]);
    assert_close("dlogits", &dlogits.read(), &on_top(old, &expected));
    // Two launches have added to the totals.
    let totals = totals.read::<u64>();
    let counts = [
        2 * images as u64,
        2 * correct[0] as u64,
        2 * correct[1] as u64,
    ];
    assert_eq!(totals[1..], counts);
    let sum = f64::from_bits(totals[0]);
    let expected: f64 = each.iter().map(|&loss| 2.0 * f64::from(loss)).sum();
    assert!(
        (sum - expected).abs() <= 1e-5 * expected,
        "{sum}, not {expected}"
    );
}

#[test]
fn agrees_with_the_cpu() {
    check("loss", |device| {
        let mut random = Random::new(9);
        for (images, classes, smoothing) in
            [(1, 10, 0.0), (13, 10, 0.1), (300, 5, 0.1), (20, 100, 0.0)]
        {
            one(device, images, classes, smoothing, &mut random);
        }
    });
}

#[test]
fn equal_logits_and_nan_rank_as_on_the_cpu() {
    check("loss, NaN", |device| {
        let nan = f32::NAN;
        let mut logits = Buffer::of(&[1.0, 1.0, 1.0, nan, 2.0, 1.0, 0.0, nan, 1.0]);
        let mut labels = Buffer::of(&[1u32, 1, 1]);
        let (mut losses, mut ranks) = (target(None, 3), Buffer::poisoned::<u32>(3));
        let mut memory = Memory::new(ScratchSize {
            parts: 0,
            counters: 1,
        });
        let of = Loss {
            logits: logits.pointer(),
            labels: labels.pointer(),
            images: 3,
            classes: 3,
            smoothing: 0.0,
            losses: losses.pointer(),
            ranks: ranks.pointer(),
            mean: Pointer::NULL,
            totals: Pointer::NULL,
            top: [1, 1],
        };
        let launch = softmax_cross_entropy(of, 1.0, Pointer::NULL, false, memory.scratch());
        device.run(&[launch.unwrap()]);
        assert_eq!(ranks.read::<u32>(), [1, 1, i32::MAX as u32]);
        let losses = losses.read::<f32>();
        assert!(
            losses[0].is_finite() && losses[1].is_nan() && losses[2].is_nan(),
            "{losses:?}"
        );
    });
}
