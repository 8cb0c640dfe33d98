//! Writes the pieces of a step, with what each touches.

use std::ops::Range;

use super::layout::at;
use super::order::{Touches, order, slack};
use super::ring::Ring;
use super::{LANES, Piece, Product, Script, Work};
use crate::Error;
use crate::cuda::kernels::batch::batch;
use crate::cuda::kernels::columns::{Scratch, ScratchSize};
use crate::cuda::kernels::join::{JOBS, Join, join};
use crate::cuda::kernels::optimiser::Uploaded;
use crate::cuda::kernels::{self, affine, convert, product};
use crate::cuda::{Launch, Pointer};
use crate::program::{Buffer, Call, Target};

/// Where a tensor lies.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub at: Pointer,
    pub words: Range<usize>,
}

/// Writes the work of a script.
pub(super) struct Writer<'s> {
    pub script: &'s Script,
    pub base: Pointer,
    pub tf32: bool,
    /// Whether the tensors that the call works on are bfloat16.
    pub bf16: bool,
    work: Vec<Work>,
    /// For each piece of work.
    touched: Vec<Touches>,
    /// For each piece of work the call that it is of, or the first of those.
    #[cfg(test)]
    pub calls: Vec<usize>,
    #[cfg(test)]
    call: usize,
    /// Of the next piece.
    pub touches: Touches,
    /// Products so far, and a library's passes.
    products: usize,
    pub passes: usize,
    /// Scratch memory for parts and for counters.
    scratch: [Ring; 2],
    /// Parts of weights' gradients that are not joined yet.
    parts: Vec<Join>,
    /// The slope of the norm whose gradient's sums are taken last, with something else.
    pub summed: Option<Pointer>,
}

impl<'s> Writer<'s> {
    pub fn new(script: &'s Script, base: Pointer, tf32: bool) -> Self {
        Self {
            script,
            base,
            tf32,
            bf16: false,
            work: Vec::new(),
            touched: Vec::new(),
            #[cfg(test)]
            calls: Vec::new(),
            #[cfg(test)]
            call: 0,
            touches: Touches::default(),
            products: 0,
            passes: 0,
            scratch: script.layout.scratch.clone().map(Ring::new),
            parts: Vec::new(),
            summed: None,
        }
    }

    /// The pieces of a step.
    pub fn step(mut self) -> Result<Vec<Piece>, Error> {
        self.write_all()?;
        let after = order(&self.touched, |it| self.script.whole(it));
        let slack = slack(&after);
        let pieces = self.work.into_iter().zip(after).zip(slack);
        let piece = |((work, after), slack)| Piece { work, after, slack };
        Ok(pieces.map(piece).collect())
    }

    /// Writes the work of all calls.
    pub fn write_all(&mut self) -> Result<(), Error> {
        self.batch()?;
        self.clear_gradients();
        let all = self.script.program.calls();
        let mut calls = all.iter().enumerate().peekable();
        while let Some((_index, call)) = calls.next() {
            #[cfg(test)]
            {
                self.call = _index;
            }
            self.bf16 = self.has_narrow(call);
            let next = calls.peek().map(|(_, next)| *next);
            if let Some(next) = next
                && self.pair(call, next)?
            {
                calls.next();
                continue;
            }
            self.touches = self.of(call);
            match call {
                Call::Update => {
                    self.join()?;
                    self.update()?;
                }
                _ if self.forward(call)? => {}
                _ => self.backward(call, next)?,
            }
        }
        Ok(())
    }

    /// Whether a call works on tensors of bfloat16; a linear layer and the loss widen them.
    fn has_narrow(&self, call: &Call) -> bool {
        let accesses = call.accesses();
        let mut touched = accesses.reads.iter().chain(&accesses.writes);
        let widens = matches!(
            call,
            Call::Linear { .. } | Call::LinearGradient { .. } | Call::Loss { .. }
        );
        !widens && touched.any(|it| self.script.is_narrow(*it))
    }

