//! The layers a graph is made of: plain descriptions, one file each, with their shape inference,
//! parameters and MACs beside them.

mod activation;
mod batch_norm;
mod concat;
mod conv;
mod dropout;
mod elementwise;
mod flatten;
mod global_average_pool;
mod linear;
mod pool;
mod subsample;
mod truncate;
mod zero;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use activation::Activation;
pub use batch_norm::BatchNorm;
pub use conv::Conv;
pub use dropout::{DropPath, Dropout};
pub use linear::Linear;
pub use pool::{LARGEST_MAX_POOL, Pool, PoolKind};
pub use subsample::Subsample;
pub use truncate::Truncate;
pub use zero::Zero;

use crate::{Mismatch, Parameter, Shape};

/// The largest extent of a kernel, stride, dilation or padding that a layer may ask for.
pub(crate) const MAX_WINDOW: usize = 1 << 12;
/// The largest extent (height, width, channels) of any tensor.
pub(crate) const MAX_EXTENT: usize = 1 << 28;

/// One operation of a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// The image itself. Always node 0, and only that.
    Input,
    /// Convolution; depthwise where `groups` equals the input's channels.
    Conv(Conv),
    /// Batch normalisation.
    BatchNorm(BatchNorm),
    /// A function of each value.
    Activation(Activation),
    /// Max or average pooling.
    Pool(Pool),
    /// The mean over height and width.
    GlobalAveragePool,
    /// Fully connected layer on a vector.
    Linear(Linear),
    /// The sum of its inputs, all of one shape.
    Add,
    /// The product of two inputs; the second may be `1 x 1 x C`, a gate for each channel.
    Multiply,
    /// The mean of its inputs, all of one shape.
    Mean,
    /// Its inputs one behind the other along the channels.
    Concat,
    /// Every `stride`-th value in both axes.
    Subsample(Subsample),
    /// Its first channels.
    Truncate(Truncate),
    /// Values dropped at random during training.
    Dropout(Dropout),
    /// The whole tensor of an image dropped at random during training.
    DropPath(DropPath),
    /// A vector of all values, in the order height, width, channels.
    Flatten,
    /// Nothing but zeros: the operation "none" of NAS-Bench-201 and DARTS.
    Zero(Zero),
    /// The input unchanged. Dropped when a graph is built.
    Identity,
}

/// What every description answers.
trait Describe {
    /// The output's shape, or why these inputs cannot be taken.
    fn infer(&self, inputs: &[Shape]) -> Result<Shape, Mismatch>;

    /// The learnable tensors, given the shape of the (first) input.
    fn parameters(&self, _input: Shape) -> Vec<Parameter> {
        Vec::new()
    }

    /// Multiply-accumulates for one image; convolution and linear layers alone have some.
    fn macs(&self, _input: Shape, _output: Shape) -> u64 {
        0
    }

    /// How far one output value sees.
    fn reach(&self) -> Reach {
        Reach::Window {
            extent: [1, 1],
            stride: [1, 1],
        }
    }
}

/// The part of its input that one output value of a layer depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// A window of this extent, moving by this stride.
    Window {
        /// Rows and columns, dilation included.
        extent: [usize; 2],
        /// Step in rows and columns.
        stride: [usize; 2],
    },
    /// All of it.
    Everything,
}

struct Input;
struct Identity;

impl Describe for Input {
    fn infer(&self, inputs: &[Shape]) -> Result<Shape, Mismatch> {
        Err(Mismatch::arity(
            "nothing, it is the image itself",
            inputs.len(),
        ))
    }
}

impl Describe for Identity {
    fn infer(&self, inputs: &[Shape]) -> Result<Shape, Mismatch> {
        only(inputs)
    }
}

