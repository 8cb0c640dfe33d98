use dfdx::shapes::HasShape;
use dfdx::tensor::{Cpu, NoneTape, OnesTensor};

use super::*;
use crate::buffers::tensor;
use crate::testing::{Leaf, Random, TestTape, compare, finite_differences, run};
use crate::{Error, Feature};

type Shape = (usize, usize, usize, usize);
type Operation = Box<dyn Fn(&mut TestTape, &[Leaf]) -> Result<Feature<Cpu>, Error>>;

/// One operation of this folder on random inputs, and its composed reference.
struct Case {
    name: String,
    leaves: Vec<Leaf>,
    kernel: Operation,
    reference: Operation,
}

fn case(
    name: &str,
    leaves: Vec<Leaf>,
    kernel: impl Fn(&mut TestTape, &[Leaf]) -> Result<Feature<Cpu>, Error> + 'static,
    reference: impl Fn(&mut TestTape, &[Leaf]) -> Result<Feature<Cpu>, Error> + 'static,
) -> Case {
    Case {
        name: name.to_owned(),
        leaves,
        kernel: Box::new(kernel),
        reference: Box::new(reference),
    }
}

fn shape(random: &mut Random) -> Shape {
    (
        random.within(1, 4),
        random.within(1, 6),
        random.within(1, 6),
        random.within(1, 70),
    )
}

/// Every leaf, and sometimes the first once more.
fn features(leaves: &[Leaf], again: bool) -> Vec<&Feature<Cpu>> {
    let repeated = leaves.iter().take(usize::from(again));
    leaves.iter().chain(repeated).map(Leaf::feature).collect()
}

fn cases(seed: u64) -> Vec<Case> {
    use combine::Share;
    let random = &mut Random::new(seed);
    let same = shape(random);
    let (count, again) = (random.within(1, 4), random.flip());
    let alike = |random: &mut Random| (0..count).map(|_| random.feature(same)).collect::<Vec<_>>();
    let inputs = count + usize::from(again);
    let rate = 0.4;
    let (stride, offset) = (random.within(1, 3), random.within(0, 2));
    let widths: Vec<Leaf> = (0..count)
        .map(|_| {
            let channels = random.within(1, 20);
            random.feature((same.0, same.1, same.2, channels))
        })
        .collect();
    let gate = random.feature((same.0, 1, 1, same.3));
    let kept = random.within(1, same.3);
    let shares = move || {
        let factors = |i| Share::Images(random::factors(seed + i as u64, rate, same.0));
        (0..inputs)
            .map(|i| {
                if i % 2 == 0 {
                    factors(i)
                } else {
                    Share::All(1.0)
                }
            })
            .collect::<Vec<_>>()
    };
    vec![
        case(
            "add",
            alike(random),
            move |tape, leaves| add(tape, &features(leaves, again)),
            move |tape, leaves| {
                combine::reference(
                    tape,
                    &features(leaves, again),
                    vec![Share::All(1.0); inputs],
                )
            },
        ),
        case(
            "mean",
            alike(random),
            move |tape, leaves| mean(tape, &features(leaves, again)),
            move |tape, leaves| {
                let share = Share::All(1.0 / inputs as f32);
                combine::reference(tape, &features(leaves, again), vec![share; inputs])
            },
        ),
        case(
            "add_branches",
            alike(random),
            move |tape, leaves| {
                let drop = |i| DropPath {
                    rate,
                    seed: seed + i as u64,
                };
                let features = features(leaves, again);
                let branches = features.into_iter().enumerate().map(|(i, x)| Branch {
                    x,
                    drop_path: (i % 2 == 0).then(|| drop(i)),
                });
                add_branches(tape, &branches.collect::<Vec<_>>())
            },
            move |tape, leaves| combine::reference(tape, &features(leaves, again), shares()),
        ),
        case(
            "concat",
            widths,
            move |tape, leaves| concat(tape, &features(leaves, again)),
            move |tape, leaves| concat::reference(tape, &features(leaves, again)),
        ),
        case(
            "dropout",
            vec![random.feature(same)],
            move |tape, leaves| dropout(tape, leaves[0].feature(), rate, seed),
            move |tape, leaves| dropout::reference(tape, leaves[0].feature(), rate, seed),
        ),
        case(
            "multiply",
            vec![random.feature(same), gate.clone()],
            |tape, leaves| multiply(tape, leaves[0].feature(), leaves[1].feature()),
            |tape, leaves| gate::reference(tape, leaves[0].feature(), leaves[1].feature()),
        ),
        case(
            "multiply maps",
            vec![random.feature(same), random.feature(same)],
            |tape, leaves| multiply(tape, leaves[0].feature(), leaves[1].feature()),
            |tape, leaves| gate::reference(tape, leaves[0].feature(), leaves[1].feature()),
        ),
        case(
            "multiply a map by itself",
            vec![random.feature(same)],
            |tape, leaves| multiply(tape, leaves[0].feature(), leaves[0].feature()),
            |tape, leaves| gate::reference(tape, leaves[0].feature(), leaves[0].feature()),
        ),
        case(
            "multiply by itself",
            vec![gate],
            |tape, leaves| multiply(tape, leaves[0].feature(), leaves[0].feature()),
            |tape, leaves| gate::reference(tape, leaves[0].feature(), leaves[0].feature()),
        ),
        case(
            "global_avg_pool",
            vec![random.feature(same)],
            |tape, leaves| global_avg_pool(tape, leaves[0].feature()),
            |tape, leaves| global_avg_pool::reference(tape, leaves[0].feature()),
        ),
        case(
            "subsample",
            vec![random.feature(same)],
            move |tape, leaves| subsample(tape, leaves[0].feature(), stride, offset),
            move |tape, leaves| subsample::reference(tape, leaves[0].feature(), stride, offset),
        ),
        case(
            "truncate",
            vec![random.feature(same)],
            move |tape, leaves| truncate(tape, leaves[0].feature(), kept),
            move |tape, leaves| truncate::reference(tape, leaves[0].feature(), kept),
        ),
    ]
}

