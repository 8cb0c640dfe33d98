//! The tables at the end of a run: every trial of the search, the Pareto fronts, and the verdict.

use cellwright_ledger::{Kind, Status, Trial};
use cellwright_report::pareto::{self, Cost};

use crate::output::{cut, fitting, hide, right, short};

/// Whether the reward of a finished trial is anything else than its validation accuracy: the run has
/// targets, and its tables rank by the reward.
pub fn rewarded(trials: &[Trial]) -> bool {
    let mut done = trials.iter().filter(|it| it.status == Status::Done);
    done.any(|it| it.reward.is_some() && it.reward != it.valid_top1)
}

/// What a trial is ranked by: its reward, which is the validation accuracy where the run has no targets.
fn score(trial: &Trial) -> Option<f64> {
    let done = trial.status == Status::Done;
    trial.reward.or(trial.valid_top1).filter(|_| done)
}

/// What is ranked together: accuracies after different numbers of epochs do not compare. What did not finish has none.
fn budget(trial: &Trial) -> Option<u32> {
    (trial.status == Status::Done).then_some(trial.epochs)
}

/// Each with its rank among those before and after it that have its budget.
fn ranks<T>(sorted: &[T], budget: impl Fn(&T) -> Option<u32>) -> impl Iterator<Item = (usize, &T)> {
    let groups = sorted.chunk_by(move |a, b| budget(a) == budget(b));
    groups.flat_map(|alike| (1..).zip(alike))
}

/// The trials of the search by reward, the baselines at the same budget among them, the
/// failed ones last; with successive halving those with more epochs first, ranked anew after each number of epochs. The
/// reward has a column where it is something else than the accuracy.
pub fn search(trials: &[Trial]) -> comfy_table::Table {
    // Seconds, epochs, MACs, parameters and the trial's number go first.
    fitting(&[8, 3, 7, 6, 1], |names| search_with(trials, names))
}

fn search_with(trials: &[Trial], names: usize) -> comfy_table::Table {
    let mut ranked: Vec<&Trial> = trials.iter().filter(|it| !it.is_verdict()).collect();
    ranked.sort_by(|a, b| {
        let key = |trial: &Trial| score(trial).unwrap_or(f64::NEG_INFINITY);
        budget(b)
            .cmp(&budget(a))
            .then(key(b).total_cmp(&key(a)))
            .then(a.id.cmp(&b.id))
    });
    let rewarded = rewarded(trials);
    let mut heads = vec![
        "rank",
        "trial",
        "architecture",
        "epochs",
        "valid %",
        "test %",
        "parameters",
        "MACs",
        "seconds",
    ];
    if rewarded {
        heads.push("reward");
    }
    let mut table = crate::output::table(&heads);
    for (rank, trial) in ranks(&ranked, |it| budget(it)) {
        let mut cells = row(rank, trial, names).to_vec();
        if rewarded {
            cells.push(
                trial
                    .reward
                    .map_or_else(String::new, |it| format!("{it:.4}")),
            );
        }
        table.add_row(cells);
    }
    right(&mut table, &[0, 1, 3, 4, 5, 6, 7, 8, 9][..heads.len() - 1]);
    // A search that ends with a verdict does not look at the test part.
    if ranked.iter().all(|it| it.test_top1.is_none()) {
        hide(&mut table, 5);
    }
    table
}

/// The networks on a Pareto front of accuracy against a cost, the baselines at the same budget among
/// them, with a star at each cost whose front it is on; none where there is only one.
pub fn fronts(trials: &[Trial]) -> Option<comfy_table::Table> {
    let members = pareto::members(trials);
    (members.len() > 1).then(|| fitting(&[0], |names| fronts_with(trials, &members, names)))
}

