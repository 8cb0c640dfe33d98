//! Which pieces of a step must wait for which: those that touch the same memory, unless both only read it or share it.

use std::ops::Range;

/// The words that a piece of work touches.
#[derive(Debug, Clone, Default)]
pub(super) struct Touches {
    /// What is read.
    pub reads: Vec<Range<usize>>,
    /// What is written, or added to.
    pub writes: Vec<Range<usize>>,
}

impl Touches {
    /// What both touch; what one writes and the other reads is written.
    pub fn and(mut self, other: Self) -> Self {
        self.reads.extend(other.reads);
        self.writes.extend(other.writes);
        self
    }

    /// Whether none of the words is touched.
    pub fn is_apart(&self, words: &[Range<usize>]) -> bool {
        let mut own = self.reads.iter().chain(&self.writes);
        own.all(|own| {
            let meets = |it: &&Range<usize>| own.start < it.end && it.start < own.end;
            words.iter().find(meets).is_none()
        })
    }
}

/// How words are touched. Pieces that do it in the same way do not wait for each other, unless they write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Way {
    #[default]
    Read,
    Write,
    Share(usize),
}

/// Who touched a run of words last.
#[derive(Debug, Clone, Default)]
struct Last {
    way: Way,
    /// Those that did it so, one after the other.
    pieces: Vec<usize>,
    /// Those before them, for which all of them wait.
    before: Vec<usize>,
}

impl Last {
    /// Notes another piece, and gives those that it waits for.
    fn touch(&mut self, piece: usize, way: Way) -> &[usize] {
        if way == Way::Write || way != self.way {
            self.way = way;
            self.before = std::mem::take(&mut self.pieces);
        }
        self.pieces.push(piece);
        &self.before
    }
}

/// For each piece the earlier ones that it waits for, without those that another one of them waits for.
/// Work that keeps to it finds in memory what it finds when piece follows piece.
///
/// Words may stand for a part of a tensor, wherever that lies: then `whole` gives a number for the tensor, and the memory that it takes.
/// That is what others may touch at once that touch parts of the same tensor, but nothing else may.
pub(super) fn order(
    pieces: &[Touches],
    whole: impl Fn(&Range<usize>) -> Option<(usize, Range<usize>)>,
) -> Vec<Vec<usize>> {
    let shares = pieces.iter().map(|it| {
        let touched = it.reads.iter().chain(&it.writes);
        touched.filter_map(&whole).collect()
    });
    let shares: Vec<Vec<(usize, Range<usize>)>> = shares.collect();
    let ranges = pieces
        .iter()
        .flat_map(|it| it.reads.iter().chain(&it.writes));
    let ranges = ranges.chain(shares.iter().flatten().map(|(_, range)| range));
    let mut bounds: Vec<usize> = ranges.flat_map(|it| [it.start, it.end]).collect();
    bounds.sort_unstable();
    bounds.dedup();
    let runs = |range: &Range<usize>| {
        let place = |word: usize| bounds.partition_point(|&it| it < word);
        place(range.start)..place(range.end)
    };
    let mut last = vec![Last::default(); bounds.len()];
    let mut before = Before::new(pieces.len());
    for (piece, touches) in pieces.iter().enumerate() {
        let mut found = Vec::new();
        let reads = touches.reads.iter().map(|it| (Way::Read, it));
        let shares = shares[piece].iter();
        let shares = shares.map(|(of, it)| (Way::Share(*of), it));
        let writes = touches.writes.iter().map(|it| (Way::Write, it));
        for (way, range) in reads.chain(shares).chain(writes) {
            for run in runs(range) {
                found.extend(last[run].touch(piece, way));
            }
        }
        found.retain(|&it| it != piece);
        before.add(piece, found);
    }
    before.direct
}

/// For each piece, by how many pieces the longest chain through it falls short of the longest of all: the step is no
/// longer for it if so many others go first.
pub(super) fn slack(after: &[Vec<usize>]) -> Vec<usize> {
    let mut above = vec![1; after.len()];
    for piece in 0..after.len() {
        let most = after[piece].iter().map(|&it| above[it]).max();
        above[piece] += most.unwrap_or(0);
    }
    let mut below = vec![0; after.len()];
    for piece in (0..after.len()).rev() {
        for &it in &after[piece] {
            below[it] = below[it].max(below[piece] + 1);
        }
    }
    let through: Vec<usize> = above.iter().zip(&below).map(|(a, b)| a + b).collect();
    let longest = through.iter().copied().max().unwrap_or(0);
    through.iter().map(|it| longest - it).collect()
}

/// What comes before each piece.
struct Before {
    /// What it waits for itself.
    direct: Vec<Vec<usize>>,
    /// One bit for each piece that it waits for at all.
    all: Vec<Vec<u64>>,
}

impl Before {
    fn new(pieces: usize) -> Self {
        Self {
            direct: Vec::with_capacity(pieces),
            all: Vec::with_capacity(pieces),
        }
    }

