//! Max and average pooling over windows of pixels.

pub(crate) mod average;
mod cpu;
pub(crate) mod geometry;
pub(crate) mod max;
pub mod reference;
#[cfg(test)]
mod tests;

use dfdx::shapes::HasShape;
use dfdx::tensor::Tape;

use crate::{Base, Error, Feature, Kernels};
pub(crate) use geometry::{Axis, Geometry};
pub use max::LARGEST_MAX_POOL;

/// What a pooling takes of the pixels of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// The largest. Of equal ones the first in reading order gets the gradient; NaN wins.
    Max,
    /// The mean of the real pixels; padding is not counted.
    Average,
}

/// A pooling's windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool2d {
    /// What is taken of a window.
    pub kind: PoolKind,
    /// Height and width of a window.
    pub kernel: [usize; 2],
    /// Steps down and right from a window to the next.
    pub stride: [usize; 2],
    /// Padding at the top, bottom, left and right.
    pub padding: [usize; 4],
}

impl Pool2d {
    /// The windows on inputs of a shape, or a shape error.
    pub(crate) fn geometry(
        &self,
        (images, height, width, channels): (usize, usize, usize, usize),
    ) -> Result<Geometry, Error> {
        let [top, bottom, left, right] = self.padding;
        let wrong = |axis: &str, detail: String| {
            Error::shape(
                "pool2d",
                format!("input {images}x{height}x{width}x{channels}, {axis}: {detail}"),
            )
        };
        if channels == 0 {
            return Err(wrong("channels", "there are none".to_owned()));
        }
        let rows = Axis::new(height, self.kernel[0], self.stride[0], [top, bottom])
            .map_err(|detail| wrong("height", detail))?;
        let columns = Axis::new(width, self.kernel[1], self.stride[1], [left, right])
            .map_err(|detail| wrong("width", detail))?;
        if self.kind == PoolKind::Max && rows.kernel * columns.kernel > LARGEST_MAX_POOL {
            let [height, width] = self.kernel;
            return Err(Error::shape(
                "pool2d",
                format!(
                    "a max pooling's window has at most {} pixels, not {height}x{width}",
                    LARGEST_MAX_POOL
                ),
            ));
        }
        Ok(Geometry {
            images,
            rows,
            columns,
            channels,
        })
    }
}

/// The kernel behind [`pool2d`]; arguments have been checked.
pub trait Pool2dKernel: Base {
    /// See [`pool2d`].
    ///
    /// # Errors
    /// [`Error::Device`] if the device fails.
    fn pool2d<T: Tape<f32, Self>>(
        tape: &mut T,
        x: &Feature<Self>,
        options: Pool2d,
    ) -> Result<Feature<Self>, Error> {
        reference::pool2d(tape, x, options)
    }
}

#[cfg(feature = "cuda")]
impl Pool2dKernel for dfdx::tensor::Cuda {}

/// Pooling: one number for each window and channel.
///
/// y[n, i, j, c] = max or mean of x[n, i·stride + k − top, j·stride + l − left, c] over the positions
/// (k, l) of the kernel that lie on real pixels.
///
/// - `x`: N×H×W×C; the answer is N×H'×W'×C with H' = ⌊(H + top + bottom − kernel)/stride⌋ + 1, and
///   likewise W'.
/// - Gradient: max gives a window's gradient to the first largest pixel, average gives each real
///   pixel of the window an equal share.
/// - PyTorch: `F.max_pool2d(x, kernel, stride, padding)`,
///   `F.avg_pool2d(x, kernel, stride, padding, count_include_pad=False)`.
///
/// # Errors
/// [`Error::Shape`] if a kernel or stride is 0, a kernel does not fit the padded input, padding is
/// not smaller than the kernel, or a max pooling's window has more than 256 pixels.
pub fn pool2d<D: Kernels, T: Tape<f32, D>>(
    tape: &mut T,
    x: &Feature<D>,
    options: Pool2d,
) -> Result<Feature<D>, Error> {
    options.geometry(*x.shape())?;
    D::pool2d(tape, x, options)
}
