//! Every space file of the repository loads, samples and builds.

mod common;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use cellwright_graph::{DropPath, Graph, Layer, class, vocabulary};
use cellwright_space::Space;
use common::{folder, graph, image, space};
use num_bigint::BigUint;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

#[test]
fn every_file_loads_samples_and_builds() {
    let files = files(&folder());
    assert!(files.len() >= 40, "{} files", files.len());
    for file in files {
        let space =
            Space::load(&file, &[], vocabulary()).unwrap_or_else(|errors| panic!("{errors}"));
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..if space.decisions().is_empty() { 1 } else { 20 } {
            let choices = space.sample(&mut rng);
            space
                .check(&choices)
                .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            graph(&space, &choices);
        }
    }
}

/// Files that are not for images of a fixed size build for images as small as the digits' 8x8.
#[test]
fn every_file_builds_for_small_images() {
    for file in files(&folder()) {
        let space =
            Space::load(&file, &[], vocabulary()).unwrap_or_else(|errors| panic!("{errors}"));
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let choices = space.sample(&mut rng);
        for (size, channels) in [(8, 1), (28, 1), (32, 3)] {
            Graph::build(&space, &choices, image(size, channels), 10)
                .unwrap_or_else(|error| panic!("{} at {size}: {error}", file.display()));
        }
    }
}

#[test]
fn counts_follow_from_the_papers() {
    let power = |base: u64, exponent: u32| BigUint::from(base).pow(exponent);
    let nasnet = power(338, 5) * power(720, 2);
    let eight_operations = power(720, 2) * power(8, 10);
    let expected = [
        ("nasnet.toml", nasnet.pow(2)),
        ("nasnet-mobile.toml", nasnet.pow(2)),
        ("nasbench201.toml", power(5, 6)),
        ("nasbench-macro.toml", power(3, 8)),
        ("darts.toml", (180_u32 * power(7, 8)).pow(2)),
        ("pnas.toml", eight_operations.clone()),
        ("amoebanet.toml", eight_operations.pow(2)),
        ("enas-micro.toml", (power(720, 2) * power(5, 10)).pow(2)),
        ("mobile.toml", power(144, 6)),
        ("nasbench101.toml", BigUint::from(1_293_208_u32)),
    ];
    for (file, count) in expected {
        assert_eq!(space(file, &[]).count(), Some(count), "{file}");
    }
}

/// What a seed gives stays what it was, whatever changes in how decisions are found and ordered.
#[test]
fn a_seed_gives_the_architecture_that_it_always_gave() {
    for (file, choices) in [
        (
            "enas-micro.toml",
            "1,0,4,0,0,1,1,1,3,1,4,3,2,2,3,0,0,5,0,3,0,0,4,2,2,0,4,1,1,1,2,1,0,4,3,4,4,5,1,0",
        ),
        (
            "darts.toml",
            "0,2,6,0,1,4,2,1,5,2,6,4,0,3,4,0,0,6,1,4,0,4,6,4",
        ),
        (
            "mobile.toml",
            "1,0,3,0,0,1,0,0,2,0,2,1,1,1,1,0,0,3,0,1,0,0,3,1,1,0,1,1,1,0",
        ),
        ("nasbench-macro.toml", "1,1,2,0,0,1,1,0"),
        (
            "nasbench101.toml",
            "3,0,1,0,0,0,0,0,0,0,0,1,1,0,0,0,0,1,1,0,0,0,2,1,2,0,0",
        ),
        ("nasbench201.toml", "2,2,4,0,1,2"),
        (
            "nasnet.toml",
            "1,0,12,1,0,1,1,2,10,0,3,2,6,5,1,0,0,11,2,1,0,2,12,7,1,0,1,3,5,0,1,0,0,12,1,3,3,12,3,0,0,1,2,6,0,2,5,0,10,0",
        ),
        ("pnas.toml", "1,0,7,0,0,1,3,1,3,1,7,5,2,2,5,1,0,5,1,5"),
    ] {
        let sampled = space(file, &[]).sample(&mut ChaCha8Rng::seed_from_u64(1));
        assert_eq!(sampled.to_string(), choices, "{file}");
    }
}

