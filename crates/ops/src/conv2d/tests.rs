//! Convolution against its composed reference and against finite differences.

use dfdx::prelude::*;
use proptest::prelude::*;

use super::{Conv2d, conv2d, reference};
use crate::{Feature, Vector, threads};

/// Numbers in -1..1 that depend on `seed` alone.
pub(crate) fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..len)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

pub(crate) fn feature(dims: (usize, usize, usize, usize), seed: u64) -> Feature<Cpu> {
    let data = numbers(dims.0 * dims.1 * dims.2 * dims.3, seed);
    Cpu::default().tensor_from_vec(data, dims)
}

pub(crate) fn vector(len: usize, seed: u64) -> Vector<Cpu> {
    Cpu::default().tensor_from_vec(numbers(len, seed), (len,))
}

/// Gradients of Σ y · weights, so that every output has its own gradient.
pub(crate) fn backward(y: &Feature<Cpu>, tape: OwnedTape<f32, Cpu>) -> Gradients<f32, Cpu> {
    let weights = feature(*y.shape(), 99);
    (y.clone().put_tape(tape) * weights)
        .sum::<Rank0, _>()
        .backward()
}

pub(crate) fn assert_close(what: &str, found: &[f32], expected: &[f32]) {
    assert_within(2e-5, what, found, expected);
}

/// As [`assert_close`], within a tolerance relative to the largest number expected.
pub(crate) fn assert_within(tolerance: f32, what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let size = expected.iter().fold(1.0f32, |m, v| m.max(v.abs()));
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!(
            (f - e).abs() <= tolerance * size,
            "{what}[{i}]: {f} instead of {e} (size {size})"
        );
    }
}

#[derive(Debug, Clone)]
struct Case {
    x: (usize, usize, usize, usize),
    kernel: [usize; 2],
    filters: usize,
    conv: Conv2d,
}

fn cases() -> impl Strategy<Value = Case> {
    let groups = prop_oneof![
        // groups, channels and filters of each group
        (Just(1usize), 1..20usize, 1..40usize),
        (2..4usize, 1..5usize, 1..5usize),
        (1..35usize, Just(1usize), Just(1usize)),
        (2..5usize, Just(1usize), 2..4usize),
    ];
    let places = prop::array::uniform2(1..4usize);
    (
        groups,
        (1..4usize, 1..9usize, 1..12usize),
        prop::array::uniform2(1..6usize),
        places.clone(),
        places,
        prop::array::uniform4(0..4usize),
    )
        .prop_map(
            |((groups, depth, width), (n, h, w), kernel, stride, dilation, padding)| Case {
                x: (n, h, w, groups * depth),
                kernel,
                filters: groups * width,
                conv: Conv2d {
                    stride,
                    dilation,
                    padding,
                    groups,
                },
            },
        )
        .prop_filter("the kernel fits", |c| {
            let span = |i: usize| c.conv.dilation[i] * (c.kernel[i] - 1) + 1;
            let [top, bottom, left, right] = c.conv.padding;
            c.x.1 + top + bottom >= span(0) && c.x.2 + left + right >= span(1)
        })
}

fn check(case: &Case) {
    let x = feature(case.x, 1);
    let depth = case.x.3 / case.conv.groups;
    let w = feature((case.kernel[0], case.kernel[1], depth, case.filters), 2);
    let b = vector(case.filters, 3);
    let mut tape = OwnedTape::default();
    let y = conv2d(&mut tape, &x, &w, Some(&b), case.conv).unwrap();
    let found = backward(&y, tape);
    let mut tape = OwnedTape::default();
    let expected_y = reference::conv2d(&mut tape, &x, &w, Some(&b), case.conv).unwrap();
    let expected = backward(&expected_y, tape);
    assert_eq!(y.shape(), expected_y.shape());
    assert_close("y", &y.as_vec(), &expected_y.as_vec());
    assert_close("dx", &found.get(&x).as_vec(), &expected.get(&x).as_vec());
    assert_close("dw", &found.get(&w).as_vec(), &expected.get(&w).as_vec());
    assert_close("db", &found.get(&b).as_vec(), &expected.get(&b).as_vec());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn agrees_with_the_reference(case in cases()) {
        check(&case);
    }
}

#[test]
fn agrees_with_the_reference_on_shapes_of_networks() {
    let same = |kernel, stride, groups| {
        Conv2d {
            stride: [stride; 2],
            groups,
            ..Conv2d::default()
        }
        .same([kernel; 2])
    };
    for (x, kernel, filters, conv) in [
        ((2, 16, 16, 3), 3, 48, same(3, 1, 1)),
        ((1, 40, 40, 64), 3, 33, same(3, 1, 1)),
        ((3, 8, 8, 40), 5, 40, same(5, 2, 40)),
        ((33, 4, 4, 24), 3, 40, same(3, 1, 1)),
        ((5, 8, 8, 20), 1, 36, same(1, 2, 1)),
        ((2, 9, 9, 8), 7, 8, same(7, 1, 8)),
        // Large weights: their gradient is summed over the batch at once.
        ((5, 8, 8, 352), 3, 336, same(3, 1, 1)),
        ((5, 4, 3, 343), 3, 341, same(3, 2, 1)),
        ((3, 2, 2, 1031), 1, 1033, same(1, 1, 1)),
    ] {
        check(&Case {
            x,
            kernel: [kernel; 2],
            filters,
            conv,
        });
    }
}

