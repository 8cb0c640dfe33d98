//! A whole training or evaluation step as a *program*: a list of calls over buffers whose places in
//! one block of memory are known before it runs.
//!
//! Nothing is allocated, no shape is checked and no gradient set to zero while it runs: the first
//! call that writes a gradient stores it, later ones add. So a GPU can capture the program once and
//! replay it for each batch, with what changes from step to step (learning rate, seed, images,
//! labels) in memory. [`Builder`] makes a program, [`Executor`] runs it with this crate's CPU kernels.

mod access;
mod batch;
mod builder;
mod call;
mod cpu;
mod gradients;
pub(crate) mod layout;
mod operations;
mod precision;
mod runner;

use crate::Error;
pub use access::Accesses;
pub use batch::{Batch, Draw, Images};
pub use builder::{Builder, Input, Normalised, Value};
pub use call::{Call, Dims, DropPath, Norm, Prologue, Share, Subsample, Target, Term};
pub use cpu::Executor;
pub use precision::Precision;
pub use runner::{ProgramKernel, Runner, Totals};

/// A buffer of a program, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Buffer(pub(crate) u32);

/// Where a buffer lies in the program's memory, in numbers of four bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its first number.
    pub start: usize,
    /// How many numbers it has.
    pub len: usize,
    /// How many numbers of four bytes it takes: half of `len`, rounded up, where they are of two bytes.
    pub words: usize,
}

impl Span {
    /// What it takes as a range.
    #[must_use]
    pub fn range(self) -> std::ops::Range<usize> {
        self.start..self.start + self.words
    }

    fn overlaps(self, other: Self) -> bool {
        self.start < other.range().end && other.start < self.range().end
    }
}

/// A learnable tensor: its numbers, its gradient, and whether it decays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter {
    /// The numbers.
    pub value: Buffer,
    /// The gradient; none in evaluation.
    pub gradient: Option<Buffer>,
    /// Whether weight decay applies to it.
    pub decays: bool,
}

/// The buffers through which a program meets the outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports {
    /// The batch, images × height × width × channels.
    pub images: Buffer,
    /// The logits of the network's own output, images × classes.
    pub logits: Buffer,
    /// The loss of each image.
    pub losses: Buffer,
    /// For each image, how many classes come before its label.
    pub ranks: Buffer,
    /// The learnable tensors, in the network's order.
    pub parameters: Vec<Parameter>,
    /// The running statistics, in the network's order; see [`Norm::running`].
    pub running: Vec<Buffer>,
}

impl Ports {
    /// The buffers that live as long as the program: parameters (those that decay first), gradients in
    /// the same order, running statistics, the ports.
    fn kept(&self) -> Vec<Buffer> {
        let (decaying, others): (Vec<Parameter>, Vec<Parameter>) =
            self.parameters.iter().copied().partition(|it| it.decays);
        let parameters = || decaying.iter().chain(&others);
        let mut kept: Vec<Buffer> = parameters().map(|it| it.value).collect();
        kept.extend(parameters().filter_map(|it| it.gradient));
        kept.extend(&self.running);
        kept.extend([self.images, self.logits, self.losses, self.ranks]);
        kept
    }
}

/// A program, checked: every buffer lies in memory, and no call writes where it reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    calls: Vec<Call>,
    spans: Vec<Span>,
    ports: Ports,
    batch: usize,
    memory: usize,
}

impl Program {
    /// Checks that every buffer that a call touches lies in memory, and that what it writes overlaps
    /// neither what it reads nor, in part, what else it writes.
    fn new(
        calls: Vec<Call>,
        spans: Vec<Span>,
        ports: Ports,
        batch: usize,
        memory: usize,
    ) -> Result<Self, Error> {
        let program = Self {
            calls,
            spans,
            ports,
            batch,
            memory,
        };
        for call in &program.calls {
            let accesses = call.accesses();
            let spans = |buffers: &[Buffer]| -> Vec<Span> {
                buffers.iter().map(|it| program.span(*it)).collect()
            };
            let (reads, writes) = (spans(&accesses.reads), spans(&accesses.writes));
            let inside = reads
                .iter()
                .chain(&writes)
                .all(|it| it.range().end <= memory);
            let apart = writes.iter().enumerate().all(|(index, span)| {
                let before = writes[..index].iter().filter(|other| *other != span);
                let mut others = reads.iter().chain(before);
                others.all(|other| !span.overlaps(*other))
            });
            if !(inside && apart) {
                return Err(Error::shape(
                    "program",
                    format!("buffers overlap in {call:?}"),
                ));
            }
        }
        Ok(program)
    }

