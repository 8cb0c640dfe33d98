//! Each operation composed of dfdx's own operations: slow, generic over the device, the reference
//! that tests compare kernels with, and what runs where there is no kernel.

use dfdx::shapes::Shape;
use dfdx::tensor::{PutTape, SplitTape, Tape, Tensor};

use crate::{Base, Error};

pub use crate::activation::reference::activation;
pub use crate::batch_norm::reference::batch_norm;
pub use crate::elementwise::combine::reference as combine;
pub use crate::elementwise::concat::reference as concat;
pub use crate::elementwise::dropout::reference as dropout;
pub use crate::elementwise::gate::reference as multiply;
pub use crate::elementwise::global_avg_pool::reference as global_avg_pool;
pub use crate::elementwise::subsample::reference as subsample;
pub use crate::elementwise::truncate::reference as truncate;
pub use crate::linear::reference as linear;
pub use crate::pool2d::reference::pool2d;
pub use crate::softmax_cross_entropy::reference as softmax_cross_entropy;

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
