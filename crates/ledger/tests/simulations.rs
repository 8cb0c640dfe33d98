//! Simulations are written a strategy at a time and read together.

use cellwright_ledger::{Error, Run, SimulationPoint, Simulations};

fn points(strategy: &str, mean: f64) -> Vec<SimulationPoint> {
    let point = |evaluations: u32| SimulationPoint {
        strategy: strategy.to_owned(),
        column: "accuracy".into(),
        evaluations,
        mean: mean + f64::from(evaluations),
        std: (evaluations > 1).then_some(0.5),
        best: 94.5,
        reward: "reward".into(),
        noise: 0.25,
        space: "a space".into(),
        table: "known.parquet".into(),
        architectures: 12,
        runs: 7,
        seed: u64::MAX,
    };
    (1..4).map(point).collect()
}

#[test]
fn strategies_come_back_together_and_a_later_simulation_replaces() {
    let scratch = tempfile::tempdir().unwrap();
    assert!(!Simulations::are_in(scratch.path()));
    let simulations = Simulations::at(scratch.path()).unwrap();
    assert!(simulations.points().unwrap().rows.is_empty());
    simulations.write("random", &points("random", 1.0)).unwrap();
    simulations
        .write("evolution", &points("evolution", 2.0))
        .unwrap();
    simulations.write("random", &points("random", 3.0)).unwrap();
    assert!(Simulations::are_in(scratch.path()));

    let found = simulations.points().unwrap();
    assert_eq!(
        found.rows,
        [points("evolution", 2.0), points("random", 3.0)].concat()
    );
    assert!(found.skipped.is_empty());

    let damaged = scratch.path().join("simulations/other.parquet");
    std::fs::write(&damaged, "no table").unwrap();
    let found = simulations.points().unwrap();
    assert_eq!((found.rows.len(), found.skipped.len()), (6, 1));
    assert_eq!(found.skipped[0].path, damaged);
}

#[test]
fn a_file_is_of_one_strategy_and_stays_in_the_folder() {
    let scratch = tempfile::tempdir().unwrap();
    let simulations = Simulations::at(scratch.path()).unwrap();
    for strategy in ["../random", "", "a b"] {
        let refused = simulations.write(strategy, &points(strategy, 1.0));
        assert!(matches!(refused, Err(Error::Schema { .. })), "{strategy}");
    }
    let mixed = simulations.write("random", &points("evolution", 1.0));
    assert!(matches!(mixed, Err(Error::Schema { .. })));
    assert!(!Simulations::are_in(scratch.path()));
}

#[test]
fn the_folder_of_a_run_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    Run::create(scratch.path(), "").unwrap();
    let refused = Simulations::at(scratch.path());
    assert!(matches!(refused, Err(Error::RunExists { .. })));
    assert!(!Simulations::are_in(scratch.path()));
}
