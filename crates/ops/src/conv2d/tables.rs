//! Index tables of one convolution: where taps, rows and phases lie in windows.

use super::geometry::Geometry;
use super::outer::Pixel;
use super::product::Row;
use super::window::Border;

/// The window that `rows` rows of output of one image read.
pub(crate) fn window(g: &Geometry, rows: usize) -> Border {
    Border {
        top: g.conv.padding[0],
        left: g.conv.padding[2],
        height: g.window_height(rows),
        width: g.window_width(),
        channels: g.channels,
    }
}

/// The offset of each tap in a window, from the window's pixel that its output begins at.
pub(crate) fn taps(g: &Geometry, window: &Border) -> Vec<usize> {
    let [kh, kw] = g.kernel;
    let [down, right] = g.conv.dilation;
    (0..kh * kw)
        .map(|t| ((t / kw) * down * window.width + (t % kw) * right) * window.channels)
        .collect()
}

/// For each output pixel of `images` images with `rows` rows: its first input in the windows, and
/// its place in an output of `filters` numbers a pixel.
pub(crate) fn rows(g: &Geometry, window: &Border, images: usize, rows: usize) -> Vec<Row> {
    let [down, right] = g.conv.stride;
    let per_image = rows * g.out_width;
    (0..images * per_image)
        .map(|p| {
            let (image, p_image) = (p / per_image, p % per_image);
            let (y, x) = (p_image / g.out_width, p_image % g.out_width);
            Row {
                from: image * window.len()
                    + (y * down * window.width + x * right) * window.channels,
                to: p * g.filters,
            }
        })
        .collect()
}

/// The border that the output's gradient needs for the gradient of the input, `channels` a pixel.
pub(crate) fn gradient_border(g: &Geometry, channels: usize) -> Border {
    let side = |axis: usize, before: usize, input: usize, out: usize| {
        let stride = g.conv.stride[axis];
        let first = (g.span()[axis] - 1).saturating_sub(before) / stride;
        let last = ((input - 1 + before) / stride + 1).saturating_sub(out);
        (first, first + out + last)
    };
    let (top, height) = side(0, g.conv.padding[0], g.height, g.out_height);
    let (left, width) = side(1, g.conv.padding[2], g.width, g.out_width);
    Border {
        top,
        left,
        height,
        width,
        channels,
    }
}

/// Where each output pixel of `images` images is in gradients with a border.
pub(crate) fn gradient_pixels(g: &Geometry, border: &Border, images: usize) -> Vec<usize> {
    (0..images * g.out_pixels())
        .map(|p| {
            let (image, p) = (p / g.out_pixels(), p % g.out_pixels());
            let (y, x) = (p / g.out_width, p % g.out_width);
            image * border.len()
                + ((y + border.top) * border.width + x + border.left) * border.channels
        })
        .collect()
}

/// Pairs of input and gradient for the gradient of the weights.
pub(crate) fn pixels(rows: &[Row], gradients: &[usize]) -> Vec<Pixel> {
    rows.iter()
        .zip(gradients)
        .map(|(row, &gradient)| Pixel {
            from: row.from,
            gradient,
        })
        .collect()
}

/// The input pixels `(down + i * stride, right + j * stride)`: all of them get their gradient
/// through the same taps, so that with strides, too, it is a plain convolution of the output's
/// gradient.
pub(crate) struct Phase {
    pub down: usize,
    pub right: usize,
    /// Input rows and columns of this phase.
    pub height: usize,
    pub width: usize,
    /// Index of each tap in the kernel, and the place in the bordered gradient that the phase's
    /// first pixel reads through it.
    pub taps: Vec<(usize, usize)>,
}

/// All phases of a convolution's input.
pub(crate) fn phases(g: &Geometry, border: &Border) -> Vec<Phase> {
    let [down, right] = g.conv.stride;
    let mut phases = Vec::new();
    for a in 0..down.min(g.height) {
        for b in 0..right.min(g.width) {
            let rows = axis_taps(g, 0, a, g.conv.padding[0], border.top);
            let columns = axis_taps(g, 1, b, g.conv.padding[2], border.left);
            let taps = rows
                .iter()
                .flat_map(|&(i, y)| {
                    columns.iter().map(move |&(j, x)| {
                        (
                            i * g.kernel[1] + j,
                            (y * border.width + x) * border.channels,
                        )
                    })
                })
                .collect();
            phases.push(Phase {
                down: a,
                right: b,
                height: (g.height - a).div_ceil(down),
                width: (g.width - b).div_ceil(right),
                taps,
            });
        }
    }
    phases
}

/// Taps of one axis that reach phase `phase`, each with the first row (column) of the bordered
/// gradient that it reads.
fn axis_taps(
    g: &Geometry,
    axis: usize,
    phase: usize,
    before: usize,
    border: usize,
) -> Vec<(usize, usize)> {
    let stride = g.conv.stride[axis];
    (0..g.kernel[axis])
        .filter_map(|k| {
            // Tap k of output o reads input o * stride + k * dilation - before.
            let shifted = phase + before + border * stride;
            let tap = k * g.conv.dilation[axis];
            (shifted >= tap && (shifted - tap).is_multiple_of(stride))
                .then(|| (k, (shifted - tap) / stride))
        })
        .collect()
}

impl Phase {
    /// Rows of the product that computes this phase for `images` images: from bordered gradients to
    /// inputs of `channels` numbers a pixel.
    pub fn rows(&self, g: &Geometry, border: &Border, images: usize, channels: usize) -> Vec<Row> {
        let [down, right] = g.conv.stride;
        let mut rows = Vec::with_capacity(images * self.height * self.width);
        for image in 0..images {
            for i in 0..self.height {
                for j in 0..self.width {
                    let (y, x) = (self.down + i * down, self.right + j * right);
                    rows.push(Row {
                        from: image * border.len() + (i * border.width + j) * border.channels,
                        to: ((image * g.height + y) * g.width + x) * channels,
                    });
                }
            }
        }
        rows
    }
}
