//! Trainings on the digits: they learn, they repeat, they go on.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cellwright_data::Dataset;
use cellwright_graph::{Graph, Shape, vocabulary};
use cellwright_ops::threads::set_threads;
use cellwright_space::{Choices, Space};
use cellwright_train::{
    EpochRecord, Error, Files, Observer, Outcome, Precision, Settings, Silent, Status, latency,
    profile, train,
};
use dfdx::tensor::Cpu;

/// The number of threads is the process's, so tests that set it take turns.
static THREADS: Mutex<()> = Mutex::new(());

const SPACE: &str = r#"
name = "small"
[network]
layers = [
  { op = "conv", kernel = 3, filters = 16 },
  { op = "batch_norm" },
  { op = "relu" },
  { op = "depthwise", kernel = 3, stride = 2 },
  { op = "conv", filters = 32 },
  { name = "a", op = "batch_norm" },
  { name = "b", op = "max_pool", kernel = 3 },
  { op = "drop_path", rate = 0.3 },
  { op = "add", from = ["a", -1] },
  { op = "global_avg_pool" },
  { op = "dropout", rate = 0.1 },
  { op = "linear", units = "classes" },
]
"#;

fn digits() -> Arc<Dataset> {
    Arc::new(cellwright_data::load("digits", Path::new("nowhere")).unwrap())
}

fn graph(text: &str) -> Graph {
    let space = Space::parse(text, Path::new("small.toml"), &[], vocabulary()).unwrap();
    let input = Shape {
        height: 8,
        width: 8,
        channels: 1,
    };
    Graph::build(&space, &Choices::default(), input, 10).unwrap()
}

fn settings() -> Settings {
    Settings {
        epochs: 4,
        batch: 32,
        seed: 11,
        ..Settings::default()
    }
}

fn run(settings: &Settings, observer: &mut dyn Observer, files: &Files) -> Outcome {
    train(
        &graph(SPACE),
        &digits(),
        settings,
        &Cpu::default(),
        observer,
        files,
    )
    .unwrap()
}

/// What must repeat: everything but times.
fn bits(outcome: &Outcome) -> Vec<u64> {
    let curve = outcome.curve.iter().flat_map(|it| {
        [
            it.train_loss,
            it.valid_loss.unwrap_or(0.0),
            it.learning_rate,
        ]
    });
    let ends = [
        outcome.valid_top1,
        outcome.valid_loss,
        outcome.test_top1,
        outcome.test_loss,
        outcome.train_loss,
    ];
    curve
        .chain(ends.into_iter().map(Option::unwrap))
        .map(f64::to_bits)
        .collect()
}

#[test]
fn it_learns_the_digits() {
    let _turn = THREADS.lock();
    let outcome = run(
        &Settings {
            epochs: 20,
            ..settings()
        },
        &mut Silent,
        &Files::default(),
    );
    assert_eq!(outcome.status, Status::Finished);
    assert!(outcome.test_top1.unwrap() > 0.93, "{:?}", outcome.test_top1);
    assert!(outcome.valid_top5.unwrap() >= outcome.valid_top1.unwrap());
    assert_eq!(outcome.curve.len(), 20);
    assert_eq!(outcome.curve[19].valid_top1, outcome.valid_top1);
    assert!(outcome.curve[19].train_loss < outcome.curve[0].train_loss / 2.0);
}

#[test]
fn the_same_seed_gives_the_same_bits_for_any_number_of_threads() {
    let _turn = THREADS.lock();
    let of = |threads| {
        set_threads(threads).unwrap();
        bits(&run(&settings(), &mut Silent, &Files::default()))
    };
    let one = of(1);
    assert_eq!(one, of(2));
    assert_eq!(one, of(3));
    set_threads(0).unwrap();
    let other = run(
        &Settings {
            seed: 12,
            ..settings()
        },
        &mut Silent,
        &Files::default(),
    );
    assert_ne!(one, bits(&other));
}

/// Stops in the middle of the third epoch.
struct Stopper {
    step: u64,
    epochs: usize,
}

impl Observer for Stopper {
    fn step(&mut self, progress: cellwright_train::Progress) {
        self.step = progress.step;
    }

    fn epoch(&mut self, _: &EpochRecord) {
        self.epochs += 1;
    }

    fn stopped(&self) -> bool {
        self.epochs == 2 && self.step % 10 == 5
    }
}

