//! Whether short trainings rank networks as longer ones do.

use std::collections::BTreeMap;

use cellwright_ledger::{Kind, Trial};

use crate::data::{Network, network};
use crate::numbers::{counted, mean};

/// Of fewer networks an order says nothing.
const LEAST: usize = 5;

/// How well trainings of some epochs rank networks that were trained for more of them too.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// Epochs of the shorter trainings.
    pub short: u32,
    /// Epochs of the longer ones.
    pub long: u32,
    /// Networks that have both.
    pub networks: usize,
    /// Kendall's tau-b between their validation accuracies.
    pub tau: f64,
}

/// What a run's trainings say, each network's against its next longer ones: the search's against the verdict's, and with
/// successive halving a rung's against the next; by epochs. Nothing is said of fewer than five networks.
pub fn agreements(trials: &[Trial]) -> Vec<Agreement> {
    let mut trained: BTreeMap<Network<'_>, BTreeMap<u32, Vec<f64>>> = BTreeMap::new();
    for trial in trials {
        // Such a row is no training of its own.
        let repeats = trial.kind == Kind::Search && trial.source_trial.is_some();
        if let Some(accuracy) = trial.valid_top1.filter(|_| !repeats) {
            let of_network = trained.entry(network(trial)).or_default();
            of_network.entry(trial.epochs).or_default().push(accuracy);
        }
    }
    let mut pairs: BTreeMap<(u32, u32), Vec<(f64, f64)>> = BTreeMap::new();
    for trainings in trained.values() {
        for ((short, a), (long, b)) in trainings.iter().zip(trainings.iter().skip(1)) {
            let of_seeds = |values: &[f64]| mean(values.iter().copied());
            let both = of_seeds(a).zip(of_seeds(b));
            pairs.entry((*short, *long)).or_default().extend(both);
        }
    }
    let agreement = |((short, long), pairs): ((u32, u32), Vec<(f64, f64)>)| {
        Some(Agreement {
            short,
            long,
            networks: pairs.len(),
            tau: tau_b(&pairs).filter(|_| pairs.len() >= LEAST)?,
        })
    };
    pairs.into_iter().filter_map(agreement).collect()
}

/// [`agreements`] in a sentence; none where nothing can be said.
pub fn told(trials: &[Trial]) -> Option<String> {
    let agreements = agreements(trials);
    let told = agreements.iter().map(|it| {
        let long = counted(it.long, "epoch");
        let (tau, short, networks) = (it.tau, it.short, it.networks);
        format!("{tau:.2} between {short} and {long} ({networks} networks)")
    });
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| {
        format!(
            "How short trainings rank, by Kendall's tau-b (1: as longer ones do, 0: no relation): {}.",
            told.join(", ")
        )
    })
}

/// Kendall's tau-b: pairs of the same order less those of the opposite one, by the geometric mean of how many pairs differ
/// on either side; none where a side has one value alone.
fn tau_b(points: &[(f64, f64)]) -> Option<f64> {
    let (mut agree, mut left, mut right) = (0i64, 0i64, 0i64);
    for (at, a) in points.iter().enumerate() {
        for b in &points[..at] {
            let order = |x: f64, y: f64| x.total_cmp(&y) as i64;
            let (first, second) = (order(a.0, b.0), order(a.1, b.1));
            agree += first * second;
            left += first.abs();
            right += second.abs();
        }
    }
    let differ = (left as f64 * right as f64).sqrt();
    (differ > 0.0).then(|| agree as f64 / differ)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tau_b_is_that_of_the_definition() {
        let order = [(1.0, 1.0), (2.0, 2.0), (3.0, 3.0)];
        assert_eq!(tau_b(&order), Some(1.0));
        assert_eq!(tau_b(&order.map(|(a, b)| (a, -b))), Some(-1.0));
        assert_eq!(tau_b(&order.map(|(a, _)| (a, 1.0))), None);
        assert_eq!(tau_b(&[]), None);
        // Of ten pairs one is tied on the left, one on the right, and one of the others is reversed: (7 - 1) / sqrt(9 x 9).
        let tied = [(1.0, 1.0), (1.0, 3.0), (2.0, 2.0), (3.0, 5.0), (4.0, 5.0)];
        assert_eq!(tau_b(&tied), Some(6.0 / 9.0));
    }

    #[test]
    fn a_search_is_set_against_its_verdict() {
        let trial = |id, kind, source_trial, epochs, accuracy| Trial {
            id,
            kind,
            source_trial,
            identity: source_trial.unwrap_or(id).to_string(),
            epochs,
            valid_top1: Some(accuracy),
            ..Trial::default()
        };
        let searched = [0.1, 0.2, 0.3, 0.4, 0.5, 0.0];
        let mut rows: Vec<Trial> = (0..)
            .zip(searched)
            .map(|(id, accuracy)| trial(id, Kind::Search, None, 2, accuracy))
            .collect();
        // A row that repeats another's result, and two seeds: 0.6 on average, which reverses one of ten pairs.
        rows.push(Trial {
            identity: "0".into(),
            ..trial(6, Kind::Search, Some(0), 2, 0.9)
        });
        for (source, accuracy) in [(0, 0.5), (0, 0.7), (1, 0.55), (2, 0.8), (3, 0.85)] {
            let id = rows.len() as u32;
            rows.push(trial(id, Kind::Rerank, Some(source), 4, accuracy));
        }
        assert_eq!(told(&rows), None, "of four networks");
        rows.push(trial(20, Kind::Rerank, Some(4), 4, 0.9));
        let expected = Agreement {
            short: 2,
            long: 4,
            networks: 5,
            tau: 0.8,
        };
        assert_eq!(agreements(&rows), [expected]);
        let text = told(&rows).unwrap();
        assert!(
            text.ends_with(": 0.80 between 2 and 4 epochs (5 networks)."),
            "{text}"
        );
    }
}
