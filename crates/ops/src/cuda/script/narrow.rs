//! Narrow convolutions, by our own kernels where factors of products are rounded: what comes before one is done as it
//! is read, the statistics of what it makes are taken with it, and a ReLU's gradient goes with the input's.

use super::Writer;
use super::pairs::ConvGradient;
use crate::Error;
use crate::conv2d::geometry::Geometry;
use crate::cuda::kernels::batch_norm::{Norm, Normaliser};
use crate::cuda::kernels::convolution::{Convolution, Gate};
use crate::cuda::kernels::{
    convolution_narrow, convolution_narrow_input, convolution_narrow_weights,
};
use crate::program::{Buffer, Prologue};

impl Writer<'_> {
    /// Whether a convolution is one.
    pub(super) fn is_narrow_convolution(&self, geometry: &Geometry) -> bool {
        self.tf32 && convolution_narrow::suits(geometry, self.bf16)
    }

    /// y = prologue(x) · w, with a bias or with the statistics of y.
    pub(super) fn narrow_convolution(
        &mut self,
        geometry: &Geometry,
        prologue: &Prologue,
        [x, w, y]: [Buffer; 3],
        bias: Option<Buffer>,
        statistics: Option<(Norm, Normaliser)>,
    ) -> Result<(), Error> {
        let of = convolution_narrow::Tensors {
            x: self.at(x),
            prologue: self.prologue(prologue),
            w: self.at(w),
            bias: self.maybe(bias),
            y: self.at(y),
        };
        let statistics = match statistics {
            Some((norm, to)) => {
                let size = convolution_narrow::statistics_scratch(geometry);
                Some((norm, self.scratch(size)?, to))
            }
            None => None,
        };
        let launch = convolution_narrow::forward(geometry, self.bf16, of, statistics)?;
        self.push(launch);
        Ok(())
    }

    /// The gradients of the input, if it is wanted, and the weight.
    pub(super) fn narrow_gradient(&mut self, of: &ConvGradient) -> Result<(), Error> {
        let norm = self.ranges(of.prologue.norm.as_slice());
        let prologue = self.prologue(&of.prologue);
        let [x, w, dy, dw] = [of.x, of.w, of.dy, of.dw].map(|it| self.at(it));
        if let Some(dx) = of.dx {
            let gate = of.prologue.relu.then_some(Gate { x, prologue });
            let to = self.at(dx.buffer);
            let conv = Convolution::of(of.geometry);
            self.touching(&[of.x, of.w, of.dy], &[dx.buffer]);
            self.touches.reads.extend(norm.clone());
            self.push(convolution_narrow_input::input_gradient(
                &conv,
                self.bf16,
                [dy, w],
                gate,
                to,
                dx.add,
            )?);
        }
        self.touching(&[of.x, of.dy], &[]);
        self.touches.reads.extend(norm);
        let sizes = (&of.geometry, self.bf16);
        let size = convolution_narrow_weights::weight_gradient_scratch(&of.geometry, self.bf16);
        let scratch = self.scratch(size)?;
        let parts = convolution_narrow_weights::weight_gradient(
            sizes,
            (x, prologue),
            dy,
            scratch,
            dw,
            false,
        )?;
        self.push_parts(parts)
    }
}
