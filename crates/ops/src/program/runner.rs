//! Programs on whatever device.

use std::convert::Infallible;
use std::sync::Arc;

use dfdx::tensor::Cpu;

use super::{Batch, Control, Images, Precision, Program, Weights};
use crate::optimiser::{Settings, State};
use crate::{Base, Error};

/// Sums over batches.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Totals {
    /// Of the images' losses.
    pub loss: f64,
    /// Of the images.
    pub images: u64,
    /// Of the images whose label is among the 1 and the 5 largest logits.
    pub correct: [u64; 2],
}

/// A program with its memory on a device. Every function but [`Runner::run`] waits for the device.
pub trait Runner: Send {
    /// Puts what a network has learned into memory.
    ///
    /// # Errors
    /// [`Error::Shape`] if it is another network's, [`Error::Device`] if the device fails; so for all
    /// functions here.
    fn load(&mut self, weights: &Weights) -> Result<(), Error>;

    /// What has been learned.
    ///
    /// # Errors
    /// As [`Runner::load`].
    fn weights(&self) -> Result<Weights, Error>;

    /// The optimiser's state.
    ///
    /// # Errors
    /// As [`Runner::load`].
    fn state(&self) -> Result<State, Error>;

    /// Goes on from an optimiser's state.
    ///
    /// # Errors
    /// As [`Runner::load`].
    fn set_state(&mut self, state: &State) -> Result<(), Error>;

    /// Runs the program on a batch: of kept images where the runner was made with some, else of pixels.
    /// Of a smaller batch than the program's, the first images and labels are replaced.
    ///
    /// # Errors
    /// As [`Runner::load`].
    fn run(&mut self, control: &Control, batch: Batch<'_>) -> Result<(), Error>;

    /// The mean loss of the last batch.
    ///
    /// # Errors
    /// As [`Runner::load`].
    fn loss(&self) -> Result<f32, Error>;

    /// What was counted since the last time.
    ///
    /// # Errors
    /// As [`Runner::load`].
    fn take_totals(&mut self) -> Result<Totals, Error>;

    /// Bytes of the program's memory on the device.
    fn bytes(&self) -> u64;

    /// Losses and ranks of the last batch's images.
    ///
    /// # Errors
    /// As [`Runner::load`].
    fn each(&self) -> Result<(Vec<f32>, Vec<u32>), Error>;
}

/// A device that trains by programs.
///
/// CUDA: a step is captured as one graph; with CELLWRIGHT_EAGER set to anything it goes launch by launch, with
/// CELLWRIGHT_NO_CUDNN without cuDNN even where there is one.
pub trait ProgramKernel: Base {
    /// A data set on the device.
    type Kept;

    /// Puts a data set on the device, for runners to take their batches from; none where it is the host
    /// that makes the batches, as for images that would take more than half of the free memory.
    ///
    /// # Errors
    /// [`Error::Shape`] if the images do not fit together, [`Error::Device`] if the device fails.
    fn keep(&self, images: &Images<'_>) -> Result<Option<Arc<Self::Kept>>, Error>;

    /// What the device computes in where it is asked for a precision: fp32 where it has no tensor cores for TF32.
    ///
    /// # Errors
    /// [`Error::Device`] if the device fails.
    fn computes_in(&self, precision: Precision) -> Result<Precision, Error>;

    /// Bytes that the program takes at most on such a device, known without one; none where networks run
    /// on the tape.
    ///
    /// # Errors
    /// As [`ProgramKernel::runner`].
    fn bytes(
        program: &Arc<Program>,
        optimiser: Option<Settings>,
        precision: Precision,
    ) -> Result<Option<u64>, Error>;

    /// The program on this device, with the optimiser of a training; none where networks run on the
    /// tape. With images that are kept, its batches are [`Batch::Kept`], and a square of a side is cut
    /// out of each image, 0 for none.
    ///
    /// # Errors
    /// [`Error::Device`] if the device has too little memory or fails.
    fn runner(
        &self,
        program: &Arc<Program>,
        optimiser: Option<Settings>,
        kept: Option<(&Arc<Self::Kept>, usize)>,
        precision: Precision,
    ) -> Result<Option<Box<dyn Runner>>, Error>;
}

impl ProgramKernel for Cpu {
    type Kept = Infallible;

    fn keep(&self, _: &Images<'_>) -> Result<Option<Arc<Infallible>>, Error> {
        Ok(None)
    }

    fn computes_in(&self, _: Precision) -> Result<Precision, Error> {
        Ok(Precision::Fp32)
    }

    fn bytes(_: &Arc<Program>, _: Option<Settings>, _: Precision) -> Result<Option<u64>, Error> {
        Ok(None)
    }

    fn runner(
        &self,
        _: &Arc<Program>,
        _: Option<Settings>,
        _: Option<(&Arc<Infallible>, usize)>,
        _: Precision,
    ) -> Result<Option<Box<dyn Runner>>, Error> {
        Ok(None)
    }
}

/// The device of our own kernels that dfdx's is on.
#[cfg(feature = "cuda")]
fn opened(device: &dfdx::tensor::Cuda) -> Result<Arc<crate::cuda::device::Device>, Error> {
    use dfdx::tensor::Storage;
    let buffer = Storage::<f32>::try_alloc_len(device, 1).map_err(Error::device)?;
    Ok(crate::cuda::device::Device::get(buffer.device().ordinal())?)
}

#[cfg(feature = "cuda")]
fn with_cudnn() -> bool {
    std::env::var_os("CELLWRIGHT_NO_CUDNN").is_none()
}

#[cfg(feature = "cuda")]
impl ProgramKernel for dfdx::tensor::Cuda {
    type Kept = crate::cuda::device::Kept;

    fn keep(&self, images: &Images<'_>) -> Result<Option<Arc<Self::Kept>>, Error> {
        let kept = Self::Kept::new(&opened(self)?, images)?;
        Ok(kept.map(Arc::new))
    }

    fn computes_in(&self, precision: Precision) -> Result<Precision, Error> {
        Ok(opened(self)?.computes_in(precision))
    }

    fn bytes(
        program: &Arc<Program>,
        optimiser: Option<Settings>,
        precision: Precision,
    ) -> Result<Option<u64>, Error> {
        use crate::cuda::{device::CUDNN_WORKSPACE, script};
        let mut library = script::Library::default();
        if with_cudnn() {
            library.convolutions = script::Library::candidates(program);
            if !library.convolutions.is_empty() {
                library.workspace = CUDNN_WORKSPACE / 4;
            }
        }
        let bf16 = precision == Precision::Bf16;
        let program = Arc::clone(program);
        let script = script::Script::new(program, optimiser, None, library, bf16)?;
        Ok(Some(4 * script.words() as u64))
    }

    fn runner(
        &self,
        program: &Arc<Program>,
        optimiser: Option<Settings>,
        kept: Option<(&Arc<Self::Kept>, usize)>,
        precision: Precision,
    ) -> Result<Option<Box<dyn Runner>>, Error> {
        use crate::cuda::device::{DeviceExecutor, Modes, Replay};
        let replay = match std::env::var_os("CELLWRIGHT_EAGER") {
            Some(_) => Replay::Eager,
            None => Replay::Captured,
        };
        let modes = Modes {
            replay,
            precision,
            cudnn: with_cudnn(),
        };
        let kept = kept.map(|(kept, cutout)| (Arc::clone(kept), cutout));
        let program = Arc::clone(program);
        let executor = DeviceExecutor::new(&opened(self)?, program, optimiser, kept, modes)?;
        Ok(Some(Box::new(executor)))
    }
}