#[test]
fn a_training_goes_on_from_a_checkpoint_with_the_same_bits() {
    let _turn = THREADS.lock();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    let files = Files {
        checkpoint: Some(path.clone()),
        weights: None,
        ..Files::default()
    };
    let stopped = run(&settings(), &mut Stopper { step: 0, epochs: 0 }, &files);
    assert_eq!(
        (stopped.status, stopped.valid_top1, stopped.curve.len()),
        (Status::Stopped, None, 2)
    );
    // How long it may take, and what this device does not compute in, change nothing.
    let longer = Settings {
        seconds_limit: 1e6,
        precision: Precision::Fp32,
        ..settings()
    };
    let resumed = run(&longer, &mut Silent, &files);
    let whole = run(&settings(), &mut Silent, &Files::default());
    assert_eq!(bits(&resumed), bits(&whole));
    assert!(resumed.total_seconds >= resumed.train_seconds);
    let seconds: Vec<f64> = resumed.curve.iter().map(|it| it.seconds).collect();
    assert!(seconds.is_sorted(), "{seconds:?}");
    let mut images = Dataset::clone(&digits());
    images.train.labels.swap(0, 1);
    let refused = train(
        &graph(SPACE),
        &Arc::new(images),
        &settings(),
        &Cpu::default(),
        &mut Silent,
        &files,
    );
    assert!(refused.unwrap_err().to_string().contains("other images"));
    let other = Settings {
        batch: 16,
        ..settings()
    };
    let refused = train(
        &graph(SPACE),
        &digits(),
        &other,
        &Cpu::default(),
        &mut Silent,
        &files,
    );
    let refused = refused.unwrap_err().to_string();
    let differs = "other settings (batch is 32 there and 16 here)";
    assert!(refused.contains(differs), "{refused}");
    std::fs::write(&path, b"damaged").unwrap();
    let refused = train(
        &graph(SPACE),
        &digits(),
        &settings(),
        &Cpu::default(),
        &mut Silent,
        &files,
    );
    assert!(refused.unwrap_err().to_string().contains("damaged"));
}

#[test]
fn a_training_that_diverges_is_an_outcome() {
    let _turn = THREADS.lock();
    let text = "name = \"plain\"\n[network]\nlayers = [{ op = \"conv\", kernel = 3, filters = 4, bias = true }, { op = \"flatten\" }, { op = \"linear\", units = \"classes\" }]";
    let settings = Settings {
        learning_rate: 1e30,
        clip_norm: 0.0,
        ..settings()
    };
    let outcome = train(
        &graph(text),
        &digits(),
        &settings,
        &Cpu::default(),
        &mut Silent,
        &Files::default(),
    )
    .unwrap();
    assert!(
        matches!(&outcome.status, Status::Diverged(reason) if reason.contains("step")),
        "{:?}",
        outcome.status
    );
    assert_eq!(outcome.valid_top1, None);
}

#[test]
fn a_training_that_diverges_in_its_last_step_is_not_finished() {
    let _turn = THREADS.lock();
    let folder = tempfile::tempdir().unwrap();
    let files = Files {
        checkpoint: None,
        weights: Some(folder.path().join("weights")),
        ..Files::default()
    };
    let one_step = Settings {
        epochs: 1,
        batch: 250,
        train_limit: 200,
        learning_rate: 1e30,
        ..settings()
    };
    let parts = [("validation", 0.1, false), ("test", 0.0, true)];
    for (part, valid_fraction, test) in parts {
        let settings = Settings {
            valid_fraction,
            test,
            ..one_step.clone()
        };
        let outcome = run(&settings, &mut Silent, &files);
        assert!(
            matches!(&outcome.status, Status::Diverged(reason) if reason.contains(part)),
            "{:?}",
            outcome.status
        );
        assert_eq!((outcome.valid_top1, outcome.test_top1), (None, None));
        assert!(!folder.path().join("weights").exists());
    }
}

/// Looks on after the last step, when the network is evaluated.
#[derive(Default)]
struct AtTheEnd {
    looks: usize,
    stops: bool,
    sleeps: Duration,
}

impl Observer for AtTheEnd {
    fn step(&mut self, progress: cellwright_train::Progress) {
        self.looks += usize::from(progress.step == progress.steps);
        if self.looks == 2 {
            std::thread::sleep(self.sleeps);
        }
    }

    fn stopped(&self) -> bool {
        self.stops && self.looks == 2
    }
}

