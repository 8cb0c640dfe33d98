//! Programs on whatever device.

use std::sync::Arc;

use dfdx::tensor::Cpu;

use super::{Control, Program, Weights};
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

    /// Runs the program on a batch. Of a smaller batch than the program's, the first images and labels
    /// are replaced.
    ///
    /// # Errors
    /// As [`Runner::load`].
    fn run(&mut self, control: &Control, pixels: &[f32], labels: &[u32]) -> Result<(), Error>;

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
/// CUDA: a step is captured as one graph and matrix products use TF32; with CELLWRIGHT_EAGER set to
/// anything it goes launch by launch, with CELLWRIGHT_NO_TF32 in full fp32.
pub trait ProgramKernel: Base {
    /// The program on this device, with the optimiser of a training; none where networks run on the
    /// tape.
    ///
    /// # Errors
    /// [`Error::Device`] if the device has too little memory or fails.
    fn runner(
        &self,
        program: &Arc<Program>,
        optimiser: Option<Settings>,
    ) -> Result<Option<Box<dyn Runner>>, Error>;
}

impl ProgramKernel for Cpu {
    fn runner(
        &self,
        _: &Arc<Program>,
        _: Option<Settings>,
    ) -> Result<Option<Box<dyn Runner>>, Error> {
        Ok(None)
    }
}

#[cfg(feature = "cuda")]
impl ProgramKernel for dfdx::tensor::Cuda {
    fn runner(
        &self,
        program: &Arc<Program>,
        optimiser: Option<Settings>,
    ) -> Result<Option<Box<dyn Runner>>, Error> {
        use crate::cuda::device::{Device, DeviceExecutor, Replay};
        use dfdx::tensor::Storage;
        let buffer = Storage::<f32>::try_alloc_len(self, 1).map_err(Error::device)?;
        let device = Device::get(buffer.device().ordinal())?;
        let eager = std::env::var_os("CELLWRIGHT_EAGER").is_some();
        let replay = if eager {
            Replay::Eager
        } else {
            Replay::Captured
        };
        let tf32 = std::env::var_os("CELLWRIGHT_NO_TF32").is_none();
        let program = Arc::clone(program);
        let executor = DeviceExecutor::new(&device, program, optimiser, replay, tf32)?;
        Ok(Some(Box::new(executor)))
    }
}
