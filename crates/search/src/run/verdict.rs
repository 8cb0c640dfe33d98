//! The verdict of a run: what the search found best, and the baselines, are trained again with more
//! epochs and other seeds, as the NASNet paper did with its best 250 (Zoph et al. 2018,
//! arXiv 1707.07012, section 4).
//!
//! A search picks the largest of many noisy accuracies, so the winner's is too good on average. The
//! verdict's are not: other seeds give other weights and another validation part. Whom to train again
//! is chosen by the search's reward alone, and the test part is looked at in the verdict only.

use std::collections::HashSet;

use cellwright_graph::Shape;
use cellwright_ledger::{Kind, Trial};
use cellwright_space::Choices;

use super::requests::request;
use super::{RunConfig, SpaceSource};
use crate::evaluator::Request;
use crate::{Error, Objective};

/// What is trained again: a baseline, or an architecture of the search.
struct Finalist<'a> {
    kind: Kind,
    /// The trial of the search or the baseline's first one.
    source: u32,
    space: &'a SpaceSource,
    choices: Choices,
    strategy: &'a str,
}

/// The requests of the verdict that have no row yet: all seeds of each of the best, then of each
/// baseline.
///
/// Their ids are the first free ones after the search's, so they are the same however often the run
/// was stopped in between; a run that goes on with more trials keeps the rows that are there.
///
/// # Errors
/// [`Error::Config`] where a row's choices cannot be read.
pub(super) fn requests(
    config: &RunConfig,
    trials: &[Trial],
    images: (Shape, usize),
) -> Result<Vec<Request>, Error> {
    let settings = &config.rerank;
    if settings.architectures == 0 {
        return Ok(Vec::new());
    }
    let done: HashSet<_> = trials
        .iter()
        .filter(|it| it.kind != Kind::Search)
        .filter_map(|it| Some((it.kind, it.source_trial?, it.epochs, it.seed)))
        .collect();
    let taken: HashSet<u32> = trials.iter().map(|it| it.id).collect();
    let searched = trials.iter().filter(|it| it.kind == Kind::Search);
    let first = searched
        .map(|it| it.id + 1)
        .max()
        .unwrap_or(config.baselines.len() as u32);
    let mut ids = (first..).filter(|id| !taken.contains(id));
    let mut requests = Vec::new();
    for finalist in finalists(config, trials)? {
        for seed in 1..=u64::from(settings.seeds) {
            let seed = config.training.seed.wrapping_add(seed);
            let epochs = settings.epochs as u32;
            if done.contains(&(finalist.kind, finalist.source, epochs, seed)) {
                continue;
            }
            let id = ids.next().unwrap_or(u32::MAX);
            let choices = finalist.choices.clone();
            let mut request = request(config, finalist.kind, id, finalist.space, choices, images);
            request.source = Some(finalist.source);
            request.strategy = finalist.strategy.to_owned();
            request.training.epochs = settings.epochs;
            request.training.seed = seed;
            request.training.test = true;
            requests.push(request);
        }
    }
    Ok(requests)
}

fn finalists<'a>(config: &'a RunConfig, trials: &'a [Trial]) -> Result<Vec<Finalist<'a>>, Error> {
    let found = |trial: &'a Trial| {
        Ok(Finalist {
            kind: Kind::Rerank,
            source: trial.id,
            space: &config.space,
            choices: trial.choices.parse().map_err(|error| Error::Config {
                path: format!("trial {}", trial.id).into(),
                message: format!("its choices cannot be read: {error}"),
            })?,
            strategy: &trial.strategy,
        })
    };
    let baseline = |(id, space): (usize, &'a SpaceSource)| {
        Ok(Finalist {
            kind: Kind::Baseline,
            source: id as u32,
            space,
            choices: Choices::default(),
            strategy: "",
        })
    };
    let best = best(
        trials,
        config.rerank.architectures as usize,
        &config.objective,
    );
    let baselines = config.baselines.iter().enumerate().map(baseline);
    best.into_iter().map(found).chain(baselines).collect()
}

/// The best trial of each of the `count` best distinct architectures: of the highest rung, there by
/// reward; of equal ones the earlier.
fn best<'a>(trials: &'a [Trial], count: usize, objective: &Objective) -> Vec<&'a Trial> {
    let mut ranked: Vec<(&Trial, f64)> = trials
        .iter()
        .filter(|it| it.kind == Kind::Search)
        .filter_map(|it| Some((it, objective.reward(it)?)))
        .collect();
    ranked.sort_by(|(a, x), (b, y)| {
        let by_rung = b.rung.cmp(&a.rung);
        by_rung.then(y.total_cmp(x)).then(a.id.cmp(&b.id))
    });
    let mut seen = HashSet::new();
    ranked.retain(|(trial, _)| seen.insert(trial.identity.as_str()));
    ranked.truncate(count);
    ranked.into_iter().map(|(trial, _)| trial).collect()
}
