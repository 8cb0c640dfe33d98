//! `cargo run --release -p cellwright-data --example loader_speed`: images a second of the loader on images shaped like
//! CIFAR-10, augmented with all there is, one thread, batches of 128, each of 10 epochs timed.

use cellwright_data::{Augmentation, Dataset, Images, Loader, Part, Plan};
use std::{error::Error, sync::Arc, time::Instant};

const IMAGES: usize = 50_000;
const BATCH: usize = 128;

fn main() -> Result<(), Box<dyn Error>> {
    let images = Images {
        height: 32,
        width: 32,
        channels: 3,
        pixels: (0..IMAGES * 3072)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 7) as u8)
            .collect(),
        labels: vec![0; IMAGES],
    };
    let augmentation = Augmentation {
        pad: 4,
        flip: true,
        cutout: 8,
    };
    let data = Arc::new(Dataset::new(
        "noise",
        vec!["all".into()],
        images.clone(),
        images,
        augmentation,
    )?);
    let all: Vec<u32> = (0..IMAGES as u32).collect();
    let report = |what: &str, loader: Loader| {
        let start = Instant::now();
        let seen: usize = loader.map(|batch| batch.len()).sum();
        println!(
            "{what}: {:.0} images/s",
            seen as f64 / start.elapsed().as_secs_f64()
        );
    };
    for epoch in 0..10 {
        report(
            "train",
            Plan::train(
                Arc::clone(&data),
                all.clone(),
                BATCH,
                augmentation,
                1,
                epoch,
            )
            .and_then(Loader::start)?,
        );
    }
    report(
        "evaluate",
        Plan::evaluate(data, Part::Test, all, BATCH).and_then(Loader::start)?,
    );
    Ok(())
}