    /// What a call's work touches of the program's memory and of what lies beside it.
    pub fn of(&self, call: &Call) -> Touches {
        let layout = &self.script.layout;
        let accesses = call.accesses();
        let mut touches = Touches {
            reads: self.ranges(&accesses.reads),
            writes: self.ranges(&accesses.writes),
        };
        match call {
            Call::Loss { .. } => {
                let batch = self.script.program.batch();
                touches.reads.push(layout.labels..layout.labels + batch);
                touches.writes.push(layout.totals..layout.scratch_start());
            }
            // Parameters, gradients and moments: it ends the step.
            Call::Update => touches.writes.push(0..layout.words),
            _ => {}
        }
        touches
    }

    pub fn range(&self, buffer: Buffer) -> Range<usize> {
        self.script.range(buffer)
    }

    pub fn ranges(&self, buffers: &[Buffer]) -> Vec<Range<usize>> {
        buffers.iter().map(|it| self.range(*it)).collect()
    }

    /// Says what the next pieces touch, if not all that their call does.
    pub fn touching(&mut self, reads: &[Buffer], writes: &[Buffer]) {
        self.touches = Touches {
            reads: self.ranges(reads),
            writes: self.ranges(writes),
        };
    }

    /// Whether a piece touches none of what others write.
    pub fn is_apart(&self, piece: &Touches, words: &[Range<usize>]) -> bool {
        let lying = |words: &[Range<usize>]| -> Vec<Range<usize>> {
            let whole =
                |it: &Range<usize>| self.script.whole(it).map_or(it.clone(), |(_, all)| all);
            words.iter().map(whole).collect()
        };
        let piece = Touches {
            reads: lying(&piece.reads),
            writes: lying(&piece.writes),
        };
        piece.is_apart(&lying(words))
    }

    /// Scratch memory for the next piece.
    pub fn scratch(&mut self, size: ScratchSize) -> Result<Scratch, Error> {
        let [parts, counters] = &mut self.scratch;
        let (parts, counters) = (parts.take(size.parts)?, counters.take(size.counters)?);
        let left = self.parts.iter().map(|job| self.touched_by(job));
        let left = left.fold(Touches::default(), Touches::and);
        if !left.is_apart(std::slice::from_ref(&parts)) {
            self.join()?;
        }
        let [parts_at, counters_at] = [parts.start, counters.start].map(|it| self.word(it));
        let taken = [parts, counters].into_iter().filter(|it| !it.is_empty());
        self.touches.writes.extend(taken);
        Ok(Scratch {
            parts: parts_at,
            counters: counters_at,
        })
    }

    pub fn at(&self, buffer: Buffer) -> Pointer {
        self.script.at(self.base, buffer)
    }

    /// The address of a tensor of so many channels, and the numbers from a pixel to the next one: more than the channels where
    /// it lies within another.
    pub fn spaced(&self, buffer: Buffer, channels: usize) -> (Pointer, usize) {
        let stride = self.script.view(buffer, 0, channels).stride;
        (self.at(buffer), stride)
    }

    /// The pieces of a concatenation with their channels, without an address where they lie in it, and the whole. Sets
    /// `touches` to what the others take, and what of the whole is theirs, for work that splits the whole or puts it
    /// together.
    pub fn apart(
        &mut self,
        whole: Buffer,
        pieces: &[(Buffer, usize)],
        splits: bool,
    ) -> (Vec<(Pointer, usize)>, (Pointer, usize)) {
        let all = pieces.iter().map(|(_, channels)| channels).sum();
        let (mut begin, mut found) = (0, Vec::with_capacity(pieces.len()));
        self.touches = Touches::default();
        for &(piece, channels) in pieces {
            let part = self.script.view(whole, begin, all);
            let part = self.script.part(part, channels);
            begin += channels;
            if self.script.views.contains_key(&piece) {
                found.push((Pointer::NULL, channels));
                continue;
            }
            let (read, written) = match splits {
                true => (part, self.range(piece)),
                false => (self.range(piece), part),
            };
            self.touches.reads.push(read);
            self.touches.writes.push(written);
            found.push((self.at(piece), channels));
        }
        (found, self.spaced(whole, all))
    }

