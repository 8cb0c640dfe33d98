//! The training loop.

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use cellwright_data::{Dataset, Part, Plan, split, subset};
use cellwright_graph::Graph;
use cellwright_net::{Mode, Network};
use cellwright_ops::program::{Control, Weights};
use cellwright_ops::{Feature, Kernels, Optimiser};

use crate::checkpoint::{self, Place};
use crate::evaluate::{Accuracy, evaluate};
use crate::feed::{Fed, Feed};
use crate::pace::{End, Pace};
use crate::programmed::{Programmed, augmentation};
use crate::step::{Stepper, decays};
use crate::{
    EpochRecord, Error, Observer, Outcome, Progress, Settings, Status, learning_rate, memory,
};

/// Files of a training; none are written where nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// After each epoch, what is needed to go on; read at the beginning where it is there.
    pub checkpoint: Option<PathBuf>,
    /// At the end, the weights as safetensors.
    pub weights: Option<PathBuf>,
    /// What these say of themselves, in their metadata under `cellwright`.
    pub about: String,
}

/// Trains a network of a graph and evaluates it: on the validation part after each epoch, on the test
/// part once, at the end, where the settings say so.
///
/// # Errors
/// What makes the training impossible: settings out of range, images that do not fit, a device that
/// fails, a checkpoint that cannot be read or is of another training. A loss that is no number any
/// more is an outcome, and a file that cannot be written is told in one.
pub fn train<D: Kernels>(
    graph: &Graph,
    dataset: &Arc<Dataset>,
    settings: &Settings,
    device: &D,
    observer: &mut dyn Observer,
    files: &Files,
) -> Result<Outcome, Error> {
    settings.check()?;
    check_images(graph, dataset)?;
    memory::check(graph, settings.batch.min(dataset.train.len()))?;
    Training::new(graph, dataset, settings, device, files)?.run(observer)
}

/// A batch of pixels as a tensor.
pub(crate) fn images<D: Kernels>(
    network: &Network<D>,
    pixels: Vec<f32>,
    count: usize,
) -> Result<Feature<D>, Error> {
    let input = network.graph().input;
    let dims = (count, input.height, input.width, input.channels);
    Ok(network
        .device()
        .try_tensor_from_vec(pixels, dims)
        .map_err(cellwright_ops::Error::device)?)
}

fn check_images(graph: &Graph, dataset: &Dataset) -> Result<(), Error> {
    let images = &dataset.train;
    let shape = cellwright_graph::Shape {
        height: images.height,
        width: images.width,
        channels: images.channels,
    };
    if graph.input == shape && graph.classes == dataset.classes.len() {
        return Ok(());
    }
    Err(Error::Images {
        network: format!("{} and {} classes", graph.input, graph.classes),
        dataset: dataset.name.clone(),
        images: format!("{shape} of {} classes", dataset.classes.len()),
    })
}

/// The end of a training whose loss is no number; in words.
fn diverged(what: String) -> End {
    End::Early(Status::Diverged(format!(
        "{what}; a smaller learning rate may help"
    )))
}

struct Training<'t, D: Kernels> {
    dataset: &'t Arc<Dataset>,
    settings: &'t Settings,
    files: &'t Files,
    identity: String,
    /// The digest of the data set, where there is a checkpoint to hold it.
    images: String,
    network: Network<D>,
    stepper: Stepper,
    /// Where the device runs whole steps.
    programmed: Option<Programmed>,
    /// What it has learned so far, once that was asked for; the network may not have it yet.
    learned: Option<Weights>,
    train: Vec<u32>,
    valid: Vec<u32>,
    steps_per_epoch: u64,
    step: u64,
    /// The training loss of late.
    loss: Option<f64>,
    /// Why files could not be written, in words. A later checkpoint takes the place of an earlier one.
    unsaved: Option<String>,
    first_epoch: usize,
    curve: Vec<EpochRecord>,
    train_seconds: f64,
    /// Seconds that went before the checkpoint from which it goes on.
    seconds_before: f64,
    begin: Instant,
}

/// The sums over an epoch.
#[derive(Default)]
struct Sums {
    loss: f64,
    correct: usize,
    images: usize,
}

