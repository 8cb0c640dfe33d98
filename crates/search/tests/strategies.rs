//! What every strategy keeps to, on spaces of all kinds.

use std::collections::HashMap;
use std::path::Path;

use cellwright_search::Identities;
use cellwright_search::strategy::{self, Strategy};
use cellwright_space::{Choices, Space};

/// One decision of two options.
const TINY: &str = r#"
name = "tiny"
input = "3x8x8"
classes = 2
[network]
layers = [
  { op = "conv", kernel = { choose = [1, 3], name = "kernel" }, filters = 4 },
  { op = "global_avg_pool" },
  { op = "linear", units = "classes" },
]
"#;

/// No decision at all.
const FIXED: &str = r#"
name = "fixed"
input = "3x8x8"
classes = 2
[network]
layers = [{ op = "global_avg_pool" }, { op = "linear", units = "classes" }]
"#;

/// A decision that depends on another.
const NESTED: &str = r#"
name = "nested"
input = "3x8x8"
classes = 2
[options]
operations = ["wide", "narrow", "skip"]
[blocks.wide]
layers = [{ op = "conv", kernel = { choose = [3, 5, 7], name = "kernel" }, filters = 4 }]
[blocks.skip]
layers = [{ op = "relu" }]
[blocks.narrow]
layers = [{ op = "conv", filters = 4 }]
[network]
layers = [
  { name = "a", op = { choose = "operations", name = "a" } },
  { name = "b", op = { choose = "operations", name = "b" } },
  { name = "c", op = { choose = "operations", name = "c" } },
  { op = "global_avg_pool" },
  { op = "linear", units = "classes" },
]
"#;

/// A condition on all decisions together.
const CONDITIONED: &str = r#"
name = "conditioned"
input = "3x8x8"
classes = 2
require = ["edges % 2 == 1"]
[network]
layers = [
  { op = "relu", name = "a" },
  { op = "relu", name = "b" },
  { op = "relu", name = "c" },
  { op = "add", from = { choose = "any", of = ["input", "a", "b", "c"], name = "edges" } },
  { op = "global_avg_pool" },
  { op = "linear", units = "classes" },
]
"#;

fn parse(text: &str) -> Space {
    let vocabulary = cellwright_graph::vocabulary();
    Space::parse(text, Path::new("space.toml"), &[], vocabulary).unwrap()
}

fn spaces() -> Vec<Space> {
    let path = |name: &str| {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../search-spaces")
            .join(name)
    };
    let load = |name| Space::load(&path(name), &[], cellwright_graph::vocabulary()).unwrap();
    let texts = [TINY, FIXED, NESTED, CONDITIONED];
    let mut spaces: Vec<Space> = texts.into_iter().map(parse).collect();
    spaces.extend(["nasbench201.toml", "nasnet.toml"].map(load));
    spaces
}

/// A reward without meaning that depends on the choices alone; every fifth architecture fails.
fn reward(choices: &Choices) -> Option<f64> {
    let mixed = choices.0.iter().fold(17u64, |sum, it| {
        sum.wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(u64::from(*it) + 1)
    });
    (mixed >> 33).checked_rem(5).filter(|it| *it > 0)?;
    Some((mixed >> 40) as f64 / f64::from(1u32 << 24))
}

type Told = Vec<(Choices, Option<f64>)>;

/// Batches that a strategy asks for, told by `answer`.
fn drive(
    strategy: &mut dyn Strategy,
    batches: usize,
    answer: fn(&Choices) -> Option<f64>,
) -> Vec<Told> {
    (0..batches)
        .map(|_| {
            let asked = strategy.ask();
            assert!(!asked.is_empty(), "an empty batch");
            let told: Told = asked
                .into_iter()
                .map(|it| (it.clone(), answer(&it)))
                .collect();
            strategy.tell(&told).unwrap();
            told
        })
        .collect()
}

fn each(check: impl Fn(&str, &Space)) {
    for space in spaces() {
        for name in strategy::names() {
            check(name, &space);
        }
    }
}

#[test]
fn choices_are_legal_and_the_best_is_recommended() {
    each(|name, space| {
        let mut strategy = strategy::create(name, &Identities::of_space(space), 1).unwrap();
        assert_eq!(strategy.recommend(), None, "{name}: nothing was told");
        let mut rewards = HashMap::new();
        for (choices, reward) in drive(&mut *strategy, 12, reward).into_iter().flatten() {
            space.check(&choices).unwrap();
            rewards.insert(choices, reward);
        }
        let best = rewards.values().flatten().copied().fold(f64::NAN, f64::max);
        let recommended = strategy.recommend().map(|it| rewards[&it].unwrap());
        if name == "controller" {
            // A smoothed estimate chooses among what was told and has not failed.
            assert_eq!(recommended.is_none(), best.is_nan(), "{name}");
        } else {
            assert_eq!(recommended, Some(best).filter(|it| !it.is_nan()), "{name}");
        }
    });
}

#[test]
fn the_same_seed_gives_the_same_sequence_and_another_one_another() {
    let sequence = |name: &str, space: &Space, seed| {
        drive(
            &mut *strategy::create(name, &Identities::of_space(space), seed).unwrap(),
            6,
            reward,
        )
    };
    each(|name, space| {
        let first = sequence(name, space, 5);
        assert_eq!(first, sequence(name, space, 5), "{name}");
        if space.decisions().len() > 5 {
            assert_ne!(first, sequence(name, space, 6), "{name}");
        }
    });
}

#[test]
fn what_was_told_before_is_all_that_resuming_needs() {
    each(|name, space| {
        let mut whole = strategy::create(name, &Identities::of_space(space), 2).unwrap();
        let before = drive(&mut *whole, 5, reward);
        let mut resumed = strategy::create(name, &Identities::of_space(space), 2).unwrap();
        for told in &before {
            let asked: Vec<Choices> = told.iter().map(|it| it.0.clone()).collect();
            assert_eq!(resumed.ask(), asked, "{name}");
            resumed.tell(told).unwrap();
        }
        let after = drive(&mut *whole, 5, reward);
        assert_eq!(drive(&mut *resumed, 5, reward), after, "{name}");
        assert_eq!(resumed.recommend(), whole.recommend(), "{name}");
    });
}

#[test]
fn failures_alone_leave_it_going_and_nothing_to_recommend() {
    each(|name, space| {
        let mut strategy = strategy::create(name, &Identities::of_space(space), 3).unwrap();
        drive(&mut *strategy, 12, |_| None);
        assert_eq!(strategy.recommend(), None, "{name}");
        drive(&mut *strategy, 3, |_| Some(f64::NAN));
        assert_eq!(strategy.recommend(), None, "{name}");
    });
}

#[test]
fn small_spaces_are_asked_for_again_without_end() {
    for text in [TINY, FIXED] {
        let space = parse(text);
        for name in strategy::names() {
            let mut strategy = strategy::create(name, &Identities::of_space(&space), 4).unwrap();
            drive(&mut *strategy, 60, reward);
            let updates = strategy.updates();
            let counted = updates.iter().enumerate();
            assert!(
                counted.clone().all(|(i, it)| it.update as usize == i),
                "{name}"
            );
        }
    }
}
