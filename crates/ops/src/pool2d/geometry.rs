//! Where the windows of a pooling lie: the shape of the output and the windows' real extents.

use std::ops::Range;

/// The windows along one axis.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    /// Pixels of the input.
    pub(crate) input: usize,
    /// Pixels of the output.
    pub(crate) output: usize,
    /// Pixels of a window.
    pub(crate) kernel: usize,
    /// Step from a window to the next.
    pub(crate) stride: usize,
    /// Padding before the first pixel.
    pub(crate) before: usize,
}

impl Axis {
    /// The windows of an axis, or what is wrong with them.
    pub(crate) fn new(
        input: usize,
        kernel: usize,
        stride: usize,
        padding: [usize; 2],
    ) -> Result<Self, String> {
        let [before, after] = padding;
        if kernel == 0 || stride == 0 {
            return Err("kernel and stride must be at least 1".to_owned());
        }
        if before >= kernel || after >= kernel {
            return Err(format!(
                "padding {before} and {after} must be smaller than the kernel {kernel}"
            ));
        }
        let padded = input + before + after;
        if input == 0 || padded < kernel {
            return Err(format!(
                "a kernel of {kernel} does not fit {input} pixels padded to {padded}"
            ));
        }
        // Padding below the kernel's size leaves at least one real pixel in every window.
        Ok(Self {
            input,
            output: (padded - kernel) / stride + 1,
            kernel,
            stride,
            before,
        })
    }

    /// The window positions of output `output` that lie on real pixels.
    pub(crate) fn taps(&self, output: usize) -> Range<usize> {
        let start = output * self.stride;
        let first = self.before.saturating_sub(start);
        let last = (self.input + self.before)
            .saturating_sub(start)
            .min(self.kernel);
        first..last.max(first)
    }

    /// The input pixel under position `tap` of the window of `output`; both must be real.
    pub(crate) fn pixel(&self, output: usize, tap: usize) -> usize {
        output * self.stride + tap - self.before
    }

    /// The outputs whose window has a real pixel under position `tap`.
    pub(crate) fn outputs(&self, tap: usize) -> Range<usize> {
        let first = self.before.saturating_sub(tap).div_ceil(self.stride);
        let end = (self.input + self.before).saturating_sub(tap);
        let last = end.div_ceil(self.stride).min(self.output);
        first.min(last)..last
    }

    /// The outputs whose window holds input pixel `pixel`, each with the position in the window.
    pub(crate) fn windows(&self, pixel: usize) -> impl Iterator<Item = (usize, usize)> {
        let axis = *self;
        let place = pixel + axis.before;
        let first = (place + 1)
            .saturating_sub(axis.kernel)
            .div_ceil(axis.stride);
        let last = (place / axis.stride + 1).min(axis.output);
        (first..last).map(move |output| (output, place - output * axis.stride))
    }

    /// For each output, one over the number of real pixels in its window.
    pub(crate) fn shares(&self) -> Vec<f32> {
        (0..self.output)
            .map(|output| 1.0 / self.taps(output).len() as f32)
            .collect()
    }
}

/// The windows of both axes, and what they are applied to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    /// Images.
    pub(crate) images: usize,
    /// The windows from top to bottom.
    pub(crate) rows: Axis,
    /// The windows from left to right.
    pub(crate) columns: Axis,
    /// Channels of an image.
    pub(crate) channels: usize,
}

impl Geometry {
    /// Numbers in a row of the input.
    pub(crate) fn input_row(&self) -> usize {
        self.columns.input * self.channels
    }

    /// Numbers in a row of the output.
    pub(crate) fn output_row(&self) -> usize {
        self.columns.output * self.channels
    }

    /// Numbers in the output.
    pub(crate) fn output_len(&self) -> usize {
        self.images * self.rows.output * self.output_row()
    }
}