#[test]
fn equal_their_composed_references() {
    for seed in 0..25 {
        for case in cases(seed) {
            let what = format!("{}, case {seed}", case.name);
            compare(&what, &case.leaves, case.kernel, case.reference, 1e-5);
        }
    }
}

#[test]
fn gradients_are_those_of_finite_differences() {
    for seed in 100..108 {
        for case in cases(seed) {
            finite_differences(&case.name, &case.leaves, case.kernel);
        }
    }
}

fn ones(shape: Shape) -> Feature<Cpu> {
    Cpu::default().ones_like(&shape)
}

#[test]
fn subsampling_beyond_the_edge_gives_zero() {
    let values = (0..9).map(|i| i as f32).collect();
    let x = tensor(&Cpu::default(), values, (1, 3, 3, 1)).unwrap();
    let y = subsample(&mut NoneTape, &x, 2, 0).unwrap();
    assert_eq!(y.as_vec(), [0.0, 2.0, 6.0, 8.0]);
    let y = subsample(&mut NoneTape, &x, 2, 1).unwrap();
    assert_eq!(y.as_vec(), [4.0, 0.0, 0.0, 0.0]);
}

#[test]
fn zero_is_zero_in_the_right_shape() {
    let y = zero(&ones((2, 5, 6, 3)), 2).unwrap();
    assert_eq!(*y.shape(), (2, 3, 3, 3));
    assert!(y.as_vec().iter().all(|&v| v == 0.0));
}

#[test]
fn dropout_keeps_its_share_and_the_expectation() {
    let x = ones((1, 100, 100, 10));
    let y = dropout(&mut NoneTape, &x, 0.3, 11).unwrap().as_vec();
    let kept = y.iter().filter(|v| **v != 0.0).count() as f64 / 1e5;
    assert!((kept - 0.7).abs() < 0.006, "{kept}");
    assert!(y.iter().all(|&v| v == 0.0 || (v - 1.0 / 0.7).abs() < 1e-6));
    assert_eq!(y, dropout(&mut NoneTape, &x, 0.3, 11).unwrap().as_vec());
    assert_ne!(y, dropout(&mut NoneTape, &x, 0.3, 12).unwrap().as_vec());
}

