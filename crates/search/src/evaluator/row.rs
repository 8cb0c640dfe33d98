//! The row of a trial, as far as it is known before and without training.

use std::time::Instant;

use cellwright_graph::Graph;
use cellwright_ledger::{Status, Trial, timestamp};

use super::{Request, Row};
use crate::Error;
use crate::run::{SpaceSource, build};

/// What a request's row says before training: names, counts, settings. The graph, or why there is
/// none.
pub(crate) fn describe(request: &Request) -> (Trial, Result<Graph, Error>) {
    let mut trial = Trial {
        id: request.id,
        kind: request.kind,
        overrides: overrides(&request.space),
        choices: request.choices.to_string(),
        source_trial: request.source,
        strategy: request.strategy.clone(),
        seed: request.training.seed,
        dataset: request.dataset.name.clone(),
        input: format!(
            "{}x{}x{}",
            request.input.channels, request.input.height, request.input.width
        ),
        classes: request.classes as u32,
        epochs: request.training.epochs as u32,
        rung: request.rung,
        batch: request.training.batch as u32,
        device: request.device.to_string(),
        threads: request.threads as u32,
        started_at: timestamp(std::time::SystemTime::now()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Trial::default()
    };
    let graph = request.space.space().and_then(|space| {
        trial.space = space.name().to_owned();
        trial.architecture = space.notation(&request.choices);
        build(&space, &request.choices, request.input, request.classes)
    });
    if let Ok(graph) = &graph {
        trial.params = graph.params();
        trial.macs = graph.macs();
        trial.flops = graph.flops();
        trial.activation_bytes = graph.activation_bytes(request.training.batch);
        trial.identity = graph.identity();
        trial.graph = serde_json::to_string(graph).ok();
    }
    (trial, graph)
}

/// The row of a trial that failed.
pub(crate) fn failed(trial: Trial, reason: String, started: Instant) -> Row {
    without_numbers(trial, Status::Failed, reason, started)
}

/// The row of a network that is not trained because it is beyond a limit.
pub(crate) fn refused(trial: Trial, reason: String, started: Instant) -> Row {
    without_numbers(trial, Status::Refused, reason, started)
}

fn without_numbers(trial: Trial, status: Status, reason: String, started: Instant) -> Row {
    Row {
        trial: Trial {
            status,
            reason: Some(reason),
            total_seconds: Some(started.elapsed().as_secs_f64()),
            ..trial
        },
        curve: Vec::new(),
        unsaved: None,
    }
}

fn overrides(source: &SpaceSource) -> String {
    let pairs: Vec<String> = source
        .set
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join(" ")
}

/// What a panic says.
pub(crate) fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no reason is known")
}