    pub fn maybe(&self, buffer: Option<Buffer>) -> Pointer {
        buffer.map_or(Pointer::NULL, |buffer| self.at(buffer))
    }

    pub fn len(&self, buffer: Buffer) -> usize {
        self.script.program.span(buffer).len
    }

    pub fn word(&self, word: usize) -> Pointer {
        at(self.base, word)
    }

    pub fn write(&mut self, work: Work) {
        self.work.push(work);
        self.touched.push(self.touches.clone());
        #[cfg(test)]
        self.calls.push(self.call);
    }

    pub fn push(&mut self, launch: Launch) {
        let bf16 = self.bf16;
        self.write(Work::Launch(Launch { bf16, ..launch }));
    }

    /// A tensor of a linear layer or the loss in fp32: where it is, or where it is to be widened to.
    pub fn wide(&self, buffer: Buffer) -> Place {
        let widened = self.script.layout.widened.get(&buffer);
        match widened {
            None => self.place(buffer),
            Some(&start) => Place {
                at: self.word(start),
                words: start..start + self.len(buffer),
            },
        }
    }

    /// Where what a linear layer or the loss reads is in fp32, widened if it is bfloat16; the next piece reads it.
    pub fn widen(&mut self, x: Buffer) -> Result<Pointer, Error> {
        let wide = self.wide(x);
        if self.script.is_narrow(x) {
            let touches = Touches {
                reads: vec![self.range(x)],
                writes: vec![wide.words.clone()],
            };
            let others = std::mem::replace(&mut self.touches, touches);
            self.bf16 = true;
            self.push(convert::widen(self.at(x), wide.at, self.len(x))?);
            self.bf16 = false;
            self.touches = others;
        }
        self.touches.reads.push(wide.words);
        Ok(wide.at)
    }

    /// Puts a gradient of such, which has been stored in fp32, to where it belongs, if that is bfloat16.
    pub fn narrow(&mut self, dx: Target) -> Result<(), Error> {
        let wide = self.wide(dx.buffer);
        if self.script.is_narrow(dx.buffer) {
            self.touching(&[], &[dx.buffer]);
            self.touches.reads.push(wide.words);
            self.bf16 = true;
            let (to, len) = (self.at(dx.buffer), self.len(dx.buffer));
            self.push(convert::narrow(wide.at, to, len, dx.add)?);
            self.bf16 = false;
        }
        Ok(())
    }

    pub fn place(&self, buffer: Buffer) -> Place {
        Place {
            at: self.at(buffer),
            words: self.range(buffer),
        }
    }

    /// A launch that leaves parts of a weight's gradient, which are joined later with those of others.
    pub fn push_parts(&mut self, (launch, job): (Launch, Join)) -> Result<(), Error> {
        self.push(launch);
        self.parts.push(job);
        if self.parts.len() == JOBS {
            self.join()?;
        }
        Ok(())
    }

    /// Joins the parts that are left.
    fn join(&mut self) -> Result<(), Error> {
        let jobs = std::mem::take(&mut self.parts);
        if jobs.is_empty() {
            return Ok(());
        }
        let touches = jobs.iter().map(|job| self.touched_by(job));
        let touches = touches.fold(Touches::default(), Touches::and);
        let others = std::mem::replace(&mut self.touches, touches);
        self.push(join(&jobs)?);
        self.touches = others;
        Ok(())
    }

