//! Convolution, dense, grouped or depthwise.

use serde::{Deserialize, Serialize};

use super::{Describe, Reach, check_window, only};
use crate::padding::positions;
use crate::{Init, Mismatch, Padding, Parameter, Role, Shape};

/// Convolution: `y[p, q, f] = bias[f] + sum x[p * stride + i * dilation, …, c] * weight[i, j, c, f]`.
///
/// Depthwise convolution is `groups` equal to the input's channels, and `filters` a multiple of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conv {
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Step in rows and columns.
    pub stride: [usize; 2],
    /// Distance of the window's taps.
    pub dilation: [usize; 2],
    /// The border.
    pub padding: Padding,
    /// Number of groups that the channels are split into; each sees its own input channels only.
    pub groups: usize,
    /// Number of output channels.
    pub filters: usize,
    /// Whether a learnt bias is added to each output channel.
    pub bias: bool,
}

impl Conv {
    /// Whether every input channel has filters of its own.
    #[must_use]
    pub fn is_depthwise(&self, input: Shape) -> bool {
        self.groups == input.channels && self.groups > 1
    }

    fn check(&self, input: Shape) -> Result<(), Mismatch> {
        check_window("the kernel", &self.kernel, 1)?;
        check_window("the stride", &self.stride, 1)?;
        check_window("the dilation", &self.dilation, 1)?;
        if let Padding::Explicit(sides) = self.padding {
            check_window("the padding", &sides, 0)?;
            self.check_padding(sides)?;
        }
        if self.filters == 0 {
            return Err(Mismatch::new("it has 0 filters", "give it at least 1"));
        }
        if self.groups == 0
            || !input.channels.is_multiple_of(self.groups)
            || !self.filters.is_multiple_of(self.groups)
        {
            return Err(Mismatch::new(
                format!(
                    "{} groups do not divide the {} channels of its input {input} and its {} filters",
                    self.groups, input.channels, self.filters
                ),
                "choose groups that divide both",
            ));
        }
        Ok(())
    }

    /// Beyond the window, padding gives nothing but zeros.
    fn check_padding(&self, sides: [usize; 4]) -> Result<(), Mismatch> {
        let [height, width] = self.extent();
        let [top, bottom, left, right] = sides;
        if top.max(bottom) <= height && left.max(right) <= width {
            return Ok(());
        }
        Err(Mismatch::new(
            format!("padding {sides:?} is larger than the {height}x{width} window"),
            "keep the padding at most as large as the window, kernel and dilation together",
        ))
    }

    /// Rows and columns that the window reaches over.
    fn extent(&self) -> [usize; 2] {
        [0, 1].map(|axis| (self.kernel[axis] - 1) * self.dilation[axis] + 1)
    }
}

impl Describe for Conv {
    fn infer(&self, inputs: &[Shape]) -> Result<Shape, Mismatch> {
        let input = only(inputs)?;
        self.check(input)?;
        let [height, width] =
            window_positions(input, self.kernel, self.stride, self.dilation, self.padding)?;
        Ok(Shape {
            height,
            width,
            channels: self.filters,
        })
    }

    fn parameters(&self, input: Shape) -> Vec<Parameter> {
        let [height, width] = self.kernel;
        let weight = Parameter {
            name: "weight",
            dims: vec![height, width, input.channels / self.groups, self.filters],
            init: Init::HeNormalFanOut,
            role: Role::Weight,
        };
        let bias = Parameter {
            name: "bias",
            dims: vec![self.filters],
            init: Init::Zeros,
            role: Role::Bias,
        };
        if self.bias {
            vec![weight, bias]
        } else {
            vec![weight]
        }
    }

    fn macs(&self, input: Shape, output: Shape) -> u64 {
        [self.kernel[0], self.kernel[1], input.channels / self.groups]
            .iter()
            .fold(output.len(), |product, &factor| {
                product.saturating_mul(factor as u64)
            })
    }

    fn reach(&self) -> Reach {
        Reach::Window {
            extent: self.extent(),
            stride: self.stride,
        }
    }
}

/// Height and width of the output of a window layer.
pub(super) fn window_positions(
    input: Shape,
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    padding: Padding,
) -> Result<[usize; 2], Mismatch> {
    let sides = padding.sides(kernel, dilation);
    let rows = positions(
        input.height,
        [sides[0], sides[1]],
        kernel[0],
        dilation[0],
        stride[0],
    );
    let columns = positions(
        input.width,
        [sides[2], sides[3]],
        kernel[1],
        dilation[1],
        stride[1],
    );
    match (rows, columns) {
        (Some(rows), Some(columns)) => Ok([rows, columns]),
        _ => Err(Mismatch::new(
            format!(
                "a {}x{} window does not fit into {input}",
                kernel[0], kernel[1]
            ),
            "use a smaller kernel, `padding = \"same\"`, or a larger image",
        )),
    }
}
