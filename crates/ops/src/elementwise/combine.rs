//! Sums of branches: `add`, `mean`, and sums of branches under drop path, in one pass.

use dfdx::prelude::*;

use super::random;
use crate::buffers::{give, read, take, take_gradient, tensor};
use crate::parts::{Bands, Shared};
use crate::reference::on_tape;
use crate::simd::vectorised;
use crate::{Base, Error, Feature, Kernels};

/// What a sum's image `n` takes of an input: the same share of each image, or one for each.
#[derive(Clone, Debug)]
pub enum Share {
    /// Every image has this factor.
    All(f32),
    /// Image `n` has factor `n`.
    Images(Vec<f32>),
}

impl Share {
    fn of(&self, image: usize) -> f32 {
        match self {
            Self::All(factor) => *factor,
            Self::Images(factors) => factors[image],
        }
    }
}

/// The kernel behind the sums of this module; arguments have been checked.
pub trait CombineKernel: Base {
    /// `y[n] = Σ shareᵢ[n] · xᵢ[n]` over one input or more. An input whose share is 0 is not read.
    ///
    /// # Errors
    /// [`Error::Device`] if the device fails.
    fn combine<T: Tape<f32, Self>>(
        tape: &mut T,
        inputs: &[&Feature<Self>],
        shares: Vec<Share>,
    ) -> Result<Feature<Self>, Error> {
        reference(tape, inputs, shares)
    }
}

#[cfg(feature = "cuda")]
impl CombineKernel for Cuda {}

/// The sum composed of dfdx's broadcasts, products and sums.
///
/// # Errors
/// [`Error::Device`] if the device fails.
pub fn reference<D: Base, T: Tape<f32, D>>(
    tape: &mut T,
    inputs: &[&Feature<D>],
    shares: Vec<Share>,
) -> Result<Feature<D>, Error> {
    let (first, rest) = inputs
        .split_first()
        .ok_or_else(|| Error::shape("add", "there are no inputs"))?;
    let shape = *first.shape();
    // A product with a number makes a new tensor, so that an input may occur twice.
    let scaled = |x: Tensor<_, f32, D, T>, share: &Share| match share {
        Share::All(factor) => x.try_mul(*factor),
        Share::Images(factors) => {
            let factors = x
                .device()
                .try_tensor_from_vec(factors.clone(), (shape.0,))?;
            x.try_mul(factors.try_broadcast_like::<_, Axes3<1, 2, 3>>(&shape)?)
        }
    };
    on_tape(tape, first, |x| {
        let mut sum = scaled(x, &shares[0]).map_err(Error::device)?;
        for (x, share) in rest.iter().zip(&shares[1..]) {
            let term = scaled(x.retaped::<T>(), share).map_err(Error::device)?;
            sum = sum.try_add(term).map_err(Error::device)?;
        }
        Ok(sum)
    })
}

/// Refuses an empty list and inputs of different shapes.
fn check<D: Base>(operation: &'static str, inputs: &[&Feature<D>]) -> Result<(), Error> {
    let Some(first) = inputs.first() else {
        return Err(Error::shape(operation, "there are no inputs"));
    };
    let expected = *first.shape();
    match inputs.iter().position(|x| *x.shape() != expected) {
        Some(place) => Err(Error::shape(
            operation,
            format!(
                "input 0 is {expected:?}, input {place} is {:?}; shapes must be equal",
                inputs[place].shape()
            ),
        )),
        None => Ok(()),
    }
}

/// The sum of one input or more: y = Σ xᵢ.
///
/// - `inputs`: each N×H×W×C; the answer has the same shape. An input may occur more than once.
/// - Gradient: dxᵢ = dy.
/// - PyTorch: `x0 + x1 + …`
///
/// # Errors
/// [`Error::Shape`] if there is no input or shapes differ.
pub fn add<D: Kernels, T: Tape<f32, D>>(
    tape: &mut T,
    inputs: &[&Feature<D>],
) -> Result<Feature<D>, Error> {
    check("add", inputs)?;
    D::combine(tape, inputs, vec![Share::All(1.0); inputs.len()])
}

