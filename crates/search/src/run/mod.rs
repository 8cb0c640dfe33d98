//! The run: a strategy asks, an evaluator answers, the ledger keeps, and nothing finished is lost.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use cellwright_graph::Shape;
use cellwright_ledger::{Kind, Run as Folder, Trial};
use cellwright_space::{Choices, Space};

use crate::evaluator::{Evaluator, Progress, Request, Row, Watch, describe, failed};
use crate::identity::Identities;
use crate::objective::beyond;
use crate::schedule::{Job, Schedule};
use crate::strategy::{self, Strategy};
use crate::{Error, Objective};

mod config;
mod defaults;
mod queue;
mod verdict;

pub use cellwright_train::Settings;
pub use config::{
    DatasetConfig, DeviceSpec, MachineConfig, RerankConfig, RunConfig, SearchConfig, SpaceSource,
    VERSION, build,
};
pub use defaults::{Picked, pick_dataset, pick_device};

use queue::Queue;

/// So many architectures in a row that are all known already mean that the space is exhausted.
const STALE: usize = 2_000;

/// So many architectures in a row beyond a limit mean that nothing else is to be found.
const TOO_LARGE: usize = 500;

/// Looks on while a run is under way. Slots are 0..[`Evaluator::slots`].
pub trait RunWatch: Sync {
    /// A trial begins.
    fn started(&self, slot: usize, request: &Request);
    /// A trial is so far.
    fn progress(&self, slot: usize, progress: Progress);
    /// A trial is over and its row is in the ledger.
    fn finished(&self, slot: usize, row: &Row);
    /// Whether the user wants to stop.
    fn stopped(&self) -> bool;
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All that was asked for is in the ledger.
    Complete,
    /// The space has no further distinct architecture.
    Exhausted,
    /// Hundreds of architectures in a row are beyond a limit of the objective.
    BeyondLimits,
    /// The user stopped it; it can be resumed.
    Stopped,
}

/// Runs what is left of a run: everything in a new folder, what is missing in a resumed one.
///
/// The sequence of architectures depends on the configuration alone: not on the number of slots,
/// and not on where an earlier process was stopped.
///
/// # Errors
/// What makes the whole run impossible: a wrong space, shapes that cannot match in a baseline, no
/// images, a ledger that cannot be written. Failed trials are rows, not errors.
pub fn run(
    config: &RunConfig,
    input: Shape,
    classes: usize,
    folder: &Folder,
    evaluator: &dyn Evaluator,
    watch: &dyn RunWatch,
) -> Result<Ending, Error> {
    let space = config.space.space()?;
    let baselines = baselines(config, input, classes)?;
    let trials = folder.trials()?.rows;
    let done: HashSet<u32> = trials.iter().map(|it| it.id).collect();
    let missing = baselines.into_iter().filter(|it| !done.contains(&it.id));
    let mut search = Search::new(config, &space, input, classes, &trials)?;

    let queue = Queue::default();
    queue.push_later(missing);
    let result = std::thread::scope(|scope| {
        for slot in 0..evaluator.slots() {
            let queue = &queue;
            let objective = &config.objective;
            scope.spawn(move || serve(slot, queue, folder, evaluator, objective, watch));
        }
        let result = search.drive(&queue, folder, watch).and_then(|ending| {
            // The verdict rests on rows of baselines too, for their ids.
            let trials = folder.trials()?.rows;
            queue.push(verdict::requests(config, &trials, (input, classes))?);
            queue.finish()?;
            Ok(ending)
        });
        queue.close();
        result
    });
    match result {
        Err(Error::Stopped) => Ok(Ending::Stopped),
        result => result,
    }
}

/// A failed trial's reward in the table; each strategy has its own way to take a failure.
const FAILED: f64 = 0.0;

