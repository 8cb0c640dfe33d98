//! A factor and an offset for each channel with ReLU; activation functions.

use super::{by_four, divisor, flat, flat_in_eights};
use crate::cuda::{Launch, Pointer};
use crate::{Activation, Error};

/// What a convolution or a gate does to what it reads: relu(x · factor + offset), each part only if it is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prologue {
    /// A factor for each channel, or null.
    pub factor: Pointer,
    /// An addend for each channel; there with `factor`.
    pub offset: Pointer,
    /// Whether a ReLU follows.
    pub relu: bool,
}

/// `y`, with the numbers from a pixel to the next, ← relu(x · factor + offset) for `pixels` × `channels` numbers.
///
/// # Errors
/// [`Error::Shape`] if a size does not fit a kernel's argument.
pub fn affine(
    x: Pointer,
    prologue: Prologue,
    (y, stride): (Pointer, usize),
    pixels: usize,
    channels: usize,
) -> Result<Launch, Error> {
    let (kernel, lanes) = by_four(channels, "affine_4", "affine_1");
    flat_in_eights(kernel, pixels * channels / lanes)
        .pointers([x, prologue.factor, prologue.offset, y])
        .ints([pixels])
        .structure(divisor(channels / lanes))
        .ints([stride])
        .flag(prologue.relu)
        .build()
}

/// `dx` ←, or +=, `dy` where x · factor + offset > 0, else 0: what a ReLU lets through. `prologue.relu` is not read.
///
/// # Errors
/// As [`affine`].
pub fn gate(
    x: Pointer,
    prologue: Prologue,
    dy: Pointer,
    dx: Pointer,
    pixels: usize,
    channels: usize,
    add: bool,
) -> Result<Launch, Error> {
    let (kernel, lanes) = by_four(channels, "gate_4", "gate_1");
    flat_in_eights(kernel, pixels * channels / lanes)
        .pointers([x, prologue.factor, prologue.offset, dy, dx])
        .ints([pixels, channels])
        .flag(add)
        .build()
}

/// The number that the kernels know an activation function by.
fn number(kind: Activation) -> usize {
    match kind {
        Activation::Relu => 0,
        Activation::Relu6 => 1,
        Activation::Swish => 2,
        Activation::HardSwish => 3,
        Activation::Sigmoid => 4,
        Activation::HardSigmoid => 5,
    }
}

/// `y` ← f(x) for `count` numbers.
///
/// # Errors
/// As [`affine`].
pub fn activation(kind: Activation, x: Pointer, y: Pointer, count: usize) -> Result<Launch, Error> {
    let (kernel, lanes) = by_four(count, "activation_4", "activation_1");
    flat_in_eights(kernel, count / lanes)
        .pointers([x, y])
        .ints([count / lanes, number(kind)])
        .build()
}

/// `dx` ←, or +=, f'(x) · dy for `count` numbers.
///
/// # Errors
/// As [`affine`].
pub fn activation_gradient(
    kind: Activation,
    x: Pointer,
    dy: Pointer,
    dx: Pointer,
    count: usize,
    add: bool,
) -> Result<Launch, Error> {
    let (kernel, lanes) = by_four(count, "activation_gradient_4", "activation_gradient_1");
    flat_in_eights(kernel, count / lanes)
        .pointers([x, dy, dx])
        .ints([count / lanes, number(kind)])
        .flag(add)
        .build()
}

/// `y[row, c]` += `bias[c]`, for `rows` × `channels` numbers.
///
/// # Errors
/// As [`affine`].
pub fn add_bias(bias: Pointer, y: Pointer, rows: usize, channels: usize) -> Result<Launch, Error> {
    let (kernel, lanes) = by_four(channels, "add_bias_4", "add_bias_1");
    flat(kernel, rows * channels / lanes)
        .pointers([bias, y])
        .ints([rows, channels])
        .build()
}