    fn add(&mut self, piece: usize, mut found: Vec<usize>) {
        let mut all = vec![0u64; piece.div_ceil(64)];
        let mut direct = Vec::new();
        // The latest first: what an earlier one waits for, a later one may too.
        found.sort_unstable_by_key(|&it| std::cmp::Reverse(it));
        for it in found {
            if all[it / 64] >> (it % 64) & 1 == 1 {
                continue;
            }
            direct.push(it);
            all[it / 64] |= 1 << (it % 64);
            for (to, from) in all.iter_mut().zip(&self.all[it]) {
                *to |= from;
            }
        }
        self.direct.push(direct);
        self.all.push(all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn touches(reads: &[(usize, usize)], writes: &[(usize, usize)]) -> Touches {
        let ranges = |bounds: &[(usize, usize)]| bounds.iter().map(|it| it.0..it.1).collect();
        Touches {
            reads: ranges(reads),
            writes: ranges(writes),
        }
    }

    #[test]
    fn readers_do_not_wait_for_each_other() {
        let pieces = [
            touches(&[], &[(0, 8)]),
            touches(&[(0, 8)], &[(8, 12)]),
            touches(&[(2, 4)], &[(12, 16)]),
            touches(&[(8, 12), (12, 16)], &[(0, 1)]),
            touches(&[(7, 8)], &[(20, 21)]),
        ];
        assert_eq!(
            order(&pieces, |_| None),
            [vec![], vec![0], vec![0], vec![2, 1], vec![0]]
        );
    }

    #[test]
    fn slack_is_what_a_chain_falls_short_of_the_longest() {
        // 0 → 1 → 2 → 5, beside it 0 → 3 → 5 and 4.
        let after = [vec![], vec![0], vec![1], vec![0], vec![], vec![2, 3]];
        assert_eq!(slack(&after), [0, 0, 0, 1, 3, 0]);
        assert_eq!(slack(&[]), [] as [usize; 0]);
    }

    /// Words from 100 on stand for parts of a tensor, those from 110 on for parts of another one.
    fn whole(words: &Range<usize>) -> Option<(usize, Range<usize>)> {
        match words.start {
            110.. => Some((1, 7..14)),
            100.. => Some((0, 4..9)),
            _ => None,
        }
    }

    /// Whether one of two pieces writes what the other touches, or other memory meets that of a part.
    fn conflict(a: &Touches, b: &Touches) -> bool {
        let meet = |x: &Range<usize>, y: &Range<usize>| x.start < y.end && y.start < x.end;
        let any = |a: &[Range<usize>],
                   b: &[Range<usize>],
                   meet: &dyn Fn(&Range<usize>, &Range<usize>) -> bool| {
            a.iter().any(|a| b.iter().any(|b| meet(a, b)))
        };
        let others = |a: &Range<usize>, b: &Range<usize>| match (whole(a), whole(b)) {
            (None, None) => false,
            (Some((a, _)), Some((b, _))) if a == b => false,
            (of_a, of_b) => {
                let lies = |it: Option<(usize, Range<usize>)>, own: &Range<usize>| {
                    it.map_or(own.clone(), |(_, it)| it)
                };
                meet(&lies(of_a, a), &lies(of_b, b))
            }
        };
        let all = |it: &Touches| [&it.reads[..], &it.writes].concat();
        any(&a.writes, &all(b), &meet)
            || any(&a.reads, &b.writes, &meet)
            || any(&all(a), &all(b), &others)
    }

    fn ranges() -> impl Strategy<Value = Vec<(usize, usize)>> {
        let memory = (0usize..20, 1usize..6).prop_map(|(start, len)| (start, start + len));
        let part = (10usize..12, 0usize..8, 1usize..3);
        let part = part.prop_map(|(tens, start, len)| (10 * tens + start, 10 * tens + start + len));
        prop::collection::vec(prop_oneof![memory, part], 0..3)
    }

    proptest! {
        #[test]
        fn what_conflicts_is_ordered_and_nothing_else(
            all in prop::collection::vec((ranges(), ranges()), 1..24)
        ) {
            let pieces: Vec<Touches> = all.iter().map(|(reads, writes)| touches(reads, writes)).collect();
            let found = order(&pieces, whole);
            // The closure of what was found, and that of the conflicts.
            let closure = |direct: &dyn Fn(usize, usize) -> bool| {
                let n = pieces.len();
                let mut all = vec![vec![false; n]; n];
                for b in 0..n {
                    for a in (0..b).rev() {
                        all[b][a] = direct(b, a) || (a + 1..b).any(|c| all[b][c] && all[c][a]);
                    }
                }
                all
            };
            let ours = closure(&|b, a| found[b].contains(&a));
            let theirs = closure(&|b, a| conflict(&pieces[a], &pieces[b]));
            prop_assert_eq!(ours, theirs);
            // None of them is found again behind another.
            for direct in &found {
                for (place, a) in direct.iter().enumerate() {
                    prop_assert!(direct[..place].iter().all(|b| b > a));
                }
            }
        }
    }
}
