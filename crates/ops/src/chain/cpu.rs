//! Chains on the CPU, with their gradients on dfdx's tape.

use dfdx::shapes::Shape;
use dfdx::tensor::{Cpu, CpuError, Gradients, Tape, Tensor};

use super::{ChainKernel, Input, Norm, Residual, Shapes, Unit, fold, reference, residual};
use crate::batch_norm::cpu::{Statistics, adopt, input_gradient, widened};
use crate::batch_norm::kernel::{affine, gradient_sums};
use crate::buffers::{give, put_gradient, read, take, take_gradient, tensor};
use crate::conv2d::backward::{self, Given, Sink};
use crate::conv2d::forward;
use crate::conv2d::product::Finish;
use crate::conv2d::statistics::join;
use crate::conv2d::window::{Incoming, Normalised, Prologue, add_row};
use crate::{Error, Feature, Vector};

const NAME: &str = "chain";

impl ChainKernel for Cpu {
    fn chain<T: Tape<f32, Self>>(
        tape: &mut T,
        Input { x, gradient }: Input<'_, Self>,
        units: Vec<Unit<'_, Self>>,
        residual: Option<Residual<'_, Self>>,
    ) -> Result<Feature<Self>, Error> {
        let shapes = super::shapes(NAME, x, &units)?;
        if residual.is_some() && !adds_in_place(units.last(), shapes.last()) {
            return reference::chain(tape, x, units, residual);
        }
        let training = units
            .iter()
            .any(|u| u.norm.as_ref().is_some_and(|n| n.training));
        if !T::OWNS_TAPE && !training {
            return fold::evaluate(x, &units, &shapes, residual.as_ref());
        }
        let mut links: Vec<Link> = Vec::with_capacity(units.len());
        for (unit, shapes) in units.into_iter().zip(shapes) {
            let link = Link::forward(x, links.last(), unit, shapes)?;
            links.push(link);
        }
        let Some(last) = links.last_mut() else {
            return Err(Error::shape(NAME, "there is no unit"));
        };
        let y = last.finish(residual.as_ref())?;
        let y = tensor(x.device(), y, last.shapes.out())?;
        if T::OWNS_TAPE {
            let (x, output) = (x.clone(), y.ghost());
            let residual = residual.map(|r| (r.x.ghost(), r.relu.then(|| y.clone())));
            tape.add_backward_op(move |gradients| {
                let mut dy = take_gradient(gradients.get_or_alloc_mut(&output)?);
                if let Some((residual, y)) = residual {
                    // Written by this operation, so reading it cannot fail.
                    let y = y.as_ref().map(|y| read(NAME, y).unwrap_or_default());
                    residual::backward(&mut dy, y, gradients.get_or_alloc_mut(&residual)?);
                }
                backward(&x, gradient, links, dy, gradients)
            });
        } else {
            links.into_iter().for_each(|link| give(link.z));
        }
        Ok(y)
    }
}

/// Whether a residual can be added by the pass that normalises the last unit, or, where the norm is
/// folded into the weights, as the product is stored.
fn adds_in_place(unit: Option<&Unit<'_, Cpu>>, shapes: Option<&Shapes>) -> bool {
    let normalised = unit.and_then(|u| u.norm.as_ref()).is_some_and(|n| !n.relu);
    normalised && shapes.is_some_and(|s| s.pointwise.is_some() || !s.first.is_depthwise())
}

/// What evaluation normalises with.
pub(super) fn evaluation_statistics(norm: &Norm<'_, Cpu>) -> Result<Statistics, Error> {
    let mean = widened(read(NAME, &norm.running.mean)?);
    let variance = widened(read(NAME, &norm.running.variance)?);
    statistics(norm, &mean, &variance)
}

fn statistics(norm: &Norm<'_, Cpu>, mean: &[f64], variance: &[f64]) -> Result<Statistics, Error> {
    let scale = norm.scale.map(|s| read(NAME, s)).transpose()?;
    let shift = norm.shift.map(|s| read(NAME, s)).transpose()?;
    Ok(Statistics::new(
        mean,
        variance,
        norm.options.epsilon,
        scale,
        shift,
    ))
}

