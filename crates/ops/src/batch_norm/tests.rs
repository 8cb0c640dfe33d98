use dfdx::prelude::*;

use super::*;
use crate::testing::{Leaf, Random, TestTape, assert_close, compare, finite_differences};
use crate::{Error, Feature};

struct Case {
    leaves: Vec<Leaf>,
    running: Running<Cpu>,
    relu: bool,
    training: bool,
    affine: bool,
}

fn case(seed: u64) -> Case {
    let mut random = Random::new(seed);
    let shape = (
        random.within(1, 4),
        random.within(1, 7),
        random.within(2, 7),
        random.within(1, 70),
    );
    let mut running = Running::new(&Cpu::default(), shape.3).unwrap();
    running.mean.copy_from(&random.values(shape.3));
    let variance: Vec<f32> = random.values(shape.3).iter().map(|v| 1.1 + v).collect();
    running.variance.copy_from(&variance);
    let (relu, training, affine) = (random.flip(), random.flip(), random.flip());
    let leaves = vec![
        random.feature(shape),
        random.vector(shape.3),
        random.vector(shape.3),
    ];
    Case {
        leaves,
        running,
        relu,
        training,
        affine,
    }
}

impl Case {
    fn with<'l>(&self, leaves: &'l [Leaf]) -> [Option<&'l Vector<Cpu>>; 2] {
        [1, 2].map(|i| self.affine.then(|| leaves[i].vector()))
    }

    fn kernel(&self, tape: &mut TestTape, leaves: &[Leaf]) -> Result<Feature<Cpu>, Error> {
        let [scale, shift] = self.with(leaves);
        let (options, running) = (BatchNorm::default(), &mut self.running.clone());
        let x = leaves[0].feature();
        batch_norm(
            tape,
            x,
            scale,
            shift,
            running,
            options,
            self.relu,
            self.training,
        )
    }

    fn composed(&self, tape: &mut TestTape, leaves: &[Leaf]) -> Result<Feature<Cpu>, Error> {
        let [scale, shift] = self.with(leaves);
        let (options, running) = (BatchNorm::default(), &mut self.running.clone());
        let x = leaves[0].feature();
        reference::batch_norm(
            tape,
            x,
            scale,
            shift,
            running,
            options,
            self.relu,
            self.training,
        )
    }
}

#[test]
fn equals_the_composed_reference() {
    for seed in 0..40 {
        let case = case(seed);
        compare(
            &format!("case {seed}"),
            &case.leaves,
            |tape, leaves| case.kernel(tape, leaves),
            |tape, leaves| case.composed(tape, leaves),
            2e-4,
        );
    }
}

#[test]
fn gradients_are_those_of_finite_differences() {
    for seed in 100..120 {
        // The ReLU's corners are where differences lie; the composed reference has the mask.
        let case = Case {
            relu: false,
            ..case(seed)
        };
        finite_differences(&format!("case {seed}"), &case.leaves, |tape, leaves| {
            case.kernel(tape, leaves)
        });
    }
}

#[test]
fn running_statistics_move_as_in_the_reference() {
    for seed in 0..10 {
        let case = case(seed);
        let [mut ours, mut theirs] = [case.running.clone(), case.running.clone()];
        let x = case.leaves[0].feature();
        let options = BatchNorm {
            momentum: 0.3,
            epsilon: 1e-3,
        };
        let tape = &mut NoneTape;
        batch_norm(tape, x, None, None, &mut ours, options, false, true).unwrap();
        reference::batch_norm(tape, x, None, None, &mut theirs, options, false, true).unwrap();
        assert_close("mean", &ours.mean.as_vec(), &theirs.mean.as_vec(), 1e-5);
        let [ours, theirs] = [ours, theirs].map(|r| r.variance.as_vec());
        assert_close("variance", &ours, &theirs, 1e-5);
    }
}

/// `torch.nn.functional.batch_norm(x, m := zeros(1), v := ones(1), training=True, momentum=0.1)`
/// with x = [1, 2, 4, 9]: mean 4, variance 9.5, unbiased 38/3.
#[test]
fn running_variance_is_unbiased() {
    let device = Cpu::default();
    let x = crate::buffers::tensor(&device, vec![1.0, 2.0, 4.0, 9.0], (1, 2, 2, 1)).unwrap();
    let mut running = Running::new(&device, 1).unwrap();
    let options = BatchNorm::default();
    let y = batch_norm(
        &mut NoneTape,
        &x,
        None,
        None,
        &mut running,
        options,
        false,
        true,
    )
    .unwrap();
    assert_close("mean", &running.mean.as_vec(), &[0.4], 1e-6);
    let expected = 0.9 + 0.1 * 38.0 / 3.0;
    assert_close("variance", &running.variance.as_vec(), &[expected], 1e-6);
    let root = (9.5f32 + 1e-5).sqrt();
    let expected = [-3.0, -2.0, 0.0, 5.0].map(|d| d / root);
    assert_close("output", &y.as_vec(), &expected, 1e-6);
}

#[test]
fn a_large_mean_costs_no_accuracy() {
    let mut random = Random::new(3);
    let values: Vec<f32> = random.values(40_000).iter().map(|v| 1000.0 + v).collect();
    let exact: Vec<f64> = values.iter().map(|&v| f64::from(v)).collect();
    let mean = exact.iter().sum::<f64>() / 40_000.0;
    let variance = exact.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 40_000.0;
    let found = kernel::moments(&values, 1);
    assert!((found.mean[0] - mean).abs() < 1e-4);
    assert!((found.squares[0] / 40_000.0 / variance - 1.0).abs() < 1e-4);
}

#[test]
fn refuses_what_is_not_defined() {
    let device = Cpu::default();
    let mut running = Running::new(&device, 3).unwrap();
    let options = BatchNorm::default();
    let mut norm = |shape, training| {
        let x: Feature<Cpu> = device.zeros_like(&shape);
        let tape = &mut NoneTape;
        batch_norm(tape, &x, None, None, &mut running, options, false, training)
    };
    assert!(norm((0, 4, 4, 3), true).is_err(), "an empty batch");
    assert!(norm((0, 4, 4, 3), false).is_err(), "an empty batch");
    assert!(norm((1, 1, 1, 3), true).is_err(), "one value a channel");
    assert!(norm((1, 1, 1, 3), false).is_ok());
    let error = norm((2, 1, 1, 4), true).unwrap_err();
    assert!(error.to_string().contains("running mean has 3"), "{error}");
}

#[test]
fn a_nan_is_seen() {
    let device = Cpu::default();
    let x = crate::buffers::tensor(&device, vec![1.0, f32::NAN, 4.0, 9.0], (1, 2, 2, 1)).unwrap();
    let mut running = Running::new(&device, 1).unwrap();
    let options = BatchNorm::default();
    let y = batch_norm(
        &mut NoneTape,
        &x,
        None,
        None,
        &mut running,
        options,
        true,
        true,
    )
    .unwrap();
    assert!(y.as_vec().iter().all(|v| v.is_nan()));
}
