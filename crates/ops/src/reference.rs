//! Each operation composed of dfdx's own operations: slow, generic over the device, the reference
//! that tests compare kernels with, and what runs where there is no kernel.

use dfdx::shapes::Shape;
use dfdx::tensor::{PutTape, SplitTape, Tape, Tensor};

use crate::{Base, Error};

/// Runs dfdx operations, whose tensors own their tape, on a tape that is passed by reference.
///
/// # Errors
/// What `compose` returns.
pub fn on_tape<D, T, In, Out>(
    tape: &mut T,
    x: &Tensor<In, f32, D>,
    compose: impl FnOnce(Tensor<In, f32, D, T>) -> Result<Tensor<Out, f32, D, T>, Error>,
) -> Result<Tensor<Out, f32, D>, Error>
where
    D: Base,
    T: Tape<f32, D>,
    In: Shape,
    Out: Shape,
{
    let (out, used) = compose(x.clone().put_tape(std::mem::take(tape)))?.split_tape();
    *tape = used;
    Ok(out)
}