/// Central differences of Σ y · weights in f64 arithmetic, apart from dfdx altogether.
#[test]
fn agrees_with_finite_differences() {
    let conv = Conv2d {
        stride: [2, 1],
        dilation: [1, 2],
        padding: [1, 0, 2, 1],
        groups: 2,
    };
    let (x, w) = (feature((2, 5, 6, 4), 1), feature((3, 2, 2, 6), 2));
    let mut tape = OwnedTape::default();
    let y = conv2d(&mut tape, &x, &w, None, conv).unwrap();
    let weights = feature(*y.shape(), 99).as_vec();
    let gradients = backward(&y, tape);
    let loss = |x: &Feature<Cpu>, w: &Feature<Cpu>| -> f64 {
        let y = conv2d(&mut NoneTape, x, w, None, conv).unwrap().as_vec();
        y.iter()
            .zip(&weights)
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum()
    };
    let moved = |t: &Feature<Cpu>, i: usize, by: f32| {
        let mut data = t.as_vec();
        data[i] += by;
        Cpu::default().tensor_from_vec(data, *t.shape())
    };
    let step = 0.25; // The loss is linear in each argument: a large step is exact.
    for (i, g) in gradients.get(&x).as_vec().into_iter().enumerate() {
        let d = (loss(&moved(&x, i, step), &w) - loss(&moved(&x, i, -step), &w))
            / (2.0 * f64::from(step));
        assert!(
            (d - f64::from(g)).abs() < 1e-4,
            "dx[{i}]: {g} instead of {d}"
        );
    }
    for (i, g) in gradients.get(&w).as_vec().into_iter().enumerate() {
        let d = (loss(&x, &moved(&w, i, step)) - loss(&x, &moved(&w, i, -step)))
            / (2.0 * f64::from(step));
        assert!(
            (d - f64::from(g)).abs() < 1e-4,
            "dw[{i}]: {g} instead of {d}"
        );
    }
}

#[test]
fn an_input_may_occur_twice() {
    let x = feature((1, 3, 3, 3), 1);
    let mut tape = OwnedTape::default();
    let y = conv2d(&mut tape, &x, &x, None, Conv2d::default()).unwrap();
    let found = backward(&y, tape).get(&x).as_vec();
    let w = feature((3, 3, 3, 3), 99);
    assert!(w.shape() != x.shape());
    let (copy, mut tape) = (feature((1, 3, 3, 3), 1), OwnedTape::default());
    let y = conv2d(&mut tape, &x, &copy, None, Conv2d::default()).unwrap();
    let gradients = backward(&y, tape);
    let sum: Vec<f32> = gradients
        .get(&x)
        .as_vec()
        .iter()
        .zip(gradients.get(&copy).as_vec())
        .map(|(a, b)| a + b)
        .collect();
    assert_close("dx", &found, &sum);
}

#[test]
fn the_number_of_threads_leaves_every_bit() {
    let conv = Conv2d::default().same([3, 3]);
    for (x, w) in [
        ((9, 12, 12, 20), (3, 3, 20, 24)),
        ((9, 6, 6, 344), (3, 3, 344, 344)),
    ] {
        let (x, w) = (feature(x, 1), feature(w, 2));
        let mut all = Vec::new();
        for count in [1, 2, 3] {
            threads::set_threads(count).unwrap();
            let mut tape = OwnedTape::default();
            let y = conv2d(&mut tape, &x, &w, None, conv).unwrap();
            let gradients = backward(&y, tape);
            all.push([
                y.as_vec(),
                gradients.get(&x).as_vec(),
                gradients.get(&w).as_vec(),
            ]);
        }
        assert!(all.iter().all(|bits| *bits == all[0]));
    }
}

#[test]
fn bad_shapes_are_named() {
    let (x, w) = (feature((1, 4, 4, 3), 1), feature((3, 3, 2, 5), 2));
    let error = conv2d(&mut NoneTape, &x, &w, None, Conv2d::default()).unwrap_err();
    assert!(error.to_string().contains("(3, 3, 2, 5)"), "{error}");
    let w = feature((5, 5, 3, 2), 2);
    let error = conv2d(&mut NoneTape, &x, &w, None, Conv2d::default()).unwrap_err();
    assert!(
        error.to_string().contains("larger than the padded input"),
        "{error}"
    );
    let (w, b) = (feature((3, 3, 3, 2), 2), vector(3, 1));
    let error = conv2d(&mut NoneTape, &x, &w, Some(&b), Conv2d::default()).unwrap_err();
    assert!(error.to_string().contains("2 filters"), "{error}");
}