/// A unit whose forward pass is done, with what its gradient needs.
struct Link {
    shapes: Shapes,
    weight: Feature<Cpu>,
    pointwise: Option<Feature<Cpu>>,
    relu_before: bool,
    norm: Option<LinkNorm>,
    /// The output before the norm. Empty if there is no norm and the link is the last: the gradient
    /// does not need it.
    z: Vec<f32>,
}

struct LinkNorm {
    scale: Option<Vector<Cpu>>,
    shift: Option<Vector<Cpu>>,
    statistics: Statistics,
    relu: bool,
    training: bool,
}

impl Link {
    fn forward(
        x: &Feature<Cpu>,
        before: Option<&Link>,
        unit: Unit<'_, Cpu>,
        shapes: Shapes,
    ) -> Result<Self, Error> {
        let input = match before {
            Some(link) => &link.z,
            None => read(NAME, x)?,
        };
        let prologue = prologue(before, unit.relu_before, shapes.first.width);
        let weights = read(NAME, unit.weight)?;
        let pointwise = unit.pointwise.map(|w| read(NAME, w)).transpose()?;
        let plan = match (pointwise, shapes.pointwise) {
            (Some(pointwise), Some(after)) => {
                forward::Plan::separable(shapes.first, weights, after, pointwise)
            }
            _ => forward::Plan::new(shapes.first, weights),
        };
        let mut z = take(plan.out_len());
        let moments = unit.norm.as_ref().is_some_and(|n| n.training);
        let parts = plan.run(input, &prologue, Finish::default(), None, moments, &mut z);
        let norm = match unit.norm {
            None => None,
            Some(norm) => {
                let statistics = if norm.training {
                    let channels = shapes.out().3;
                    let moments = join(&parts, channels);
                    let rows = z.len() / channels;
                    let [mean, variance] =
                        adopt(moments, rows, norm.running, norm.options.momentum)?;
                    statistics(&norm, &mean, &variance)?
                } else {
                    evaluation_statistics(&norm)?
                };
                Some(LinkNorm {
                    scale: norm.scale.cloned(),
                    shift: norm.shift.cloned(),
                    statistics,
                    relu: norm.relu,
                    training: norm.training,
                })
            }
        };
        Ok(Self {
            shapes,
            weight: unit.weight.clone(),
            pointwise: unit.pointwise.cloned(),
            relu_before: unit.relu_before,
            norm,
            z,
        })
    }

    /// The output of the chain, of which this is the last link.
    fn finish(&mut self, residual: Option<&Residual<'_, Cpu>>) -> Result<Vec<f32>, Error> {
        let Some(norm) = &self.norm else {
            return Ok(std::mem::take(&mut self.z));
        };
        let mut y = take(self.z.len());
        let Statistics { factor, offset, .. } = &norm.statistics;
        match residual {
            Some(Residual { x, relu }) => {
                residual::forward(&self.z, factor, offset, read(NAME, x)?, *relu, &mut y);
            }
            None => affine(&self.z, factor, offset, norm.relu, &mut y),
        }
        Ok(y)
    }
}

/// What the link after `before` does to what it reads.
fn prologue(before: Option<&Link>, relu_before: bool, width: usize) -> Prologue {
    match before.and_then(|link| link.norm.as_ref()) {
        None => Prologue::relu(relu_before),
        Some(norm) => {
            let Statistics { factor, offset, .. } = &norm.statistics;
            Prologue::affine(factor, offset, relu_before || norm.relu, width)
        }
    }
}

