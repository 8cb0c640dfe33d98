//! Runs with plausible numbers: a search in a NASNet-like space, and baselines; single rows, and what is drawn of them.

// Each file of tests uses some of it.
#![allow(dead_code)]

mod graph;

use std::fs;
use std::path::Path;

use cellwright_ledger::{ControllerUpdate, CurvePoint, Kind, Run, Status, Trial};
use cellwright_report::write;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Name, parameters, MACs and final accuracy.
pub const BASELINES: [(&str, u64, u64, f64); 6] = [
    ("VGG-16", 14_723_146, 314_000_000, 0.905),
    ("VGG-16 small", 930_000, 20_100_000, 0.884),
    ("GoogLeNet", 6_166_250, 1_530_000_000, 0.914),
    ("ResNet-18", 11_173_962, 556_000_000, 0.917),
    ("ResNet-20", 272_474, 40_800_000, 0.901),
    ("ResNet-56", 855_770, 127_000_000, 0.909),
];
const EPOCHS: u32 = 8;

/// Makes a run of `trials` searched architectures, the fourth of which failed, and all baselines.
pub fn run(folder: &Path, seed: u64, trials: u32) -> Run {
    let settings = format!("space = \"nasnet.toml\"\ntrials = {trials}\nseed = {seed}\n");
    let run = Run::create(folder, &settings).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for (id, &(name, params, macs, accuracy)) in (0..).zip(&BASELINES) {
        let trial = Trial {
            kind: Kind::Baseline,
            space: name.into(),
            ..trial(id, params, macs, accuracy - 0.005)
        };
        run.write_trial(&Trial {
            test_top1: Some(accuracy),
            graph: None,
            ..trial.clone()
        })
        .unwrap();
        run.write_curve(id, &curve(&trial, &mut rng)).unwrap();
    }
    let mut rewards = Vec::new();
    for index in 0..trials {
        let id = index + BASELINES.len() as u32;
        if index == 3 {
            let failed = Trial {
                status: Status::Failed,
                reason: Some("out of memory".into()),
                ..Trial::default()
            };
            run.write_trial(&Trial {
                id,
                space: "NASNet".into(),
                dataset: "Fashion-MNIST".into(),
                epochs: EPOCHS,
                input: "1x28x28".into(),
                reward: Some(0.0),
                ..failed
            })
            .unwrap();
            continue;
        }
        let macs = 10f64.powf(rng.random_range(6.9..8.3));
        let params = (macs / rng.random_range(60.0..160.0)) as u64;
        let learnt = 0.02 * f64::from(index) / f64::from(trials);
        let accuracy =
            0.845 + 0.028 * (macs / 8e6).log10() + learnt + rng.random_range(-0.015..0.015);
        let trial = Trial {
            graph: Some(serde_json::to_string(&graph::nasnet(&mut rng)).unwrap()),
            ..trial(id, params, macs as u64, accuracy)
        };
        run.write_trial(&trial).unwrap();
        run.write_curve(id, &curve(&trial, &mut rng)).unwrap();
        rewards.push(accuracy);
    }
    for (update, batch) in (0..).zip(rewards.chunks(5)) {
        run.write_controller_update(&controller_update(update, batch, &mut rng))
            .unwrap();
    }
    run
}

fn trial(id: u32, params: u64, macs: u64, accuracy: f64) -> Trial {
    Trial {
        id,
        space: "NASNet".into(),
        choices: format!("{id},0,3,12,1,0,4,7"),
        architecture: format!(
            "h0 sep_conv_5x5, h1 identity, add; h{id} max_pool_3x3, h1 sep_conv_3x3, concat"
        ),
        identity: format!("{id:032x}"),
        strategy: "controller (PPO)".into(),
        dataset: "Fashion-MNIST".into(),
        input: "1x28x28".into(),
        classes: 10,
        epochs: EPOCHS,
        batch: 64,
        params,
        macs,
        flops: 2 * macs,
        valid_top1: Some(accuracy),
        test_top1: Some(accuracy - 0.004),
        reward: Some(accuracy),
        latency_ms: Some(macs as f64 / 2.2e7 + 0.03 * f64::from(id % 7 + 5)),
        train_seconds: Some(macs as f64 / 1.4e6),
        device: "cpu".into(),
        threads: 2,
        version: "0.1.0".into(),
        ..Trial::default()
    }
}