/// The mean of one input or more: y = Σ xᵢ / count. FractalNet joins its paths so (Larsson et al.
/// 2016, arXiv 1605.07648).
///
/// - `inputs`: each N×H×W×C; the answer has the same shape. An input may occur more than once.
/// - Gradient: dxᵢ = dy / count.
/// - PyTorch: `torch.stack([x0, x1, …]).mean(0)`
///
/// # Errors
/// [`Error::Shape`] if there is no input or shapes differ.
pub fn mean<D: Kernels, T: Tape<f32, D>>(
    tape: &mut T,
    inputs: &[&Feature<D>],
) -> Result<Feature<D>, Error> {
    check("mean", inputs)?;
    let share = 1.0 / inputs.len() as f32;
    D::combine(tape, inputs, vec![Share::All(share); inputs.len()])
}

/// Drop path's settings for one branch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DropPath {
    /// Probability that an image loses the branch, in 0..1.
    pub rate: f64,
    /// Which images do is a function of this and of their place in the batch.
    pub seed: u64,
}

/// One input of [`add_branches`].
#[derive(Clone, Copy, Debug)]
pub struct Branch<'a, D: Base> {
    /// The branch's output.
    pub x: &'a Feature<D>,
    /// Drop path before the sum, if any.
    pub drop_path: Option<DropPath>,
}

