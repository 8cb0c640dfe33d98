//! Sums of branches with a share each (add, mean, drop path), and concatenation on channels.

use super::affine::Prologue;
use super::elementwise::Shape;
use super::{by_four, divisor, flat_in_eights};
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
    /// The factors of the images, or null, and where it is null that of all.
    pub(super) fn parts(self) -> (Pointer, f32) {
        match self {
            Self::All(factor) => (Pointer::NULL, factor),
            Self::Images(pointer) => (pointer, 0.0),
        }
    }
}

/// `words`, and zeros up to the length of the kernel's array.
fn filled<T: Copy + Default>(words: impl Iterator<Item = T>) -> [T; TERMS] {
    let mut all = [T::default(); TERMS];
    all.iter_mut().zip(words).for_each(|(to, word)| *to = word);
    all
}

/// A term of a sum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Term {
    /// Its numbers.
    pub x: Pointer,
    /// How they are normalised, if they are; a ReLU cannot follow.
    pub norm: Option<Prologue>,
    /// What the sum takes of them.
    pub share: Share,
}

/// `y`, with the numbers from a pixel to the next, ← Σ shareᵢ\[n\] · xᵢ\[n\] of images, pixels and channels, then ReLU if `relu`. A term whose share is 0 is not
/// read. More than 8 terms take several launches.
///
/// # Errors
/// [`Error::Shape`] if there is no term or a size does not fit a kernel's argument.
pub fn combine(
    terms: &[Term],
    relu: bool,
    (y, stride): (Pointer, usize),
    (images, pixels, channels): Shape,
) -> Result<Vec<Launch>, Error> {
    if terms.is_empty() {
        return Err(Error::shape("add", "there are no inputs"));
    }
    let normalises = terms.iter().any(|it| it.norm.is_some());
    let (pixels, channels, stride) = match normalises || stride != channels {
        true => (pixels, channels, stride),
        false => (1, pixels * channels, pixels * channels),
    };
    let groups = terms.chunks(TERMS).enumerate();
    let last = groups.len() - 1;
    groups
        .map(|(place, group)| {
            let norm = |of: fn(&Prologue) -> Pointer| {
                let found = group.iter().map(move |it| it.norm.as_ref().map(of));
                filled(found.map(|it| it.unwrap_or_default().0))
            };
            let shares = || group.iter().map(|it| it.share.parts());
            let mut words = filled(group.iter().map(|it| it.x.0)).to_vec();
            words.extend(norm(|it| it.factor));
            words.extend(norm(|it| it.offset));
            words.extend(filled(shares().map(|(pointer, _)| pointer.0)));
            words.extend(pack(filled(shares().map(|(_, factor)| factor.to_bits()))));
            let flags = [place > 0, relu && place == last].map(u32::from);
            words.extend(pack([group.len() as u32, flags[0], flags[1], 0]));
            let (kernel, lanes) = by_four(channels, "combine_4", "combine_1");
            flat_in_eights(kernel, images * pixels * channels / lanes)
                .structure(words)
                .pointers([y])
                .ints([images])
                .structure(divisor(channels / lanes))
                .structure(divisor(pixels * channels / lanes))
                .ints([stride])
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

/// `dxᵢ` ←, or +=, shareᵢ\[n\] · dy\[n\], with the numbers from a pixel of `dy` to the next, for the terms of [`combine`] in their order; nothing where the sum `y` is not
/// positive, unless it is null. A buffer may occur more than once.
///
/// # Errors
/// As [`combine`].
pub fn combine_gradient(
    targets: &[(Target, Share)],
    ((dy, stride), y): ((Pointer, usize), Pointer),
    (images, pixels, channels): Shape,
) -> Result<Vec<Launch>, Error> {
    let size = pixels * channels;
    // As one row where there are no gaps.
    let (channels, stride) = match stride == channels {
        true => (size, size),
        false => (channels, stride),
    };
    let (kernel, lanes) = by_four(channels, "combine_gradient_4", "combine_gradient_1");
    let mut shares = targets.iter().map(|(_, share)| share.parts());
    runs(targets.iter().map(|(target, _)| *target))
        .into_iter()
        .map(|run| {
            let shares: Vec<_> = shares.by_ref().take(run.len()).collect();
            let mut words = filled(run.iter().map(|target| target.dx.0)).to_vec();
            words.extend(filled(shares.iter().map(|(pointer, _)| pointer.0)));
            words.extend(pack(filled(shares.iter().map(|it| it.1.to_bits()))));
            words.extend(pack(filled(run.iter().map(|target| u32::from(target.add)))));
            words.extend(pack([run.len() as u32, 0]));
            flat_in_eights(kernel, images * size / lanes)
                .structure(words)
                .pointers([dy, y])
                .ints([images])
                .structure(divisor(channels / lanes))
                .structure(divisor(size / lanes))
                .ints([stride])
                .build()
        })
        .collect()
}

/// The launches of a concatenation, or of its gradient, one for each run of pieces. A piece without an address is left out.
fn pieces(
    kernels: [&'static str; 2],
    pieces: impl Iterator<Item = (Target, usize)>,
    (whole, stride): (Pointer, usize),
    pixels: usize,
) -> Result<Vec<Launch>, Error> {
    let mut end = 0;
    let placed = pieces.map(|(target, width)| {
        end += width;
        (target, end - width, width)
    });
    let placed = placed.filter(|(target, _, width)| target.dx != Pointer::NULL && *width > 0);
    let placed: Vec<_> = placed.collect();
    if placed.is_empty() {
        return Ok(Vec::new());
    }
    let all_by = |by: usize| {
        let mut sizes = placed.iter().flat_map(|(_, begin, width)| [begin, width]);
        stride.is_multiple_of(by) && sizes.all(|it| it.is_multiple_of(by))
    };
    let ((kernel, lanes), eights) = match all_by(4) {
        true => ((kernels[0], 4), all_by(8)),
        false => ((kernels[1], 1), false),
    };
    let mut left = &placed[..];
    let mut launches = Vec::new();
    for run in runs(placed.iter().map(|(target, ..)| *target)) {
        let (these, others) = left.split_at(run.len());
        left = others;
        let span: usize = these.iter().map(|(.., width)| width).sum();
        let mut words = filled(run.iter().map(|target| target.dx.0)).to_vec();
        words.extend(pack(filled(
            these.iter().map(|(_, begin, _)| *begin as u32),
        )));
        words.extend(pack(filled(these.iter().map(|(.., width)| *width as u32))));
        words.extend(pack(filled(run.iter().map(|target| u32::from(target.add)))));
        words.extend(pack([run.len() as u32, eights.into()]));
        let launch = flat_in_eights(kernel, pixels * span / lanes)
            .structure(words)
            .pointers([whole])
            .ints([pixels])
            .structure(divisor(span / lanes))
            .ints([stride]);
        launches.push(launch.build()?);
    }
    Ok(launches)
}

/// `y`, with the numbers from a pixel to the next, ← the inputs side by side on their channels; each with its number of
/// channels.
///
/// # Errors
/// [`Error::Shape`] if a size does not fit a kernel's argument.
pub fn concat(
    inputs: &[(Pointer, usize)],
    y: (Pointer, usize),
    pixels: usize,
) -> Result<Vec<Launch>, Error> {
    let all = inputs
        .iter()
        .map(|&(x, width)| (Target { dx: x, add: false }, width));
    pieces(["concat_4", "concat_1"], all, y, pixels)
}

/// `dxᵢ` ←, or +=, the part of `dy`, with the numbers from a pixel to the next, that came from input i. A buffer may occur
/// more than once.
///
/// # Errors
/// As [`concat()`].
pub fn concat_gradient(
    targets: &[(Target, usize)],
    dy: (Pointer, usize),
    pixels: usize,
) -> Result<Vec<Launch>, Error> {
    let kernels = ["concat_gradient_4", "concat_gradient_1"];
    pieces(kernels, targets.iter().copied(), dy, pixels)
}