    fn touched_by(&self, job: &Join) -> Touches {
        let range = |at: Pointer, len: usize| {
            let start = (at.0 - self.base.0) as usize / 4;
            start..start + len
        };
        Touches {
            reads: vec![range(job.parts, job.count * job.size)],
            writes: vec![range(job.to, job.size)],
        }
    }

    pub fn extend(&mut self, launches: Vec<Launch>) {
        for launch in launches {
            self.push(launch);
        }
    }

    /// A product in the next of the workspaces, which lie outside the script's memory: words after it
    /// stand for them.
    pub fn product(&mut self, mut product: Product) {
        product.lane = self.products % LANES;
        self.products += 1;
        let place = self.script.layout.words + product.lane;
        self.touches.writes.push(place..place + 1);
        self.write(Work::Product(product));
        self.touches.writes.pop();
    }

    /// y ←, or +=, x · w for x of rows × k numbers and w of k × n or, `transposed`, of n × k.
    pub fn times(
        &mut self,
        [rows, k, n]: [usize; 3],
        [x, w, y]: [Pointer; 3],
        transposed: bool,
        add: bool,
    ) -> Result<(), Error> {
        if self.tf32 && product::suits_product([rows, k, n]) {
            let plain = affine::Prologue::default();
            let launch = product::product([rows, k, n], [x, w, y], plain, transposed, add)?;
            self.push(launch);
            return Ok(());
        }
        self.product(Product {
            size: [rows, n, k],
            a: x,
            b: w,
            transposed: [false, transposed],
            c: y,
            add,
            lane: 0,
        });
        Ok(())
    }

    /// Makes the batch, where the data set lies on the device.
    fn batch(&mut self) -> Result<(), Error> {
        let Some(resident) = self.script.resident else {
            return Ok(());
        };
        let (layout, program) = (&self.script.layout, &self.script.program);
        let draws = self.word(layout.draws);
        let (pixels, labels) = (self.at(program.ports().images), self.word(layout.labels));
        let launch = batch(resident, draws, program.batch(), pixels, labels)?;
        self.bf16 = self.script.is_narrow(program.ports().images);
        self.touching(&[], &[program.ports().images]);
        let labels = layout.labels..layout.labels + program.batch();
        self.touches.writes.push(labels);
        self.push(launch);
        Ok(())
    }

    /// Sets all parameters' gradients to zero, which lie side by side: some kernels can only add.
    fn clear_gradients(&mut self) {
        let program = &self.script.program;
        let parameters = program.ports().parameters.iter();
        let spans = parameters.filter_map(|it| Some(program.span(it.gradient?).range()));
        let bounds = spans.fold(None, |bounds: Option<(usize, usize)>, span| {
            let (start, end) = bounds.unwrap_or((span.start, span.end));
            Some((start.min(span.start), end.max(span.end)))
        });
        if let Some((start, end)) = bounds {
            let start_at = self.word(start);
            self.touches = Touches::default();
            self.touches.writes.push(start..end);
            self.write(Work::Clear(start_at, end - start));
        }
    }

    fn update(&mut self) -> Result<(), Error> {
        let layout = &self.script.layout;
        let Some(settings) = &self.script.optimiser else {
            return Ok(());
        };
        let runs = self.script.optimiser_tables(self.base)?.runs.len();
        let uploaded = Uploaded {
            parameters: self.word(layout.table),
            runs: self.word(layout.runs),
            count: runs,
        };
        let mut found = Pointer::NULL;
        if let Some(limit) = settings.clip_norm {
            found = self.word(layout.norm);
            let scratch = self.scratch(ScratchSize {
                parts: runs,
                counters: 1,
            })?;
            self.push(kernels::optimiser::gradient_norm(
                uploaded, limit, scratch, found,
            )?);
        }
        let numbers = self.word(layout.control);
        self.push(kernels::optimiser::step(
            uploaded,
            settings.rule,
            numbers,
            self.word(layout.mean),
            found,
        )?);
        Ok(())
    }
}
