//! The search of a run: a strategy's batches are trained as far as the epochs reach, and it is told.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use cellwright_graph::Shape;
use cellwright_ledger::{Kind, Run as Folder, Status, Trial};
use cellwright_space::{Choices, Space};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::queue::Queue;
use super::requests::request;
use super::{Ending, FAILED, RunConfig, RunWatch, build};
use crate::Error;
use crate::evaluator::{Request, describe, refused};
use crate::identity::Identities;
use crate::objective::beyond;
use crate::schedule::{Job, Outcome, Schedule};
use crate::strategy::{self, Strategy};

/// After so many batches in a row in which all is known, what the strategy lacks is looked for.
const STALE: usize = 2_000;
/// The same in a space that can be gone through.
const STALE_LISTED: usize = 100;
/// After so many, where that was so once.
const STALE_AGAIN: usize = 20;
/// So many architectures at random are then looked at for one that is not known.
const DRAWS: usize = 2_000;
/// Where all of those are known, a space of at most so many architectures is gone through.
const LISTED: u32 = 100_000;

/// Whether a space can be gone through.
fn listed(space: &Space) -> bool {
    space.count().is_some_and(|it| it <= LISTED.into())
}

/// So many architectures in a row beyond a limit mean that nothing else is to be found.
const TOO_LARGE: usize = 500;

/// The search itself: one strategy, what it has asked for and what came of it.
pub(super) struct Search<'a> {
    config: &'a RunConfig,
    space: &'a Space,
    identities: Identities,
    input: Shape,
    classes: usize,
    strategy: Box<dyn Strategy>,
    /// Rows of an earlier process that are still to come, by id.
    earlier: VecDeque<Trial>,
    /// Every architecture so far, in the order in which they were asked for.
    architectures: Vec<Choices>,
    /// The place of each identity among them.
    known: HashMap<Arc<str>, usize>,
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
    /// Of what is tried where the strategy finds nothing new.
    rng: ChaCha8Rng,
}

/// One architecture of a batch: its choices and its identity.
struct Asked {
    choices: Choices,
    identity: Arc<str>,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        config: &'a RunConfig,
        space: &'a Space,
        input: Shape,
        classes: usize,
        trials: &[Trial],
    ) -> Result<Self, Error> {
        let earlier = trials.iter().filter(|it| it.kind == Kind::Search).cloned();
        let mut identities = Identities::new(space, input, classes);
        if !config.objective.is_accuracy() {
            identities = identities.with_costs();
        }
        Ok(Search {
            config,
            space,
            input,
            classes,
            strategy: strategy::create(&config.search.strategy, &identities, config.search.seed)?,
            identities,
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
            // Far from the strategy's own numbers, which are of the same seed.
            rng: ChaCha8Rng::seed_from_u64(!config.search.seed),
        })
    }

    /// Asks and tells until the epochs are spent.
    pub(super) fn drive(
        &mut self,
        queue: &Queue,
        folder: &Folder,
        watch: &dyn RunWatch,
    ) -> Result<Ending, Error> {
        let patience = if listed(self.space) {
            STALE_LISTED
        } else {
            STALE
        };
        let (mut stale, mut patience) = (0, patience);
        while self.left > 0 {
            // Where all of a batch is known or beyond a limit, no slot looks.
            if watch.stopped() {
                return Err(Error::Stopped);
            }
            let mut batch = self.ask();
            if stale >= patience {
                patience = STALE_AGAIN;
                match self.unknown() {
                    Ok(choices) => batch.push(self.asked(choices)),
                    Err(ending) => return Ok(ending),
                }
            }
            let before = self.left;
            let complete = self.evaluate(&batch, queue, folder)?;
            if complete {
                self.tell(batch, folder)?;
            }
            stale = if self.left == before { stale + 1 } else { 0 };
            if self.too_large >= TOO_LARGE {
                return Ok(Ending::BeyondLimits);
            }
        }
        Ok(Ending::Complete)
    }

    /// The strategy's next batch. An architecture that cannot be built for these images becomes a failed
    /// trial.
    fn ask(&mut self) -> Vec<Asked> {
        let asked = self.strategy.ask().into_iter();
        asked.map(|it| self.asked(it)).collect()
    }

    fn asked(&self, choices: Choices) -> Asked {
        Asked {
            identity: self.identities.get(&choices),
            choices,
        }
    }

    /// An architecture that is not known yet, which a strategy that repeats itself does not ask for; or how the search
    /// ends where there is none, or none is met.
    fn unknown(&mut self) -> Result<Choices, Ending> {
        let (known, identities) = (&self.known, &self.identities);
        let is_new = |it: &Choices| !known.contains_key(&identities.get(it));
        let mut draws = (0..DRAWS).map(|_| self.space.sample(&mut self.rng));
        if let Some(choices) = draws.find(is_new) {
            return Ok(choices);
        }
        if listed(self.space) {
            let mut all = self.space.architectures();
            return all.find(is_new).ok_or(Ending::Exhausted);
        }
        Err(Ending::NothingNew)
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
            if !self.spend(job, refused.is_some()) {
                break;
            }
            let (id, earlier) = self.next_trial(job)?;
            self.too_large = if refused.is_some() {
                self.too_large + 1
            } else {
                0
            };
            ids.push(id);
            match (earlier, refused) {
                (Some(trial), _) => drop(trials.insert(id, trial)),
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
            let outcome = trials
                .get(id)
                .map_or(Outcome::Failed, |it| self.outcome(it));
            self.schedule.record(job, outcome);
        }
        Ok(ids.len() == jobs.len())
    }

    /// What a row says to the schedule.
    fn outcome(&self, trial: &Trial) -> Outcome {
        match trial.status {
            Status::Refused => Outcome::Refused,
            Status::Done | Status::Failed => self
                .config
                .objective
                .reward(trial)
                .map_or(Outcome::Failed, Outcome::Reward),
        }
    }

    /// Spends the epochs of the next trial; where too few are left, none are from now on, which ends the search.
    fn spend(&mut self, job: Job, refused: bool) -> bool {
        let epochs = if refused {
            0
        } else {
            self.schedule.epochs(job.rung) as u64
        };
        let left = self.left.checked_sub(epochs);
        self.left = left.unwrap_or(0);
        left.is_some()
    }

    /// The id of the next trial, and its row if an earlier process left one.
    ///
    /// A run that goes on with more trials has rows of its verdict between those of the search, and where such a row is
    /// lost its id looks free. So the next earlier row is taken by what it is of, wherever it stands, and only what
    /// has no row takes a free id: one before that row, or the run has diverged.
    fn next_trial(&mut self, job: Job) -> Result<(u32, Option<Trial>), Error> {
        let choices = self.architectures[job.architecture].to_string();
        let epochs = self.schedule.epochs(job.rung);
        let first = self.next_id;
        let is_next = |it: &mut Trial| {
            it.id >= first && it.choices == choices && it.epochs as usize == epochs
        };
        let earlier = self.earlier.pop_front_if(is_next);
        let mut free = (first..).filter(|id| !self.taken.contains(id));
        let id = match &earlier {
            Some(trial) => trial.id,
            None => free.next().unwrap_or(u32::MAX),
        };
        match self.earlier.front() {
            Some(trial) if trial.id <= id => Err(Error::Diverged { id: trial.id }),
            _ => {
                self.next_id = id + 1;
                Ok((id, earlier))
            }
        }
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
        let mut trial = refused(trial, reason, Instant::now()).trial;
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
