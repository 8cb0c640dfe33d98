//! Which entries are final in each run, and the best of them.

use std::collections::BTreeSet;

use cellwright_ledger::{Kind, Status};

use crate::data::{Data, Entry, RunData};
use crate::numbers::counted;
use crate::settings::by_value;

impl Data {
    /// The final entries of each run: what was trained again, where something found was, else what the search trained,
    /// with successive halving that on the highest rung; and the baselines beside it. What failed decides nothing.
    pub(crate) fn finalists(&self) -> Vec<&Entry> {
        let highest = self.highest_rungs();
        let rerank = self.most_epochs(|entry| entry.kind == Kind::Rerank);
        let baseline = self.most_epochs(|entry| {
            // Beside a found one of the same verdict, or of none.
            let beside = |run: usize| rerank[run] >= Some(entry.epochs) || !self.is_verdict(entry);
            entry.kind == Kind::Baseline && entry.runs().any(beside)
        });
        self.entries
            .iter()
            .filter(|entry| entry.is_finished())
            .filter(|entry| match entry.kind {
                Kind::Baseline => {
                    let mut runs = entry.runs();
                    runs.any(|run| Some(entry.epochs) == baseline[run]) || self.stands_in(entry)
                }
                Kind::Rerank => Some(entry.epochs) == rerank[entry.run],
                Kind::Search => {
                    rerank[entry.run].is_none() && self.trial(entry).rung == highest[entry.run]
                }
            })
            .collect()
    }

    /// The most epochs of each run's finished entries among some.
    fn most_epochs(&self, among: impl Fn(&Entry) -> bool) -> Vec<Option<u32>> {
        let mut most = vec![None; self.runs.len()];
        for entry in &self.entries {
            if entry.is_finished() && among(entry) {
                for run in entry.runs() {
                    most[run] = most[run].max(Some(entry.epochs));
                }
            }
        }
        most
    }

    /// Whether a baseline's training of the search stands for that of the verdict, which failed: it is shorter than
    /// what it stands beside.
    pub(crate) fn stands_in(&self, entry: &Entry) -> bool {
        let in_run = |run: usize| {
            let longer = |other: &&Entry| {
                other.kind == Kind::Baseline
                    && other.label == entry.label
                    && other.epochs > entry.epochs
                    && other.runs().any(|it| it == run)
            };
            let mut longer = self.entries.iter().filter(longer).peekable();
            self.has_verdict(run) && longer.peek().is_some() && longer.all(|it| !it.is_finished())
        };
        entry.kind == Kind::Baseline && entry.is_finished() && entry.runs().any(in_run)
    }

    /// Whether something that a run found was trained again, and it did not fail.
    pub(crate) fn has_verdict(&self, run: usize) -> bool {
        !self.verdicts(run).is_empty()
    }

    /// After how many epochs a run's verdicts are, where not all failed; the last one, the most, is what counts.
    pub(crate) fn verdicts(&self, run: usize) -> BTreeSet<u32> {
        let again = |it: &&Entry| it.kind == Kind::Rerank && it.run == run && it.is_finished();
        let again = self.entries.iter().filter(again);
        again.map(|it| it.epochs).collect()
    }

    /// Whether an entry is a training of the verdict.
    pub(crate) fn is_verdict(&self, entry: &Entry) -> bool {
        self.trial(entry).is_verdict()
    }

    /// The highest rung of each run's finished trials; none without successive halving.
    pub(crate) fn highest_rungs(&self) -> Vec<Option<u32>> {
        let highest = |run: &RunData| {
            let done = run.trials.iter().filter(|it| it.status == Status::Done);
            done.map(|trial| trial.rung).max().flatten()
        };
        self.runs.iter().map(highest).collect()
    }

    /// The best of the finalists that each run found; of equal ones that which stands first.
    pub(crate) fn best_of_runs(&self) -> Vec<&Entry> {
        let mut best: Vec<&Entry> = Vec::new();
        for entry in self.finalists() {
            if entry.kind != Kind::Baseline && best.iter().all(|it| it.run != entry.run) {
                best.push(entry);
            }
        }
        best
    }

    /// The best of the finalists that the search found, over all runs; of equal ones that which stands first.
    pub(crate) fn best_found(&self) -> Option<&Entry> {
        self.finalists()
            .into_iter()
            .find(|entry| entry.kind != Kind::Baseline)
    }

    /// The best of the baselines.
    pub(crate) fn best_baseline(&self) -> Option<&Entry> {
        self.finalists()
            .into_iter()
            .find(|entry| entry.kind == Kind::Baseline)
    }

    /// Warns where what is best of each run was not trained alike.
    pub(crate) fn budgets(&self) -> Option<String> {
        let budget = |entry: &Entry| {
            let part = match entry.kind {
                Kind::Rerank => "verdict",
                _ => "search",
            };
            let run = self.runs[entry.run].name.as_str();
            (
                run,
                format!("the {part}'s {}", counted(entry.epochs, "epoch")),
            )
        };
        let mut best = self.best_of_runs();
        best.sort_by_key(|entry| entry.run);
        let values = by_value(best.into_iter().map(budget))?;
        Some(format!(
            "the best found stand side by side after trainings that do not compare: {values}"
        ))
    }
}
