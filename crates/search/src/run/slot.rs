//! A slot: one trial after the other, each with its row.

use std::panic::{AssertUnwindSafe, catch_unwind};

use cellwright_ledger::Run as Folder;

use super::queue::Queue;
use super::{FAILED, RunWatch};
use crate::evaluator::{Evaluator, Progress, Request, Row, Watch, message};
use crate::{Error, Objective};

/// Evaluates requests on one slot and writes their rows, until the queue ends.
pub(super) fn serve(
    slot: usize,
    queue: &Queue,
    folder: &Folder,
    evaluator: &dyn Evaluator,
    objective: &Objective,
    watch: &dyn RunWatch,
) {
    while let Some(request) = queue.next() {
        if watch.stopped() {
            queue.done(Err(Error::Stopped));
            return;
        }
        let one = |request: &Request| -> Result<Row, Error> {
            watch.started(slot, request);
            let mut row = evaluator.evaluate(slot, request, &SlotWatch { slot, watch })?;
            row.trial.reward = objective.reward(&row.trial).or(Some(FAILED));
            folder.write_curve(row.trial.id, &row.curve)?;
            folder.write_trial(&row.trial)?;
            watch.finished(slot, &row);
            Ok(row)
        };
        // Whoever waits for the row has to be told that it will not come.
        let result = catch_unwind(AssertUnwindSafe(|| one(&request)));
        queue.done(result.unwrap_or_else(|panic| {
            let reason = format!("trial {}: crashed: {}", request.id, message(&*panic));
            Err(Error::Worker(reason))
        }));
    }
}

/// A run's watch, seen from a slot.
struct SlotWatch<'a> {
    slot: usize,
    watch: &'a dyn RunWatch,
}

impl Watch for SlotWatch<'_> {
    fn progress(&self, progress: Progress) {
        self.watch.progress(self.slot, progress);
    }

    fn stopped(&self) -> bool {
        self.watch.stopped()
    }
}