impl<'t, D: Kernels> Training<'t, D> {
    fn new(
        graph: &Graph,
        dataset: &'t Arc<Dataset>,
        settings: &'t Settings,
        device: &D,
        files: &'t Files,
    ) -> Result<Self, Error> {
        let begin = Instant::now();
        memory::reset();
        let labels = &dataset.train.labels;
        let parts = split(labels, settings.valid_fraction, settings.seed);
        let train = subset(labels, &parts.train, settings.train_limit, settings.seed);
        let network = Network::build(graph, device, settings.seed)?;
        let stepper = Stepper {
            optimiser: Optimiser::new(settings.optimiser())?,
            decays: decays(&network, settings.decay_norms),
            label_smoothing: settings.label_smoothing,
        };
        let mut training = Training {
            dataset,
            settings,
            files,
            identity: graph.identity(),
            images: files
                .checkpoint
                .as_ref()
                .map_or_else(String::new, |_| dataset.digest()),
            network,
            stepper,
            programmed: None,
            learned: None,
            steps_per_epoch: (train.len() / settings.batch).max(1) as u64,
            train,
            valid: parts.valid,
            step: 0,
            loss: None,
            unsaved: None,
            first_epoch: 0,
            curve: Vec::new(),
            train_seconds: 0.0,
            seconds_before: 0.0,
            begin,
        };
        let of = (&*training.identity, &*training.images);
        if let Some(path) = &files.checkpoint
            && let Some((place, state)) =
                checkpoint::read(path, settings, of, &mut training.network)?
        {
            training.seconds_before = place.curve.last().map_or(0.0, |it| it.seconds);
            training.stepper.optimiser.set_state(state)?;
            training.first_epoch = place.epoch;
            training.step = place.epoch as u64 * training.steps_per_epoch;
            training.loss = place.curve.last().map(|it| it.train_loss);
            training.curve = place.curve;
            training.train_seconds = place.train_seconds;
        }
        let stepper = &training.stepper;
        training.programmed = Programmed::new(
            &training.network,
            settings,
            &stepper.optimiser,
            &stepper.decays,
            settings.batch.min(training.train.len()).max(1),
            dataset,
        )?;
        Ok(training)
    }

    fn steps(&self) -> u64 {
        self.steps_per_epoch * self.settings.epochs as u64
    }

    fn run(mut self, observer: &mut dyn Observer) -> Result<Outcome, Error> {
        let (valid, test) = match self.finish(observer) {
            Ok(accuracies) => accuracies,
            Err(End::Early(status)) => return Ok(self.outcome(status, None, None)),
            Err(End::Failed(error)) => return Err(error),
        };
        if let Some(path) = &self.files.weights {
            self.bring()?;
            // What the training has come to is not lost with the file.
            if let Err(error) = self.network.save(path, &self.files.about) {
                let weights = Some(format!("weights {error}"));
                let all: Vec<String> = self.unsaved.take().into_iter().chain(weights).collect();
                self.unsaved = Some(all.join("; "));
            }
        }
        Ok(self.outcome(Status::Finished, valid, test))
    }

    /// All epochs, and what they have come to on the validation and the test part.
    fn finish(
        &mut self,
        observer: &mut dyn Observer,
    ) -> Result<(Option<Accuracy>, Option<Accuracy>), End> {
        for epoch in self.first_epoch..self.settings.epochs {
            self.epoch(epoch, observer)?;
        }
        let test = if self.settings.test {
            let all = (0..self.dataset.test.len() as u32).collect();
            self.evaluate(Part::Test, all, observer)?
        } else {
            None
        };
        let valid = self.validate(observer)?;
        // The last step may be the one that diverges: no loss of training tells.
        for (part, accuracy) in [("validation", valid), ("test", test)] {
            if let Some(loss) = accuracy.map(|it| it.loss).filter(|it| !it.is_finite()) {
                return Err(diverged(format!(
                    "the loss on the {part} part was {loss} after the last step"
                )));
            }
        }
        Ok((valid, test))
    }

    /// Seconds since the training began, those before a checkpoint too.
    fn seconds(&self) -> f64 {
        self.seconds_before + self.begin.elapsed().as_secs_f64()
    }

    fn pace(&self) -> Pace {
        Pace {
            progress: Progress {
                step: self.step,
                steps: self.steps(),
                loss: self.loss.unwrap_or(f64::NAN),
            },
            begin: self.begin,
            limit: self.settings.seconds_limit,
        }
    }

    fn validate(&mut self, observer: &mut dyn Observer) -> Result<Option<Accuracy>, End> {
        self.evaluate(Part::Train, self.valid.clone(), observer)
    }

    fn evaluate(
        &mut self,
        part: Part,
        indices: Vec<u32>,
        observer: &mut dyn Observer,
    ) -> Result<Option<Accuracy>, End> {
        let pace = self.pace();
        let look = &mut || pace.look(observer);
        match &mut self.programmed {
            Some(programmed) => {
                let network = &self.network;
                let weights = self.learned.get_or_insert_with(|| network.weights());
                programmed.evaluate(weights, self.dataset, part, indices, look)
            }
            None => evaluate(&self.network, self.dataset, part, indices, look),
        }
    }

