//! The controller's gradient against finite differences.

use std::path::Path;

use cellwright_ops::buffers::write;
use cellwright_space::Space;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;

/// Two kinds of operations; the second decision depends on the first.
const SPACE: &str = r#"
name = "small"
input = "3x8x8"
classes = 2
[options]
operations = ["conv1", "conv3", "skip"]
[blocks.conv1]
layers = [{ op = "conv", filters = 4 }]
[blocks.conv3]
layers = [{ op = "conv", kernel = { choose = [3, 5], name = "kernel" }, filters = 4 }]
[blocks.skip]
layers = [{ op = "relu" }]
[network]
layers = [
  { name = "a", op = { choose = "operations", name = "a" } },
  { name = "b", op = { choose = "operations", name = "b" } },
  { op = "global_avg_pool" },
  { op = "linear", units = "classes" },
]
"#;

pub(super) fn space() -> Space {
    let vocabulary = cellwright_graph::vocabulary();
    Space::parse(SPACE, Path::new("small.toml"), &[], vocabulary).unwrap()
}

#[test]
fn gradients_are_those_of_finite_differences() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let space = space();
    let size = Size {
        width: 3,
        units: 5,
        scale: 0.8,
    };
    let mut policy = Policy::new(&space, size, &mut rng).unwrap();
    let sequences: Vec<Sequence> = policy
        .sample(6, &mut rng)
        .unwrap()
        .into_iter()
        .map(|it| policy.layout.sequence(it))
        .collect();
    let advantages = [6.0, -3.0, 2.0, 12.0, -6.0, 1.0];
    let mut goal = Goal {
        advantages: &advantages,
        sampled: None,
        clip: 0.2,
        entropy: 0.3,
    };
    let (_, now) = policy.loss(&mut NoneTape, &sequences, &goal).unwrap();
    // Ratios on both sides of the clip.
    let sampled: Vec<f32> = (0..now.logs.len())
        .map(|i| now.logs[i] + [0.05, -0.4, 0.4, -0.1][i % 4])
        .collect();
    goal.sampled = Some(&sampled);
    let mut tape = OwnedTape::default();
    let (loss, _) = policy.loss(&mut tape, &sequences, &goal).unwrap();
    let gradients = &mut loss.put_tape(tape).backward();
    let parameters = policy.parameters().len();
    let mut compared = 0;
    for index in 0..parameters {
        let gradient = {
            let parameter = policy.parameters().into_iter().nth(index).unwrap();
            gradients.get_or_alloc_mut(&*parameter).unwrap().to_vec()
        };
        for (element, gradient) in gradient.iter().enumerate() {
            let at = |change: f32| {
                let mut moved = policy.clone();
                let parameter = moved.parameters().into_iter().nth(index).unwrap();
                write("test", parameter).unwrap()[element] += change;
                let (_, found) = moved.loss(&mut NoneTape, &sequences, &goal).unwrap();
                found.policy - f64::from(goal.entropy) * found.entropy
            };
            let step = 1e-2;
            let slope = (at(step) - at(-step)) / (2.0 * f64::from(step));
            let difference = (slope - f64::from(*gradient)).abs();
            assert!(
                difference < 1e-3 + 0.01 * slope.abs(),
                "{index}/{element}: {gradient} {slope}"
            );
            compared += usize::from(slope.abs() > 1e-2);
        }
    }
    assert!(compared > 40, "{compared}");
}
