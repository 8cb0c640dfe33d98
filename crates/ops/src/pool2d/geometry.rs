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

    /// Outputs that are next to each other and have all their pixels, where windows are one pixel
    /// apart; else none.
    fn inner_outputs(&self) -> Range<usize> {
        let end = (self.input + self.before + 1).saturating_sub(self.kernel);
        match self.stride {
            1 => self.before..end.min(self.output).max(self.before),
            _ => 0..0,
        }
    }

    /// Cuts the outputs into runs whose windows have the same real positions: a long one inside
    /// where windows are one pixel apart, and single outputs elsewhere.
    pub(crate) fn output_runs(&self) -> Vec<Range<usize>> {
        runs(self.output, self.inner_outputs())
    }

    /// Cuts the input pixels into runs that lie in windows at the same positions, each with its
    /// first pixel's windows.
    pub(crate) fn input_runs(&self) -> Vec<InputRun> {
        // Pixel p is at position t of output p + before - t: for all positions of the kernel the
        // outputs must exist.
        let inner = match self.stride {
            1 => {
                let first = (self.kernel - 1).saturating_sub(self.before);
                let end = self.output.saturating_sub(self.before).min(self.input);
                first..end.max(first)
            }
            _ => 0..0,
        };
        let runs = runs(self.input, inner).into_iter();
        runs.map(|pixels| InputRun {
            windows: self.windows(pixels.start).collect(),
            pixels,
        })
        .collect()
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

/// Pixels next to each other that lie in windows at the same positions.
#[derive(Clone, Debug)]
pub(crate) struct InputRun {
    /// The pixels.
    pub(crate) pixels: Range<usize>,
    /// Outputs whose windows hold the first pixel, each with the pixel's position there; those of a
    /// later pixel are as much later.
    pub(crate) windows: Vec<(usize, usize)>,
}

/// `0..length` as the run `inner` and single numbers.
fn runs(length: usize, inner: Range<usize>) -> Vec<Range<usize>> {
    let single = |numbers: Range<usize>| numbers.map(|i| i..i + 1);
    if inner.is_empty() {
        return single(0..length).collect();
    }
    let after = single(inner.end..length);
    single(0..inner.start)
        .chain([inner.clone()])
        .chain(after)
        .collect()
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
