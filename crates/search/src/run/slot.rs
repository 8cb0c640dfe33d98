//! A slot: one trial after the other, each with its row.

use cellwright_ledger::Run as Folder;

use super::queue::Queue;
use super::{FAILED, RunWatch};
use crate::evaluator::{Evaluator, Progress, Watch};
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
        watch.started(slot, &request);
        let result = evaluator
            .evaluate(slot, &request, &SlotWatch { slot, watch })
            .and_then(|mut row| {
                row.trial.reward = objective.reward(&row.trial).or(Some(FAILED));
                folder.write_curve(row.trial.id, &row.curve)?;
                folder.write_trial(&row.trial)?;
                watch.finished(slot, &row);
                Ok(row)
            });
        queue.done(result);
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
