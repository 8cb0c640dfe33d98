//! Chains of convolutions with batch norm, each chain one operation.
//!
//! A unit is [ReLU →] convolution [→ 1×1 convolution] [→ batch norm [→ ReLU]]; a chain is one unit or
//! several. Inside a chain a normalised activation is never stored: the next convolution normalises
//! what it reads, and the gradient computes it again. [`conv_bn`] and [`separable`] are chains of one.

pub(crate) mod cpu;
mod fold;
pub mod reference;
mod residual;
#[cfg(test)]
mod tests;

use dfdx::shapes::HasShape;
use dfdx::tensor::Tape;

use crate::batch_norm::{BatchNorm, Running};
use crate::conv2d::Conv2d;
use crate::conv2d::geometry::Geometry;
use crate::{Base, Error, Feature, Kernels, Vector};

/// A batch norm after a convolution; see [`crate::batch_norm()`] for what the parts mean.
pub struct Norm<'a, D: Base> {
    /// Learned factor of each channel, 1 without.
    pub scale: Option<&'a Vector<D>>,
    /// Learned addend of each channel, 0 without.
    pub shift: Option<&'a Vector<D>>,
    /// Running statistics, moved in training and used in evaluation.
    pub running: &'a mut Running<D>,
    /// Momentum and epsilon.
    pub options: BatchNorm,
    /// Whether a ReLU follows.
    pub relu: bool,
    /// Whether the batch's statistics are used, and move the running ones.
    pub training: bool,
}

/// One unit of a [`chain`].
pub struct Unit<'a, D: Base> {
    /// Whether a ReLU comes before the convolution.
    pub relu_before: bool,
    /// The convolution's weight, kh×kw×(C/groups)×F.
    pub weight: &'a Feature<D>,
    /// The convolution's steps, borders and groups.
    pub conv: Conv2d,
    /// The weight of a 1×1 convolution after it, 1×1×F×G, as in a depthwise-separable convolution.
    pub pointwise: Option<&'a Feature<D>>,
    /// The batch norm at the end.
    pub norm: Option<Norm<'a, D>>,
}

/// What a [`chain`] reads.
pub struct Input<'a, D: Base> {
    /// N×H×W×C.
    pub x: &'a Feature<D>,
    /// Whether its gradient is wanted. That of a network's images is not; the CPU does not compute it then.
    pub gradient: bool,
}

impl<'a, D: Base> From<&'a Feature<D>> for Input<'a, D> {
    fn from(x: &'a Feature<D>) -> Self {
        Self { x, gradient: true }
    }
}

/// What is added to the output of a chain's last unit.
pub struct Residual<'a, D: Base> {
    /// Of the shape of the output.
    pub x: &'a Feature<D>,
    /// Whether a ReLU follows the sum.
    pub relu: bool,
}

/// The kernel behind [`chain`] and [`residual_chain`]; shapes have been checked.
pub trait ChainKernel: Base {
    /// See [`residual_chain`].
    ///
    /// # Errors
    /// [`Error::Device`] if the device fails.
    fn chain<T: Tape<f32, Self>>(
        tape: &mut T,
        input: Input<'_, Self>,
        units: Vec<Unit<'_, Self>>,
        residual: Option<Residual<'_, Self>>,
    ) -> Result<Feature<Self>, Error>
    where
        Self: Kernels,
    {
        reference::chain(tape, input.x, units, residual)
    }
}

#[cfg(feature = "cuda")]
impl ChainKernel for dfdx::tensor::Cuda {}

/// The shapes of one unit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shapes {
    pub first: Geometry,
    pub pointwise: Option<Geometry>,
}

impl Shapes {
    /// The dims of the unit's output.
    pub fn out(&self) -> (usize, usize, usize, usize) {
        self.pointwise.unwrap_or(self.first).out()
    }
}

/// Checks the units one after the other.
pub(crate) fn shapes<D: Base>(
    operation: &'static str,
    x: &Feature<D>,
    units: &[Unit<D>],
) -> Result<Vec<Shapes>, Error> {
    let mut dims = *x.shape();
    let mut all = Vec::with_capacity(units.len());
    for unit in units {
        let first = Geometry::new(operation, dims, *unit.weight.shape(), unit.conv)?;
        let pointwise = match unit.pointwise {
            None => None,
            Some(w) => {
                let (kh, kw, _, _) = *w.shape();
                if (kh, kw) != (1, 1) {
                    return Err(Error::shape(
                        operation,
                        format!("the second weight is {kh}×{kw}, not 1×1"),
                    ));
                }
                Some(Geometry::new(
                    operation,
                    first.out(),
                    *w.shape(),
                    Conv2d::default(),
                )?)
            }
        };
        let shapes = Shapes { first, pointwise };
        dims = shapes.out();
        check_norm(operation, dims, unit.norm.as_ref())?;
        all.push(shapes);
    }
    Ok(all)
}