fn fronts_with(
    trials: &[Trial],
    members: &[(usize, Vec<Cost>)],
    names: usize,
) -> comfy_table::Table {
    let mut table = crate::output::table(&[
        "trial",
        "architecture",
        "valid %",
        "parameters",
        "MACs",
        "latency ms",
    ]);
    for (index, costs) in members {
        let trial = &trials[*index];
        let marked = |cost: Cost, amount: String| {
            let star = if costs.contains(&cost) { '*' } else { ' ' };
            format!("{amount} {star}")
        };
        let latency = Cost::Latency.of(trial);
        table.add_row([
            trial.id.to_string(),
            name(trial, names),
            percent(trial.valid_top1),
            marked(Cost::Params, short(trial.params)),
            marked(Cost::Macs, short(trial.macs)),
            latency.map_or_else(String::new, |it| marked(Cost::Latency, format!("{it:.2}"))),
        ]);
    }
    right(&mut table, &[0, 2, 3, 4, 5]);
    table
}

/// The networks that were trained again, each with its mean over the seeds, those with more epochs first and ranked
/// anew after each number of epochs, by reward, which has a column where it is something else than the accuracy; none
/// where there are none. The trial is the first one of the network, and so is the accuracy `search %`: on the validation
/// part, after the search's epochs.
pub fn verdict(trials: &[Trial]) -> Option<comfy_table::Table> {
    let mut networks: Vec<Vec<&Trial>> = Vec::new();
    for trial in trials.iter().filter(|it| it.is_verdict()) {
        let key = |it: &Trial| (it.source_trial, it.epochs);
        match networks.iter_mut().find(|it| key(it[0]) == key(trial)) {
            Some(network) => network.push(trial),
            None => networks.push(vec![trial]),
        }
    }
    if networks.is_empty() {
        return None;
    }
    // A seed that finished stands for the others.
    for network in &mut networks {
        network.sort_by_key(|it| it.status != Status::Done);
    }
    let mean_score = |network: &[&Trial]| mean(network, score).map_or(-1.0, |it| it.0);
    networks.sort_by(|a, b| {
        let by_epochs = budget(b[0]).cmp(&budget(a[0]));
        by_epochs.then(mean_score(b).total_cmp(&mean_score(a)))
    });
    // MACs, epochs, parameters, the search's accuracy and the trial's number go first.
    Some(fitting(&[8, 4, 7, 3, 1], |names| {
        verdict_with(trials, &networks, names)
    }))
}

fn verdict_with(trials: &[Trial], networks: &[Vec<&Trial>], names: usize) -> comfy_table::Table {
    let rewarded = rewarded(trials);
    let mut heads = vec![
        "rank",
        "trial",
        "architecture",
        "search %",
        "epochs",
        "valid %",
        "test %",
        "parameters",
        "MACs",
    ];
    if rewarded {
        heads.push("reward");
    }
    let mut table = crate::output::table(&heads);
    for (rank, network) in ranks(networks, |it| budget(it[0])) {
        let first = network[0];
        let source = trials.iter().find(|it| Some(it.id) == first.source_trial);
        let [rank, _, name, _, valid, ..] = row(rank, first, names);
        let mut cells = vec![
            rank,
            first
                .source_trial
                .map_or_else(String::new, |it| it.to_string()),
            name,
            percent(source.and_then(|it| it.valid_top1)),
            first.epochs.to_string(),
            mean(network, |it| it.valid_top1).map_or(valid, spread),
            mean(network, |it| it.test_top1).map_or_else(String::new, spread),
            short(first.params),
            short(first.macs),
        ];
        if rewarded {
            cells.push(mean(network, score).map_or_else(String::new, |it| format!("{:.4}", it.0)));
        }
        table.add_row(cells);
    }
    right(&mut table, &[0, 1, 3, 4, 5, 6, 7, 8, 9][..heads.len() - 1]);
    table
}

/// Mean and, of several, sample standard deviation.
fn mean(network: &[&Trial], value: fn(&Trial) -> Option<f64>) -> Option<(f64, Option<f64>)> {
    let values: Vec<f64> = network.iter().filter_map(|it| value(it)).collect();
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|it| (it - mean).powi(2)).sum();
    let deviation = (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt());
    (!values.is_empty()).then_some((mean, deviation))
}

fn spread((mean, deviation): (f64, Option<f64>)) -> String {
    let spread = deviation.map_or_else(String::new, |it| format!(" ± {:.2}", 100.0 * it));
    format!("{:.2}{spread}", 100.0 * mean)
}

