//! Tensors that lie within another one: what is read by a concatenation alone is written to its channels there, and the
//! channels of a concatenation's gradient are read where they are. So neither is copied.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::program::{Buffer, Call, Program, Target};

/// Where a tensor lies within another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct View {
    /// The other one, which lies in none itself.
    pub of: Buffer,
    /// The first of its channels that are this one's.
    pub begin: usize,
    /// All of its channels.
    pub stride: usize,
}

/// The channels of a call's `y`, if its kernels leave out others between two pixels.
fn spread(program: &Program, call: &Call) -> Option<usize> {
    match call {
        Call::Combine { dims, .. } => Some(dims.channels),
        Call::Normalise { coefficients, .. } => Some(program.span(*coefficients).len / 4),
        Call::Concat { inputs, .. } => Some(inputs.iter().map(|(_, width)| width).sum()),
        Call::Pool { dims, .. } => Some(dims[3]),
        _ => None,
    }
}

/// The gradient that a call reads and its channels, if its kernels skip others between two pixels.
fn skipped(program: &Program, call: &Call) -> Option<(Buffer, usize)> {
    match call {
        Call::NormGradient {
            dy, coefficients, ..
        } => Some((*dy, program.span(*coefficients).len / 4)),
        Call::CombineGradient { dims, dy, .. } => Some((*dy, dims.channels)),
        Call::ConcatGradient { dy, targets, .. } => {
            Some((*dy, targets.iter().map(|(_, width)| width).sum()))
        }
        Call::PoolGradient { dy, dims, .. } => Some((*dy, dims[3])),
        _ => None,
    }
}

/// What a program's calls do with each of its buffers.
struct Uses<'p> {
    program: &'p Program,
    reads: BTreeMap<Buffer, Vec<&'p Call>>,
    writes: BTreeMap<Buffer, Vec<&'p Call>>,
}

impl<'p> Uses<'p> {
    fn new(program: &'p Program) -> Self {
        let mut uses = Self {
            program,
            reads: BTreeMap::new(),
            writes: BTreeMap::new(),
        };
        for call in program.calls() {
            let accesses = call.accesses();
            for buffer in accesses.reads {
                uses.reads.entry(buffer).or_default().push(call);
            }
            for buffer in accesses.writes {
                uses.writes.entry(buffer).or_default().push(call);
            }
        }
        uses
    }

    /// Whether a tensor of so many channels is written once, by kernels that leave gaps, and read by a single concatenation,
    /// once. A flattened one has fewer than what the concatenation takes.
    fn is_piece(&self, x: Buffer, width: usize) -> bool {
        let spreads = |call: &&Call| spread(self.program, call) == Some(width);
        let (reads, writes) = (self.reads.get(&x), self.writes.get(&x));
        reads.is_some_and(|it| it.len() == 1)
            && writes.is_some_and(|it| it.len() == 1 && it.iter().all(spreads))
    }

    /// Whether a gradient of so many channels is written once, and read by kernels that skip from pixel to pixel.
    fn is_part(&self, dx: Buffer, width: usize) -> bool {
        let skips = |call: &&Call| {
            let passes = call.accesses().writes.contains(&dx);
            skipped(self.program, call) == Some((dx, width)) && !passes
        };
        let (reads, writes) = (self.reads.get(&dx), self.writes.get(&dx));
        writes.is_some_and(|it| it.len() == 1) && reads.is_some_and(|it| it.iter().all(skips))
    }
}

/// The tensors of a program that lie within others.
pub(super) fn views(program: &Program) -> BTreeMap<Buffer, View> {
    let uses = Uses::new(program);
    let mut views = BTreeMap::new();
    for call in program.calls() {
        let (of, pieces): (_, Vec<(Option<Buffer>, usize)>) = match call {
            Call::Concat { inputs, y, .. } => {
                let piece = |&(x, width): &(Buffer, usize)| (Some(x), width);
                (*y, inputs.iter().map(piece).collect())
            }
            Call::ConcatGradient { dy, targets, .. } => {
                let stored = |(target, width): &(Target, usize)| {
                    ((!target.add).then_some(target.buffer), *width)
                };
                (*dy, targets.iter().map(stored).collect())
            }
            _ => continue,
        };
        let stride = pieces.iter().map(|(_, width)| width).sum();
        // Kernels take four channels at a time.
        if pieces.iter().any(|(_, width)| !width.is_multiple_of(4)) {
            continue;
        }
        let mut begin = 0;
        for (buffer, width) in pieces {
            let fits = |it: &Buffer| match call {
                Call::Concat { .. } => uses.is_piece(*it, width),
                _ => uses.is_part(*it, width),
            };
            if let Some(buffer) = buffer.filter(fits) {
                let view = View { of, begin, stride };
                views.insert(buffer, view);
            }
            begin += width;
        }
    }
    let outermost = views.iter().map(|(buffer, view)| {
        let mut found = *view;
        // All of a concatenation within another lies there with that one's gaps.
        while let Some(outer) = views.get(&found.of) {
            let begin = outer.begin + found.begin;
            found = View { begin, ..*outer };
        }
        (*buffer, found)
    });
    outermost.collect()
}

/// What pieces of work touch of the tensors that others lie in, for their order: a run of words beyond the memory for each,
/// where the channels of one pixel stand for those of all. So those of one tensor do not meet, and all meet what
/// touches it as a whole.
#[derive(Debug, Default)]
pub(super) struct Wholes {
    /// In the order of their words.
    words: Vec<(Range<usize>, Buffer)>,
}

impl Wholes {
    /// Those of a program with these views, from a word on.
    pub fn new(program: &Program, views: &BTreeMap<Buffer, View>, start: usize) -> Self {
        let mut of: Vec<Buffer> = views.values().map(|it| it.of).collect();
        of.sort_unstable();
        of.dedup();
        let mut end = start;
        let words = of.into_iter().map(|of| {
            let start = end;
            end += program.span(of).len;
            (start..end, of)
        });
        Self {
            words: words.collect(),
        }
    }

    /// The words that stand for all of a tensor that others lie in.
    pub fn words(&self, of: Buffer) -> Option<Range<usize>> {
        let found = self.words.binary_search_by_key(&of, |(_, it)| *it).ok()?;
        Some(self.words[found].0.clone())
    }

    /// The tensor that words stand for, or for some of; none for words of the memory itself.
    pub fn of(&self, words: &Range<usize>) -> Option<Buffer> {
        let next = self
            .words
            .partition_point(|(it, _)| it.start <= words.start);
        let (whole, of) = self.words.get(next.checked_sub(1)?)?;
        (words.end <= whole.end).then_some(*of)
    }
}