/// Evaluates requests on one slot and writes their rows, until the queue ends.
fn serve(
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

/// The requests of all baselines, which have the first ids, each checked: it has no decisions and its shapes match.
fn baselines(config: &RunConfig, input: Shape, classes: usize) -> Result<Vec<Request>, Error> {
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

fn request(
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

/// The search itself: one strategy, what it has asked for and what came of it.
struct Search<'a> {
    config: &'a RunConfig,
    space: &'a Space,
    identities: Identities,
    input: Shape,
    classes: usize,
    strategy: Box<dyn Strategy>,
    /// Rows of an earlier process, by id.
    earlier: HashMap<u32, Trial>,
    /// Every architecture so far, in the order in which they were asked for.
    architectures: Vec<Choices>,
    /// The place of each identity among them.
    known: HashMap<String, usize>,
    /// For how long each is trained, and what came of it.
    schedule: Schedule,
    /// Ids of rows that are not the search's.
    taken: HashSet<u32>,
    /// The id of the search's next trial, if it is not taken: the baselines have those before.
    next_id: u32,
    /// Epochs that are left. What is beyond a limit of counted costs takes none: it has a row and an id, but
    /// nothing was run.
    left: u64,
    /// Architectures in a row that were beyond such a limit.
    too_large: usize,
}

/// One architecture of a batch: its choices and its identity.
struct Asked {
    choices: Choices,
    identity: String,
}

impl<'a> Search<'a> {
    fn new(
        config: &'a RunConfig,
        space: &'a Space,
        input: Shape,
        classes: usize,
        trials: &[Trial],
    ) -> Result<Self, Error> {
        let earlier = trials
            .iter()
            .filter(|it| it.kind == Kind::Search)
            .map(|it| (it.id, it.clone()));
        Ok(Search {
            config,
            space,
            identities: Identities::new(space, input, classes),
            input,
            classes,
            strategy: strategy::create(&config.search.strategy, space, config.search.seed)?,
            earlier: earlier.collect(),
            architectures: Vec::new(),
            known: HashMap::new(),
            schedule: Schedule::new(config.training.epochs, config.search.halving)
                .map_err(Error::Halving)?,
            taken: trials
                .iter()
                .filter(|it| it.kind != Kind::Search)
                .map(|it| it.id)
                .collect(),
            next_id: config.baselines.len() as u32,
            left: u64::from(config.search.trials) * config.training.epochs as u64,
            too_large: 0,
        })
    }

    /// Asks and tells until the epochs are spent.
    fn drive(
        &mut self,
        queue: &Queue,
        folder: &Folder,
        watch: &dyn RunWatch,
    ) -> Result<Ending, Error> {
        let mut stale = 0;
        while self.left > 0 {
            // Where all of a batch is known or beyond a limit, no slot looks.
            if watch.stopped() {
                return Err(Error::Stopped);
            }
            let batch = self.ask();
            let before = self.left;
            let complete = self.evaluate(&batch, queue, folder)?;
            if complete {
                self.tell(batch, folder)?;
            }
            stale = if self.left == before { stale + 1 } else { 0 };
            if stale == STALE {
                return Ok(Ending::Exhausted);
            }
            if self.too_large >= TOO_LARGE {
                return Ok(Ending::BeyondLimits);
            }
        }
        Ok(Ending::Complete)
    }

    /// The strategy's next batch. An architecture that cannot be built for these images becomes a failed
    /// trial.
    fn ask(&mut self) -> Vec<Asked> {
        let asked = |choices: Choices| Asked {
            identity: self.identities.get(&choices),
            choices,
        };
        self.strategy.ask().into_iter().map(asked).collect()
    }

    /// Has all new architectures of a batch trained, and whatever is due for promotion then, as far as
    /// the epochs reach. Whether all of the batch is known now.
    fn evaluate(&mut self, batch: &[Asked], queue: &Queue, folder: &Folder) -> Result<bool, Error> {
        let mut jobs = Vec::new();
        for asked in batch {
            if self.known.contains_key(&asked.identity) {
                continue;
            }
            let architecture = self.architectures.len();
            self.known.insert(asked.identity.clone(), architecture);
            self.architectures.push(asked.choices.clone());
            jobs.push(Job {
                architecture,
                rung: 0,
            });
        }
        while !jobs.is_empty() {
            if !self.train(&jobs, queue, folder)? {
                return Ok(false);
            }
            jobs = self.schedule.promotions();
        }
        Ok(true)
    }

    /// Trains in order, as far as the epochs reach. Whether they reached for all.
    fn train(&mut self, jobs: &[Job], queue: &Queue, folder: &Folder) -> Result<bool, Error> {
        let mut ids = Vec::new();
        let mut trials = HashMap::new();
        let mut requests = Vec::new();
        for &job in jobs {
            let refused = self.too_large(&self.architectures[job.architecture]);
            let epochs = self.schedule.epochs(job.rung) as u64;
            let Some(id) = self.next_id(if refused.is_some() { 0 } else { epochs }) else {
                break;
            };
            self.too_large = if refused.is_some() {
                self.too_large + 1
            } else {
                0
            };
            ids.push(id);
            match (self.earlier.remove(&id), refused) {
                (Some(trial), _) => {
                    self.check(&trial, job)?;
                    trials.insert(id, trial);
                }
                (None, Some(reason)) => {
                    trials.insert(id, self.refuse(&self.request(id, job), reason, folder)?);
                }
                (None, None) => requests.push(self.request(id, job)),
            }
        }
        let count = requests.len();
        queue.push(requests);
        let rows = queue.wait(Kind::Search, count)?;
        trials.extend(rows.into_iter().map(|row| (row.trial.id, row.trial)));
        for (&job, id) in jobs.iter().zip(&ids) {
            let reward = trials
                .get(id)
                .and_then(|it| self.config.objective.reward(it));
            self.schedule.record(job, reward);
        }
        Ok(ids.len() == jobs.len())
    }

    /// The id of the next trial, whose epochs are spent; none where too few are left, which ends the
    /// search. A run that goes on with more trials has rows of its verdict between.
    fn next_id(&mut self, epochs: u64) -> Option<u32> {
        let Some(left) = self.left.checked_sub(epochs) else {
            self.left = 0;
            return None;
        };
        self.left = left;
        while self.taken.contains(&self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        Some(self.next_id - 1)
    }

    fn request(&self, id: u32, job: Job) -> Request {
        let images = (self.input, self.classes);
        let choices = self.architectures[job.architecture].clone();
        let space = &self.config.space;
        let mut request = request(self.config, Kind::Search, id, space, choices, images);
        request.training.epochs = self.schedule.epochs(job.rung);
        request.training.test &= self.schedule.is_highest(job.rung);
        request.rung = self.config.search.halving.map(|_| job.rung as u32);
        request
    }

    /// Whether a row of an earlier process is of what would be trained now.
    fn check(&self, trial: &Trial, job: Job) -> Result<(), Error> {
        let choices = self.architectures[job.architecture].to_string();
        let epochs = self.schedule.epochs(job.rung);
        if trial.choices != choices || trial.epochs as usize != epochs {
            return Err(Error::Diverged { id: trial.id });
        }
        Ok(())
    }

    /// Why an architecture is beyond a limit of what is counted; none where it is not, or cannot be built.
    fn too_large(&self, choices: &Choices) -> Option<String> {
        let limits = &self.config.objective.limits;
        if limits.is_empty() {
            return None;
        }
        let graph = build(self.space, choices, self.input, self.classes).ok()?;
        let counted = Trial {
            macs: graph.macs(),
            params: graph.params(),
            ..Trial::default()
        };
        beyond(limits, &counted)
    }

    /// The row of an architecture beyond a limit.
    fn refuse(&self, request: &Request, reason: String, folder: &Folder) -> Result<Trial, Error> {
        let (trial, _) = describe(request);
        let mut trial = failed(trial, reason, Instant::now()).trial;
        trial.reward = Some(FAILED);
        folder.write_trial(&trial)?;
        Ok(trial)
    }

    fn tell(&mut self, batch: Vec<Asked>, folder: &Folder) -> Result<(), Error> {
        let told: Vec<_> = batch
            .into_iter()
            .map(|asked| {
                let known = self.known.get(&asked.identity);
                let told = known.and_then(|known| self.schedule.told(*known));
                (asked.choices, told)
            })
            .collect();
        self.strategy.tell(&told)?;
        for update in self.strategy.updates() {
            folder.write_controller_update(&update)?;
        }
        Ok(())
    }
}
