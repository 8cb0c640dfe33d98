//! Sums of branches with a share each (add, mean, drop path), and concatenation on channels.

use super::flat;
use crate::Error;
use crate::cuda::launch::{Launch, Pointer, pack};

/// Inputs of one launch at most: `TERMS` of elementwise.cu.
const TERMS: usize = 8;

/// What a sum takes of an input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Share {
    /// Every image has this factor.
    All(f32),
    /// Image n has the factor at place n of this vector.
    Images(Pointer),
}

impl Share {
    fn parts(self) -> (u64, u32) {
        match self {
            Self::All(factor) => (0, factor.to_bits()),
            Self::Images(pointer) => (pointer.0, 0),
        }
    }
}

/// `words`, and zeros up to the length of the kernel's array.
fn filled<T: Copy + Default>(words: impl Iterator<Item = T>) -> [T; TERMS] {
    let mut all = [T::default(); TERMS];
    all.iter_mut().zip(words).for_each(|(to, word)| *to = word);
    all
}

/// The images of a sum, and the numbers of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Images {
    /// How many.
    pub count: usize,
    /// Height × width × channels.
    pub size: usize,
}

impl Images {
    fn kernel(self, four: &'static str, one: &'static str) -> (&'static str, usize) {
        let (kernel, lanes) = super::by_four(self.size, four, one);
        (kernel, self.count * self.size / lanes)
    }
}

/// `y` ← Σ shareᵢ\[n\] · xᵢ\[n\]. An input whose share is 0 is not read. More than 8 inputs take several launches.
///
/// # Errors
/// [`Error::Shape`] if there is no input or a size does not fit a kernel's argument.
pub fn combine(
    inputs: &[(Pointer, Share)],
    y: Pointer,
    images: Images,
) -> Result<Vec<Launch>, Error> {
    if inputs.is_empty() {
        return Err(Error::shape("add", "there are no inputs"));
    }
    let groups = inputs.chunks(TERMS).enumerate();
    groups
        .map(|(place, group)| {
            let shares = || group.iter().map(|(_, share)| share.parts());
            let mut words = filled(group.iter().map(|(x, _)| x.0)).to_vec();
            words.extend(filled(shares().map(|(pointer, _)| pointer)));
            words.extend(pack(filled(shares().map(|(_, factor)| factor))));
            words.extend(pack([group.len() as u32, u32::from(place > 0)]));
            let (kernel, work) = images.kernel("combine_4", "combine_1");
            flat(kernel, work)
                .structure(words)
                .pointers([y])
                .ints([images.count, images.size])
                .build()
        })
        .collect()
}

/// A gradient that a launch with several outputs writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its buffer.
    pub dx: Pointer,
    /// Whether it is added to, or stored.
    pub add: bool,
}

/// Cuts `targets` into runs that one launch takes: at most 8, and no buffer twice. A buffer that occurs again is added
/// to the second time.
fn runs(targets: impl Iterator<Item = Target>) -> Vec<Vec<Target>> {
    let mut runs: Vec<Vec<Target>> = vec![Vec::new()];
    let mut seen = Vec::new();
    for mut target in targets {
        let full =
            |run: &Vec<Target>| run.len() == TERMS || run.iter().any(|other| other.dx == target.dx);
        if runs.last().is_none_or(full) {
            runs.push(Vec::new());
        }
        target.add |= seen.contains(&target.dx);
        seen.push(target.dx);
        if let Some(run) = runs.last_mut() {
            run.push(target);
        }
    }
    runs
}

/// `dxᵢ` ←, or +=, shareᵢ\[n\] · dy\[n\] for the inputs of [`combine`] in their order. A buffer may occur more than once.
///
/// # Errors
/// As [`combine`].
pub fn combine_gradient(
    targets: &[(Target, Share)],
    dy: Pointer,
    images: Images,
) -> Result<Vec<Launch>, Error> {
    let mut shares = targets.iter().map(|(_, share)| share.parts());
    runs(targets.iter().map(|(target, _)| *target))
        .into_iter()
        .map(|run| {
            let shares: Vec<_> = shares.by_ref().take(run.len()).collect();
            let mut words = filled(run.iter().map(|target| target.dx.0)).to_vec();
            words.extend(filled(shares.iter().map(|(pointer, _)| *pointer)));
            words.extend(pack(filled(shares.iter().map(|(_, factor)| *factor))));
            words.extend(pack(filled(run.iter().map(|target| u32::from(target.add)))));
            words.extend(pack([run.len() as u32, 0]));
            let (kernel, work) = images.kernel("combine_gradient_4", "combine_gradient_1");
            flat(kernel, work)
                .structure(words)
                .pointers([dy])
                .ints([images.count, images.size])
                .build()
        })
        .collect()
}

/// The launches of a concatenation, or of its gradient, one for each run of pieces.
fn pieces(
    kernels: [&'static str; 2],
    pieces: impl Iterator<Item = (Target, usize)> + Clone,
    whole: Pointer,
    pixels: usize,
) -> Result<Vec<Launch>, Error> {
    let widths: Vec<usize> = pieces.clone().map(|(_, width)| width).collect();
    let channels: usize = widths.iter().sum();
    let four = widths.iter().all(|width| width.is_multiple_of(4));
    let (kernel, lanes) = if four {
        (kernels[0], 4)
    } else {
        (kernels[1], 1)
    };
    let (mut place, mut begin) = (0, 0);
    let mut launches = Vec::new();
    for run in runs(pieces.map(|(target, _)| target)) {
        let widths = &widths[place..place + run.len()];
        let starts = widths.iter().scan(begin, |at, width| {
            *at += width;
            Some((*at - width) as u32)
        });
        let span: usize = widths.iter().sum();
        let mut words = filled(run.iter().map(|target| target.dx.0)).to_vec();
        words.extend(pack(filled(starts)));
        words.extend(pack(filled(widths.iter().map(|&width| width as u32))));
        words.extend(pack(filled(run.iter().map(|target| u32::from(target.add)))));
        words.extend(pack([run.len() as u32, span as u32]));
        if span > 0 {
            let launch = flat(kernel, pixels * span / lanes)
                .structure(words)
                .pointers([whole])
                .ints([pixels, channels]);
            launches.push(launch.build()?);
        }
        place += run.len();
        begin += span;
    }
    Ok(launches)
}

/// `y` ← the inputs side by side on their channels; each with its number of channels.
///
/// # Errors
/// [`Error::Shape`] if a size does not fit a kernel's argument.
pub fn concat(
    inputs: &[(Pointer, usize)],
    y: Pointer,
    pixels: usize,
) -> Result<Vec<Launch>, Error> {
    let all = inputs
        .iter()
        .map(|&(x, width)| (Target { dx: x, add: false }, width));
    pieces(["concat_4", "concat_1"], all, y, pixels)
}

/// `dxᵢ` ←, or +=, the part of `dy` that came from input i. A buffer may occur more than once.
///
/// # Errors
/// As [`concat()`].
pub fn concat_gradient(
    targets: &[(Target, usize)],
    dy: Pointer,
    pixels: usize,
) -> Result<Vec<Launch>, Error> {
    let kernels = ["concat_gradient_4", "concat_gradient_1"];
    pieces(kernels, targets.iter().copied(), dy, pixels)
}
