//! Chains without gradients, in evaluation: norms folded into the weights, one pass a unit.

use dfdx::tensor::Cpu;

use super::cpu::evaluation_statistics;
use super::{Residual, Shapes, Unit};
use crate::buffers::{give, read, take, tensor};
use crate::conv2d::forward::Plan;
use crate::conv2d::product::Finish;
use crate::conv2d::window::Prologue;
use crate::simd::vectorised;
use crate::{Error, Feature, threads};

const NAME: &str = "chain";

/// Evaluates `units`, of which none normalises with the batch's statistics. The residual's sum and
/// ReLU are done as the last unit's output is stored.
pub(super) fn evaluate(
    x: &Feature<Cpu>,
    units: &[Unit<'_, Cpu>],
    shapes: &[Shapes],
    residual: Option<&Residual<'_, Cpu>>,
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
        let residual = residual.filter(|_| i + 1 == units.len());
        let out = one(input, unit, shapes, &prologue, relu_next, residual)?;
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
    residual: Option<&Residual<'_, Cpu>>,
) -> Result<Vec<f32>, Error> {
    let statistics = match &unit.norm {
        Some(norm) => Some(evaluation_statistics(norm)?),
        None => None,
    };
    let factor = statistics.as_ref().map(|s| &s.factor[..]);
    let finish = Finish {
        shift: statistics.as_ref().map(|s| &s.offset[..]),
        add: residual.is_some(),
        relu: relu
            || unit.norm.as_ref().is_some_and(|n| n.relu)
            || residual.is_some_and(|r| r.relu),
    };
    let residual = residual.map(|r| read(NAME, r.x)).transpose()?;
    let weights = read(NAME, unit.weight)?;
    let last = scaled(
        unit.pointwise.map_or(Ok(weights), |w| read(NAME, w))?,
        factor,
    );
    let plan = match shapes.pointwise {
        Some(after) => Plan::separable(shapes.first, weights, after, &last),
        None => Plan::new(shapes.first, &last),
    };
    let mut out = take(plan.out_len());
    plan.run(x, prologue, finish, residual, false, &mut out);
    drop(plan);
    give(last);
    Ok(out)
}

/// Weights with each filter, the last axis, times its factor; to be given back.
fn scaled(weights: &[f32], factor: Option<&[f32]>) -> Vec<f32> {
    let mut out = take(weights.len());
    match factor {
        None => out.copy_from_slice(weights),
        Some(factor) => {
            let rows = (threads::PART / factor.len()).max(1) * factor.len();
            threads::for_each_part(&mut out, rows, |part, out| {
                scale_rows(&weights[part * rows..], factor, out);
            });
        }
    }
    out
}

vectorised! {
    fn scale_rows(weights: &[f32], factor: &[f32], out: &mut [f32]) {
        let n = factor.len();
        for (out, row) in out.chunks_exact_mut(n).zip(weights.chunks_exact(n)) {
            for i in 0..n {
                out[i] = row[i] * factor[i];
            }
        }
    }
}