/// An identity between layers of one size adds nothing: 3 * 3 stages of two layers differ, 3 * 7 of three.
#[test]
fn chains_with_identities_are_counted_once() {
    let space = space("nasbench-macro.toml", &[("filters", "4")]);
    let by = space.distinct().by;
    let class = |choices| class(&space, &choices, image(32, 3), 10, by).unwrap();
    let distinct: HashSet<u128> = space.architectures().map(class).collect();
    assert_eq!(distinct.len(), 9 * 21 * 21);
}

/// The batch norms of all files keep up with trainings of some hundred steps, and NAS-Bench-101's can be
/// had as slow as its authors'.
#[test]
fn running_statistics_keep_up_with_short_trainings() {
    let momenta = |space: &Space| -> Vec<f64> {
        let choices = space.sample(&mut ChaCha8Rng::seed_from_u64(3));
        let graph = graph(space, &choices);
        let layers = graph.nodes.iter().map(|node| &node.layer);
        let momenta = layers.filter_map(|layer| match layer {
            Layer::BatchNorm(norm) => Some(norm.momentum),
            _ => None,
        });
        momenta.collect()
    };
    for file in files(&folder()) {
        let space =
            Space::load(&file, &[], vocabulary()).unwrap_or_else(|errors| panic!("{errors}"));
        let slowest = momenta(&space).into_iter().fold(1.0, f64::min);
        assert!(slowest >= 0.05, "{}: {slowest}", file.display());
    }
    let authors = momenta(&space("nasbench101.toml", &[("bn_momentum", "0.003")]));
    assert!(!authors.is_empty() && authors.iter().all(|it| *it == 0.003));
}

/// The drop paths of some architectures of a space, each network's from its beginning to its end.
fn drop_paths(space: &Space) -> Vec<Vec<DropPath>> {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let networks = (0..20).map(|_| graph(space, &space.sample(&mut rng)));
    let found = networks.map(|graph| {
        let layers = graph.nodes.iter().map(|node| &node.layer);
        let found = layers.filter_map(|layer| match layer {
            Layer::DropPath(drop) => Some(*drop),
            _ => None,
        });
        found.collect()
    });
    found.collect()
}

#[test]
fn drop_path_grows_cell_by_cell_where_the_paper_lets_it() {
    let set = [("drop_path", "0.4"), ("repeats", "2"), ("filters", "4")];
    for (file, total) in [
        ("nasnet.toml", 8),
        ("enas-micro.toml", 8),
        // Cells with stride 2 are the first of a stage, not between two.
        ("pnas.toml", 6),
        ("amoebanet.toml", 8),
    ] {
        let count = f64::from(total);
        let mut cells = Vec::new();
        for network in drop_paths(&space(file, &set)) {
            let before = cells.len();
            // Three stages of two cells, and two between them.
            cells.extend(network.iter().map(|drop| (drop.rate / 0.4 * count).round()));
            assert!(cells[before..].is_sorted(), "{file}");
            assert!(network.iter().all(|drop| drop.scheduled), "{file}");
        }
        cells.sort_by(f64::total_cmp);
        cells.dedup();
        let each: Vec<f64> = (1..=total).map(f64::from).collect();
        assert_eq!(cells, each, "{file}");
    }
    let darts = drop_paths(&space("darts.toml", &set)).concat();
    assert!(darts.iter().all(|drop| drop.rate == 0.4 && drop.scheduled));
}

#[test]
fn drop_path_holds_from_the_first_step_where_the_paper_has_it_so() {
    for (file, set) in [
        ("baselines/stochastic-depth-resnet110.toml", &[][..]),
        ("baselines/resnet20-cifar.toml", &[("survival", "0.5")]),
        ("baselines/fractalnet.toml", &[]),
    ] {
        let drops = drop_paths(&space(file, set)).concat();
        assert!(!drops.is_empty(), "{file}");
        assert!(drops.iter().all(|drop| !drop.scheduled), "{file}");
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|it| it == "toml") {
            found.push(path);
        }
    }
    found.sort();
    found
}
