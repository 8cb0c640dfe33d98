//! A training by programs is the training on the tape, seen through a runner on the CPU.

use std::path::Path;
use std::sync::Arc;

use cellwright_data::{Augmentation, Dataset};
use cellwright_graph::{Graph, Shape, vocabulary};
use cellwright_net::Purpose;
use cellwright_ops::Optimiser;
use cellwright_ops::optimiser::State;
use cellwright_ops::program::{
    Batch, Control, Draw, Executor, Precision, Program, Runner, Totals, Weights,
};
use cellwright_space::{Choices, Space};
use dfdx::tensor::Cpu;

use super::{Files, Programmed, Training};
use crate::{Observer, Outcome, Progress, Settings, Silent};

type Result<T> = std::result::Result<T, cellwright_ops::Error>;

/// Stands for a device.
struct OnCpu {
    program: Arc<Program>,
    executor: Executor,
    optimiser: Option<Optimiser>,
    totals: Totals,
    /// The data set, if it is kept, and the side of the square that is cut out.
    kept: Option<(Arc<Dataset>, i32)>,
}

impl OnCpu {
    /// A batch of the data set, of one grey channel, number by number.
    fn made(&self, draws: &[Draw]) -> (Vec<f32>, Vec<u32>) {
        let (dataset, cutout) = self.kept.as_ref().unwrap();
        let (train, test) = (&dataset.train, &dataset.test);
        let (height, width) = (train.height as i32, train.width as i32);
        let table = dataset.table()[0];
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for draw in draws {
            let image = draw.image as usize;
            let (part, image) = match image.checked_sub(train.len()) {
                None => (train, image),
                Some(image) => (test, image),
            };
            labels.push(part.labels[image]);
            for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                let across = if draw.flipped == 1 { width - 1 - x } else { x };
                let (i, j) = (y + draw.down, across + draw.right);
                let inside = (0..height).contains(&i) && (0..width).contains(&j);
                let byte = inside.then(|| part.image(image)[(i * width + j) as usize]);
                let cut = [(y, draw.centre[0]), (x, draw.centre[1])].map(|(at, centre)| {
                    let start = centre - cutout / 2;
                    (start..start + cutout).contains(&at)
                });
                let value = table[usize::from(byte.unwrap_or(0))];
                pixels.push(if cut == [true; 2] { 0.0 } else { value });
            }
        }
        (pixels, labels)
    }
}

impl Runner for OnCpu {
    fn load(&mut self, weights: &Weights) -> Result<()> {
        self.executor.load(weights)
    }

    fn weights(&self) -> Result<Weights> {
        Ok(self.executor.weights())
    }

    fn state(&self) -> Result<State> {
        Ok(self.optimiser.as_ref().unwrap().state().clone())
    }

    fn set_state(&mut self, state: &State) -> Result<()> {
        self.optimiser.as_mut().unwrap().set_state(state.clone())
    }

    fn run(&mut self, control: &Control, batch: Batch<'_>) -> Result<()> {
        let (pixels, labels) = match batch {
            Batch::Pixels(pixels, labels) => (pixels.to_vec(), labels.to_vec()),
            Batch::Kept(draws) => self.made(draws),
        };
        let images = self.executor.write(self.program.ports().images);
        images[..pixels.len()].copy_from_slice(&pixels);
        self.executor.set_labels(&labels)?;
        self.executor.run(control, self.optimiser.as_mut())?;
        let (losses, ranks) = self.each()?;
        for (loss, rank) in losses.iter().zip(ranks) {
            self.totals.loss += f64::from(*loss);
            self.totals.images += 1;
            self.totals.correct[0] += u64::from(rank < 1);
            self.totals.correct[1] += u64::from(rank < 5);
        }
        Ok(())
    }

    fn loss(&self) -> Result<f32> {
        let losses = self.executor.read(self.program.ports().losses);
        Ok(losses.iter().sum::<f32>() / losses.len() as f32)
    }

    fn take_totals(&mut self) -> Result<Totals> {
        Ok(std::mem::take(&mut self.totals))
    }

    fn bytes(&self) -> u64 {
        4 * self.program.memory() as u64
    }

    fn each(&self) -> Result<(Vec<f32>, Vec<u32>)> {
        let ports = self.program.ports();
        let ranks = self.executor.read(ports.ranks).iter().map(|it| *it as u32);
        Ok((self.executor.read(ports.losses).to_vec(), ranks.collect()))
    }
}

const SPACE: &str = r#"
name = "small"
[network]
layers = [
  { op = "conv", kernel = 3, filters = 16 },
  { op = "batch_norm" },
  { name = "a", op = "relu" },
  { op = "depthwise", kernel = 3 },
  { op = "conv", filters = 16 },
  { op = "batch_norm" },
  { op = "drop_path", rate = 0.3 },
  { op = "add", from = ["a", -1] },
  { op = "global_avg_pool" },
  { op = "dropout", rate = 0.1 },
  { op = "linear", units = "classes" },
]
"#;

