//! Where steps take their batches from: a loader's pixels, or a data set that the device keeps.

use std::sync::Arc;

use cellwright_data::{self as data, Dataset, Loader, Part, Plan};
use cellwright_net::Network;
use cellwright_ops::Kernels;
use cellwright_ops::program::{Batch, Draw, Images};

use crate::Error;

/// Puts a data set on the network's device, if that keeps one: the training part, and after it the test
/// part, if it is asked for.
pub(crate) fn keep<D: Kernels>(
    network: &Network<D>,
    dataset: &Dataset,
    test: bool,
) -> Result<Option<Arc<D::Kept>>, Error> {
    let table = dataset.table();
    let parts = [Some(&dataset.train), test.then_some(&dataset.test)];
    let parts = parts.into_iter().flatten();
    let images = Images {
        parts: parts.map(|it| (&it.pixels[..], &it.labels[..])).collect(),
        table: &table,
        shape: [
            dataset.train.height,
            dataset.train.width,
            dataset.train.channels,
        ],
    };
    Ok(network.device().keep(&images)?)
}

/// The batches of a plan.
pub(crate) enum Feed {
    /// Made on the host.
    Loader(Loader),
    /// Made on the device, by their numbers in the plan.
    Kept(Plan, std::ops::Range<usize>),
}

impl Feed {
    pub fn new(plan: Plan, kept: bool) -> Result<Self, Error> {
        Ok(if kept {
            let numbers = 0..plan.batches();
            Self::Kept(plan, numbers)
        } else {
            Self::Loader(Loader::start(plan)?)
        })
    }
}

/// A batch of a [`Feed`].
pub(crate) enum Fed {
    Pixels(data::Batch),
    Kept(Vec<Draw>),
}

impl Fed {
    /// For a program.
    pub fn batch(&self) -> Batch<'_> {
        match self {
            Self::Pixels(batch) => Batch::Pixels(&batch.pixels, &batch.labels),
            Self::Kept(draws) => Batch::Kept(draws),
        }
    }
}

impl Iterator for Feed {
    type Item = Fed;

    fn next(&mut self) -> Option<Fed> {
        match self {
            Self::Loader(loader) => loader.next().map(Fed::Pixels),
            Self::Kept(plan, numbers) => {
                let drawn = plan.draws(numbers.next()?).into_iter();
                // As `keep` has put them one after the other.
                let first = match plan.part() {
                    Part::Train => 0,
                    Part::Test => plan.dataset().train.len() as u32,
                };
                Some(Fed::Kept(drawn.map(|it| draw(it, first)).collect()))
            }
        }
    }
}

fn draw(drawn: data::Draw, first: u32) -> Draw {
    let [down, right] = drawn.shift;
    Draw {
        image: first + drawn.image,
        down,
        right,
        flipped: drawn.flipped.into(),
        centre: drawn.centre.map(u32::cast_signed),
    }
}
