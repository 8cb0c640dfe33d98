//! NAS-Bench-201: counts of its networks, and how many of its 15,625 cells differ.

mod common;

use std::collections::HashSet;

use cellwright_graph::class;
use cellwright_space::Choices;
use common::{graph, space};

/// Parameters and MACs of whole networks, from the public tables of the benchmark (C = 16, N = 5).
/// Its MACs count the 10 biases of the classifier too.
const PUBLISHED: &[(&str, u64, u64)] = &[
    (
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_1x1~1|none~2|",
        1_073_466,
        153_272_970,
    ),
    (
        "|skip_connect~0|+|avg_pool_3x3~0|nor_conv_3x3~1|+|avg_pool_3x3~0|nor_conv_3x3~1|skip_connect~2|",
        559_386,
        78_561_930,
    ),
    (
        "|nor_conv_1x1~0|+|avg_pool_3x3~0|nor_conv_1x1~1|+|none~0|nor_conv_3x3~1|skip_connect~2|",
        372_346,
        51_036_810,
    ),
];

#[test]
fn counts_agree_with_the_benchmark() {
    let space = space("nasbench201.toml", &[]);
    for (notation, params, macs) in PUBLISHED {
        let choices = space.parse_notation(notation).unwrap();
        assert_eq!(space.notation(&choices), *notation);
        let graph = graph(&space, &choices);
        assert_eq!(
            (graph.params(), graph.macs() + 10),
            (*params, *macs),
            "{notation}"
        );
    }
}

/// The paper's own 6,466.
#[test]
fn distinct_expressions() {
    let space = space("nasbench201.toml", &[("repeats", "1")]);
    let (input, classes) = (
        space.default_input().unwrap(),
        space.default_classes().unwrap(),
    );
    let by = space.distinct().by;
    let seen: HashSet<u128> = all()
        .iter()
        .map(|choices| class(&space, choices, input, classes, by).unwrap())
        .collect();
    assert_eq!(seen.len(), 6_466);
}

/// All 15,625 cells in a network of one cell a stage.
fn all() -> Vec<Choices> {
    (0..15_625_u32)
        .map(|number| Choices((0..6).map(|edge| number / 5_u32.pow(edge) % 5).collect()))
        .collect()
}

/// Duplicates by what they compute, with sums of sums as one sum, zeros left out, and a convolution
/// used twice told from two convolutions. (Counted a second time by brute force over all renamings of
/// the convolutions: 5,260 too.) The paper's own 6,466 compares cells as texts: see
/// `distinct_expressions`.
#[test]
fn distinct_computations() {
    let space = space("nasbench201.toml", &[("repeats", "1")]);
    let identities: HashSet<String> = all()
        .iter()
        .map(|choices| graph(&space, choices).identity())
        .collect();
    assert_eq!(identities.len(), 5_260);
}