#[test]
fn an_evaluation_gives_signs_of_life_and_can_be_stopped() {
    let _turn = THREADS.lock();
    let settings = Settings {
        epochs: 1,
        train_limit: 32,
        seconds_limit: 1.0,
        ..settings()
    };
    let files = Files::default();
    let mut observer = AtTheEnd::default();
    assert_eq!(
        run(&settings, &mut observer, &files).status,
        Status::Finished
    );
    // The last step, 355 images of the test part and 144 held out.
    assert_eq!(observer.looks, 1 + 2 + 1);
    let stops = &mut AtTheEnd {
        stops: true,
        ..AtTheEnd::default()
    };
    let stopped = run(&settings, stops, &files);
    assert_eq!((stopped.status, stops.looks), (Status::Stopped, 2));
    let sleeps = &mut AtTheEnd {
        sleeps: Duration::from_secs(1),
        ..AtTheEnd::default()
    };
    let late = run(&settings, sleeps, &files);
    assert!(
        matches!(&late.status, Status::TimedOut(reason) if reason.contains("1 of 1 steps")),
        "{:?}",
        late.status
    );
    assert_eq!((sleeps.looks, late.test_top1), (2, None));
}

#[test]
fn a_limit_of_time_is_kept() {
    let _turn = THREADS.lock();
    let settings = Settings {
        seconds_limit: 1e-6,
        ..settings()
    };
    assert!(matches!(
        run(&settings, &mut Silent, &Files::default()).status,
        Status::TimedOut(_)
    ));
}

#[test]
fn settings_out_of_range_and_images_that_do_not_fit_are_refused() {
    let refused = |settings: &Settings, graph: &Graph| {
        train(
            graph,
            &digits(),
            settings,
            &Cpu::default(),
            &mut Silent,
            &Files::default(),
        )
        .unwrap_err()
    };
    let wrong = Settings {
        momentum: 1.5,
        ..settings()
    };
    assert!(
        refused(&wrong, &graph(SPACE))
            .to_string()
            .contains("momentum")
    );
    let space = Space::parse(SPACE, Path::new("small.toml"), &[], vocabulary()).unwrap();
    let larger = Shape {
        height: 16,
        width: 16,
        channels: 1,
    };
    let larger = Graph::build(&space, &Choices::default(), larger, 10).unwrap();
    assert!(matches!(
        refused(&settings(), &larger),
        Error::Images { .. }
    ));
}

#[test]
fn bf16_is_refused_where_nothing_computes_in_it() {
    let _turn = THREADS.lock();
    let (graph, device) = (graph(SPACE), Cpu::default());
    let settings = Settings {
        precision: Precision::Bf16,
        ..settings()
    };
    let files = Files::default();
    let errors = [
        train(&graph, &digits(), &settings, &device, &mut Silent, &files).unwrap_err(),
        profile(&graph, 8, 3, &device, Precision::Bf16).unwrap_err(),
        latency(&graph, &device, Precision::Bf16).unwrap_err(),
    ];
    for error in errors {
        assert!(error.to_string().contains("precision: is bf16"), "{error}");
    }
}

#[test]
fn a_profile_has_times() {
    let _turn = THREADS.lock();
    let profile = profile(&graph(SPACE), 8, 3, &Cpu::default(), Precision::Tf32).unwrap();
    assert_eq!(profile.step_ms_all.len(), 3);
    assert!(profile.step_ms > 0.0 && profile.images_per_second > 0.0 && profile.evaluate_ms > 0.0);
    assert!(matches!(
        cellwright_train::profile(&graph(SPACE), 0, 3, &Cpu::default(), Precision::Tf32),
        Err(Error::Setting { name: "batch", .. })
    ));
}

#[test]
fn files_that_cannot_be_written_do_not_take_the_outcome_with_them() {
    let _turn = THREADS.lock();
    let folder = tempfile::tempdir().unwrap();
    let files = Files {
        checkpoint: Some(folder.path().join("gone/state")),
        weights: Some(folder.path().join("gone/weights")),
        ..Files::default()
    };
    let settings = Settings {
        epochs: 2,
        train_limit: 64,
        ..settings()
    };
    let outcome = run(&settings, &mut Silent, &files);
    assert!(outcome.test_top1.is_some());
    assert_eq!(outcome.curve.len(), 2);
    let unsaved = outcome.unsaved.unwrap();
    assert_eq!(unsaved.matches("gone/state").count(), 1, "{unsaved}");
    assert_eq!(unsaved.matches("gone/weights").count(), 1, "{unsaved}");
}
