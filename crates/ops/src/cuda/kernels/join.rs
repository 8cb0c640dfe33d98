//! Sums of the parts that the gradients of weights are made in, those of several weights in one launch.

use super::sizes_of;
use crate::Error;
use crate::cuda::launch::Builder;
use crate::cuda::{Launch, Pointer};

/// Sums of one launch at most: `JOBS` of join.cu.
pub const JOBS: usize = 8;
/// Numbers that a block makes, and parts of them that it reads at a time.
const BLOCK: [u32; 3] = [32, 8, 1];

/// `to` ←, or +=, the sum of so many parts of `size` numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Join {
    /// The parts, one after the other.
    pub parts: Pointer,
    /// How many.
    pub count: usize,
    /// Numbers of each.
    pub size: usize,
    /// The sum.
    pub to: Pointer,
    /// Whether it is added to what is there.
    pub add: bool,
}

/// Does all of them, [`JOBS`] at most.
///
/// # Errors
/// [`Error::Shape`] if there are more, or a size does not fit a kernel's argument.
pub fn join(jobs: &[Join]) -> Result<Launch, Error> {
    if jobs.len() > JOBS {
        return Err(Error::shape("join", format!("{} sums at once", jobs.len())));
    }
    let filled = |of: fn(&Join) -> usize| {
        let mut all = [0; JOBS];
        all.iter_mut().zip(jobs).for_each(|(to, job)| *to = of(job));
        all
    };
    let mut words: Vec<u64> = Vec::new();
    for of in [|it: &Join| it.parts, |it: &Join| it.to] {
        let pointers = jobs.iter().map(|it| of(it).0);
        words.extend(pointers.chain(std::iter::repeat(0)).take(JOBS));
    }
    for of in [
        |it: &Join| it.count,
        |it: &Join| it.size,
        |it: &Join| it.add.into(),
    ] {
        words.extend(sizes_of(filled(of).into_iter()));
    }
    let largest = jobs.iter().map(|it| it.size).max().unwrap_or(0);
    let blocks = largest.div_ceil(BLOCK[0] as usize);
    Builder::new("join_parts", [blocks, jobs.len(), 1], BLOCK)
        .counted(largest)
        .structure(words)
        .build()
}
