//! Training on a device that runs whole steps as programs.
//!
//! The network on dfdx's device holds what has been learned before, and after where it is wanted there; in between it is
//! in the programs' memory.

use std::sync::Arc;

use cellwright_data::{Augmentation, Dataset, Part, Plan};
use cellwright_net::{Network, Purpose};
use cellwright_ops::optimiser::{Settings, State};
use cellwright_ops::program::{Batch, Control, Precision, Runner, Totals, Weights};
use cellwright_ops::{Kernels, Optimiser};

use crate::evaluate::{self, Accuracy};
use crate::feed::{Feed, keep};
use crate::pace::End;
use crate::{Error, Settings as Training};

/// In evaluation nothing is drawn and nothing moves.
pub(crate) const STILL: Control = Control {
    seed: 0,
    progress: 1.0,
    learning_rate: 0.0,
};

/// Steps between two looks at the loss, each of which waits for the device.
const LOOK: u64 = 16;

/// The programs of a training.
pub(crate) struct Programmed {
    train: Box<dyn Runner>,
    evaluate: Box<dyn Runner>,
    /// Whether the device keeps the data set.
    kept: bool,
    steps: u64,
}

impl Programmed {
    /// The programs for batches of `batch` images, if the network's device has any.
    pub fn new<D: Kernels>(
        network: &Network<D>,
        settings: &Training,
        optimiser: &Optimiser,
        decays: &[bool],
        batch: usize,
        dataset: &Dataset,
    ) -> Result<Option<Self>, Error> {
        let purpose = Purpose::Train {
            decays: decays.to_vec(),
            label_smoothing: settings.label_smoothing,
        };
        let kept = keep(network, dataset, settings.test)?;
        let kept = |cutout| kept.as_ref().map(|kept| (kept, cutout));
        let cutout = augmentation(settings, dataset).cutout;
        let rule = Some(*optimiser.settings());
        let precision = settings.precision;
        let Some(train) = runner(network, batch, &purpose, rule, kept(cutout), precision)? else {
            return Ok(None);
        };
        let (size, purpose) = (evaluate::BATCH, Purpose::Evaluate);
        let Some(evaluate) = runner(network, size, &purpose, None, kept(0), precision)? else {
            return Ok(None);
        };
        let (weights, kept) = (network.weights(), kept(0).is_some());
        let programs = Self::of([train, evaluate], kept, &weights, optimiser.state())?;
        Ok(Some(programs))
    }

    /// Programs of training and evaluation, from where a network and its optimiser are; `kept` says
    /// whether they take their batches from a data set on the device.
    pub fn of(
        [mut train, evaluate]: [Box<dyn Runner>; 2],
        kept: bool,
        weights: &Weights,
        state: &State,
    ) -> Result<Self, Error> {
        train.load(weights)?;
        train.set_state(state)?;
        Ok(Self {
            train,
            evaluate,
            kept,
            steps: 0,
        })
    }

    /// Whether the device keeps the data set.
    pub fn keeps(&self) -> bool {
        self.kept
    }

    /// Makes one step; every few steps, and in the `last` of an epoch, the loss is the answer.
    pub fn step(
        &mut self,
        control: &Control,
        batch: Batch<'_>,
        last: bool,
    ) -> Result<Option<f64>, Error> {
        self.train.run(control, batch)?;
        self.steps += 1;
        let looks = last || self.steps == 1 || self.steps.is_multiple_of(LOOK);
        Ok(looks.then(|| self.train.loss()).transpose()?.map(f64::from))
    }

    /// What the steps since the last call counted.
    pub fn totals(&mut self) -> Result<Totals, Error> {
        Ok(self.train.take_totals()?)
    }

    /// What has been learned.
    pub fn weights(&self) -> Result<Weights, Error> {
        Ok(self.train.weights()?)
    }

    /// The optimiser's state.
    pub fn state(&self) -> Result<State, Error> {
        Ok(self.train.state()?)
    }

    /// As [`evaluate::evaluate`], of weights.
    pub fn evaluate(
        &mut self,
        weights: &Weights,
        dataset: &Arc<Dataset>,
        part: Part,
        indices: Vec<u32>,
        look: &mut dyn FnMut() -> Result<(), End>,
    ) -> Result<Option<Accuracy>, End> {
        let count = indices.len();
        if count == 0 {
            return Ok(None);
        }
        self.evaluate.load(weights)?;
        let (mut right, mut loss) = ([0usize; 2], 0.0);
        let plan = Plan::evaluate(Arc::clone(dataset), part, indices, evaluate::BATCH)?;
        for fed in Feed::new(plan, self.kept)? {
            let batch = fed.batch();
            self.evaluate.run(&STILL, batch)?;
            let (losses, ranks) = self.evaluate.each()?;
            for (each, rank) in losses.iter().zip(ranks).take(batch.len()) {
                loss += f64::from(*each);
                right[0] += usize::from(rank < 1);
                right[1] += usize::from(rank < 5);
            }
            look()?;
        }
        let count = count as f64;
        Ok(Some(Accuracy {
            top1: right[0] as f64 / count,
            top5: right[1] as f64 / count,
            loss: loss / count,
        }))
    }
}

/// What is done to the training images.
pub(crate) fn augmentation(settings: &Training, dataset: &Dataset) -> Augmentation {
    settings.augmentation.unwrap_or(dataset.augmentation)
}

/// The program of a purpose on the network's device, if that runs programs; see
/// [`ProgramKernel::runner`](cellwright_ops::program::ProgramKernel::runner).
///
/// # Errors
/// [`Error::Setting`] for bf16 where networks run on the tape, which is in fp32; what network and device say.
pub(crate) fn runner<D: Kernels>(
    network: &Network<D>,
    batch: usize,
    purpose: &Purpose,
    optimiser: Option<Settings>,
    kept: Option<(&Arc<D::Kept>, usize)>,
    precision: Precision,
) -> Result<Option<Box<dyn Runner>>, Error> {
    let device = network.device();
    let program = network.program(batch, purpose, device.computes_in(precision)?)?;
    let program = Arc::new(program);
    let runner = device.runner(&program, optimiser, kept, precision)?;
    if runner.is_none() && precision == Precision::Bf16 {
        return Err(Error::Setting {
            name: "precision",
            reason: "is bf16, in which a GPU alone computes; fp32 and tf32 are fp32 on this device"
                .to_owned(),
        });
    }
    Ok(runner)
}
