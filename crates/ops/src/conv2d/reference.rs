//! Convolution composed of dfdx's operations.

use dfdx::prelude::*;

use super::Conv2d;
use super::geometry::Geometry;
use crate::reference::on_tape;
use crate::{Base, Error, Feature, Vector};

/// [`super::conv2d`] as a sum over taps: pixels gathered, then multiplied with that tap's weights.
///
/// # Errors
/// [`Error::Shape`] as [`super::conv2d`]; [`Error::Device`] if the device fails.
pub fn conv2d<D: Base, T: Tape<f32, D>>(
    tape: &mut T,
    x: &Feature<D>,
    w: &Feature<D>,
    bias: Option<&Vector<D>>,
    conv: Conv2d,
) -> Result<Feature<D>, Error> {
    let g = Geometry::new("conv2d", *x.shape(), *w.shape(), conv)?;
    on_tape(tape, x, |x| {
        sum_of_taps(&g, x, w, bias).map_err(Error::device)
    })
}

type Rows<D, T> = Tensor<(usize, usize), f32, D, T>;
type Image<D, T> = Tensor<(usize, usize, usize, usize), f32, D, T>;

fn sum_of_taps<D: Base, T: Tape<f32, D>>(
    g: &Geometry,
    x: Image<D, T>,
    w: &Feature<D>,
    bias: Option<&Vector<D>>,
) -> Result<Image<D, T>, D::Err> {
    let device = x.device().clone();
    // A row of zeros after all pixels stands for the border.
    let pixels = x.try_reshape_like(&(g.images * g.height * g.width, g.channels))?;
    let zeros = device.try_zeros_like(&(1usize, g.channels))?;
    let pixels: Rows<D, T> = (pixels, zeros).try_concat_along(Axis::<0>)?;
    let (pixels, tape) = pixels.split_tape();
    let mut sum: Option<Rows<D, T>> = None;
    for tap in 0..g.taps() {
        let index = tap_pixels(g, tap);
        let index = device.try_tensor_from_vec(index, (g.images * g.out_pixels(),))?;
        let rows: Rows<D, T> = pixels.retaped::<T>().try_gather(index)?;
        let out = times_weights(g, tap, rows, w)?;
        sum = Some(match sum {
            None => out,
            Some(sum) => sum.try_add(out)?,
        });
    }
    let shape = (g.images * g.out_pixels(), g.filters);
    let mut sum = match sum {
        Some(sum) => sum,
        None => device.try_zeros_like(&shape)?.put_tape(T::default()),
    };
    if let Some(bias) = bias {
        sum = sum.try_add(
            bias.retaped::<T>()
                .try_broadcast_like::<_, Axis<0>>(&shape)?,
        )?;
    }
    let (sum, rest) = sum.split_tape();
    sum.put_tape(tape.merge(rest)).try_reshape_like(&g.out())
}

/// The pixel that each output reads through one tap.
fn tap_pixels(g: &Geometry, tap: usize) -> Vec<usize> {
    let (i, j) = (tap / g.kernel[1], tap % g.kernel[1]);
    let border = g.images * g.height * g.width;
    let mut index = Vec::with_capacity(g.images * g.out_pixels());
    for image in 0..g.images {
        for y in 0..g.out_height {
            for x in 0..g.out_width {
                let y =
                    (y * g.conv.stride[0] + i * g.conv.dilation[0]).wrapping_sub(g.conv.padding[0]);
                let x =
                    (x * g.conv.stride[1] + j * g.conv.dilation[1]).wrapping_sub(g.conv.padding[2]);
                index.push(if y < g.height && x < g.width {
                    (image * g.height + y) * g.width + x
                } else {
                    border
                });
            }
        }
    }
    index
}

fn times_weights<D: Base, T: Tape<f32, D>>(
    g: &Geometry,
    tap: usize,
    rows: Rows<D, T>,
    w: &Feature<D>,
) -> Result<Rows<D, T>, D::Err> {
    let (i, j) = (tap / g.kernel[1], tap % g.kernel[1]);
    let (depth, filters) = (g.channels / g.conv.groups, g.filters / g.conv.groups);
    if g.is_depthwise() {
        let weights = w
            .retaped::<T>()
            .try_slice((i..i + 1, j..j + 1, 0..1, 0..filters * g.conv.groups))?
            .try_reshape_like(&(g.channels,))?;
        let shape = *rows.shape();
        return rows.try_mul(weights.try_broadcast_like::<_, Axis<0>>(&shape)?);
    }
    let count = rows.shape().0;
    let (rows, tape) = rows.split_tape();
    let mut all: Option<Rows<D, T>> = None;
    for group in 0..g.conv.groups {
        let columns = group * filters..(group + 1) * filters;
        let weights = w
            .retaped::<T>()
            .try_slice((i..i + 1, j..j + 1, 0..depth, columns))?
            .try_reshape_like(&(depth, filters))?;
        let rows = if g.conv.groups == 1 {
            rows.retaped::<T>()
        } else {
            rows.retaped::<T>()
                .try_slice((0..count, group * depth..(group + 1) * depth))?
                .try_contiguous()?
        };
        let out = rows.try_matmul(weights)?;
        all = Some(match all {
            None => out,
            Some(all) => (all, out).try_concat_along(Axis::<1>)?,
        });
    }
    let all = match all {
        Some(all) => all,
        None => rows
            .device()
            .try_zeros_like(&(count, g.filters))?
            .put_tape(T::default()),
    };
    let (all, rest) = all.split_tape();
    Ok(all.put_tape(tape.merge(rest)))
}
