//! Strategies with published settings reach the accuracies that an independent implementation of them measured on the same
//! table: NAS-Bench-201, CIFAR-10, 100 evaluations, repeats counted, the validation accuracy after 12 epochs as the
//! reward, the test accuracy after 200 epochs as the truth. Skipped where the table is missing.

use std::path::Path;

use cellwright_ledger::Table;
use cellwright_search::simulate::{KnownResults, Point, Simulation, simulate};
use cellwright_search::{Identities, strategy};
use cellwright_space::Space;

/// Name, mean and standard deviation of the independent runs.
const INDEPENDENT: [(&str, f64, f64); 4] = [
    ("random", 93.71, 0.37),
    ("evolution", 93.96, 0.36),
    ("reinforce", 93.79, 0.33),
    ("local-search", 94.13, 0.28),
];
/// How many runs those are of.
const INDEPENDENT_RUNS: f64 = 200.0;

/// What runs of 100 evaluations recommend in the end; none: the table is missing.
fn simulated(name: &str, runs: usize) -> Option<Point> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let table = root.join("../shared/data/nasbench201-cifar10.parquet");
    if !table.exists() {
        eprintln!("skipped: {} is missing", table.display());
        return None;
    }
    let file = root.join("search-spaces/nasbench201.toml");
    let space = Space::load(&file, &[], cellwright_graph::vocabulary()).unwrap();
    let table = Table::read(&table).unwrap();
    let report = ["test_200ep".to_owned()];
    let results = KnownResults::new(&table, &space, Some("arch"), "valid_12ep", &report).unwrap();
    let simulation = Simulation {
        budget: 100,
        runs,
        seed: 0,
        noise: 0.0,
        threads: 2,
    };
    let identities = Identities::of_space(&space);
    let make = |seed| strategy::create(name, &identities, seed);
    let outcome = simulate(&make, &results, &simulation, &|| ()).unwrap();
    assert_eq!(outcome.missing, 0, "{name}");
    outcome.columns[0].points.last().copied()
}

#[test]
fn independent_runs_are_met_within_three_standard_errors() {
    let runs = 500;
    for (name, mean, std) in INDEPENDENT {
        let Some(ours) = simulated(name, runs) else {
            return;
        };
        let our_std = ours.std.unwrap();
        let variance = std * std / INDEPENDENT_RUNS + our_std * our_std / runs as f64;
        let away = (ours.mean - mean) / variance.sqrt();
        assert!(away.abs() < 3.0, "{name}: {} is {away:.1} away", ours.mean);
    }
}

#[test]
fn the_controller_is_above_all_of_them() {
    // 94.23 over 500 runs, with a standard deviation of 0.25.
    if let Some(ours) = simulated("controller", 60) {
        assert!(ours.mean > 94.13, "{}", ours.mean);
    }
}

#[test]
fn bananas_is_above_local_search() {
    // 94.20 over 500 runs, with a standard deviation of 0.26.
    if let Some(ours) = simulated("bananas", 30) {
        assert!(ours.mean > 94.13, "{}", ours.mean);
    }
}
