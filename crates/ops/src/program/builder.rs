//! Builds programs: one method an operation, which checks shapes and notes the forward call.

use std::collections::HashMap;

use super::{Buffer, Call, Dims, DropPath, Norm, Parameter, Precision, Prologue};
use crate::conv2d::geometry::Geometry;
use crate::{Activation, Conv2d, Error};

/// A tensor of a program under construction: images, height, width, channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value {
    /// Its numbers.
    pub buffer: Buffer,
    /// Images, height, width, channels.
    pub dims: [usize; 4],
}

impl Value {
    pub(super) fn len(self) -> usize {
        self.dims.iter().product()
    }

    pub(super) fn flat(self) -> Dims {
        let [images, height, width, channels] = self.dims;
        Dims {
            images,
            pixels: height * width,
            channels,
        }
    }
}

/// A tensor whose normalisation is known but not done: the one operation that takes it does it.
#[derive(Debug, PartialEq, Eq)]
pub struct Normalised {
    x: Value,
    coefficients: Buffer,
}

/// What a convolution or a sum takes.
#[derive(Debug, PartialEq, Eq)]
pub enum Input {
    /// A tensor as it is.
    Plain(Value),
    /// A normalised one.
    Normalised(Normalised),
}

impl Input {
    /// The tensor as it lies in memory, and the coefficients of its normalisation.
    pub(super) fn parts(&self) -> (Value, Option<Buffer>) {
        match self {
            Self::Plain(x) => (*x, None),
            Self::Normalised(it) => (it.x, Some(it.coefficients)),
        }
    }
}

/// A program under construction.
#[derive(Debug)]
pub struct Builder {
    pub(super) batch: usize,
    pub(super) training: bool,
    precision: Precision,
    pub(super) lens: Vec<usize>,
    pub(super) calls: Vec<Call>,
    pub(super) parameters: Vec<Parameter>,
    pub(super) running: Vec<Buffer>,
    pub(super) images: Option<Buffer>,
    pub(super) paths: Vec<DropPath>,
    pub(super) factors: Option<Buffer>,
    /// The logits of the outputs and the weight of their loss, the network's own first.
    pub(super) outputs: Vec<(Value, f64)>,
    pub(super) smoothing: f64,
    /// The gradient that each buffer has so far.
    pub(super) gradients: HashMap<Buffer, Buffer>,
}

const NAME: &str = "program";

/// Whether a convolution is for a GPU's kernels for narrow ones.
#[cfg(any(test, feature = "cuda"))]
fn is_narrow(geometry: &Geometry, precision: Precision) -> bool {
    use crate::cuda::kernels::convolution_narrow::suits;
    match precision {
        Precision::Fp32 => false,
        Precision::Tf32 => suits(geometry, false),
        Precision::Bf16 => suits(geometry, true),
    }
}
#[cfg(not(any(test, feature = "cuda")))]
fn is_narrow(_: &Geometry, _: Precision) -> bool {
    false
}

impl Builder {
    /// A program for batches of `batch` images; `training` decides on statistics, masks and whether
    /// there is a backward pass.
    #[must_use]
    pub fn new(batch: usize, training: bool) -> Self {
        Self {
            batch,
            training,
            precision: Precision::Fp32,
            lens: Vec::new(),
            calls: Vec::new(),
            parameters: Vec::new(),
            running: Vec::new(),
            images: None,
            paths: Vec::new(),
            factors: None,
            outputs: Vec::new(),
            smoothing: 0.0,
            gradients: HashMap::new(),
        }
    }

    /// The same for a device that computes in a precision: what comes before a convolution is left to its kernel where
    /// that has one in this precision which does it as it reads. A program is right in any precision.
    #[must_use]
    pub fn in_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    pub(super) fn buffer(&mut self, len: usize) -> Buffer {
        self.lens.push(len);
        Buffer(self.lens.len() as u32 - 1)
    }

    pub(super) fn value(&mut self, dims: [usize; 4]) -> Value {
        let buffer = self.buffer(dims.iter().product());
        Value { buffer, dims }
    }

    /// The batch of images, `height × width × channels` each.
    pub fn images(&mut self, [height, width, channels]: [usize; 3]) -> Value {
        let value = self.value([self.batch, height, width, channels]);
        self.images = Some(value.buffer);
        value
    }

    /// The next learnable tensor, of `len` numbers.
    pub fn parameter(&mut self, len: usize, decays: bool) -> Buffer {
        let value = self.buffer(len);
        let gradient = self.training.then(|| self.buffer(len));
        self.parameters.push(Parameter {
            value,
            gradient,
            decays,
        });
        value
    }