const AUGMENTATION: Augmentation = Augmentation {
    pad: 1,
    flip: true,
    cutout: 3,
};

/// A training, up to what `change` makes of it.
fn outcome(change: impl FnOnce(&mut Training<'_, Cpu>), files: &Files) -> Outcome {
    watched(change, files, &mut Silent)
}

fn watched(
    change: impl FnOnce(&mut Training<'_, Cpu>),
    files: &Files,
    observer: &mut dyn Observer,
) -> Outcome {
    let input = Shape {
        height: 8,
        width: 8,
        channels: 1,
    };
    let space = Space::parse(SPACE, Path::new("small.toml"), &[], vocabulary()).unwrap();
    let graph = Graph::build(&space, &Choices::default(), input, 10).unwrap();
    let dataset = Arc::new(cellwright_data::load("digits", Path::new("nowhere")).unwrap());
    let settings = Settings {
        epochs: 2,
        batch: 32,
        learning_rate: 0.02,
        seed: 11,
        augmentation: Some(AUGMENTATION),
        ..Settings::default()
    };
    let device = Cpu::default();
    let mut training = Training::new(&graph, &dataset, &settings, &device, files).unwrap();
    change(&mut training);
    training.run(observer).unwrap()
}

fn programmed(training: &mut Training<'_, Cpu>, kept: bool) {
    let decays = training.stepper.decays.clone();
    let train = Purpose::Train {
        decays,
        label_smoothing: 0.0,
    };
    let optimiser = training.stepper.optimiser.clone();
    let runner = |batch, purpose: &Purpose, optimiser, cutout: usize| -> Box<dyn Runner> {
        let program = Arc::new(
            training
                .network
                .program(batch, purpose, Precision::Fp32)
                .unwrap(),
        );
        Box::new(OnCpu {
            executor: Executor::new(Arc::clone(&program)),
            program,
            optimiser,
            totals: Totals::default(),
            kept: kept.then(|| (Arc::clone(training.dataset), cutout as i32)),
        })
    };
    let weights = training.network.weights();
    let train = runner(32, &train, Some(optimiser.clone()), AUGMENTATION.cutout);
    let evaluate = runner(crate::evaluate::BATCH, &Purpose::Evaluate, None, 0);
    let programs = Programmed::of([train, evaluate], kept, &weights, optimiser.state());
    training.programmed = Some(programs.unwrap());
}

/// Counts the steps, and the batches of evaluations.
struct Looks(usize);

impl Observer for Looks {
    fn step(&mut self, _: Progress) {
        self.0 += 1;
    }
}

#[test]
fn programs_are_looked_at_as_the_tape_is() {
    let (mut taped, mut by_program) = (Looks(0), Looks(0));
    let ended = watched(|_| (), &Files::default(), &mut taped);
    watched(
        |it| programmed(it, true),
        &Files::default(),
        &mut by_program,
    );
    // The validation part is one batch, after each of two epochs; the test part two.
    assert_eq!(taped.0, ended.steps as usize + 2 + 2);
    assert_eq!(by_program.0, taped.0);
}

#[test]
fn programs_train_as_the_tape_does() {
    let folder = tempfile::tempdir().unwrap();
    let files = |name: &str| Files {
        checkpoint: None,
        weights: Some(folder.path().join(name)),
        ..Files::default()
    };
    let taped = outcome(|_| (), &files("taped"));
    let by_program = outcome(|it| programmed(it, false), &files("programmed"));
    assert_eq!(taped.curve.len(), by_program.curve.len());
    for (a, b) in taped.curve.iter().zip(&by_program.curve) {
        assert!((a.train_loss - b.train_loss).abs() < 1e-2 * a.train_loss);
        assert!((a.train_top1 - b.train_top1).abs() < 1e-2);
        let (a, b) = (a.valid_loss.unwrap(), b.valid_loss.unwrap());
        assert!((a - b).abs() < 2e-2 * a, "{a} and {b}");
    }
    let (a, b) = (taped.test_loss.unwrap(), by_program.test_loss.unwrap());
    assert!((a - b).abs() < 2e-2 * a, "{a} and {b}");
    assert_eq!(taped.steps, by_program.steps);
    let kept = outcome(|it| programmed(it, true), &files("kept"));
    let untimed = |outcome: &Outcome| {
        let curve = outcome
            .curve
            .iter()
            .map(|it| (it.train_loss, it.valid_loss));
        (
            curve.collect::<Vec<_>>(),
            outcome.valid_loss,
            outcome.test_loss,
        )
    };
    assert_eq!(untimed(&kept), untimed(&by_program));
    let weights = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    assert_eq!(weights("kept"), weights("programmed"));
}