impl Layer {
    fn describe(&self) -> &dyn Describe {
        match self {
            Self::Input => &Input,
            Self::Conv(conv) => conv,
            Self::BatchNorm(norm) => norm,
            Self::Activation(activation) => activation,
            Self::Pool(pool) => pool,
            Self::GlobalAveragePool => &global_average_pool::GlobalAveragePool,
            Self::Linear(linear) => linear,
            Self::Add | Self::Mean => &elementwise::SameShape,
            Self::Multiply => &elementwise::Gate,
            Self::Concat => &concat::Concat,
            Self::Subsample(subsample) => subsample,
            Self::Truncate(truncate) => truncate,
            Self::Dropout(dropout) => dropout,
            Self::DropPath(drop_path) => drop_path,
            Self::Flatten => &flatten::Flatten,
            Self::Zero(zero) => zero,
            Self::Identity => &Identity,
        }
    }

    /// The output's shape for inputs of these shapes.
    ///
    /// # Errors
    /// When the layer cannot take them, or its output would be larger than 2^28 along an axis.
    pub fn infer(&self, inputs: &[Shape]) -> Result<Shape, Mismatch> {
        let shape = self.describe().infer(inputs)?;
        let axes = [
            ("height", shape.height),
            ("width", shape.width),
            ("channels", shape.channels),
        ];
        match axes
            .iter()
            .find(|(_, extent)| !(1..=MAX_EXTENT).contains(extent))
        {
            Some((axis, extent)) => Err(Mismatch::range(
                &format!("the output's {axis}"),
                *extent,
                1,
                MAX_EXTENT,
            )),
            None => Ok(shape),
        }
    }

    /// The learnable tensors, given the shape of the (first) input.
    #[must_use]
    pub fn parameters(&self, input: Shape) -> Vec<Parameter> {
        self.describe().parameters(input)
    }

    /// Multiply-accumulates for one image: convolution and linear layers alone have some.
    #[must_use]
    pub fn macs(&self, input: Shape, output: Shape) -> u64 {
        self.describe().macs(input, output)
    }

    pub(crate) fn reach(&self) -> Reach {
        self.describe().reach()
    }

    /// Whether the order of its inputs makes no difference.
    #[must_use]
    pub fn is_commutative(&self) -> bool {
        matches!(self, Self::Add | Self::Mean)
    }

    /// The layer's kind, as it is called in space files and tables: `conv`, `batch_norm` …
    #[must_use]
    pub fn op(&self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Conv(_) => "conv",
            Self::BatchNorm(_) => "batch_norm",
            Self::Activation(activation) => activation.name(),
            Self::Pool(pool) => pool.kind.op(),
            Self::GlobalAveragePool => "global_avg_pool",
            Self::Linear(_) => "linear",
            Self::Add => "add",
            Self::Multiply => "multiply",
            Self::Mean => "mean",
            Self::Concat => "concat",
            Self::Subsample(_) => "subsample",
            Self::Truncate(_) => "truncate",
            Self::Dropout(_) => "dropout",
            Self::DropPath(_) => "drop_path",
            Self::Flatten => "flatten",
            Self::Zero(_) => "zero",
            Self::Identity => "identity",
        }
    }
}

/// The one input of a layer that takes one.
fn only(inputs: &[Shape]) -> Result<Shape, Mismatch> {
    match inputs {
        [input] => Ok(*input),
        _ => Err(Mismatch::arity("one input", inputs.len())),
    }
}

/// Refuses numbers outside of `least..=MAX_WINDOW`.
fn check_window(what: &str, values: &[usize], least: usize) -> Result<(), Mismatch> {
    match values
        .iter()
        .find(|value| !(least..=MAX_WINDOW).contains(value))
    {
        Some(&value) => Err(Mismatch::range(what, value, least, MAX_WINDOW)),
        None => Ok(()),
    }
}

/// Refuses a rate outside of 0..1.
fn check_rate(rate: f64) -> Result<(), Mismatch> {
    if (0.0..1.0).contains(&rate) {
        Ok(())
    } else {
        Err(Mismatch::new(
            format!("the rate is {rate}"),
            "it must be at least 0 and below 1",
        ))
    }
}
