//! Places for buffers: those that are never needed at once share memory.

use super::{Buffer, Call, Span};

/// Numbers that a buffer's start is a multiple of: 256 bytes, what GPUs like best.
pub(crate) const ALIGN: usize = 64;

/// Calls that lie at least between two uses of the same memory. A device runs calls at once that do not
/// wait for each other, and those that share memory do: NASNet-A's longest chain (F=16, N=1) is 284 pieces
/// of work with memory that is used again at once, 119 with this, 117 where no two buffers share memory.
const APART: usize = 24;

/// Rounds up to a multiple of [`ALIGN`].
fn aligned(len: usize) -> usize {
    len.div_ceil(ALIGN) * ALIGN
}

/// Gives each buffer, of which `sizes` has its numbers and the words that they take, its span, and the size of all
/// memory. Buffers that are `kept` live as long as
/// the program and lie first, in that order; the others from the first call that touches them to the
/// last. What touches a buffer touches the one that it is `within`, which may be itself; one that is within
/// another has no place of its own.
pub(super) fn assign(
    sizes: impl Iterator<Item = (usize, usize)>,
    kept: &[Buffer],
    calls: &[Call],
    within: impl Fn(Buffer) -> Buffer,
) -> (Vec<Span>, usize) {
    let spans = sizes.map(|(len, words)| Span {
        start: 0,
        len,
        words,
    });
    let mut spans: Vec<Span> = spans.collect();
    let sizes: Vec<usize> = spans.iter().map(|it| it.words).collect();
    let lives = lives(sizes.len(), calls, within);
    let mut end = 0;
    let mut places = vec![true; sizes.len()];
    for &Buffer(id) in kept {
        places[id as usize] = false;
        spans[id as usize].start = end;
        end += aligned(sizes[id as usize]);
    }
    // The largest first, each in the lowest gap that fits (Pisarchyk and Lee 2020, arXiv 2001.03288).
    let mut order: Vec<usize> = (0..sizes.len())
        .filter(|&it| places[it] && lives[it].is_some())
        .collect();
    order.sort_by_key(|&it| (std::cmp::Reverse(sizes[it]), it));
    let (floor, mut memory) = (end, end);
    // Placed buffers by their start.
    let mut placed: Vec<usize> = Vec::new();
    for buffer in order {
        let Some((first, last)) = lives[buffer] else {
            continue;
        };
        let mut start = floor;
        for &other in &placed {
            let apart =
                lives[other].is_none_or(|(begin, end)| last + APART < begin || end + APART < first);
            if apart {
                continue;
            }
            let span = spans[other];
            if start + aligned(sizes[buffer]) <= span.start {
                break;
            }
            start = start.max(span.start + aligned(span.words));
        }
        spans[buffer].start = start;
        memory = memory.max(start + aligned(sizes[buffer]));
        let place = placed.partition_point(|&it| spans[it].start <= start);
        placed.insert(place, buffer);
    }
    (spans, memory)
}

/// The first and the last call that touch each buffer.
fn lives(
    buffers: usize,
    calls: &[Call],
    within: impl Fn(Buffer) -> Buffer,
) -> Vec<Option<(usize, usize)>> {
    let mut lives: Vec<Option<(usize, usize)>> = vec![None; buffers];
    for (index, call) in calls.iter().enumerate() {
        let accesses = call.accesses();
        for buffer in accesses.reads.iter().chain(&accesses.writes) {
            let life = &mut lives[within(*buffer).0 as usize];
            *life = Some((life.map_or(index, |(first, _)| first), index));
        }
    }
    lives
}
