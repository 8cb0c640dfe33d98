//! Pooling composed of dfdx's operations: linear maps along one axis, and maxima of shifted images.

use dfdx::prelude::*;

use super::{Axis, Geometry, Pool2d, PoolKind};
use crate::reference::on_tape;
use crate::{Base, Error, Feature, Matrix};

type Taped<D, T> = Tensor<(usize, usize, usize, usize), f32, D, T>;

/// Below any number of a network, and harmless where `-inf` would make NaN out of zero times it.
const LOW: f32 = -1e30;

/// [`super::pool2d`] composed of matrix products and maxima. Where pixels are equal, the gradient of
/// a maximum is shared between them.
///
/// # Errors
/// [`Error::Shape`] as for [`super::pool2d`], [`Error::Device`] if the device fails.
pub fn pool2d<D: Base, T: Tape<f32, D>>(
    tape: &mut T,
    x: &Feature<D>,
    options: Pool2d,
) -> Result<Feature<D>, Error> {
    let geometry = options.geometry(*x.shape())?;
    on_tape(tape, x, |x| {
        match options.kind {
            PoolKind::Average => average(x, &geometry),
            PoolKind::Max => maximum(x, &geometry),
        }
        .map_err(Error::device)
    })
}

fn average<D: Base, T: Tape<f32, D>>(x: Taped<D, T>, g: &Geometry) -> Result<Taped<D, T>, D::Err> {
    let mean = |axis: &Axis| {
        let axis = *axis;
        move |output: usize, input: usize| {
            let taps = axis.taps(output);
            let real = taps.clone().any(|tap| axis.pixel(output, tap) == input);
            if real { 1.0 / taps.len() as f32 } else { 0.0 }
        }
    };
    let x = along_rows(x, g.rows.output, mean(&g.rows))?;
    along_columns(x, g.columns.output, mean(&g.columns))
}

fn maximum<D: Base, T: Tape<f32, D>>(x: Taped<D, T>, g: &Geometry) -> Result<Taped<D, T>, D::Err> {
    let mut best: Option<Taped<D, T>> = None;
    for (k, l) in (0..g.rows.kernel).flat_map(|k| (0..g.columns.kernel).map(move |l| (k, l))) {
        let pick = |axis: Axis, tap: usize| {
            move |output: usize, input: usize| {
                let real = axis.taps(output).contains(&tap);
                f32::from(u8::from(real && axis.pixel(output, tap) == input))
            }
        };
        let shifted = along_rows(x.retaped::<T>(), g.rows.output, pick(g.rows, k))?;
        let shifted = along_columns(shifted, g.columns.output, pick(g.columns, l))?;
        let shape = *shifted.shape();
        let real = |row: usize, column: usize| {
            g.rows.taps(row).contains(&k) && g.columns.taps(column).contains(&l)
        };
        let padding = (0..g.images * g.rows.output * g.output_row()).map(|i| {
            let column = i / g.channels % g.columns.output;
            let row = i / g.output_row() % g.rows.output;
            if real(row, column) { 0.0 } else { LOW }
        });
        let padding = shifted
            .device()
            .try_tensor_from_vec(padding.collect(), shape)?;
        let candidate = shifted.try_add(padding)?;
        best = Some(match best {
            None => candidate,
            Some(best) => best.try_maximum(candidate)?,
        });
    }
    let (_, tape) = x.split_tape();
    match best {
        Some(best) => {
            let (best, used) = best.split_tape();
            Ok(best.put_tape(tape.merge(used)))
        }
        // The geometry has no kernel of 0.
        None => unreachable!("a window has a pixel"),
    }
}

/// A linear map of the columns: `y[.., j, c] = Σᵢ weight(j, i) x[.., i, c]`.
pub(crate) fn along_columns<D: Base, T: Tape<f32, D>>(
    x: Taped<D, T>,
    outputs: usize,
    weight: impl Fn(usize, usize) -> f32,
) -> Result<Taped<D, T>, D::Err> {
    let (n, h, w, c) = *x.shape();
    let map = matrix(x.device(), w, outputs, weight)?;
    let x = x.try_permute::<(usize, usize, usize, usize), Axes4<0, 1, 3, 2>>()?;
    let y = x.try_reshape_like(&(n * h * c, w))?.try_matmul(map)?;
    y.try_reshape_like(&(n, h, c, outputs))?
        .try_permute::<(usize, usize, usize, usize), Axes4<0, 1, 3, 2>>()?
        .try_contiguous()
}

/// A linear map of the rows, like [`along_columns`].
pub(crate) fn along_rows<D: Base, T: Tape<f32, D>>(
    x: Taped<D, T>,
    outputs: usize,
    weight: impl Fn(usize, usize) -> f32,
) -> Result<Taped<D, T>, D::Err> {
    let (n, h, w, c) = *x.shape();
    let map = matrix(x.device(), h, outputs, weight)?;
    let x = x.try_permute::<(usize, usize, usize, usize), Axes4<0, 3, 2, 1>>()?;
    let y = x.try_reshape_like(&(n * c * w, h))?.try_matmul(map)?;
    y.try_reshape_like(&(n, c, w, outputs))?
        .try_permute::<(usize, usize, usize, usize), Axes4<0, 3, 2, 1>>()?
        .try_contiguous()
}

fn matrix<D: Base>(
    device: &D,
    inputs: usize,
    outputs: usize,
    weight: impl Fn(usize, usize) -> f32,
) -> Result<Matrix<D>, D::Err> {
    let values = (0..inputs).flat_map(|i| (0..outputs).map(move |j| (j, i)));
    let values = values.map(|(j, i)| weight(j, i)).collect();
    device.try_tensor_from_vec(values, (inputs, outputs))
}
