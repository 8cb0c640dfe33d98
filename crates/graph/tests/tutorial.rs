//! Every file of the tutorial is what the page says: it has that many architectures, and all that are
//! drawn can be built.

use std::path::Path;

use cellwright_graph::{Graph, vocabulary};
use cellwright_space::Space;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const PAGE: &str = include_str!("../../../search-spaces/TUTORIAL.md");

#[test]
fn each_step_of_the_tutorial_is_a_file_that_works() {
    let steps: Vec<&str> = PAGE
        .split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert_eq!(
        steps.len(),
        PAGE.lines().filter(|line| numbered(line)).count()
    );
    for text in steps {
        let space = Space::parse(text, Path::new("step.toml"), &[], vocabulary());
        let space = space.unwrap_or_else(|errors| panic!("{errors}"));
        let first = text.lines().next().unwrap();
        let count = first.trim_start_matches("# ").split(' ').next().unwrap();
        let counted = space.count().expect("it can be counted");
        assert_eq!(counted.to_string(), count, "{}", space.name());

        let (input, classes) = (
            space.default_input().unwrap(),
            space.default_classes().unwrap(),
        );
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..100 {
            let choices = space.sample(&mut rng);
            if let Err(error) = Graph::build(&space, &choices, input, classes) {
                panic!("{}, {choices}: {error}", space.name());
            }
        }
    }
}

/// Whether a line is the heading of a step: `## 1. A network`.
fn numbered(line: &str) -> bool {
    let rest = line.strip_prefix("## ");
    rest.is_some_and(|rest| rest.starts_with(|it: char| it.is_ascii_digit()))
}
