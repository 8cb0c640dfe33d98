//! The tensor operations that dfdx lacks on stable Rust, with kernels and gradients.
//!
//! Two layers. *Kernels* work on plain slices and know nothing of tapes. The *operations* above
//! them check shapes, call the device's kernel and put the gradient on dfdx's tape. Inputs carry
//! no tape: it is passed by `&mut` and gets a backward operation only if it owns one. Gradients are
//! added to what the tape's [`dfdx::tensor::Gradients`] already hold for an input. The gradient of
//! an operation's *output* is consumed by its backward operation, which frees or reuses it.
//!
//! Layout is NHWC. Every operation has a trait whose default body is its composed [`mod@reference`]:
//! a device with kernels overrides it, and all traits together are [`Kernels`].

pub mod activation;
pub mod batch_norm;
pub mod buffers;
pub mod chain;
pub mod conv2d;
#[cfg(any(test, feature = "cuda"))]
pub mod cuda;
pub mod device;
pub mod elementwise;
pub mod error;
pub mod linear;
pub mod optimiser;
mod parts;
pub mod pool2d;
pub mod program;
pub mod reference;
mod scratch;
mod simd;
pub mod softmax_cross_entropy;
#[cfg(test)]
mod testing;
pub mod threads;
mod vector;

pub use activation::{Activation, activation};
pub use batch_norm::{BatchNorm, Running, batch_norm};
pub use chain::{Input, Norm, Residual, Unit, chain, conv_bn, residual_chain, separable};
pub use conv2d::{Conv2d, conv2d};
pub use device::{Base, Feature, Kernels, Matrix, Vector};
pub use elementwise::{
    Branch, DropPath, add, add_branches, concat, drop_path, dropout, global_avg_pool, mean,
    multiply, subsample, truncate, zero,
};
pub use error::Error;
pub use linear::linear;
pub use optimiser::{Optimiser, ParameterMut};
pub use pool2d::{LARGEST_MAX_POOL, Pool2d, PoolKind, pool2d};
pub use softmax_cross_entropy::{Loss, softmax_cross_entropy, top_k_correct};