    /// One step on a batch; its loss, if it is known yet, and on the tape the sums it adds to.
    fn batch(&mut self, fed: Fed, rate: f64, sums: &mut Sums) -> Result<Option<f64>, Error> {
        let seed = self.settings.seed ^ (self.step + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let progress = self.step as f64 / self.steps() as f64;
        let last = (self.step + 1).is_multiple_of(self.steps_per_epoch);
        if let Some(programmed) = &mut self.programmed {
            let control = Control {
                seed,
                progress,
                learning_rate: rate,
            };
            return programmed.step(&control, fed.batch(), last);
        }
        let Fed::Pixels(batch) = fed else {
            let detail = "a step on the tape takes pixels".to_owned();
            return Err(cellwright_ops::Error::shape("batch", detail).into());
        };
        let count = batch.labels.len();
        let images = images(&self.network, batch.pixels, count)?;
        let mode = Mode::Train { seed, progress };
        let stepped = self
            .stepper
            .step(&mut self.network, images, &batch.labels, mode, rate)?;
        sums.loss += stepped.loss * count as f64;
        sums.correct += stepped.correct;
        sums.images += count;
        Ok(Some(stepped.loss))
    }

    /// Asks a device's program for what it has learned and counted.
    fn collect(&mut self, sums: &mut Sums) -> Result<(), Error> {
        let Some(programmed) = &mut self.programmed else {
            return Ok(());
        };
        let totals = programmed.totals()?;
        sums.loss = totals.loss;
        sums.correct = totals.correct[0] as usize;
        sums.images = totals.images as usize;
        self.learned = Some(programmed.weights()?);
        Ok(())
    }

    /// Brings what a device's program has learned into the network, and its optimiser's state with it, for a file.
    fn bring(&mut self) -> Result<(), Error> {
        if let (Some(programmed), Some(learned)) = (&self.programmed, &self.learned) {
            self.network.set_weights(learned)?;
            self.stepper.optimiser.set_state(programmed.state()?)?;
        }
        Ok(())
    }

    /// One pass over the training images.
    fn epoch(&mut self, epoch: usize, observer: &mut dyn Observer) -> Result<(), End> {
        let settings = self.settings;
        let plan = Plan::train(
            Arc::clone(self.dataset),
            self.train.clone(),
            settings.batch,
            augmentation(settings, self.dataset),
            settings.seed,
            epoch as u64,
        )?;
        let kept = self.programmed.as_ref().is_some_and(Programmed::keeps);
        let mut sums = Sums::default();
        let mut rate = 0.0;
        for fed in Feed::new(plan, kept)? {
            let begin = Instant::now();
            rate = learning_rate(settings, self.step, self.steps(), self.steps_per_epoch);
            let loss = self.batch(fed, rate, &mut sums)?;
            self.step += 1;
            self.train_seconds += begin.elapsed().as_secs_f64();
            if let Some(loss) = loss.filter(|loss| !loss.is_finite()) {
                return Err(diverged(format!(
                    "the loss was {loss} in step {} of {} (epoch {})",
                    self.step,
                    self.steps(),
                    epoch + 1
                )));
            }
            self.loss = match (self.loss, loss) {
                (Some(smooth), Some(loss)) => Some(0.95 * smooth + 0.05 * loss),
                (smooth, loss) => loss.or(smooth),
            };
            self.pace().look(observer)?;
        }
        self.collect(&mut sums)?;
        self.finish_epoch(epoch, &sums, rate, observer)
    }

    fn finish_epoch(
        &mut self,
        epoch: usize,
        sums: &Sums,
        learning_rate: f64,
        observer: &mut dyn Observer,
    ) -> Result<(), End> {
        let last = epoch + 1 == self.settings.epochs;
        // The last epoch's validation is the outcome's, and is not done twice.
        let valid = if last { None } else { self.validate(observer)? };
        let images = sums.images.max(1) as f64;
        let record = EpochRecord {
            epoch: epoch as u32 + 1,
            step: self.step,
            train_loss: sums.loss / images,
            train_top1: sums.correct as f64 / images,
            valid_loss: valid.map(|valid| valid.loss),
            valid_top1: valid.map(|valid| valid.top1),
            learning_rate,
            seconds: self.seconds(),
        };
        observer.epoch(&record);
        self.curve.push(record);
        if let Some(path) = &self.files.checkpoint {
            self.bring()?;
            let place = Place::new(
                self.settings,
                (&self.identity, &self.images),
                epoch + 1,
                &self.curve,
                self.train_seconds,
            );
            let state = self.stepper.optimiser.state();
            let written = checkpoint::write(path, place, &self.network, state);
            self.unsaved = written.err().map(|it| it.to_string());
        }
        Ok(())
    }

    fn outcome(
        mut self,
        status: Status,
        valid: Option<Accuracy>,
        test: Option<Accuracy>,
    ) -> Outcome {
        if let (Some(valid), Some(last)) = (valid, self.curve.last_mut()) {
            last.valid_loss = Some(valid.loss);
            last.valid_top1 = Some(valid.top1);
        }
        let trained = self.step as f64 * self.settings.batch.min(self.train.len().max(1)) as f64;
        Outcome {
            status,
            valid_top1: valid.map(|it| it.top1),
            valid_top5: valid.map(|it| it.top5),
            valid_loss: valid.map(|it| it.loss),
            test_top1: test.map(|it| it.top1),
            test_top5: test.map(|it| it.top5),
            test_loss: test.map(|it| it.loss),
            train_loss: self.curve.last().map(|record| record.train_loss),
            train_seconds: self.train_seconds,
            total_seconds: self.seconds(),
            steps: self.step,
            train_images: self.train.len() as u64,
            images_per_second: if self.train_seconds > 0.0 {
                trained / self.train_seconds
            } else {
                0.0
            },
            peak_bytes: memory::peak_bytes(),
            curve: self.curve,
            unsaved: self.unsaved,
        }
    }
}
