//! Between tensors, whose numbers may be bfloat16, and fp32.

use super::flat;
use crate::Error;
use crate::cuda::{Launch, Pointer};

/// `y` ← so many numbers of a tensor in fp32.
///
/// # Errors
/// [`Error::Shape`] if a size does not fit a kernel's argument.
pub fn widen(x: Pointer, y: Pointer, count: usize) -> Result<Launch, Error> {
    flat("widen", count).pointers([x, y]).ints([count]).build()
}

/// The tensor `y` ←, or +=, so many numbers in fp32.
///
/// # Errors
/// As [`widen`].
pub fn narrow(x: Pointer, y: Pointer, count: usize, add: bool) -> Result<Launch, Error> {
    flat("narrow", count)
        .pointers([x, y])
        .ints([count])
        .flag(add)
        .build()
}
