//! Every so-manieth pixel, and the layer that gives zeros.

use dfdx::prelude::*;

use crate::buffers::{give, read, take, take_gradient, take_zeros, tensor};
use crate::parts::{Bands, Shared};
use crate::pool2d::reference::{along_columns, along_rows};
use crate::reference::on_tape;
use crate::{Base, Error, Feature, Kernels};

/// The kernel behind [`subsample`]; arguments have been checked.
pub trait SubsampleKernel: Base {
    /// See [`subsample`].
    ///
    /// # Errors
    /// [`Error::Device`] if the device fails.
    fn subsample<T: Tape<f32, Self>>(
        tape: &mut T,
        x: &Feature<Self>,
        stride: usize,
        offset: usize,
    ) -> Result<Feature<Self>, Error> {
        reference(tape, x, stride, offset)
    }
}

#[cfg(feature = "cuda")]
impl SubsampleKernel for Cuda {}

/// Subsampling composed of products with matrices of zeros and ones.
///
/// # Errors
/// [`Error::Device`] if the device fails.
pub fn reference<D: Base, T: Tape<f32, D>>(
    tape: &mut T,
    x: &Feature<D>,
    stride: usize,
    offset: usize,
) -> Result<Feature<D>, Error> {
    let (_, h, w, _) = *x.shape();
    let pick = |j: usize, i: usize| f32::from(u8::from(j * stride + offset == i));
    on_tape(tape, x, |x| {
        let x = along_rows(x, h.div_ceil(stride), pick).map_err(Error::device)?;
        along_columns(x, w.div_ceil(stride), pick).map_err(Error::device)
    })
}

/// Every `stride`-th pixel from pixel `offset` on, down and right; zero beyond the edge.
///
/// y[n, i, j, c] = x[n, i·stride + offset, j·stride + offset, c]
///
/// Two of these with offsets 0 and 1, each before a 1×1 convolution, and a concatenation make the
/// factorised reduction of NASNet and DARTS.
///
/// - `x`: N×H×W×C; the answer is N×⌈H/stride⌉×⌈W/stride⌉×C for every offset.
/// - Gradient: dy at the pixels taken, nothing elsewhere.
/// - Paper: Zoph et al. 2018, arXiv 1707.07012.
/// - PyTorch: `F.pad(x, (0, offset, 0, offset))[:, :, offset::stride, offset::stride]`
///
/// # Errors
/// [`Error::Shape`] if `stride` is 0.
pub fn subsample<D: Kernels, T: Tape<f32, D>>(
    tape: &mut T,
    x: &Feature<D>,
    stride: usize,
    offset: usize,
) -> Result<Feature<D>, Error> {
    if stride == 0 {
        return Err(Error::shape("subsample", "the stride must be at least 1"));
    }
    D::subsample(tape, x, stride, offset)
}

/// Zeros in the shape of [`subsample`]: the operation "none" of the search spaces.
///
/// - `x`: N×H×W×C; the answer is N×⌈H/stride⌉×⌈W/stride⌉×C. There is no gradient.
/// - Paper: Liu et al. 2019, arXiv 1806.09055.
/// - PyTorch: `x[:, :, ::stride, ::stride] * 0`, but for NaN and infinity, which do not get through.
///
/// # Errors
/// [`Error::Shape`] if `stride` is 0, [`Error::Device`] if memory runs out.
pub fn zero<D: Kernels>(x: &Feature<D>, stride: usize) -> Result<Feature<D>, Error> {
    if stride == 0 {
        return Err(Error::shape("zero", "the stride must be at least 1"));
    }
    let (n, h, w, c) = *x.shape();
    x.device()
        .try_zeros_like(&(n, h.div_ceil(stride), w.div_ceil(stride), c))
        .map_err(Error::device)
}

/// Sizes of a subsampling.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) images: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
    pub(crate) stride: usize,
    pub(crate) offset: usize,
}

impl Plan {
    fn output(&self) -> (usize, usize) {
        (
            self.height.div_ceil(self.stride),
            self.width.div_ceil(self.stride),
        )
    }

    /// Where the pixel of `x` for row `row` and column `column` of the output starts, unless it is
    /// beyond the edge.
    fn source(&self, image: usize, row: usize, column: usize) -> Option<usize> {
        let (i, j) = (
            row * self.stride + self.offset,
            column * self.stride + self.offset,
        );
        (i < self.height && j < self.width)
            .then(|| ((image * self.height + i) * self.width + j) * self.channels)
    }
}

pub(crate) fn forward(plan: &Plan, x: &[f32], y: &mut [f32]) {
    let (rows, columns) = plan.output();
    let (c, width) = (plan.channels, columns * plan.channels);
    let y = Shared::new(y);
    Bands::new(plan.images, rows, width).for_each(|image, band| {
        for row in band {
            let start = (image * rows + row) * width;
            // SAFETY: the ranges of different rows are apart.
            let y = unsafe { y.slice(start..start + width) };
            for (column, y) in y.chunks_exact_mut(c).enumerate() {
                match plan.source(image, row, column) {
                    Some(from) => y.copy_from_slice(&x[from..from + c]),
                    None => y.fill(0.0),
                }
            }
        }
    });
}

pub(crate) fn backward(plan: &Plan, dy: &[f32], dx: &mut [f32]) {
    let (rows, columns) = plan.output();
    let (c, width) = (plan.channels, columns * plan.channels);
    let dx = Shared::new(dx);
    Bands::new(plan.images, rows, width).for_each(|image, band| {
        for row in band {
            let dy = &dy[(image * rows + row) * width..][..width];
            for (column, dy) in dy.chunks_exact(c).enumerate() {
                if let Some(to) = plan.source(image, row, column) {
                    // SAFETY: different outputs have different pixels.
                    let dx = unsafe { dx.slice(to..to + c) };
                    dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx += dy);
                }
            }
        }
    });
}

impl SubsampleKernel for Cpu {
    fn subsample<T: Tape<f32, Self>>(
        tape: &mut T,
        x: &Feature<Self>,
        stride: usize,
        offset: usize,
    ) -> Result<Feature<Self>, Error> {
        let (images, height, width, channels) = *x.shape();
        let plan = Plan {
            images,
            height,
            width,
            channels,
            stride,
            offset,
        };
        let (rows, columns) = plan.output();
        let length = images * rows * columns * channels;
        let y = if length == 0 {
            take_zeros(0)
        } else {
            let mut y = take(length);
            forward(&plan, read("subsample", x)?, &mut y);
            y
        };
        let y = tensor(x.device(), y, (images, rows, columns, channels))?;
        if T::OWNS_TAPE && length > 0 {
            let (input, output) = (x.ghost(), y.ghost());
            tape.add_backward_op(move |gradients| {
                let dy = take_gradient(gradients.get_or_alloc_mut(&output)?);
                backward(&plan, &dy, gradients.get_or_alloc_mut(&input)?);
                give(dy);
                Ok(())
            });
        }
        Ok(y)
    }
}