/// Runs the links' gradients from the last to the first; that of `x` only if it is wanted.
fn backward(
    x: &Feature<Cpu>,
    wanted: bool,
    mut links: Vec<Link>,
    dy: Vec<f32>,
    gradients: &mut Gradients<f32, Cpu>,
) -> Result<(), CpuError> {
    let mut dy = dy;
    let mut last = true;
    while let Some(link) = links.pop() {
        let before = links.last();
        // A ReLU inside the chain was already accounted for by the link that reads through it.
        let incoming = incoming(&link, &dy, last, gradients)?;
        let prologue = prologue(before, link.relu_before, link.shapes.first.width);
        // The forward pass has read all of these, so reading them again cannot fail.
        let weights = read(NAME, &link.weight).unwrap_or_default();
        let pointwise = link
            .pointwise
            .as_ref()
            .map(|w| read(NAME, w).unwrap_or_default());
        let plan = match (pointwise, link.shapes.pointwise) {
            (Some(pointwise), Some(after)) => {
                backward::Plan::separable(link.shapes.first, weights, after, pointwise)
            }
            _ => backward::Plan::new(link.shapes.first, weights),
        };
        let mut between = before.map(|link| take(link.z.len()));
        let mut dw = take_gradient(gradients.get_or_alloc_mut(&link.weight)?);
        let mut second = match &link.pointwise {
            Some(pointwise) => take_gradient(gradients.get_or_alloc_mut(pointwise)?),
            None => Vec::new(),
        };
        let (values, dx) = match (before, &mut between) {
            (Some(before), Some(dx)) => (&before.z[..], Sink::Set(dx)),
            _ if !wanted => (read(NAME, x).unwrap_or_default(), Sink::Nowhere),
            _ => {
                let values = read(NAME, x).unwrap_or_default();
                let dx = gradients.get_or_alloc_mut(x)?;
                // Empty if `x` is a weight itself.
                dx.resize(values.len(), 0.0);
                (values, Sink::Add(dx))
            }
        };
        let given = Given {
            x: values,
            prologue: &prologue,
            incoming: &incoming,
        };
        plan.run(&given, dx, [&mut dw, &mut second]);
        put_gradient(gradients.get_or_alloc_mut(&link.weight)?, dw);
        if let Some(pointwise) = &link.pointwise {
            put_gradient(gradients.get_or_alloc_mut(pointwise)?, second);
        }
        give(link.z);
        give(std::mem::replace(&mut dy, between.unwrap_or_default()));
        last = false;
    }
    Ok(())
}

/// Adds `values` to a parameter's gradient.
fn add_to<S: Shape>(
    gradients: &mut Gradients<f32, Cpu>,
    parameter: &Tensor<S, f32, Cpu>,
    values: &[f32],
) -> Result<(), CpuError> {
    add_row(values, gradients.get_or_alloc_mut(parameter)?);
    Ok(())
}

/// The gradient at the convolution's output, from that of the link's output; adds the gradients of
/// the norm's parameters.
fn incoming<'a>(
    link: &'a Link,
    dy: &'a [f32],
    last: bool,
    gradients: &mut Gradients<f32, Cpu>,
) -> Result<Incoming<'a>, CpuError> {
    let Some(norm) = &link.norm else {
        return Ok(Incoming::Plain(dy));
    };
    let statistics = &norm.statistics;
    let gate = (last && norm.relu).then_some((&statistics.factor[..], &statistics.offset[..]));
    let (sums, products) = gradient_sums(&link.z, dy, &statistics.mean, gate);
    if let Some(scale) = &norm.scale {
        let products = products.iter().zip(&statistics.inverse);
        let dscale: Vec<f32> = products.map(|(p, i)| (p * f64::from(*i)) as f32).collect();
        add_to(gradients, scale, &dscale)?;
    }
    if let Some(shift) = &norm.shift {
        let dshift: Vec<f32> = sums.iter().map(|&s| s as f32).collect();
        add_to(gradients, shift, &dshift)?;
    }
    let terms = input_gradient(statistics, &sums, &products, link.z.len(), norm.training);
    let constant: Vec<f32> = (0..sums.len())
        .map(|c| {
            let centre = f64::from(terms.centre[c]) * f64::from(terms.slope[c]);
            (f64::from(terms.constant[c]) - centre) as f32
        })
        .collect();
    let width = link.shapes.first.out_width;
    Ok(Incoming::Normalised(Normalised {
        dy,
        z: &link.z,
        gradient: terms.gradient.repeat(width),
        slope: terms.slope.repeat(width),
        constant: constant.repeat(width),
        gate: gate.map(|(f, o)| (f.repeat(width), o.repeat(width))),
    }))
}
