//! Runs a program with the CPU kernels.

mod backward;
mod forward;
mod memory;

use std::sync::Arc;

use super::{Buffer, Call, Control, Program, Weights};
use crate::Error;
use crate::optimiser::{Optimiser, Slot};
use memory::Memory;

/// A program with its memory on the CPU.
#[derive(Debug)]
pub struct Executor {
    program: Arc<Program>,
    memory: Memory,
    labels: Vec<u32>,
}

impl Executor {
    /// Memory of zeros for a program.
    #[must_use]
    pub fn new(program: Arc<Program>) -> Self {
        Self {
            memory: Memory::new(program.memory()),
            labels: vec![0; program.batch()],
            program,
        }
    }

    /// The numbers of a buffer.
    #[must_use]
    pub fn read(&self, buffer: Buffer) -> &[f32] {
        self.memory.read(self.program.span(buffer))
    }

    /// The numbers of a buffer, to be changed.
    pub fn write(&mut self, buffer: Buffer) -> &mut [f32] {
        self.memory.write(self.program.span(buffer))
    }

    /// Puts what a network has learned into memory.
    ///
    /// # Errors
    /// [`Error::Shape`] if they are another network's.
    pub fn load(&mut self, weights: &Weights) -> Result<(), Error> {
        self.program.check(weights)?;
        let program = Arc::clone(&self.program);
        let values = weights.parameters.iter().chain(&weights.running);
        for (buffer, values) in program.learned().zip(values) {
            self.write(buffer).copy_from_slice(values);
        }
        Ok(())
    }

    /// What has been learned.
    #[must_use]
    pub fn weights(&self) -> Weights {
        let mut values = self.program.learned().map(|it| self.read(it).to_vec());
        let parameters = self.program.ports().parameters.len();
        Weights {
            parameters: values.by_ref().take(parameters).collect(),
            running: values.collect(),
        }
    }

    /// The labels of the batch.
    ///
    /// # Errors
    /// [`Error::Shape`] if there are more than the batch has images, or one is not a class. Where
    /// there are fewer, the other images keep theirs.
    pub fn set_labels(&mut self, labels: &[u32]) -> Result<(), Error> {
        self.program.check_labels(labels)?;
        self.labels[..labels.len()].copy_from_slice(labels);
        Ok(())
    }

    /// Runs the program once on what its images and labels hold. In training `optimiser` moves the
    /// parameters, unless an image's loss is no number.
    ///
    /// # Errors
    /// [`Error::Shape`] if the optimiser knows other parameters.
    pub fn run(
        &mut self,
        control: &Control,
        mut optimiser: Option<&mut Optimiser>,
    ) -> Result<(), Error> {
        let program = Arc::clone(&self.program);
        for call in program.calls() {
            match call {
                Call::Update => {
                    if let Some(optimiser) = &mut optimiser {
                        self.update(control.learning_rate, optimiser)?;
                    }
                }
                _ => self.call(&program, call, control)?,
            }
        }
        Ok(())
    }

    /// Runs a single call.
    pub(crate) fn call(
        &mut self,
        program: &Program,
        call: &Call,
        control: &Control,
    ) -> Result<(), Error> {
        let mut context = Context {
            program,
            memory: &mut self.memory,
            labels: &self.labels,
            control,
        };
        if context.forward(call)? {
            return Ok(());
        }
        context.backward(call)
    }

    fn update(&mut self, learning_rate: f64, optimiser: &mut Optimiser) -> Result<(), Error> {
        let ports = self.program.ports();
        let losses = self.memory.read(self.program.span(ports.losses));
        if losses.iter().any(|loss| !loss.is_finite()) {
            return Ok(());
        }
        let mut slots = Vec::with_capacity(ports.parameters.len());
        let mut decays = Vec::with_capacity(ports.parameters.len());
        for parameter in &ports.parameters {
            let Some(gradient) = parameter.gradient else {
                continue;
            };
            let (value, gradient) = (
                self.program.span(parameter.value),
                self.program.span(gradient),
            );
            // SAFETY: parameters and gradients are buffers that live as long as the program, so no
            // two of them overlap; the slots end with this function.
            let (values, gradient) =
                unsafe { (self.memory.part(value), &*self.memory.part(gradient)) };
            slots.push(Slot { values, gradient });
            decays.push(parameter.decays);
        }
        optimiser.step_slots(learning_rate, &mut slots, &decays)?;
        Ok(())
    }
}

/// What a call may touch.
struct Context<'c> {
    program: &'c Program,
    memory: &'c mut Memory,
    labels: &'c [u32],
    control: &'c Control,
}

impl<'c> Context<'c> {
    fn get(&self, buffer: Buffer) -> &'c [f32] {
        // SAFETY: a program's calls write no buffer that they read (`Program::new`).
        unsafe { &*self.memory.part(self.program.span(buffer)) }
    }

    fn maybe(&self, buffer: Option<Buffer>) -> Option<&'c [f32]> {
        buffer.map(|buffer| self.get(buffer))
    }

    fn put(&mut self, buffer: Buffer) -> &'c mut [f32] {
        // SAFETY: as in `get`; and each function of this module asks for a buffer to write once.
        unsafe { self.memory.part(self.program.span(buffer)) }
    }

    /// A buffer to add to, of zeros unless the target adds.
    fn sum(&mut self, target: super::Target) -> &'c mut [f32] {
        let values = self.put(target.buffer);
        if !target.add {
            values.fill(0.0);
        }
        values
    }
}