#[test]
fn neighbouring_numbers_and_seeds_are_dropped_independently() {
    let masks = [5, 6].map(|seed| {
        let y = dropout(&mut NoneTape, &ones((1, 1, 1, 100_000)), 0.5, seed);
        y.unwrap()
            .as_vec()
            .iter()
            .map(|&v| v - 1.0)
            .collect::<Vec<_>>()
    });
    let mean = |terms: Vec<f32>| terms.iter().sum::<f32>() / terms.len() as f32;
    let next = masks[0].windows(2).map(|pair| pair[0] * pair[1]).collect();
    let seeds = masks[0].iter().zip(&masks[1]).map(|(a, b)| a * b).collect();
    assert!(mean(next).abs() < 0.013);
    assert!(mean(seeds).abs() < 0.013);
}

#[test]
fn drop_path_drops_whole_images() {
    let y = drop_path(&mut NoneTape, &ones((1000, 1, 2, 3)), 0.25, 4).unwrap();
    let y = y.as_vec();
    let mut kept = 0;
    for image in y.chunks(6) {
        assert!(image.iter().all(|&v| v == image[0]));
        assert!(image[0] == 0.0 || (image[0] - 1.0 / 0.75).abs() < 1e-6);
        kept += usize::from(image[0] != 0.0);
    }
    assert!((710..=790).contains(&kept), "{kept} of 1000 were kept");
}

#[test]
fn a_rate_of_zero_changes_nothing() {
    let leaf = Random::new(1).feature((2, 3, 3, 5));
    let x = leaf.feature();
    assert_eq!(
        dropout(&mut NoneTape, x, 0.0, 1).unwrap().as_vec(),
        x.as_vec()
    );
    assert_eq!(
        drop_path(&mut NoneTape, x, 0.0, 1).unwrap().as_vec(),
        x.as_vec()
    );
}

#[test]
fn gradients_are_added_to_what_is_there() {
    let leaf = Random::new(2).feature((2, 3, 3, 5));
    let (_, once) = run(std::slice::from_ref(&leaf), |tape, leaves| {
        add(tape, &[leaves[0].feature()])
    });
    let (_, twice) = run(&[leaf], |tape, leaves| {
        let first = add(tape, &[leaves[0].feature()])?;
        let second = add(tape, &[leaves[0].feature()])?;
        add(tape, &[&first, &second])
    });
    for (once, twice) in once[0].iter().zip(&twice[0]) {
        assert_eq!(2.0 * once, *twice);
    }
}

#[test]
fn bad_arguments_are_refused() {
    let tape = &mut NoneTape;
    let (x, other) = (ones((2, 3, 3, 4)), ones((2, 3, 2, 4)));
    assert!(add::<Cpu, _>(tape, &[]).is_err());
    assert!(concat::<Cpu, _>(tape, &[]).is_err());
    let error = add(tape, &[&x, &x, &other]).unwrap_err().to_string();
    assert!(error.contains("input 2 is (2, 3, 2, 4)"), "{error}");
    let error = concat(tape, &[&x, &other]).unwrap_err().to_string();
    assert!(error.contains("input 1 is (2, 3, 2, 4)"), "{error}");
    let error = multiply(tape, &x, &other).unwrap_err().to_string();
    assert!(error.contains("the same or (2, 1, 1, 4)"), "{error}");
    for rate in [1.0, -0.1, f64::NAN] {
        assert!(dropout(tape, &x, rate, 1).is_err());
        assert!(drop_path(tape, &x, rate, 1).is_err());
    }
    assert!(subsample(tape, &x, 0, 0).is_err());
    assert!(truncate(tape, &x, 0).is_err());
    assert!(truncate(tape, &x, x.shape().3 + 1).is_err());
    assert!(zero(&x, 0).is_err());
    assert!(global_avg_pool(tape, &ones((2, 0, 3, 4))).is_err());
}