    /// The same with other places: `words` says what a buffer takes, given its numbers, and `within` which other one it
    /// lies in, or that one itself: what lies in another takes no words of its own.
    ///
    /// # Errors
    /// [`Error::Shape`] if calls then write where they read.
    #[cfg(any(test, feature = "cuda"))]
    pub(crate) fn placed(
        &self,
        words: impl Fn(Buffer, usize) -> usize,
        within: impl Fn(Buffer) -> Buffer,
    ) -> Result<Self, Error> {
        let spans = self.spans.iter().enumerate();
        let sizes = spans.map(|(id, span)| (span.len, words(Buffer(id as u32), span.len)));
        let (calls, ports) = (self.calls.clone(), self.ports.clone());
        let (spans, memory) = layout::assign(sizes, &ports.kept(), &calls, within);
        Self::new(calls, spans, ports, self.batch, memory)
    }

    /// The calls, in order.
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// The buffers through which it meets the outside.
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Where a buffer lies.
    #[must_use]
    pub fn span(&self, buffer: Buffer) -> Span {
        self.spans[buffer.0 as usize]
    }

    /// How many buffers there are.
    #[cfg(any(test, feature = "cuda"))]
    pub(crate) fn buffers(&self) -> usize {
        self.spans.len()
    }

    /// Images of a batch.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// The size of its memory, in numbers of four bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.memory
    }
}

/// What changes from step to step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Control {
    /// The seed of dropout and drop path in this step.
    pub seed: u64,
    /// How much of the training is done, 0 to 1.
    pub progress: f64,
    /// The learning rate.
    pub learning_rate: f64,
}

impl Control {
    /// What a rate is multiplied by now: the progress, if it is scheduled to grow with it.
    pub(crate) fn grown(&self, scheduled: bool) -> f64 {
        match scheduled {
            true => self.progress.clamp(0.0, 1.0),
            false => 1.0,
        }
    }
}

/// What a network has learned, as plain numbers: what goes into a program's memory before it runs and
/// comes out after.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// The learnable tensors, in the network's order.
    pub parameters: Vec<Vec<f32>>,
    /// For each batch norm the running mean, then the running variance.
    pub running: Vec<Vec<f32>>,
}

impl Program {
    /// The buffers of what is learned, in the order of [`Weights`].
    pub(crate) fn learned(&self) -> impl Iterator<Item = Buffer> {
        let parameters = self.ports.parameters.iter().map(|it| it.value);
        parameters.chain(self.ports.running.iter().copied())
    }

    /// Refuses labels that are no classes, or more than the batch has images.
    pub(crate) fn check_labels(&self, labels: &[u32]) -> Result<(), Error> {
        let classes = self.span(self.ports.logits).len / self.batch.max(1);
        let wrong = labels.iter().any(|&label| label as usize >= classes);
        if labels.len() > self.batch || wrong {
            let (count, batch) = (labels.len(), self.batch);
            let detail = format!("{count} labels for {batch} images of {classes} classes");
            return Err(Error::shape("program", detail));
        }
        Ok(())
    }

    /// Refuses weights of another network.
    pub(crate) fn check(&self, weights: &Weights) -> Result<(), Error> {
        let found = weights.parameters.iter().chain(&weights.running);
        let fits = found
            .map(Vec::len)
            .eq(self.learned().map(|it| self.span(it).len));
        if fits && weights.parameters.len() == self.ports.parameters.len() {
            return Ok(());
        }
        let detail = "the weights are another network's".to_owned();
        Err(Error::shape("program", detail))
    }
}