fn check_norm<D: Base>(
    operation: &'static str,
    dims: (usize, usize, usize, usize),
    norm: Option<&Norm<D>>,
) -> Result<(), Error> {
    let Some(norm) = norm else { return Ok(()) };
    let vectors = [
        ("scale", norm.scale),
        ("shift", norm.shift),
        ("running mean", Some(&norm.running.mean)),
        ("running variance", Some(&norm.running.variance)),
    ];
    for (name, vector) in vectors {
        if let Some(length) = vector
            .map(|v| v.shape().0)
            .filter(|&length| length != dims.3)
        {
            return Err(Error::shape(
                operation,
                format!(
                    "the norm's {name} has {length} numbers for {} channels",
                    dims.3
                ),
            ));
        }
    }
    if norm.training && dims.0 * dims.1 * dims.2 < 2 {
        return Err(Error::shape(
            operation,
            format!(
                "batch norm in training needs at least 2 values a channel; the output is {dims:?}"
            ),
        ));
    }
    Ok(())
}

/// Several units in sequence as one operation.
///
/// For each unit: x ← conv(relu(x)), x ← conv₁ₓ₁(x), x ← relu(batch_norm(x)), each step only if the
/// unit asks for it.
///
/// - `x`: N×H×W×C; the answer has the shape that the last unit gives it.
/// - Gradients as in [`crate::conv2d()`] and [`crate::batch_norm()`].
/// - Without a tape and in evaluation, norms are folded into the weights.
/// - PyTorch: `nn.Sequential(nn.ReLU(), nn.Conv2d(..), nn.Conv2d(.., 1), nn.BatchNorm2d(..), ..)`.
///
/// # Errors
/// [`Error::Shape`] if shapes do not go together, if there is no unit, or if an input is a permuted
/// view.
pub fn chain<D: Kernels, T: Tape<f32, D>>(
    tape: &mut T,
    x: &Feature<D>,
    units: Vec<Unit<'_, D>>,
) -> Result<Feature<D>, Error> {
    residual_chain(tape, x, units, None)
}

/// A [`chain`] to whose output a residual is added, as at the end of a residual block:
/// y = relu(chain(x) + residual), the ReLU only if the residual asks for it.
///
/// - Shapes as for [`chain`]; the residual's is that of the answer. It may be `x` itself.
/// - Gradient: where the ReLU let a number through, dy goes to the residual and to the chain.
/// - Paper: He et al. 2016, arXiv 1512.03385.
/// - PyTorch: `F.relu(sequential(x) + residual)`.
///
/// # Errors
/// As [`chain`], and [`Error::Shape`] if the residual has another shape than the chain's output.
pub fn residual_chain<'a, D: Kernels, T: Tape<f32, D>>(
    tape: &mut T,
    input: impl Into<Input<'a, D>>,
    units: Vec<Unit<'_, D>>,
    residual: Option<Residual<'_, D>>,
) -> Result<Feature<D>, Error> {
    let input = input.into();
    let Some(out) = shapes("chain", input.x, &units)?.last().map(Shapes::out) else {
        return Err(Error::shape("chain", "there is no unit"));
    };
    if let Some(other) = residual.as_ref().map(|r| *r.x.shape())
        && other != out
    {
        return Err(Error::shape(
            "chain",
            format!("the output is {out:?}, the residual {other:?}"),
        ));
    }
    D::chain(tape, input, units, residual)
}

/// [ReLU →] convolution → batch norm [→ ReLU] as one operation: a [`chain`] of one unit.
///
/// PyTorch: `F.relu(bn(conv(F.relu(x))))`.
///
/// # Errors
/// As [`chain`].
pub fn conv_bn<D: Kernels, T: Tape<f32, D>>(
    tape: &mut T,
    x: &Feature<D>,
    weight: &Feature<D>,
    conv: Conv2d,
    relu_before: bool,
    norm: Norm<'_, D>,
) -> Result<Feature<D>, Error> {
    let unit = Unit {
        relu_before,
        weight,
        conv,
        pointwise: None,
        norm: Some(norm),
    };
    chain(tape, x, vec![unit])
}

/// [ReLU →] depthwise → pointwise [→ batch norm [→ ReLU]] as one operation: a [`chain`] of one unit.
///
/// - `depthwise`: kh×kw×1×C with `conv.groups` = C; `pointwise`: 1×1×C×F.
/// - Paper: Chollet 2017, arXiv 1610.02357; the order is that of NASNet, arXiv 1707.07012.
/// - PyTorch: `bn(pointwise(depthwise(F.relu(x))))`.
///
/// # Errors
/// As [`chain`].
pub fn separable<D: Kernels, T: Tape<f32, D>>(
    tape: &mut T,
    x: &Feature<D>,
    depthwise: &Feature<D>,
    pointwise: &Feature<D>,
    conv: Conv2d,
    relu_before: bool,
    norm: Option<Norm<'_, D>>,
) -> Result<Feature<D>, Error> {
    let unit = Unit {
        relu_before,
        weight: depthwise,
        conv,
        pointwise: Some(pointwise),
        norm,
    };
    chain(tape, x, vec![unit])
}
