use dfdx::prelude::*;

use super::*;
use crate::buffers::tensor;
use crate::testing::{Random, TestTape, assert_close};

fn case(seed: u64) -> (Feature<Cpu>, Vec<u32>, f64) {
    let mut random = Random::new(seed);
    let (n, classes) = (random.within(1, 30), random.within(1, 40));
    let values = random
        .values(n * classes)
        .iter()
        .map(|v| 10.0 * v)
        .collect();
    let labels = (0..n)
        .map(|_| random.within(0, classes - 1) as u32)
        .collect();
    let smoothing = if random.flip() { 0.1 } else { 0.0 };
    let logits = tensor(&Cpu::default(), values, (n, 1, 1, classes)).unwrap();
    (logits, labels, smoothing)
}

/// The losses, and the gradient of three times the mean.
fn run(
    logits: &Feature<Cpu>,
    loss: impl Fn(&mut TestTape) -> Result<Loss<Cpu>, Error>,
) -> (f32, Vec<f32>, Vec<f32>) {
    let mut tape = TestTape::default();
    let (mean, each) = loss(&mut tape).unwrap();
    let value = mean.array();
    let gradients = (mean.put_tape(tape) * 3.0).backward();
    (value, each, gradients.get(logits).as_vec())
}

#[test]
fn equals_the_composed_reference() {
    for seed in 0..30 {
        let (logits, labels, smoothing) = case(seed);
        let ours = run(&logits, |tape| {
            softmax_cross_entropy(tape, &logits, &labels, smoothing)
        });
        let theirs = run(&logits, |tape| reference(tape, &logits, &labels, smoothing));
        assert_close("mean", &[ours.0], &[theirs.0], 1e-5);
        assert_close("losses", &ours.1, &theirs.1, 1e-5);
        assert_close("gradient", &ours.2, &theirs.2, 1e-5);
    }
}

#[test]
fn the_gradient_is_that_of_finite_differences() {
    let (logits, labels, _) = case(5);
    let loss = |logits: &Feature<Cpu>| {
        let each = softmax_cross_entropy(&mut NoneTape, logits, &labels, 0.2)
            .unwrap()
            .1;
        each.iter().map(|&l| f64::from(l)).sum::<f64>() / each.len() as f64
    };
    let (_, _, gradient) = run(&logits, |tape| {
        softmax_cross_entropy(tape, &logits, &labels, 0.2)
    });
    let values = logits.as_vec();
    for i in 0..values.len() {
        let sides = [0.05, -0.05].map(|step| {
            let (mut moved, mut values) = (logits.clone(), values.clone());
            values[i] += step;
            moved.copy_from(&values);
            loss(&moved)
        });
        let difference = 3.0 * (sides[0] - sides[1]) / 0.1;
        assert!((difference - f64::from(gradient[i])).abs() < 1e-3);
    }
}

/// By hand: softmax of (0, ln 3) is (1/4, 3/4).
#[test]
fn a_case_by_hand() {
    let logits = tensor(&Cpu::default(), vec![0.0, 3f32.ln()], (1, 1, 1, 2)).unwrap();
    let loss = |smoothing| {
        softmax_cross_entropy(&mut NoneTape, &logits, &[1], smoothing)
            .unwrap()
            .1
    };
    assert_close("plain", &loss(0.0), &[(4f32 / 3.0).ln()], 1e-6);
    let expected = 0.9 * (4f32 / 3.0).ln() + 0.1 * 4f32.ln();
    assert_close("smoothed", &loss(0.2), &[expected], 1e-6);
}

#[test]
fn large_logits_do_not_overflow_and_nan_is_seen() {
    let values = vec![1e4, -1e4, 0.0, f32::NAN, 1.0, 2.0];
    let logits = tensor(&Cpu::default(), values, (2, 1, 1, 3)).unwrap();
    let each = softmax_cross_entropy(&mut NoneTape, &logits, &[1, 2], 0.0)
        .unwrap()
        .1;
    assert_eq!(each[0], 2e4);
    assert!(each[1].is_nan());
}

#[test]
fn counts_the_k_largest() {
    let values = vec![
        0.1,
        0.7,
        0.2,
        0.5, // label 3 is second
        1.0,
        1.0,
        1.0,
        1.0, // label 2 is third of equals
        9.0,
        1.0,
        2.0,
        3.0, // label 0 is first
        f32::NAN,
        1.0,
        2.0,
        3.0, // never right
    ];
    let logits = tensor(&Cpu::default(), values, (4, 1, 1, 4)).unwrap();
    let found = top_k_correct(&logits, &[3, 2, 0, 0], &[1, 2, 3, 5]).unwrap();
    assert_eq!(found, [1, 2, 3, 3]);
}

#[test]
fn bad_arguments_are_refused() {
    let logits: Feature<Cpu> = Cpu::default().zeros_like(&(2, 1, 1, 3));
    let wide: Feature<Cpu> = Cpu::default().zeros_like(&(2, 1, 2, 3));
    let empty: Feature<Cpu> = Cpu::default().zeros_like(&(0, 1, 1, 3));
    let loss = |logits, labels: &[u32], smoothing| {
        softmax_cross_entropy(&mut NoneTape, logits, labels, smoothing)
            .unwrap_err()
            .to_string()
    };
    assert!(loss(&logits, &[0], 0.0).contains("with 1 labels"));
    assert!(loss(&wide, &[0, 1], 0.0).contains("2x1x2x3"));
    assert!(loss(&logits, &[0, 3], 0.0).contains("label 3 is not below"));
    assert!(loss(&empty, &[], 0.0).contains("the batch is empty"));
    assert!(loss(&logits, &[0, 1], 1.5).contains("label smoothing 1.5"));
    assert!(top_k_correct(&logits, &[0, 3], &[1]).is_err());
}
