//! Tensors that lie within another one: a sum that is read by a concatenation alone is written to its channels there, and
//! the channels of a concatenation's gradient are read where they are. So neither is copied.

use std::collections::BTreeMap;

use crate::program::{Buffer, Call, Program, Target};

/// Where a tensor lies within another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct View {
    /// The other one. It shares its memory with no third: what its pieces are said to touch is not where they lie (see
    /// [`super::Script::part`]), so it would not meet all that touches a third.
    pub of: Buffer,
    /// The first of its channels that are this one's.
    pub begin: usize,
    /// All of its channels.
    pub stride: usize,
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

    /// Whether a sum of so many channels is read by a single concatenation, once. A flattened one has fewer than what the
    /// concatenation takes.
    fn is_piece(&self, x: Buffer, width: usize) -> bool {
        let sum =
            |call: &&Call| matches!(call, Call::Combine { dims, .. } if dims.channels == width);
        let (reads, writes) = (self.reads.get(&x), self.writes.get(&x));
        reads.is_some_and(|it| it.len() == 1)
            && writes.is_some_and(|it| it.len() == 1 && it.iter().all(sum))
    }

    /// Whether a gradient of so many channels is written once, and read by kernels that skip from pixel to pixel.
    fn is_part(&self, dx: Buffer, width: usize) -> bool {
        let skips = |call: &&Call| match call {
            Call::NormGradient {
                dy,
                dx: to,
                coefficients,
                ..
            } => {
                let channels = self.program.span(*coefficients).len / 4;
                *dy == dx && to.is_none_or(|it| it.buffer != dx) && channels == width
            }
            Call::CombineGradient {
                dims, dy, y: None, ..
            } => *dy == dx && dims.channels == width,
            _ => false,
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
    views
}
