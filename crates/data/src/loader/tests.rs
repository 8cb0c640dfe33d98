//! Order, determinism, normalisation and a clean end.

use super::*;
use crate::{Augmentation, Dataset, Images, Part};
use proptest::prelude::*;
use std::sync::Arc;

/// `n` grey images of 4×4, image `i` filled with `i`, label `i % 3`.
fn numbered(n: usize) -> Arc<Dataset> {
    let images = || Images {
        height: 4,
        width: 4,
        channels: 1,
        pixels: (0..n).flat_map(|i| [i as u8; 16]).collect(),
        labels: (0..n as u32).map(|i| i % 3).collect(),
    };
    let classes = ["a", "b", "c"].map(str::to_owned).to_vec();
    Arc::new(
        Dataset::new(
            "numbered",
            classes,
            images(),
            images(),
            Augmentation::default(),
        )
        .unwrap(),
    )
}

fn all(n: usize) -> Vec<u32> {
    (0..n as u32).collect()
}

const EVERYTHING: Augmentation = Augmentation {
    pad: 1,
    flip: true,
    cutout: 2,
};

fn bits(loader: Loader, pause: Duration) -> Vec<(Vec<u32>, Vec<u32>)> {
    loader
        .map(|batch| {
            std::thread::sleep(pause);
            (
                batch.pixels.iter().map(|v| v.to_bits()).collect(),
                batch.labels,
            )
        })
        .collect()
}

#[test]
fn same_seed_and_epoch_same_batches_whatever_the_timing() {
    let data = numbered(50);
    let run = |seed, epoch, pause| {
        let loader = Plan::train(Arc::clone(&data), all(50), 8, EVERYTHING, seed, epoch)
            .and_then(Loader::start)
            .unwrap();
        bits(loader, Duration::from_millis(pause))
    };
    let first = run(1, 0, 0);
    assert_eq!(first.len(), 6);
    assert_eq!(first, run(1, 0, 3));
    assert_ne!(first, run(2, 0, 0));
    assert_ne!(first, run(1, 1, 0));
}

#[test]
fn a_batch_depends_on_its_number_alone() {
    let data = numbered(50);
    let plan = Plan::train(Arc::clone(&data), all(50), 8, EVERYTHING, 1, 0).unwrap();
    assert!(plan.draws(6).is_empty());
    let maker = Maker::new(plan);
    let in_order: Vec<Batch> = Plan::train(data, all(50), 8, EVERYTHING, 1, 0)
        .and_then(Loader::start)
        .unwrap()
        .collect();
    for number in [5, 0, 3] {
        assert_eq!(maker.make(number), in_order[number]);
    }
}

#[test]
fn an_epoch_is_a_permutation_without_the_last_partial_batch() {
    let data = numbered(50);
    let loader = Plan::train(Arc::clone(&data), all(50), 8, Augmentation::default(), 1, 0)
        .and_then(Loader::start)
        .unwrap();
    assert_eq!(loader.len(), 6);
    let value = |pixel: f32| ((pixel * data.std[0] + data.mean[0]) * 255.0).round() as u32;
    let mut seen: Vec<u32> = loader
        .flat_map(|b| b.pixels.into_iter().step_by(16))
        .map(value)
        .collect();
    assert_ne!(seen, all(48), "not shuffled");
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 48);
}

#[test]
fn fewer_images_than_a_batch_are_one_batch() {
    let loader = Plan::train(numbered(5), all(5), 8, EVERYTHING, 1, 0)
        .and_then(Loader::start)
        .unwrap();
    assert_eq!(loader.map(|b| b.len()).collect::<Vec<_>>(), [5]);
}

#[test]
fn evaluation_keeps_order_and_the_partial_batch_and_normalises() {
    let data = numbered(10);
    let loader = Plan::evaluate(Arc::clone(&data), Part::Test, vec![3, 1, 9, 0, 2], 2)
        .and_then(Loader::start)
        .unwrap();
    let batches: Vec<Batch> = loader.collect();
    assert_eq!(
        batches.iter().map(Batch::len).collect::<Vec<_>>(),
        [2, 2, 1]
    );
    let labels: Vec<u32> = batches.iter().flat_map(|b| b.labels.clone()).collect();
    assert_eq!(labels, [0, 1, 0, 0, 2]);
    let pixels: Vec<f32> = Plan::evaluate(Arc::clone(&data), Part::Train, all(10), 10)
        .and_then(Loader::start)
        .unwrap()
        .flat_map(|b| b.pixels)
        .collect();
    let mean = pixels.iter().sum::<f32>() / 160.0;
    let square = pixels.iter().map(|v| v * v).sum::<f32>() / 160.0;
    assert!(
        mean.abs() < 1e-5 && (square - 1.0).abs() < 1e-4,
        "{mean} {square}"
    );
}

#[test]
fn dropped_early_the_thread_has_ended() {
    let data = numbered(200);
    let mut loader = Plan::train(Arc::clone(&data), all(200), 1, EVERYTHING, 1, 0)
        .and_then(Loader::start)
        .unwrap();
    assert!(loader.next().is_some());
    drop(loader);
    assert_eq!(
        Arc::strong_count(&data),
        1,
        "the thread still holds the data"
    );
}

#[test]
fn impossible_arguments_are_refused() {
    let data = numbered(4);
    let train = |indices, batch, augmentation| {
        Plan::train(Arc::clone(&data), indices, batch, augmentation, 0, 0).and_then(Loader::start)
    };
    assert!(train(all(4), 0, EVERYTHING).is_err());
    assert!(train(vec![], 2, EVERYTHING).is_err());
    assert!(
        train(vec![4], 2, EVERYTHING)
            .unwrap_err()
            .to_string()
            .contains("image 4 of 4")
    );
    assert!(
        train(
            all(4),
            2,
            Augmentation {
                pad: 5,
                ..EVERYTHING
            }
        )
        .is_err()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_augmentation_keeps_shape_and_labels(
        pad in 0usize..=4, flip: bool, cutout in 0usize..12, batch in 1usize..12, seed: u64, epoch: u64,
    ) {
        let augmentation = Augmentation { pad, flip, cutout };
        let data = numbered(12);
        let mut labels: Vec<u32> = Vec::new();
        for b in Plan::train(data, all(12), batch, augmentation, seed, epoch).and_then(Loader::start).unwrap() {
            prop_assert_eq!(b.pixels.len(), batch * 16);
            prop_assert_eq!(b.len(), batch);
            labels.extend(b.labels);
        }
        prop_assert_eq!(labels.len(), 12 / batch * batch);
    }
}
