//! Pareto fronts: the networks that no other beats in accuracy without costing more.

use cellwright_ledger::{Kind, Status, Trial};

/// A cost that accuracy is traded against. Each has a front of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Multiply-accumulates of one image; half the FLOPs.
    Macs,
    /// Learnable parameters.
    Params,
    /// Measured milliseconds of inference for one image.
    Latency,
}

impl Cost {
    /// All costs.
    pub const ALL: [Cost; 3] = [Cost::Macs, Cost::Params, Cost::Latency];

    /// A trial's cost in its unit; none where it was not measured.
    #[must_use]
    pub fn of(self, trial: &Trial) -> Option<f64> {
        let cost = match self {
            Cost::Macs => Some(trial.macs as f64),
            Cost::Params => Some(trial.params as f64),
            Cost::Latency => trial.latency_ms,
        };
        cost.filter(|cost| cost.is_finite() && *cost > 0.0)
    }
}

/// The points (cost, accuracy) that none dominates, as indices, the cheapest first.
///
/// A point dominates another when it costs no more, is no less accurate, and differs in one of both; equal
/// points stay together. Points that are no numbers are on no front.
#[must_use]
pub fn front(points: &[(f64, f64)]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..points.len())
        .filter(|&index| !points[index].0.is_nan() && !points[index].1.is_nan())
        .collect();
    // Equal costs by accuracy, so that what comes later can only be as good or worse.
    order.sort_by(|&a, &b| {
        let ((cost_a, good_a), (cost_b, good_b)) = (points[a], points[b]);
        cost_a
            .total_cmp(&cost_b)
            .then(good_b.total_cmp(&good_a))
            .then(a.cmp(&b))
    });
    let mut found: Vec<usize> = Vec::new();
    for index in order {
        let better = found
            .last()
            .is_none_or(|&last| points[index].1 > points[last].1 || points[index] == points[last]);
        if better {
            found.push(index);
        }
    }
    found
}

/// The trials on a front of accuracy on the validation part against some cost, as indices, with the costs, the
/// most accurate first. What the search trained for its full number of epochs and the baselines of as many compete;
/// what was trained again does not, since accuracies after different training do not compare.
#[must_use]
pub fn members(trials: &[Trial]) -> Vec<(usize, Vec<Cost>)> {
    let searched = trials
        .iter()
        .filter(|it| it.kind == Kind::Search && it.status == Status::Done);
    let epochs = searched.map(|it| it.epochs).max();
    let competes = |trial: &Trial| {
        trial.status == Status::Done
            && trial.kind != Kind::Rerank
            && trial.source_trial.is_none()
            && epochs.is_none_or(|epochs| trial.epochs == epochs)
    };
    let mut costs: Vec<Vec<Cost>> = vec![Vec::new(); trials.len()];
    for cost in Cost::ALL {
        let points: Vec<(f64, f64)> = trials
            .iter()
            .map(|trial| {
                let point = cost
                    .of(trial)
                    .zip(trial.valid_top1)
                    .filter(|_| competes(trial));
                point.unwrap_or((f64::NAN, f64::NAN))
            })
            .collect();
        for index in front(&points) {
            costs[index].push(cost);
        }
    }
    let mut members: Vec<(usize, Vec<Cost>)> = costs
        .into_iter()
        .enumerate()
        .filter(|(_, costs)| !costs.is_empty())
        .collect();
    let accuracy = |index: usize| trials[index].valid_top1.unwrap_or(f64::NEG_INFINITY);
    members.sort_by(|a, b| accuracy(b.0).total_cmp(&accuracy(a.0)));
    members
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn dominates(a: (f64, f64), b: (f64, f64)) -> bool {
        a.0 <= b.0 && a.1 >= b.1 && a != b
    }

    #[test]
    fn the_front_is_what_none_dominates() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        for round in 0..500 {
            // Few distinct values, so that ties are common.
            let points: Vec<(f64, f64)> = (0..round % 17)
                .map(|_| {
                    (
                        f64::from(rng.random_range(0..6)),
                        f64::from(rng.random_range(0..6)),
                    )
                })
                .collect();
            let found = front(&points);
            for (index, &point) in points.iter().enumerate() {
                let dominated = points.iter().any(|&other| dominates(other, point));
                assert_eq!(
                    found.contains(&index),
                    !dominated,
                    "{index} of {points:?}: {found:?}"
                );
            }
            // Along the front, both rise together.
            for pair in found.windows(2) {
                let (a, b) = (points[pair[0]], points[pair[1]]);
                assert!(a == b || (a.0 < b.0 && a.1 < b.1));
            }
        }
    }

    #[test]
    fn order_and_units_do_not_matter() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let points: Vec<(f64, f64)> = (0..40).map(|_| (rng.random(), rng.random())).collect();
        let backwards: Vec<(f64, f64)> = points.iter().rev().map(|it| (1e6 * it.0, it.1)).collect();
        let mirrored: Vec<usize> = front(&backwards).into_iter().map(|it| 39 - it).collect();
        assert_eq!(front(&points), mirrored);
        assert_eq!(front(&[(f64::NAN, 1.0), (1.0, f64::NAN), (2.0, 0.1)]), [2]);
    }

    #[test]
    fn members_compete_at_one_budget() {
        let trial = |kind, epochs, accuracy, params, macs| Trial {
            kind,
            epochs,
            valid_top1: Some(accuracy),
            params,
            macs,
            ..Trial::default()
        };
        let trials = [
            trial(Kind::Search, 2, 0.70, 10, 100),
            trial(Kind::Search, 2, 0.80, 30, 90),
            trial(Kind::Baseline, 2, 0.85, 50, 95),
            trial(Kind::Search, 2, 0.75, 40, 99),
            trial(Kind::Rerank, 9, 0.99, 1, 1),
            trial(Kind::Baseline, 9, 0.98, 1, 1),
        ];
        assert_eq!(
            members(&trials),
            [
                (2, vec![Cost::Macs, Cost::Params]),
                (1, vec![Cost::Macs, Cost::Params]),
                (0, vec![Cost::Params]),
            ]
        );
    }
}