    /// The running statistics of the next batch norm.
    pub fn running(&mut self, channels: usize) -> Buffer {
        let buffer = self.buffer(2 * channels);
        self.running.push(buffer);
        buffer
    }

    pub(super) fn len(&self, buffer: Buffer) -> usize {
        self.lens[buffer.0 as usize]
    }

    fn expect(&self, what: &str, buffer: Buffer, len: usize) -> Result<(), Error> {
        let found = self.len(buffer);
        if found == len {
            return Ok(());
        }
        Err(wrong(format!("the {what} has {found} numbers, not {len}")))
    }

    /// Convolution of an input, perhaps after a ReLU, with a weight of `[kh, kw, in/groups, out]`.
    ///
    /// # Errors
    /// [`Error::Shape`] where shapes do not go together; so for all operations here.
    pub fn conv(
        &mut self,
        input: Input,
        relu: bool,
        (w, shape): (Buffer, [usize; 4]),
        bias: Option<Buffer>,
        conv: Conv2d,
    ) -> Result<Value, Error> {
        let (x, _) = input.parts();
        let geometry = Geometry::new(NAME, tuple(x.dims), tuple(shape), conv)?;
        self.expect("weight", w, shape.iter().product())?;
        if let Some(bias) = bias {
            self.expect("bias", bias, geometry.filters)?;
        }
        // A library's product reads its input as it lies in memory.
        let fused = geometry.is_depthwise()
            || geometry.is_narrow_product()
            || is_narrow(&geometry, self.precision);
        let (x, prologue) = match input {
            Input::Plain(x) if relu && !fused => {
                (self.activation(x, Activation::Relu), Prologue::default())
            }
            Input::Plain(x) => (x, Prologue { norm: None, relu }),
            Input::Normalised(it) if !fused => (self.normalise(it, relu), Prologue::default()),
            Input::Normalised(it) => {
                let norm = Some(it.coefficients);
                (it.x, Prologue { norm, relu })
            }
        };
        let (n, height, width, channels) = geometry.out();
        let y = self.value([n, height, width, channels]);
        self.calls.push(Call::Conv {
            geometry,
            prologue,
            x: x.buffer,
            w,
            bias,
            y: y.buffer,
        });
        Ok(y)
    }

    /// Batch norm's coefficients for a tensor.
    ///
    /// # Errors
    /// As [`Builder::conv`].
    pub fn batch_norm(&mut self, x: Value, norm: Norm) -> Result<Normalised, Error> {
        let channels = x.dims[3];
        self.expect("running statistics", norm.running, 2 * channels)?;
        for vector in norm.scale.into_iter().chain(norm.shift) {
            self.expect("norm's vector", vector, channels)?;
        }
        if self.training && x.len() < 2 * channels {
            let dims = x.dims;
            return Err(wrong(format!(
                "batch norm in training needs at least 2 values a channel, its input is {dims:?}"
            )));
        }
        let coefficients = self.buffer(4 * channels);
        self.calls.push(if self.training {
            Call::Statistics {
                channels,
                x: x.buffer,
                norm,
                coefficients,
            }
        } else {
            Call::RunningStatistics {
                channels,
                norm,
                coefficients,
            }
        });
        Ok(Normalised { x, coefficients })
    }

    /// The normalised tensor itself, perhaps with a ReLU.
    pub fn normalise(&mut self, normalised: Normalised, relu: bool) -> Value {
        let Normalised { x, coefficients } = normalised;
        let y = self.value(x.dims);
        self.calls.push(Call::Normalise {
            x: x.buffer,
            coefficients,
            relu,
            y: y.buffer,
        });
        y
    }

    /// Linear layer on the channels.
    ///
    /// # Errors
    /// As [`Builder::conv`].
    pub fn linear(
        &mut self,
        x: Value,
        w: Buffer,
        bias: Option<Buffer>,
        units: usize,
    ) -> Result<Value, Error> {
        let [n, height, width, inputs] = x.dims;
        self.expect("weight", w, inputs * units)?;
        if let Some(bias) = bias {
            self.expect("bias", bias, units)?;
        }
        let y = self.value([n, height, width, units]);
        self.calls.push(Call::Linear {
            size: [n * height * width, inputs, units],
            x: x.buffer,
            w,
            bias,
            y: y.buffer,
        });
        Ok(y)
    }
}

pub(super) fn wrong(detail: String) -> Error {
    Error::shape(NAME, detail)
}

fn tuple([a, b, c, d]: [usize; 4]) -> (usize, usize, usize, usize) {
    (a, b, c, d)
}
