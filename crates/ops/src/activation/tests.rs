use dfdx::prelude::*;

use super::*;
use crate::buffers::tensor;
use crate::testing::{Leaf, Random, compare, finite_differences};

/// Numbers in −8..8 that are away from the corners at −3, 0, 3 and 6.
fn leaf(seed: u64) -> Leaf {
    let mut random = Random::new(seed);
    let shape = (
        random.within(1, 3),
        3,
        random.within(1, 5),
        random.within(1, 9),
    );
    let mut values = random.distinct(shape.0 * shape.1 * shape.2 * shape.3);
    for value in &mut values {
        *value *= 8.0;
        if [-3.0, 0.0, 3.0, 6.0]
            .iter()
            .any(|corner| (*value - corner).abs() < 0.01)
        {
            *value += 0.02;
        }
    }
    Leaf::Feature(tensor(&Cpu::default(), values, shape).unwrap())
}

#[test]
fn equals_the_composed_reference() {
    for kind in Activation::ALL {
        for seed in 0..8 {
            compare(
                &format!("{kind:?}, case {seed}"),
                &[leaf(seed)],
                |tape, leaves| activation(tape, leaves[0].feature(), kind),
                |tape, leaves| reference::activation(tape, leaves[0].feature(), kind),
                2e-6,
            );
        }
    }
}

#[test]
fn gradients_are_those_of_finite_differences() {
    for kind in Activation::ALL {
        for seed in 20..24 {
            finite_differences(&format!("{kind:?}"), &[leaf(seed)], |tape, leaves| {
                activation(tape, leaves[0].feature(), kind)
            });
        }
    }
}

#[test]
fn a_nan_is_seen_and_infinity_saturates() {
    let values = vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 200.0, -200.0];
    let x = tensor(&Cpu::default(), values, (1, 1, 1, 5)).unwrap();
    for kind in Activation::ALL {
        let y = activation(&mut NoneTape, &x, kind).unwrap().as_vec();
        assert!(y[0].is_nan(), "{kind:?}");
        assert!(!y[3].is_nan() && y[4].abs() < 1e-30, "{kind:?}: {y:?}");
    }
    let y = activation(&mut NoneTape, &x, Activation::Sigmoid)
        .unwrap()
        .as_vec();
    assert_eq!((y[1], y[3]), (1.0, 1.0));
    assert!(y[2] < 1e-30);
}

#[test]
fn the_exponential_is_close_to_the_exact_one() {
    for i in -8700..8800 {
        let x = i as f32 / 100.0;
        let exact = f64::from(x).exp();
        let error = (f64::from(kernel::exp(x)) / exact - 1.0).abs();
        assert!(error < 2.5e-7, "exp({x}) is off by {error}");
    }
}