/// A sum of branches of which some are under [`drop_path`], in one pass: y = Σ drop_path(xᵢ).
///
/// - Shapes, errors as for [`add`] and [`drop_path`].
/// - Gradient: that of each branch's [`drop_path`].
/// - Paper: Zoph et al. 2018, arXiv 1707.07012 (scheduled drop path).
///
/// # Errors
/// [`Error::Shape`] if there is no input, shapes differ or a rate is not in 0..1.
pub fn add_branches<D: Kernels, T: Tape<f32, D>>(
    tape: &mut T,
    branches: &[Branch<'_, D>],
) -> Result<Feature<D>, Error> {
    let inputs: Vec<_> = branches.iter().map(|branch| branch.x).collect();
    check("add_branches", &inputs)?;
    let images = inputs[0].shape().0;
    let shares = branches.iter().map(|branch| match branch.drop_path {
        None => Ok(Share::All(1.0)),
        Some(drop) => drop_share("add_branches", drop, images),
    });
    let shares = shares.collect::<Result<_, Error>>()?;
    D::combine(tape, &inputs, shares)
}

fn drop_share(operation: &'static str, drop: DropPath, images: usize) -> Result<Share, Error> {
    if !(0.0..1.0).contains(&drop.rate) {
        return Err(Error::shape(
            operation,
            format!("the rate {} is not in 0..1", drop.rate),
        ));
    }
    Ok(Share::Images(random::factors(drop.seed, drop.rate, images)))
}

/// Drop path: each image loses the branch with probability `rate`; what is kept is scaled so that
/// the expectation stays.
///
/// y\[n\] = x\[n\] · bₙ / (1 − rate), with bₙ = 0 with probability rate and else 1, a function of `seed`
/// and n alone.
///
/// - `x`: N×H×W×C; the answer has the same shape.
/// - Gradient: dx\[n\] = dy\[n\] · bₙ / (1 − rate).
/// - Papers: Larsson et al. 2016, arXiv 1605.07648; Huang et al. 2016, arXiv 1603.09382 (stochastic
///   depth).
/// - PyTorch: `torchvision.ops.stochastic_depth(x, rate, "row")`
///
/// # Errors
/// [`Error::Shape`] if `rate` is not in 0..1.
pub fn drop_path<D: Kernels, T: Tape<f32, D>>(
    tape: &mut T,
    x: &Feature<D>,
    rate: f64,
    seed: u64,
) -> Result<Feature<D>, Error> {
    let share = drop_share("drop_path", DropPath { rate, seed }, x.shape().0)?;
    D::combine(tape, &[x], vec![share])
}

vectorised! {
    /// `y = a * share_a + b * share_b`.
    fn pair(a: &[f32], share_a: f32, b: &[f32], share_b: f32, y: &mut [f32]) {
        for ((a, b), y) in a.iter().zip(b).zip(y) {
            *y = *a * share_a + *b * share_b;
        }
    }
}

vectorised! {
    /// `y = x * share`.
    fn scale(x: &[f32], share: f32, y: &mut [f32]) {
        for (x, y) in x.iter().zip(y) {
            *y = *x * share;
        }
    }
}

vectorised! {
    /// `y += x * share`.
    pub(crate) fn add_scaled(x: &[f32], share: f32, y: &mut [f32]) {
        for (x, y) in x.iter().zip(y) {
            *y += *x * share;
        }
    }
}

/// `y[n] = Σ shareᵢ[n] · xᵢ[n]`, each number of each input read once.
pub(crate) fn forward(
    shape: (usize, usize, usize),
    inputs: &[&[f32]],
    shares: &[Share],
    y: &mut [f32],
) {
    let (images, rows, width) = shape;
    let y = Shared::new(y);
    Bands::new(images, rows, width).for_each(|image, band| {
        let range = (image * rows + band.start) * width..(image * rows + band.end) * width;
        // SAFETY: the ranges of different bands are apart.
        let y = unsafe { y.slice(range.clone()) };
        let terms = inputs.iter().zip(shares);
        let mut terms = terms
            .map(|(x, share)| (&x[range.clone()], share.of(image)))
            .filter(|(_, share)| *share != 0.0);
        match (terms.next(), terms.next()) {
            (Some((a, share_a)), Some((b, share_b))) => pair(a, share_a, b, share_b, y),
            (Some((a, share_a)), None) => scale(a, share_a, y),
            _ => y.fill(0.0),
        }
        terms.for_each(|(x, share)| add_scaled(x, share, y));
    });
}

/// `dx[n] += share[n] · dy[n]`.
pub(crate) fn backward(shape: (usize, usize, usize), dy: &[f32], share: &Share, dx: &mut [f32]) {
    let (images, rows, width) = shape;
    let dx = Shared::new(dx);
    Bands::new(images, rows, width).for_each(|image, band| {
        let factor = share.of(image);
        if factor != 0.0 {
            let range = (image * rows + band.start) * width..(image * rows + band.end) * width;
            // SAFETY: the ranges of different bands are apart.
            let dx = unsafe { dx.slice(range.clone()) };
            add_scaled(&dy[range], factor, dx);
        }
    });
}

impl CombineKernel for Cpu {
    fn combine<T: Tape<f32, Self>>(
        tape: &mut T,
        inputs: &[&Feature<Self>],
        shares: Vec<Share>,
    ) -> Result<Feature<Self>, Error> {
        let (n, h, w, c) = *inputs[0].shape();
        let shape = (n, h * w, c);
        let values = inputs.iter().map(|x| read("add", x));
        let values = values.collect::<Result<Vec<_>, _>>()?;
        let mut y = take(values[0].len());
        forward(shape, &values, &shares, &mut y);
        let y = tensor(inputs[0].device(), y, (n, h, w, c))?;
        if T::OWNS_TAPE {
            let output = y.ghost();
            let inputs: Vec<_> = inputs.iter().map(|x| x.ghost()).collect();
            tape.add_backward_op(move |gradients| {
                let dy = take_gradient(gradients.get_or_alloc_mut(&output)?);
                for (input, share) in inputs.iter().zip(&shares) {
                    backward(shape, &dy, share, gradients.get_or_alloc_mut(input)?);
                }
                give(dy);
                Ok(())
            });
        }
        Ok(y)
    }
}
