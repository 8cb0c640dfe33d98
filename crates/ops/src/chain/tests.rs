//! Chains against the operations that they stand for, and against finite differences.

use dfdx::prelude::*;
use proptest::prelude::*;

use super::{Input, Norm, Residual, Unit, chain, reference, residual_chain};
use crate::batch_norm::{BatchNorm, Running};
use crate::conv2d::Conv2d;
use crate::conv2d::tests::{assert_within, backward, feature, numbers, vector};
use crate::{Feature, Vector, threads};

/// Scale, shift, running statistics and whether a ReLU follows.
type NormParts = (Vector<Cpu>, Vector<Cpu>, Running<Cpu>, bool);

/// Parameters of one unit.
#[derive(Clone)]
struct Parts {
    relu_before: bool,
    weight: Feature<Cpu>,
    conv: Conv2d,
    pointwise: Option<Feature<Cpu>>,
    norm: Option<NormParts>,
}

#[derive(Debug, Clone)]
struct Plan {
    relu_before: bool,
    kernel: usize,
    stride: usize,
    separable: bool,
    filters: usize,
    /// Whether there is a norm, and whether a ReLU follows it.
    norm: Option<bool>,
}

fn parts(channels: usize, plans: &[Plan]) -> Vec<Parts> {
    let mut channels = channels;
    let mut all = Vec::new();
    for (i, plan) in plans.iter().enumerate() {
        let seed = 10 * i as u64;
        let (k, filters) = (plan.kernel, plan.filters);
        let groups = if plan.separable { channels } else { 1 };
        let conv = Conv2d {
            stride: [plan.stride; 2],
            groups,
            ..Conv2d::default()
        }
        .same([k, k]);
        let weight = if plan.separable {
            feature((k, k, 1, channels), seed + 1)
        } else {
            feature((k, k, channels, filters), seed + 1)
        };
        let norm = plan.norm.map(|relu| {
            let mut running = Running::new(&Cpu::default(), filters).unwrap();
            running.mean = vector(filters, seed + 5);
            running.variance = vector(filters, seed + 6) + 1.5;
            (
                vector(filters, seed + 3),
                vector(filters, seed + 4),
                running,
                relu,
            )
        });
        all.push(Parts {
            relu_before: plan.relu_before,
            weight,
            conv,
            pointwise: plan
                .separable
                .then(|| feature((1, 1, channels, filters), seed + 2)),
            norm,
        });
        channels = filters;
    }
    all
}

fn units(parts: &mut [Parts], training: bool) -> Vec<Unit<'_, Cpu>> {
    parts
        .iter_mut()
        .map(|p| Unit {
            relu_before: p.relu_before,
            weight: &p.weight,
            conv: p.conv,
            pointwise: p.pointwise.as_ref(),
            norm: p.norm.as_mut().map(|(scale, shift, running, relu)| Norm {
                scale: Some(scale),
                shift: Some(shift),
                running,
                options: BatchNorm::default(),
                relu: *relu,
                training,
            }),
        })
        .collect()
}

/// Every gradient and every moved statistic, by name.
fn everything(
    x: &Feature<Cpu>,
    parts: &[Parts],
    grads: &Gradients<f32, Cpu>,
) -> Vec<(String, Vec<f32>)> {
    let dx = ("dx".to_string(), grads.get(x).as_vec());
    [dx].into_iter().chain(learned(parts, grads)).collect()
}

/// The same but for the input's.
fn learned(parts: &[Parts], grads: &Gradients<f32, Cpu>) -> Vec<(String, Vec<f32>)> {
    let mut all = Vec::new();
    for (i, p) in parts.iter().enumerate() {
        all.push((format!("dw {i}"), grads.get(&p.weight).as_vec()));
        if let Some(w) = &p.pointwise {
            all.push((format!("dpointwise {i}"), grads.get(w).as_vec()));
        }
        if let Some((scale, shift, running, _)) = &p.norm {
            all.push((format!("dscale {i}"), grads.get(scale).as_vec()));
            all.push((format!("dshift {i}"), grads.get(shift).as_vec()));
            all.push((format!("mean {i}"), running.mean.as_vec()));
            all.push((format!("variance {i}"), running.variance.as_vec()));
        }
    }
    all
}

/// The last bits of a unit pass through the batch norms of those after it, each of which divides by a
/// standard deviation that may be small: ten times what a single operation is allowed.
fn assert_close(what: &str, found: &[f32], expected: &[f32]) {
    assert_within(2e-4, what, found, expected);
}

