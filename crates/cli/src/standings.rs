//! The table at the end of a run.

use cellwright_ledger::{Kind, Status, Trial};

use crate::output::{right, short};

/// All trials by validation accuracy, the baselines among them, the failed ones last.
pub fn table(trials: &[Trial]) -> comfy_table::Table {
    let mut ranked: Vec<&Trial> = trials.iter().collect();
    ranked.sort_by(|a, b| {
        let key = |trial: &Trial| trial.valid_top1.unwrap_or(f64::NEG_INFINITY);
        key(b).total_cmp(&key(a)).then(a.id.cmp(&b.id))
    });
    let mut table = crate::output::table(&[
        "rank",
        "trial",
        "architecture",
        "valid %",
        "test %",
        "parameters",
        "MACs",
        "seconds",
    ]);
    for (rank, trial) in ranked.iter().enumerate() {
        table.add_row(row(rank + 1, trial));
    }
    right(&mut table, &[0, 1, 3, 4, 5, 6, 7]);
    table
}

fn row(rank: usize, trial: &Trial) -> [String; 8] {
    let percent = |fraction: Option<f64>| {
        fraction.map_or_else(String::new, |it| format!("{:.2}", 100.0 * it))
    };
    let done = trial.status == Status::Done;
    [
        if done {
            rank.to_string()
        } else {
            "–".to_owned()
        },
        trial.id.to_string(),
        name(trial),
        if done {
            percent(trial.valid_top1)
        } else {
            "failed".to_owned()
        },
        percent(trial.test_top1),
        short(trial.params),
        short(trial.macs),
        trial
            .total_seconds
            .map_or_else(String::new, |it| format!("{it:.1}")),
    ]
}

/// The longest name that leaves room for the numbers on a terminal of 120 columns.
const NAME: usize = 48;

fn name(trial: &Trial) -> String {
    let name = match trial.kind {
        Kind::Baseline => trial.space.clone(),
        _ => format!("{} {}", trial.space, trial.architecture),
    };
    let name = match (&trial.status, &trial.reason) {
        (Status::Failed, Some(reason)) => format!("{name}: {reason}"),
        _ => name,
    };
    if name.chars().count() <= NAME {
        return name;
    }
    let mut short: String = name.chars().take(NAME - 1).collect();
    short.push('…');
    short
}
