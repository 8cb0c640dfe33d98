//! A program as device work: launches and matrix products at fixed addresses of one block of memory.
//!
//! Plain data without CUDA types: the executor hands it to the driver, and the tests run it on the
//! host. What changes from step to step is a few words, uploaded before it ([`Script::control`]), so
//! that the same work can be captured as one CUDA graph and replayed.

mod backward;
mod control;
mod dense;
mod forward;
mod layout;
mod narrow;
mod numbers;
mod order;
mod pairs;
mod ring;
mod views;
mod writer;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::kernels::batch::Resident;
use super::kernels::loss::Totals;
use super::kernels::optimiser::{Parameter, Tables, tables};
use super::{Launch, Pointer};
use crate::Error;
use crate::optimiser::{Settings, State};
use crate::program::{Buffer, Program};
pub use dense::{Dense, Library, Pass};
use layout::{Layout, at};
use numbers::Numbers;
pub use numbers::packed;
use views::{View, Wholes, views};
use writer::Writer;

/// A row-major matrix product: c ←, or +=, a · b with a m × k, b k × n, c m × n.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Product {
    /// m, n and k.
    pub size: [usize; 3],
    /// The left factor; if `transposed[0]` it lies in memory as k × m.
    pub a: Pointer,
    /// The right factor; if `transposed[1]` it lies in memory as n × k.
    pub b: Pointer,
    /// Which factors are transposed.
    pub transposed: [bool; 2],
    /// The product.
    pub c: Pointer,
    /// Whether it is added to what is there.
    pub add: bool,
    /// Which of the [`LANES`] workspaces it computes in.
    pub lane: usize,
}

/// Workspaces for matrix products, so that so many can be computed at once.
pub const LANES: usize = 4;

/// Work of a step, and what it waits for.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// What is done.
    pub work: Work,
    /// The pieces, by their place in the step, that must be done before; pieces of which none waits for
    /// the other may run at once.
    pub after: Vec<usize>,
    /// By how many pieces the longest chain of those that wait for each other, of all through this one, falls short
    /// of the step's: 0 for one that the step's end waits for.
    pub slack: usize,
}

/// One piece of device work.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    /// One of our kernels.
    Launch(Launch),
    /// A matrix product.
    Product(Product),
    /// A convolution by a library.
    Dense(Dense),
    /// Sets so many words of four bytes to zero.
    Clear(Pointer, usize),
}

/// A program's memory on a device, and what runs there.
#[derive(Debug)]
pub struct Script {
    program: Arc<Program>,
    optimiser: Option<Settings>,
    resident: Option<Resident>,
    library: Library,
    numbers: Numbers,
    views: BTreeMap<Buffer, View>,
    layout: Layout,
    wholes: Wholes,
}

impl Script {
    /// The script of a program; in training with the optimiser that moves the parameters. Where the data
    /// set lies on the device, a step begins by making the batch that [`Script::control`] names. The
    /// library does the convolutions that it names. With `bf16` images, activations and their gradients are bfloat16
    /// (see [`Script::is_narrow`]). Buffers lie where [`Script::program`] has them, not where this one does.
    ///
    /// # Errors
    /// [`Error::Shape`] if the data set's images or classes are not the program's, or not all that has pixels can be
    /// bfloat16.
    pub fn new(
        program: Arc<Program>,
        optimiser: Option<Settings>,
        resident: Option<Resident>,
        library: Library,
        bf16: bool,
    ) -> Result<Self, Error> {
        if let Some(resident) = &resident {
            let image: usize = resident.shape.iter().product();
            let classes = program.span(program.ports().logits).len / program.batch().max(1);
            let pixels = program.span(program.ports().images).len;
            if pixels != program.batch() * image || resident.classes > classes {
                let (shape, found) = (resident.shape, resident.classes);
                let detail =
                    format!("images of {shape:?} and {found} classes are not the program's");
                return Err(Error::shape("program", detail));
            }
        }
        let numbers = match bf16 {
            true => Numbers::narrow(&program)?,
            false => Numbers::wide(&program),
        };
        let views = views(&program);
        let words =
            |buffer, len: usize| match (views.contains_key(&buffer), numbers.is_narrow(buffer)) {
                (true, _) => 0,
                (false, true) => len.div_ceil(2),
                (false, false) => len,
            };
        let within = |buffer| views.get(&buffer).map_or(buffer, |it| it.of);
        let program = Arc::new(program.placed(words, within)?);
        let layout = Layout::new(&program, optimiser.as_ref(), &library, &numbers);
        // Words right after the memory stand for the workspaces.
        let wholes = Wholes::new(&program, &views, layout.words + LANES);
        Ok(Self {
            program,
            optimiser,
            resident,
            library,
            numbers,
            views,
            layout,
            wholes,
        })
    }

