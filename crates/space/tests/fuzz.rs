//! Files changed at random: whatever they say, there is no panic, no hang, and an answer. What can be
//! parsed is sampled, and its graph is built, counted and compared.
//!
//! `CELLWRIGHT_FUZZ=1000000` tries that many files instead of a few thousand, from the seed
//! `CELLWRIGHT_FUZZ_FROM` (0) on.

mod common;

use std::path::Path;
use std::time::Duration;

use cellwright_graph::Graph;
use cellwright_space::{Choices, Shape, Space};
use common::{build, try_parse};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Files of the toy vocabulary.
const TOYS: [&str; 4] = [
    include_str!("files/cells.toml"),
    include_str!("files/chain.toml"),
    include_str!("files/recursion.toml"),
    include_str!("files/graph.toml"),
];

/// Files of the true one.
const NETWORKS: [&str; 4] = [
    include_str!("files/primitives.toml"),
    include_str!("../../../search-spaces/nasbench201.toml"),
    include_str!("../../../search-spaces/mobile.toml"),
    include_str!("../../../search-spaces/darts.toml"),
];

const WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    "=",
    ",",
    "\n",
    "-1",
    "0",
    "1000000000000",
    "-9223372036854775808",
    "1e308",
    "0.5",
    "true",
    "{ choose = [1, 2] }",
    "{ choose = \"any\", of = [\"input\"] }",
    "{ choose = 2, of = [\"input\", \"a\"] }",
    "{ unused = [\"a\"] }",
    "repeat = 3, ",
    "repeat = 100000, ",
    "when = \"index > 0\", ",
    "each = -1, ",
    "from = [-1, -2], ",
    "name = \"a\", ",
    "op = \"unit\", ",
    "op = \"add\", ",
    "layers = [{ op = \"relu\" }], ",
    "auxiliary = 0.3, ",
    "\"2 * index\"",
    "index",
    "height(last)",
    "//",
    "%",
    "*",
    "(",
    "if(",
    "é",
    "\u{0}",
    "#",
    "require = [\"x % 2 == 1\"]\n",
];

fn pick<'w>(words: &[&'w str], rng: &mut impl Rng) -> &'w str {
    words[rng.random_range(0..words.len())]
}

/// A place between two characters; more often where something begins.
fn place(text: &str, rng: &mut impl Rng) -> usize {
    let mut at = rng.random_range(0..=text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    if rng.random_bool(0.6) {
        at += text[at..]
            .find([' ', ',', '{', '[', '"'])
            .map_or(0, |it| it + 1);
    }
    at
}

fn mutate(text: &mut String, rng: &mut impl Rng) {
    let (a, b) = (place(text, rng), place(text, rng));
    let (a, b) = (a.min(b), a.max(b).min(text.len()));
    let short = a + text[a..b]
        .char_indices()
        .nth(30)
        .map_or(b - a, |(at, _)| at);
    match rng.random_range(0..14) {
        0 => text.insert_str(a, pick(WORDS, rng)),
        1 => text.replace_range(a..short, pick(WORDS, rng)),
        2 => text.replace_range(a..short, ""),
        3 => {
            let piece = text[a..short].to_owned();
            let at = place(text, rng);
            text.insert_str(at, &piece);
        }
        // One number for another.
        4..=9 => {
            if let Some(at) = text[a..]
                .find(|it: char| it.is_ascii_digit())
                .map(|at| a + at)
            {
                text.replace_range(
                    at..=at,
                    pick(&["0", "1", "7", "99", "4096", "-3", "100000000"], rng),
                );
            }
        }
        // One name for another.
        _ => {
            let names: Vec<&str> = text.split('"').skip(1).step_by(2).collect();
            if names.len() > 1 {
                let (from, to) = (
                    format!("\"{}\"", pick(&names, rng)),
                    format!("\"{}\"", pick(&names, rng)),
                );
                *text = text.replacen(&from, &to, 1);
            }
        }
    }
}

/// How long this thread has run on a processor: what else the machine does makes no difference.
fn processor_time() -> Duration {
    // Linux: nanoseconds on the processor, nanoseconds waiting, time slices.
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let first = times.split(' ').next().and_then(|it| it.parse().ok());
    Duration::from_nanos(first.unwrap_or(0))
}

/// Whether a graph can be built, which is then asked for all that is said of one.
fn graph(space: &Space, choices: &Choices) -> bool {
    let small = Shape {
        height: 16,
        width: 16,
        channels: 3,
    };
    let input = space.default_input().unwrap_or(small);
    let classes = space.default_classes().unwrap_or(10);
    match Graph::build(space, choices, input, classes) {
        Ok(graph) => {
            let _ = (graph.params(), graph.macs(), graph.flops());
            let _ = (graph.activation_bytes(64), graph.receptive_field());
            !graph.identity().is_empty()
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

#[test]
fn the_files_themselves_are_built() {
    for text in NETWORKS {
        let vocabulary = cellwright_graph::vocabulary();
        let space = Space::parse(text, Path::new("a.toml"), &[], vocabulary);
        let space = space.unwrap_or_else(|errors| panic!("{errors}"));
        assert!(graph(&space, &space.first()), "{text}");
    }
}

#[test]
fn changed_files_get_an_answer() {
    let number = |name| std::env::var(name).ok().and_then(|it| it.parse().ok());
    let count: u64 = number("CELLWRIGHT_FUZZ").unwrap_or(4000);
    let from: u64 = number("CELLWRIGHT_FUZZ_FROM").unwrap_or(0);
    let (mut loaded, mut built) = (0, 0);
    for seed in from..from + count {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let toy = rng.random_bool(0.5);
        let mut text = pick(if toy { &TOYS } else { &NETWORKS }, &mut rng).to_owned();
        for _ in 0..rng.random_range(1..4) {
            mutate(&mut text, &mut rng);
        }
        let start = processor_time();
        let parsed = if toy {
            try_parse(&text)
        } else {
            let vocabulary = cellwright_graph::vocabulary();
            Space::parse(&text, Path::new("changed.toml"), &[], vocabulary)
        };
        let Ok(space) = parsed else { continue };
        loaded += 1;
        let choices = space.sample(&mut rng);
        assert_eq!(space.check(&choices), Ok(()), "seed {seed}\n{text}");
        let changed = space.mutate(&choices, &mut rng);
        assert_eq!(space.check(&changed), Ok(()), "seed {seed}\n{text}");
        let _ = space.count();
        assert_eq!(
            space.parse_notation(&choices.to_string()),
            Ok(choices.clone()),
            "seed {seed}\n{text}"
        );
        built += u64::from(if toy {
            build(&space, &choices.0).is_ok()
        } else {
            graph(&space, &choices)
        });
        let took = processor_time().saturating_sub(start);
        assert!(
            took < Duration::from_secs(10),
            "seed {seed} took {took:?}\n{text}"
        );
    }
    println!("{count} files: {loaded} loaded, {built} built");
    // The changes must not be so wild that nothing is tried.
    assert!(loaded * 20 > count, "{loaded} of {count} were loaded");
    assert!(built * 40 > count, "{built} of {count} were built");
}
