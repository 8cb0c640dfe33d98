//! What an evaluator is asked for: the baselines, and one architecture of the space.

use cellwright_graph::Shape;
use cellwright_ledger::Kind;
use cellwright_space::Choices;

use super::{RunConfig, Settings, SpaceSource, build};
use crate::Error;
use crate::evaluator::Request;

/// The requests of all baselines, which have the first ids, each checked: it has no decisions and its shapes match.
pub(super) fn baselines(
    config: &RunConfig,
    input: Shape,
    classes: usize,
) -> Result<Vec<Request>, Error> {
    let request = |(id, source): (usize, &SpaceSource)| {
        let space = source.space()?;
        if !space.decisions().is_empty() {
            return Err(Error::NotABaseline {
                path: source.path.clone(),
                decisions: space.decisions().len(),
            });
        }
        let choices = Choices::default();
        build(&space, &choices, input, classes)?;
        Ok(request(
            config,
            Kind::Baseline,
            id as u32,
            source,
            choices,
            (input, classes),
        ))
    };
    config.baselines.iter().enumerate().map(request).collect()
}

/// The training of one architecture, under the configuration's settings for its kind.
pub(super) fn request(
    config: &RunConfig,
    kind: Kind,
    id: u32,
    space: &SpaceSource,
    choices: Choices,
    (input, classes): (Shape, usize),
) -> Request {
    Request {
        id,
        kind,
        space: space.clone(),
        choices,
        strategy: if kind == Kind::Search {
            config.search.strategy.clone()
        } else {
            String::new()
        },
        dataset: config.dataset.clone(),
        input,
        classes,
        limits: match kind {
            Kind::Search => config.objective.limits.clone(),
            Kind::Baseline | Kind::Rerank => Vec::new(),
        },
        training: Settings {
            // Where there is a verdict, the search does not look at the test part.
            test: config.training.test && config.rerank.architectures == 0,
            ..config.training.clone()
        },
        source: None,
        rung: None,
        device: config.machine.device,
        threads: config.machine.threads,
        weights: None,
        checkpoint: None,
    }
}