/// What is added at the end, and whether a ReLU follows.
type Added<'a> = (&'a Feature<Cpu>, bool);

fn residual(added: Option<Added<'_>>) -> Option<Residual<'_, Cpu>> {
    added.map(|(x, relu)| Residual { x, relu })
}

fn check(dims: (usize, usize, usize, usize), plans: &[Plan], training: bool) {
    check_with(dims, plans, training, None);
}

fn check_with(
    dims: (usize, usize, usize, usize),
    plans: &[Plan],
    training: bool,
    added: Option<Added<'_>>,
) {
    let x = feature(dims, 7);
    let start = parts(dims.3, plans);
    let mut ours = start.clone();
    let mut tape = OwnedTape::default();
    let y = residual_chain(&mut tape, &x, units(&mut ours, training), residual(added)).unwrap();
    let found = backward(&y, tape);
    let mut theirs = start.clone();
    let mut tape = OwnedTape::default();
    let plain = units(&mut theirs, training);
    let expected_y = reference::chain(&mut tape, &x, plain, residual(added)).unwrap();
    let expected = backward(&expected_y, tape);
    assert_close("y", &y.as_vec(), &expected_y.as_vec());
    if let Some((added, _)) = added {
        let [found, expected] = [&found, &expected].map(|it| it.get(added).as_vec());
        assert_close("dresidual", &found, &expected);
    }
    let found = everything(&x, &ours, &found);
    for ((name, found), (_, expected)) in found.iter().zip(everything(&x, &theirs, &expected)) {
        assert_close(name, found, &expected);
    }
    let mut of_data = start.clone();
    let mut tape = OwnedTape::default();
    let input = Input {
        x: &x,
        gradient: false,
    };
    let with_tape = units(&mut of_data, training);
    let y = residual_chain(&mut tape, input, with_tape, residual(added)).unwrap();
    let of_data = learned(&of_data, &backward(&y, tape));
    assert_eq!(of_data, found[1..], "without the input's gradient");
    let mut without = start;
    let plain = units(&mut without, training);
    let y = residual_chain(&mut NoneTape, &x, plain, residual(added)).unwrap();
    assert_close("y without a tape", &y.as_vec(), &expected_y.as_vec());
}

#[test]
fn a_residual_is_added_before_the_last_relu() {
    let unit = |separable, norm| Plan {
        relu_before: false,
        kernel: 3,
        stride: 1,
        separable,
        filters: 24,
        norm,
    };
    let added = feature((4, 9, 9, 24), 70);
    for training in [true, false] {
        for relu in [true, false] {
            for norm in [Some(false), Some(true), None] {
                for separable in [true, false] {
                    let plans = [unit(false, Some(true)), unit(separable, norm)];
                    check_with((4, 9, 9, 24), &plans, training, Some((&added, relu)));
                }
            }
        }
    }
}

#[test]
fn the_residual_may_be_the_input_and_must_have_the_shape_of_the_output() {
    let plans = [Plan {
        relu_before: false,
        kernel: 3,
        stride: 1,
        separable: false,
        filters: 8,
        norm: Some(false),
    }];
    let x = feature((3, 6, 6, 8), 7);
    let run = |added: &Feature<Cpu>, composed: bool| {
        let mut parts = parts(8, &plans);
        let mut tape = OwnedTape::default();
        let (units, added) = (units(&mut parts, true), residual(Some((added, true))));
        let y = if composed {
            reference::chain(&mut tape, &x, units, added)
        } else {
            residual_chain(&mut tape, &x, units, added)
        };
        y.map(|y| backward(&y, tape).get(&x).as_vec())
    };
    assert_close("dx", &run(&x, false).unwrap(), &run(&x, true).unwrap());
    assert!(run(&feature((3, 6, 6, 7), 8), false).is_err());
}

fn plan() -> impl Strategy<Value = Plan> {
    (
        any::<bool>(),
        prop_oneof![Just(1usize), Just(3), Just(5)],
        1..3usize,
        any::<bool>(),
        1..20usize,
        prop_oneof![Just(None), Just(Some(false)), Just(Some(true))],
    )
        .prop_map(
            |(relu_before, kernel, stride, separable, filters, norm)| Plan {
                relu_before,
                kernel,
                stride,
                separable,
                filters,
                norm,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn agrees_with_the_operations(
        // Batch norm over two values or three amplifies rounding without bound, hence the images.
        dims in (8..12usize, 3..8usize, 3..8usize, 1..20usize),
        plans in prop::collection::vec(plan(), 1..4),
        training in any::<bool>(),
    ) {
        check(dims, &plans, training);
    }
}

fn nasnet(kernel: usize, stride: usize, filters: usize) -> Vec<Plan> {
    let unit = |stride| Plan {
        relu_before: true,
        kernel,
        stride,
        separable: true,
        filters,
        norm: Some(false),
    };
    vec![unit(stride), unit(1)]
}

#[test]
fn agrees_with_the_operations_on_shapes_of_networks() {
    for training in [true, false] {
        check((3, 16, 16, 16), &nasnet(5, 1, 16), training);
        check((3, 14, 14, 8), &nasnet(7, 2, 16), training);
        check((20, 4, 4, 24), &nasnet(3, 1, 40), training);
        check((2, 40, 40, 64), &nasnet(3, 1, 32), training);
    }
}

/// Central differences of Σ y · weights. ReLUs make the loss kinked, so inputs are kept small in
/// number and steps small.
#[test]
fn agrees_with_finite_differences() {
    let plans = nasnet(3, 1, 4);
    let x = feature((2, 4, 4, 3), 7);
    let start = parts(3, &plans);
    let mut ours = start.clone();
    let mut tape = OwnedTape::default();
    let y = chain(&mut tape, &x, units(&mut ours, true)).unwrap();
    let weights = feature(*y.shape(), 99).as_vec();
    let gradients = backward(&y, tape);
    let loss = |x: &Feature<Cpu>, parts: &[Parts]| -> f64 {
        let mut parts = parts.to_vec();
        let y = chain(&mut NoneTape, x, units(&mut parts, true))
            .unwrap()
            .as_vec();
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
    let step = 1e-3;
    let mut wrong = 0;
    let mut compare = |found: f32, up: f64, down: f64| {
        let difference = (up - down) / (2.0 * f64::from(step));
        if (difference - f64::from(found)).abs() > 0.02 * difference.abs().max(1.0) {
            wrong += 1;
        }
    };
    let dx = gradients.get(&x).as_vec();
    for (i, &g) in dx.iter().enumerate() {
        compare(
            g,
            loss(&moved(&x, i, step), &start),
            loss(&moved(&x, i, -step), &start),
        );
    }
    let pointwise = start[0].pointwise.clone().unwrap();
    let dw = gradients.get(&pointwise).as_vec();
    for (i, &g) in dw.iter().enumerate() {
        let at = |by: f32| {
            let mut parts = start.clone();
            parts[0].pointwise = Some(moved(&pointwise, i, by));
            loss(&x, &parts)
        };
        compare(g, at(step), at(-step));
    }
    // A few coordinates sit at a kink.
    assert!(
        wrong * 20 <= dx.len() + dw.len(),
        "{wrong} of {}",
        dx.len() + dw.len()
    );
}

#[test]
fn the_number_of_threads_leaves_every_bit() {
    let x = feature((20, 9, 9, 12), 7);
    let start = parts(12, &nasnet(3, 1, 20));
    let mut all = Vec::new();
    for count in [1, 2, 3] {
        threads::set_threads(count).unwrap();
        let mut ours = start.clone();
        let mut tape = OwnedTape::default();
        let y = chain(&mut tape, &x, units(&mut ours, true)).unwrap();
        let gradients = backward(&y, tape);
        let mut bits = everything(&x, &ours, &gradients);
        bits.push(("y".to_string(), y.as_vec()));
        all.push(bits);
    }
    assert!(all.iter().all(|bits| *bits == all[0]));
}

#[test]
fn bad_shapes_are_named() {
    let x = feature((1, 4, 4, 3), 1);
    assert!(chain(&mut NoneTape, &x, Vec::new()).is_err());
    let mut bad = parts(3, &nasnet(3, 1, 4));
    bad[0].pointwise = Some(feature((1, 1, 2, 4), 1));
    let error = chain(&mut NoneTape, &x, units(&mut bad, true)).unwrap_err();
    assert!(error.to_string().contains("(1, 1, 2, 4)"), "{error}");
    let mut bad = parts(3, &nasnet(3, 1, 4));
    if let Some((scale, ..)) = &mut bad[1].norm {
        *scale = Cpu::default().tensor_from_vec(numbers(5, 1), (5,));
    }
    let error = chain(&mut NoneTape, &x, units(&mut bad, true)).unwrap_err();
    assert!(
        error.to_string().contains("scale has 5 numbers for 4"),
        "{error}"
    );
}