    /// Whether batches are of a data set on the device.
    #[must_use]
    pub fn is_resident(&self) -> bool {
        self.resident.is_some()
    }

    /// Whether a buffer's numbers are bfloat16.
    #[must_use]
    pub fn is_narrow(&self, buffer: Buffer) -> bool {
        self.numbers.is_narrow(buffer)
    }

    /// The program.
    pub fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// The size of the memory, in words of four bytes. It must be all zeros at first, and begin at an
    /// address that 16 divides; best is one that 256 does.
    #[must_use]
    pub fn words(&self) -> usize {
        self.layout.words
    }

    /// The word at which the batch's labels begin, one word each.
    #[must_use]
    pub fn labels(&self) -> usize {
        self.layout.labels
    }

    /// The word at which the [`Totals`] lie; zeros begin a new count.
    #[must_use]
    pub fn totals(&self) -> usize {
        self.layout.totals
    }

    /// The words of [`Totals`].
    pub const TOTALS: usize = size_of::<Totals>() / 4;

    /// The word at which the mean loss of the last step lies.
    #[must_use]
    pub fn mean(&self) -> usize {
        self.layout.mean
    }

    /// For each parameter the word of its moments of kind `moment`, and how many numbers.
    fn moment(&self, moment: usize) -> impl Iterator<Item = (usize, usize)> {
        let mut word = self.layout.moments + moment * self.layout.moment;
        let parameters = self.program.ports().parameters.iter();
        parameters.map(move |parameter| {
            let len = self.program.span(parameter.value).len;
            let start = word;
            word += len.next_multiple_of(64);
            (start, len)
        })
    }

    /// How many moments the optimiser keeps.
    fn moments(&self) -> usize {
        match self.optimiser {
            None => 0,
            Some(settings) => crate::optimiser::moments(settings.rule),
        }
    }

    /// The optimiser's state after `steps` steps; `read` gives the numbers at a word.
    ///
    /// # Errors
    /// What `read` fails with.
    pub fn state<E>(
        &self,
        steps: u64,
        mut read: impl FnMut(&[(usize, usize)]) -> Result<Vec<Vec<f32>>, E>,
    ) -> Result<State, E> {
        let moments = 0..if steps == 0 { 0 } else { self.moments() };
        let moments = moments.map(|moment| {
            let spans: Vec<_> = self.moment(moment).collect();
            read(&spans)
        });
        Ok(State {
            steps,
            moments: moments.collect::<Result<_, E>>()?,
        })
    }

