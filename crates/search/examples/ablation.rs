//! What each part of the controller is worth, on a table of known results: a Markdown table, a row for
//! each part left out.
//!
//!     cargo run --release --locked --workspace --example ablation -- \
//!         search-spaces/nasbench201.toml TABLE REWARD REPORT [RUNS] [NOISE]

use std::path::Path;

use cellwright_ledger::Table;
use cellwright_search::controller::{Guidance, Settings};
use cellwright_search::simulate::{Curve, KnownResults, Simulation, simulate};
use cellwright_search::{Identities, strategy};
use cellwright_space::Space;

/// The evaluations at which a row is read.
const AT: [usize; 5] = [30, 50, 100, 200, 300];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, table, reward, report, rest @ ..] = arguments.as_slice() else {
        return Err("expected SPACE TABLE REWARD REPORT [RUNS] [NOISE]".into());
    };
    let runs = rest.first().map_or(Ok(500), |it| it.parse())?;
    let noise = rest.get(1).map_or(Ok(0.0), |it| it.parse())?;
    let space = Space::load(Path::new(file), &[], cellwright_graph::vocabulary())?;
    let results = KnownResults::new(
        &Table::read(table)?,
        &space,
        None,
        reward,
        std::slice::from_ref(report),
    )?;
    let simulation = Simulation {
        budget: AT[AT.len() - 1],
        runs,
        seed: 0,
        noise,
        threads: 0,
    };
    println!("{report}, mean (standard error), n = {runs}, noise {noise}\n");
    println!(
        "| controller | {} |",
        AT.map(|it| it.to_string()).join(" | ")
    );
    println!("|---|{}", "---|".repeat(AT.len()));
    let identities = Identities::of_space(&space);
    for (name, settings) in variants() {
        let make = |seed| strategy::with_controller(&identities, seed, settings);
        let outcome = simulate(&make, &results, &simulation, &|| ())?;
        println!("| {name} | {} |", cells(&outcome.columns[0], runs));
    }
    Ok(())
}

/// The controller, and what is left of it without each of its parts.
fn variants() -> Vec<(&'static str, Settings)> {
    let all = Settings::DEFAULT;
    let guided = |change: fn(&mut Guidance)| {
        let guidance = all.guidance.map(|mut guidance| {
            change(&mut guidance);
            guidance
        });
        Settings { guidance, ..all }
    };
    let untrained = Settings {
        learning_rate: 0.0,
        ..all
    };
    let unguided = Settings {
        guidance: None,
        ..all
    };
    let repeating = Settings {
        distinct: false,
        ..unguided
    };
    vec![
        ("whole", all),
        ("without strays", guided(|it| it.strays = 0)),
        ("without neighbours", guided(|it| it.best = 0)),
        ("policy not trained", untrained),
        (
            "no policy among the candidates",
            guided(|it| it.samples = 0),
        ),
        ("no optimism", guided(|it| it.optimism = 0.0)),
        ("no curiosity", guided(|it| it.curiosity = 0.0)),
        ("curious at once", guided(|it| it.patience = 1)),
        (
            "nothing at random among the candidates",
            guided(|it| it.uniform = 0),
        ),
        ("best reward recommended", guided(|it| it.smooth = false)),
        ("without the predictor", unguided),
        ("without it, repeats allowed", repeating),
    ]
}

fn cells(curve: &Curve, runs: usize) -> String {
    let cell = |evaluations: &usize| {
        let point = curve
            .points
            .iter()
            .find(|it| it.evaluations == *evaluations);
        point.map_or("none".to_owned(), |it| {
            let error = it.std.unwrap_or(f64::NAN) / (runs as f64).sqrt();
            format!("{:.3} ({error:.3})", it.mean)
        })
    };
    AT.iter().map(cell).collect::<Vec<_>>().join(" | ")
}
