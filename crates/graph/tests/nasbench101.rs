//! NAS-Bench-101: how many cells there are, and the parameters of a network.

mod common;

use std::collections::HashSet;

use cellwright_graph::class;
use cellwright_space::{Choices, Space};
use common::{graph, space};

/// The architecture with these edges (0 the input, 6 the output) and operations.
fn cell(space: &Space, edges: &[(u8, u8)], operations: &[&str]) -> Choices {
    let vertex = |id: u8| {
        if id == 6 {
            "_out".to_owned()
        } else {
            id.to_string()
        }
    };
    let taken: HashSet<String> = edges
        .iter()
        .map(|(from, to)| format!("cell/e{from}{}/edges", vertex(*to)))
        .collect();
    let chosen = space.decisions().iter().map(|decision| {
        let name = decision.name.as_str();
        let word = match name.strip_prefix("cell/v") {
            Some("ertices") => (operations.len() + 2).to_string(),
            Some(rest) => {
                let number: usize = rest.split('/').next().unwrap().parse().unwrap();
                operations
                    .get(number - 1)
                    .copied()
                    .unwrap_or_default()
                    .to_owned()
            }
            None => u8::from(taken.contains(name)).to_string(),
        };
        let option = decision.options.iter().position(|it| *it == word);
        option.unwrap_or(0) as u32
    });
    let choices = Choices(chosen.collect());
    space.check(&choices).unwrap();
    choices
}

/// The cell with two 3x3 convolutions in place of a 5x5 one that the benchmark's introduction looks up,
/// with the parameters that its table gives.
#[test]
fn parameters_agree_with_the_benchmark() {
    let space = space("nasbench101.toml", &[]);
    let edges = [
        (0, 1),
        (0, 2),
        (0, 3),
        (0, 4),
        (1, 6),
        (2, 6),
        (3, 6),
        (4, 5),
        (5, 6),
    ];
    let (conv1, conv3, pool) = ("conv1x1-bn-relu", "conv3x3-bn-relu", "maxpool3x3");
    let choices = cell(&space, &edges, &[conv3, conv1, pool, conv3, conv3]);
    assert_eq!(graph(&space, &choices).params(), 2_694_282);
}

/// 1, 6, 84, 2,441 and 62,010 cells of 2 to 6 vertices (and 359,082 of 7, which would take too long here).
#[test]
fn distinct_cells() {
    let space = space("nasbench101.toml", &[]);
    let distinct = space.distinct();
    let set: Vec<(&str, &str)> = distinct
        .with
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let space = common::space("nasbench101.toml", &set);
    let (input, classes) = (
        space.default_input().unwrap(),
        space.default_classes().unwrap(),
    );
    let (mut classes_seen, mut all) = (HashSet::new(), 0);
    let up_to_6 = |choices: &Choices| choices.0[0] < 5;
    for choices in space.architectures().take_while(up_to_6) {
        all += 1;
        classes_seen.insert(class(&space, &choices, input, classes, distinct.by).unwrap());
    }
    assert_eq!((all, classes_seen.len()), (128_509, 64_542));
}