    /// Where the numbers of an optimiser's state go.
    ///
    /// # Errors
    /// [`Error::Shape`] if it is another network's or another rule's.
    pub fn state_words<'s>(&self, state: &'s State) -> Result<Vec<(usize, &'s [f32])>, Error> {
        let wrong = || {
            Error::shape(
                "optimiser",
                "the state is another network's or rule's".to_owned(),
            )
        };
        if state.moments.len() != self.moments() && !state.moments.is_empty() {
            return Err(wrong());
        }
        let mut found = Vec::new();
        for (kind, moment) in state.moments.iter().enumerate() {
            let lens = self.moment(kind).map(|(_, len)| len);
            if !moment.iter().map(Vec::len).eq(lens) {
                return Err(wrong());
            }
            let words = self.moment(kind).map(|(word, _)| word);
            found.extend(words.zip(moment).map(|(word, it)| (word, &it[..])));
        }
        Ok(found)
    }

    /// What is put into memory once, each with its word.
    ///
    /// # Errors
    /// [`Error::Shape`] if a size does not fit a kernel's argument, or 16 does not divide the address; so
    /// for [`Script::work`].
    pub fn tables(&self, base: Pointer) -> Result<[(usize, Vec<u64>); 2], Error> {
        check(base)?;
        let Tables { parameters, runs } = self.optimiser_tables(base)?;
        Ok([(self.layout.table, parameters), (self.layout.runs, runs)])
    }

    fn optimiser_tables(&self, base: Pointer) -> Result<Tables, Error> {
        let moments = |kind: usize| self.moment(kind).map(|(word, _)| at(base, word));
        let (first, second) = (moments(0), moments(1));
        let parameters = self.program.ports().parameters.iter();
        let kept = self.moments();
        let parameters = parameters.zip(first.zip(second));
        let parameters: Vec<Parameter> = parameters
            .filter_map(|(parameter, (first, second))| {
                let kept = |kind: usize, it| if kind < kept { it } else { Pointer::NULL };
                Some(Parameter {
                    values: self.at(base, parameter.value),
                    gradient: self.at(base, parameter.gradient?),
                    moments: [kept(0, first), kept(1, second)],
                    length: self.program.span(parameter.value).len,
                    decays: parameter.decays,
                })
            })
            .collect();
        tables(&parameters)
    }

    /// The address of a tensor's first number.
    fn at(&self, base: Pointer, buffer: Buffer) -> Pointer {
        match self.views.get(&buffer) {
            None => at(base, self.program.span(buffer).start),
            Some(view) => {
                let size = if self.is_narrow(buffer) { 2 } else { 4 };
                Pointer(self.at(base, view.of).0 + (size * view.begin) as u64)
            }
        }
    }

    /// So many channels of a tensor from one on, as they lie in the outermost one that it is in.
    fn view(&self, of: Buffer, begin: usize, stride: usize) -> View {
        match self.views.get(&of) {
            None => View { of, begin, stride },
            Some(outer) => View {
                begin: outer.begin + begin,
                ..*outer
            },
        }
    }

    /// What a tensor takes, or what stands for that where it lies within another one or others lie in it: see [`Wholes`].
    fn range(&self, buffer: Buffer) -> Range<usize> {
        match self.views.get(&buffer) {
            None => {
                let own = || self.program.span(buffer).range();
                self.wholes.words(buffer).unwrap_or_else(own)
            }
            Some(view) => {
                let whole = self.program.span(view.of).len.max(1);
                let channels = self.program.span(buffer).len * view.stride / whole;
                self.part(*view, channels)
            }
        }
    }

    /// What stands for so many channels of a tensor, which lie in strides all over it: as many of its words as they have, in
    /// the order of the channels.
    fn part(&self, View { of, begin, stride }: View, channels: usize) -> Range<usize> {
        let whole = self.range(of);
        let words = |channel: usize| whole.start + whole.len() * channel / stride.max(1);
        words(begin)..words(begin + channels)
    }

    /// The tensor that words beyond the memory stand for, and what it takes; none for words of the memory.
    fn whole(&self, words: &Range<usize>) -> Option<(usize, Range<usize>)> {
        let of = self.wholes.of(words)?;
        Some((of.0 as usize, self.program.span(of).range()))
    }

    /// The work of one step, in an order in which it can be done piece by piece, in a memory that begins
    /// at `base`. With `tf32` the dense convolutions' kernels round their factors to TF32, for tensor
    /// cores.
    ///
    /// # Errors
    /// See [`Script::tables`].
    pub fn work(&self, base: Pointer, tf32: bool) -> Result<Vec<Piece>, Error> {
        check(base)?;
        Writer::new(self, base, tf32).step()
    }
}

#[cfg(test)]
impl Script {
    /// What a tensor lies in, if it does: that one, the first of its channels, and all of them.
    pub fn lies_in(&self, buffer: Buffer) -> Option<(Buffer, usize, usize)> {
        let view = self.views.get(&buffer)?;
        Some((view.of, view.begin, view.stride))
    }

    /// For each piece of [`Script::work`] the number of the call that it is of, or of the first of those.
    pub fn calls_of(&self, base: Pointer, tf32: bool) -> Result<Vec<usize>, Error> {
        let mut writer = Writer::new(self, base, tf32);
        writer.write_all()?;
        Ok(writer.calls)
    }
}

/// Refuses memory in which kernels cannot read four numbers at a time: all buffers and regions begin at a
/// multiple of 256 bytes from its begin.
fn check(base: Pointer) -> Result<(), Error> {
    if base.is_aligned() {
        return Ok(());
    }
    let detail = format!("memory at {:#x}, which 16 does not divide", base.0);
    Err(Error::shape("program", detail))
}
