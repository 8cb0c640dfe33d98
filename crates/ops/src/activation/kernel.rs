//! Activation functions on plain slices. Forward reads and writes once; the gradient reads input
//! and output gradient and adds into the input gradient.

use super::Activation;
use crate::parts::{Parts, Shared};
use crate::simd::vectorised;

const RELU: u8 = 0;
const RELU6: u8 = 1;
const SWISH: u8 = 2;
const HARD_SWISH: u8 = 3;
const SIGMOID: u8 = 4;
const HARD_SIGMOID: u8 = 5;

/// `e^x` to within 2 units in the last place, without branches, so that loops over it vectorise.
///
/// The exponent is split into whole powers of two and a rest in ±ln 2 / 2, whose polynomial is the
/// one of the Cephes library. Outside ±87 the nearest representable power is given.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to a whole number and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let power = shifted - ROUND;
    let rest = (x - power * 0.693_359_4) + power * 2.121_944_4e-4;
    let mut sum = 1.987_569_1e-4;
    sum = sum * rest + 1.398_199_9e-3;
    sum = sum * rest + 8.333_452e-3;
    sum = sum * rest + 4.166_579_6e-2;
    sum = sum * rest + 1.666_666_5e-1;
    sum = sum * rest + 0.5;
    let sum = sum * rest * rest + rest + 1.0;
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits());
    sum * f32::from_bits(exponent.wrapping_add(127) << 23)
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// `x` held within `low..=high`; a NaN stays one.
#[inline(always)]
fn held(x: f32, low: f32, high: f32) -> f32 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

#[inline(always)]
fn value<const KIND: u8>(x: f32) -> f32 {
    match KIND {
        RELU => {
            if x < 0.0 {
                0.0
            } else {
                x
            }
        }
        RELU6 => held(x, 0.0, 6.0),
        SWISH => x * sigmoid(x),
        HARD_SWISH => x * held(x + 3.0, 0.0, 6.0) * (1.0 / 6.0),
        SIGMOID => sigmoid(x),
        _ => held(x + 3.0, 0.0, 6.0) * (1.0 / 6.0),
    }
}

#[inline(always)]
fn slope<const KIND: u8>(x: f32) -> f32 {
    let inside = |low: f32, high: f32, slope: f32| if x > low && x < high { slope } else { 0.0 };
    match KIND {
        RELU => inside(0.0, f32::INFINITY, 1.0),
        RELU6 => inside(0.0, 6.0, 1.0),
        SWISH => {
            let s = sigmoid(x);
            s + x * s * (1.0 - s)
        }
        HARD_SWISH => {
            let middle = x * (1.0 / 3.0) + 0.5;
            let lower = if x < -3.0 { 0.0 } else { middle };
            if x > 3.0 { 1.0 } else { lower }
        }
        SIGMOID => {
            let s = sigmoid(x);
            s * (1.0 - s)
        }
        _ => inside(-3.0, 3.0, 1.0 / 6.0),
    }
}

vectorised! {
    fn map<const KIND: u8>(x: &[f32], y: &mut [f32]) {
        for (x, y) in x.iter().zip(y) {
            *y = value::<KIND>(*x);
        }
    }
}

vectorised! {
    fn add_map<const KIND: u8>(x: &[f32], dy: &[f32], dx: &mut [f32]) {
        for ((x, dy), dx) in x.iter().zip(dy).zip(dx) {
            *dx += slope::<KIND>(*x) * *dy;
        }
    }
}

/// `y = f(x)`.
pub(crate) fn forward(kind: Activation, x: &[f32], y: &mut [f32]) {
    let map = match kind {
        Activation::Relu => map::<RELU>,
        Activation::Relu6 => map::<RELU6>,
        Activation::Swish => map::<SWISH>,
        Activation::HardSwish => map::<HARD_SWISH>,
        Activation::Sigmoid => map::<SIGMOID>,
        Activation::HardSigmoid => map::<HARD_SIGMOID>,
    };
    let parts = Parts::new(x.len(), 1);
    let y = Shared::new(y);
    parts.for_each(|part| {
        let range = parts.rows(part);
        // SAFETY: the ranges of different parts are apart.
        map(&x[range.clone()], unsafe { y.slice(range) });
    });
}

/// `dx += f'(x) * dy`.
pub(crate) fn backward(kind: Activation, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    let add_map = match kind {
        Activation::Relu => add_map::<RELU>,
        Activation::Relu6 => add_map::<RELU6>,
        Activation::Swish => add_map::<SWISH>,
        Activation::HardSwish => add_map::<HARD_SWISH>,
        Activation::Sigmoid => add_map::<SIGMOID>,
        Activation::HardSigmoid => add_map::<HARD_SIGMOID>,
    };
    let parts = Parts::new(x.len(), 1);
    let dx = Shared::new(dx);
    parts.for_each(|part| {
        let range = parts.rows(part);
        // SAFETY: the ranges of different parts are apart.
        let dx = unsafe { dx.slice(range.clone()) };
        add_map(&x[range.clone()], &dy[range], dx);
    });
}
