use dfdx::prelude::*;

use super::*;
use crate::testing::{Leaf, Random, compare, finite_differences};

fn leaves(seed: u64) -> Vec<Leaf> {
    let mut random = Random::new(seed);
    let (inputs, units) = (random.within(1, 150), random.within(1, 150));
    let shape = (random.within(1, 40), 1, random.within(1, 4), inputs);
    vec![
        random.feature(shape),
        random.matrix(inputs, units),
        random.vector(units),
    ]
}

#[test]
fn equals_the_composed_reference() {
    for seed in 0..20 {
        let bias = |leaves: &[Leaf]| (seed % 2 == 0).then(|| leaves[2].vector().clone());
        compare(
            &format!("case {seed}"),
            &leaves(seed),
            |tape, l| linear(tape, l[0].feature(), l[1].matrix(), bias(l).as_ref()),
            |tape, l| reference(tape, l[0].feature(), l[1].matrix(), bias(l).as_ref()),
            2e-5,
        );
    }
}

#[test]
fn gradients_are_those_of_finite_differences() {
    for seed in 100..106 {
        finite_differences(&format!("case {seed}"), &leaves(seed), |tape, l| {
            linear(tape, l[0].feature(), l[1].matrix(), Some(l[2].vector()))
        });
    }
}

#[test]
fn an_empty_batch_has_an_empty_answer() {
    let device = Cpu::default();
    let (x, w) = (device.zeros_like(&(0, 1, 1, 3)), device.ones_like(&(3, 2)));
    let y = linear::<Cpu, _>(&mut NoneTape, &x, &w, None).unwrap();
    assert_eq!(*y.shape(), (0, 1, 1, 2));
}

#[test]
fn shapes_that_do_not_match_are_named() {
    let device = Cpu::default();
    let x: Feature<Cpu> = device.zeros_like(&(2, 1, 1, 3));
    let (wrong, right) = (device.ones_like(&(4, 2)), device.ones_like(&(3, 2)));
    let bias = device.zeros_like(&(3,));
    let error = linear(&mut NoneTape, &x, &wrong, None).unwrap_err();
    assert!(
        error.to_string().contains("the weight 4x2 takes 4"),
        "{error}"
    );
    let error = linear(&mut NoneTape, &x, &right, Some(&bias)).unwrap_err();
    assert!(
        error.to_string().contains("the bias has 3 numbers"),
        "{error}"
    );
}
