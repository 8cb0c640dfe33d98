//! The proof that the controller learns: on a reward that counts one kind of operation it reaches 90 % of
//! the maximum within 300 samples, for every seed, and random search does not.

use std::path::Path;

use cellwright_search::{Identities, strategy};
use cellwright_space::{Choices, Space};

const SAMPLES: usize = 300;
/// The last samples, over which the mean is taken.
const WINDOW: usize = 20;

fn nasnet() -> Space {
    let path = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../search-spaces/nasnet.toml"
    ));
    Space::load(path, &[], cellwright_graph::vocabulary()).unwrap()
}

/// The share of operations that are separable 3×3 convolutions.
fn share(space: &Space, choices: &Choices) -> f64 {
    let chosen: Vec<bool> = space
        .decisions()
        .iter()
        .zip(&choices.0)
        .filter(|(decision, _)| decision.options.iter().any(|it| it == "sep_conv_3x3"))
        .map(|(decision, choice)| decision.options[*choice as usize] == "sep_conv_3x3")
        .collect();
    assert_eq!(chosen.len(), 20);
    chosen.iter().filter(|it| **it).count() as f64 / chosen.len() as f64
}

/// The mean reward of the last samples.
fn learned(space: &Space, name: &str, seed: u64) -> f64 {
    let mut strategy = strategy::create(name, &Identities::of_space(space), seed).unwrap();
    let mut rewards = Vec::new();
    while rewards.len() < SAMPLES {
        let told: Vec<_> = strategy
            .ask()
            .into_iter()
            .map(|choices| {
                let reward = share(space, &choices);
                (choices, Some(reward))
            })
            .collect();
        rewards.extend(told.iter().filter_map(|(_, reward)| *reward));
        strategy.tell(&told).unwrap();
    }
    rewards.truncate(SAMPLES);
    rewards[SAMPLES - WINDOW..].iter().sum::<f64>() / WINDOW as f64
}

#[test]
fn the_controller_learns_to_prefer_an_operation() {
    let space = nasnet();
    for seed in 0..5 {
        let mean = learned(&space, "controller", seed);
        assert!(mean >= 0.9, "seed {seed}: {mean}");
    }
}

#[test]
fn random_search_does_not_learn() {
    let space = nasnet();
    for seed in 0..5 {
        let mean = learned(&space, "random", seed);
        assert!(mean < 0.3, "seed {seed}: {mean}");
    }
}
