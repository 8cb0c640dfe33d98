//! The run: a strategy asks, an evaluator answers, the ledger keeps, and nothing finished is lost.

use std::collections::HashSet;

use cellwright_graph::Shape;
use cellwright_ledger::Run as Folder;
use cellwright_space::Space;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::Error;
use crate::evaluator::{Evaluator, Progress, Request, Row};

mod config;
mod defaults;
mod queue;
mod requests;
mod search;
mod slot;
mod verdict;

pub use cellwright_train::{Precision, Settings};
pub use config::{
    DatasetConfig, DeviceSpec, MachineConfig, RerankConfig, RunConfig, SearchConfig, SpaceSource,
    VERSION, build,
};
pub use defaults::{Picked, pick_dataset, pick_device};

use queue::Queue;
use search::Search;

/// A failed trial's reward in the table; each strategy has its own way to take a failure.
const FAILED: f64 = 0.0;

/// Looks on while a run is under way. Slots are 0..[`Evaluator::slots`].
pub trait RunWatch: Sync {
    /// A trial begins.
    fn started(&self, slot: usize, request: &Request);
    /// A trial is so far.
    fn progress(&self, slot: usize, progress: Progress);
    /// A trial is over and its row is in the ledger.
    fn finished(&self, slot: usize, row: &Row);
    /// The verdict begins: so many epochs of it are left.
    fn verdict(&self, _epochs: u64) {}
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
    /// Thousands of architectures in a row, the strategy's and at random, were known already, in a space too large
    /// to go through.
    NothingNew,
    /// Hundreds of architectures in a row are beyond a limit of the objective.
    BeyondLimits,
    /// The user stopped it; it can be resumed.
    Stopped,
}

/// Checks all of a run that can be checked before it begins: its space, its baselines, its strategy.
///
/// # Errors
/// Those that [`run`] would end with before the first trial.
pub fn check(config: &RunConfig, input: Shape, classes: usize) -> Result<(), Error> {
    let space = config.space.space()?;
    requests::baselines(config, input, classes)?;
    Search::new(config, &space, input, classes, &[])?;
    something_builds(&space, input, classes)
}

/// Refuses a space of which some hundred architectures at random cannot be built for these images, none of them.
fn something_builds(space: &Space, input: Shape, classes: usize) -> Result<(), Error> {
    const TRIED: usize = 100;
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut first = None;
    for _ in 0..TRIED {
        match build(space, &space.sample(&mut rng), input, classes) {
            Ok(_) => return Ok(()),
            Err(error) => drop(first.get_or_insert(error)),
        }
    }
    Err(Error::NothingBuilds {
        space: space.name().to_owned(),
        images: format!("{input} and {classes} classes"),
        tried: TRIED,
        reason: first.map_or_else(String::new, |it| it.to_string()),
    })
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
    let baselines = requests::baselines(config, input, classes)?;
    let trials = folder.trials()?.rows;
    let done: HashSet<u32> = trials.iter().map(|it| it.id).collect();
    let missing = baselines.into_iter().filter(|it| !done.contains(&it.id));
    let mut search = Search::new(config, &space, input, classes, &trials)?;

    let queue = Queue::default();
    let result = std::thread::scope(|scope| {
        // However this ends, slots that wait go home, and the scope is left.
        let _ends = queue.ends();
        for slot in 0..evaluator.slots() {
            let queue = &queue;
            std::thread::Builder::new()
                .spawn_scoped(scope, move || {
                    slot::serve(slot, queue, folder, evaluator, &config.objective, watch);
                })
                .map_err(|reason| Error::Slots {
                    slots: evaluator.slots(),
                    reason,
                })?;
        }
        queue.push_later(missing);
        let ending = search.drive(&queue, folder, watch)?;
        // The verdict rests on rows of baselines too, for their ids.
        let trials = folder.trials()?.rows;
        let verdict = verdict::requests(config, &trials, (input, classes))?;
        watch.verdict(verdict.iter().map(|it| it.training.epochs as u64).sum());
        queue.push(verdict);
        queue.finish()?;
        Ok(ending)
    });
    match result {
        Err(Error::Stopped) => Ok(Ending::Stopped),
        result => result,
    }
}
