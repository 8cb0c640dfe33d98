use dfdx::prelude::*;

use super::*;
use crate::Feature;
use crate::buffers::tensor;
use crate::testing::{Leaf, Random, compare, finite_differences, run};

fn case(seed: u64) -> (Vec<Leaf>, Pool2d) {
    let mut random = Random::new(seed);
    let kernel = [random.within(1, 4), random.within(1, 4)];
    let mut padding = [0; 4];
    for (i, padding) in padding.iter_mut().enumerate() {
        *padding = random.within(0, kernel[i / 2] - 1);
    }
    let options = Pool2d {
        kind: if random.flip() {
            PoolKind::Max
        } else {
            PoolKind::Average
        },
        kernel,
        stride: [random.within(1, 3), random.within(1, 3)],
        padding,
    };
    let shape = (
        random.within(1, 3),
        random.within(4, 8),
        random.within(4, 8),
        random.within(1, 9),
    );
    (vec![random.distinct_feature(shape)], options)
}

#[test]
fn equals_the_composed_reference() {
    for seed in 0..60 {
        let (leaves, options) = case(seed);
        compare(
            &format!("case {seed}, {options:?}"),
            &leaves,
            |tape, leaves| pool2d(tape, leaves[0].feature(), options),
            |tape, leaves| reference::pool2d(tape, leaves[0].feature(), options),
            1e-5,
        );
    }
}

#[test]
fn gradients_are_those_of_finite_differences() {
    for seed in 100..130 {
        let (leaves, options) = case(seed);
        // Steps that are small against the distance between the values.
        finite_differences(
            &format!("case {seed}, {options:?}"),
            &leaves,
            |tape, leaves| pool2d(tape, leaves[0].feature(), options),
        );
    }
}

fn plain(kind: PoolKind, kernel: usize, stride: usize, padding: usize) -> Pool2d {
    Pool2d {
        kind,
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [padding; 4],
    }
}

#[test]
fn padding_is_not_counted() {
    let x = tensor(&Cpu::default(), vec![6.0; 25], (1, 5, 5, 1)).unwrap();
    let y = pool2d(&mut NoneTape, &x, plain(PoolKind::Average, 3, 1, 1)).unwrap();
    assert!(y.as_vec().iter().all(|v| (v - 6.0).abs() < 1e-5));
}

#[test]
fn negative_numbers_are_larger_than_padding() {
    let x = tensor(&Cpu::default(), vec![-3.0; 25], (1, 5, 5, 1)).unwrap();
    let y = pool2d(&mut NoneTape, &x, plain(PoolKind::Max, 3, 1, 1)).unwrap();
    assert_eq!(y.as_vec(), [-3.0; 25]);
}

#[test]
fn of_equal_pixels_the_first_in_reading_order_gets_the_gradient() {
    for (padding, expected) in [(0, 0), (1, 0)] {
        let leaf = Leaf::Feature(tensor(&Cpu::default(), vec![2.0; 9], (1, 3, 3, 1)).unwrap());
        let options = plain(PoolKind::Max, 3, 3, padding);
        let (_, gradients) = run(&[leaf], |tape, leaves| {
            pool2d(tape, leaves[0].feature(), options)
        });
        let places = gradients[0].iter().enumerate().filter(|(_, g)| **g != 0.0);
        assert_eq!(places.map(|(i, _)| i).next(), Some(expected));
        assert_eq!(gradients[0].iter().filter(|g| **g != 0.0).count(), 1);
    }
    // A larger pixel in the same column, but a lower row, does not win over an equal one above it.
    let values = vec![1.0, 5.0, 5.0, 0.0];
    let leaf = Leaf::Feature(tensor(&Cpu::default(), values, (1, 2, 2, 1)).unwrap());
    let options = plain(PoolKind::Max, 2, 1, 0);
    let (_, gradients) = run(&[leaf], |tape, leaves| {
        pool2d(tape, leaves[0].feature(), options)
    });
    assert!(gradients[0][1] != 0.0 && gradients[0][2] == 0.0);
}

#[test]
fn infinity_and_nan_are_pixels_like_others() {
    let low = f32::NEG_INFINITY;
    let leaf = Leaf::Feature(tensor(&Cpu::default(), vec![low; 9], (1, 3, 3, 1)).unwrap());
    let options = plain(PoolKind::Max, 3, 2, 1);
    let (y, gradients) = run(&[leaf], |tape, leaves| {
        pool2d(tape, leaves[0].feature(), options)
    });
    assert_eq!(y.as_vec(), [low; 4]);
    // Each window's gradient went to a real pixel.
    assert_eq!(gradients[0].iter().filter(|g| **g != 0.0).count(), 4);
    let values = vec![1.0, f32::NAN, 3.0, 4.0];
    let x = tensor(&Cpu::default(), values, (1, 2, 2, 1)).unwrap();
    let y = pool2d(&mut NoneTape, &x, plain(PoolKind::Max, 2, 2, 0)).unwrap();
    assert!(y.as_vec()[0].is_nan());
}

#[test]
fn refuses_windows_that_do_not_fit() {
    let x: Feature<Cpu> = Cpu::default().zeros_like(&(1, 3, 40, 2));
    let check = |options| pool2d(&mut NoneTape, &x, options).unwrap_err().to_string();
    assert!(check(plain(PoolKind::Max, 4, 1, 0)).contains("a kernel of 4 does not fit 3 pixels"));
    assert!(check(plain(PoolKind::Max, 2, 1, 2)).contains("must be smaller than the kernel"));
    assert!(check(plain(PoolKind::Average, 0, 1, 0)).contains("at least 1"));
    assert!(check(plain(PoolKind::Average, 1, 0, 0)).contains("at least 1"));
    let wide = Pool2d {
        kernel: [3, 128],
        padding: [1, 1, 60, 60],
        ..plain(PoolKind::Max, 1, 1, 0)
    };
    assert!(check(wide).contains("at most 256 pixels"));
}
