//! Chains without gradients, in evaluation: norms folded into the weights, one pass a unit.

use dfdx::tensor::Cpu;

use super::cpu::evaluation_statistics;
use super::{Shapes, Unit};
use crate::buffers::{give, read, take, tensor};
use crate::conv2d::forward::Plan;
use crate::conv2d::product::Finish;
use crate::conv2d::window::Prologue;
use crate::{Error, Feature};

const NAME: &str = "chain";

/// Evaluates `units`, of which none normalises with the batch's statistics.
pub(super) fn evaluate(
    x: &Feature<Cpu>,
    units: &[Unit<'_, Cpu>],
    shapes: &[Shapes],
) -> Result<Feature<Cpu>, Error> {
    let mut kept: Option<Vec<f32>> = None;
    let mut relu_done = false;
    for (i, (unit, shapes)) in units.iter().zip(shapes).enumerate() {
        // The ReLU before the next convolution is done as this one's output is stored.
        let relu_next = units.get(i + 1).is_some_and(|next| next.relu_before);
        let input = match &kept {
            Some(values) => values,
            None => read(NAME, x)?,
        };
        let prologue = Prologue::relu(unit.relu_before && !relu_done);
        let out = one(input, unit, shapes, &prologue, relu_next)?;
        relu_done = relu_next;
        kept.replace(out).into_iter().for_each(give);
    }
    let out = shapes.last().map_or((0, 0, 0, 0), Shapes::out);
    tensor(x.device(), kept.unwrap_or_default(), out)
}

fn one(
    x: &[f32],
    unit: &Unit<'_, Cpu>,
    shapes: &Shapes,
    prologue: &Prologue,
    relu: bool,
) -> Result<Vec<f32>, Error> {
    let statistics = match &unit.norm {
        Some(norm) => Some(evaluation_statistics(norm)?),
        None => None,
    };
    let factor = statistics.as_ref().map(|s| &s.factor[..]);
    let finish = Finish {
        shift: statistics.as_ref().map(|s| &s.offset[..]),
        relu: relu || unit.norm.as_ref().is_some_and(|n| n.relu),
        add: false,
    };
    let weights = read(NAME, unit.weight)?;
    let mut out;
    match (unit.pointwise, shapes.pointwise) {
        (Some(pointwise), Some(after)) => {
            let pointwise = scaled(read(NAME, pointwise)?, factor);
            let plan = Plan::separable(shapes.first, weights, after, &pointwise);
            out = take(plan.out_len());
            plan.run(x, prologue, finish, false, &mut out);
        }
        _ => {
            let weights = scaled(weights, factor);
            let plan = Plan::new(shapes.first, &weights);
            out = take(plan.out_len());
            plan.run(x, prologue, finish, false, &mut out);
        }
    }
    Ok(out)
}

/// Weights with each filter, the last axis, times its factor.
fn scaled(weights: &[f32], factor: Option<&[f32]>) -> Vec<f32> {
    let Some(factor) = factor else {
        return weights.to_vec();
    };
    weights
        .chunks_exact(factor.len())
        .flat_map(|row| row.iter().zip(factor).map(|(w, f)| w * f))
        .collect()
}