fn curve(trial: &Trial, rng: &mut ChaCha8Rng) -> Vec<CurvePoint> {
    let last = trial.valid_top1.unwrap();
    (1..=EPOCHS)
        .map(|epoch| {
            let left = (-0.55 * f64::from(epoch - 1)).exp();
            CurvePoint {
                trial: trial.id,
                epoch,
                step: u64::from(epoch) * 844,
                train_loss: Some(0.18 + 0.9 * left + rng.random_range(-0.03..0.03)),
                train_top1: Some(last + 0.02 - 0.25 * left),
                valid_top1: Some(
                    last - 0.2 * left
                        + if epoch < EPOCHS {
                            rng.random_range(-0.012..0.004)
                        } else {
                            0.0
                        },
                ),
                valid_loss: Some(0.25 + 0.6 * left),
                learning_rate: 0.05
                    * (1.0 + (std::f64::consts::PI * f64::from(epoch) / f64::from(EPOCHS)).cos()),
                seconds: f64::from(epoch) * 4.0,
            }
        })
        .collect()
}

fn controller_update(update: u32, batch: &[f64], rng: &mut ChaCha8Rng) -> ControllerUpdate {
    let mean = batch.iter().sum::<f64>() / batch.len() as f64;
    ControllerUpdate {
        update,
        trials_seen: update * 5 + batch.len() as u32,
        mean_reward: Some(mean),
        baseline: Some(mean - 0.01 + rng.random_range(-0.002..0.002)),
        entropy: Some(1.9 * (-0.05 * f64::from(update)).exp() + rng.random_range(-0.02..0.02)),
        loss: Some(rng.random_range(-0.08..0.05)),
        ..ControllerUpdate::default()
    }
}

/// The colour of the first line or shape before a text that is drawn in an SVG.
pub fn color_before(svg: &str, text: &str) -> String {
    let (_, drawn) = svg.split_once("</desc>").unwrap();
    let (before, _) = drawn.split_once(text).unwrap_or_else(|| panic!("{text}"));
    let mark = before.lines().rev().find(|line| line.starts_with("<poly"));
    let colors = mark.unwrap().split('"').find(|it| it.starts_with('#'));
    colors.unwrap().to_owned()
}

/// A training of a network, of a verdict where it has a source; one without an accuracy failed.
pub fn training(
    id: u32,
    network: &str,
    source: Option<u32>,
    epochs: u32,
    valid: Option<f64>,
) -> Trial {
    let found = network.is_empty();
    Trial {
        id,
        kind: match source {
            _ if !found => Kind::Baseline,
            Some(_) => Kind::Rerank,
            None => Kind::Search,
        },
        source_trial: source,
        space: network.into(),
        identity: format!("{}", source.unwrap_or(id)),
        epochs,
        macs: 600_000,
        params: 72_700,
        valid_top1: valid,
        test_top1: valid.filter(|_| source.is_some()),
        status: match valid {
            Some(_) => Status::Done,
            None => Status::Failed,
        },
        ..Trial::default()
    }
}

/// The page and the first chart of a run of some trials.
pub fn drawn(rows: &[Trial]) -> (String, String) {
    let scratch = tempfile::tempdir().unwrap();
    let run = Run::create(scratch.path().join("run"), "trials = 1").unwrap();
    for row in rows {
        run.write_trial(row).unwrap();
    }
    let written = write(std::slice::from_ref(&run), &run.report()).unwrap();
    let chart = fs::read_to_string(run.report().join("accuracy-macs.svg"));
    (fs::read_to_string(written.page).unwrap(), chart.unwrap())
}