fn percent(fraction: Option<f64>) -> String {
    fraction.map_or_else(String::new, |it| format!("{:.2}", 100.0 * it))
}

fn row(rank: usize, trial: &Trial, names: usize) -> [String; 9] {
    let done = trial.status == Status::Done;
    [
        if done {
            rank.to_string()
        } else {
            "–".to_owned()
        },
        trial.id.to_string(),
        name(trial, names),
        trial.epochs.to_string(),
        if done {
            percent(trial.valid_top1)
        } else {
            trial.status.to_string()
        },
        percent(trial.test_top1),
        short(trial.params),
        short(trial.macs),
        trial
            .total_seconds
            .map_or_else(String::new, |it| format!("{it:.1}")),
    ]
}

/// A network's name in at most so many characters.
fn name(trial: &Trial, most: usize) -> String {
    let name = match trial.kind {
        Kind::Baseline => trial.space.clone(),
        _ => format!("{} {}", trial.space, trial.architecture),
    };
    let name = match (&trial.status, &trial.reason) {
        (Status::Failed, Some(reason)) => format!("{name}: {reason}"),
        _ => name,
    };
    cut(&name, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_of_different_epochs_are_ranked_apart() {
        let trial = |id, source_trial, epochs, valid: Option<f64>| Trial {
            id,
            kind: Kind::Rerank,
            source_trial: Some(source_trial),
            epochs,
            valid_top1: valid,
            status: valid.map_or(Status::Failed, |_| Status::Done),
            ..Trial::default()
        };
        let rows = [
            trial(10, 0, 4, Some(0.9)),
            trial(11, 1, 4, Some(0.7)),
            trial(12, 2, 6, None),
            trial(13, 2, 6, Some(0.6)),
            trial(14, 1, 6, Some(0.8)),
            trial(15, 3, 6, None),
        ];
        let text = verdict(&rows).map(|it| it.to_string()).unwrap_or_default();
        let shown: Vec<Vec<&str>> = text
            .lines()
            .skip(2)
            .map(|line| line.split_whitespace().collect())
            .collect();
        let first_and = |at: usize| {
            let row = |it: &Vec<&str>| format!("{} {} {}", it[0], it[1], it[at]);
            shown.iter().map(row).collect::<Vec<_>>()
        };
        let expected = ["1 1 6", "2 2 6", "1 0 4", "2 1 4", "– 3 6"];
        assert_eq!(first_and(2), expected, "{text}");
    }

    #[test]
    fn the_verdict_has_a_network_a_line_with_its_mean_over_the_seeds() {
        let trial = |id, kind, source_trial, valid, test| Trial {
            id,
            kind,
            source_trial,
            space: "net".to_owned(),
            valid_top1: Some(valid),
            test_top1: test,
            ..Trial::default()
        };
        let searched = trial(4, Kind::Search, None, 0.7, None);
        assert!(verdict(std::slice::from_ref(&searched)).is_none());
        let rows = [
            trial(0, Kind::Baseline, None, 0.6, None),
            searched,
            trial(5, Kind::Rerank, Some(4), 0.75, Some(0.71)),
            trial(6, Kind::Rerank, Some(4), 0.77, Some(0.73)),
            trial(7, Kind::Baseline, Some(0), 0.8, Some(0.79)),
        ];
        let text = verdict(&rows).map(|it| it.to_string()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(
            lines[0].contains("60.00") && lines[0].contains("79.00"),
            "{text}"
        );
        // Sample standard deviation of 75 and 77: the square root of 2.
        for shown in ["70.00", "76.00 ± 1.41", "72.00 ± 1.41"] {
            assert!(lines[1].contains(shown), "{text}");
        }
        // Where cost counts, the reward ranks.
        let mut rows = rows;
        for (row, reward) in rows.iter_mut().zip([0.5, 0.6, 0.76, 0.78, 0.6]) {
            row.reward = Some(reward);
        }
        let text = verdict(&rows).map(|it| it.to_string()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert!(
            lines[0].contains("0.7700") && lines[1].contains("0.6000"),
            "{text}"
        );
        assert_eq!(
            search(&rows).to_string().lines().count(),
            4,
            "two rows below the head"
        );
    }
}
