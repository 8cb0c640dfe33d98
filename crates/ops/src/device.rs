//! The types of tensors that operations take, and the one trait that names all kernels.

use dfdx::tensor::{Tensor, ZerosTensor};
use dfdx::tensor_ops::Device;

/// A batch of feature maps, `N × H × W × C`; also a convolution's weight, `kh × kw × in/groups × out`.
pub type Feature<D> = Tensor<(usize, usize, usize, usize), f32, D>;
/// A vector, for example one number a channel.
pub type Vector<D> = Tensor<(usize,), f32, D>;
/// A matrix, for example a linear layer's weight, `in × units`.
pub type Matrix<D> = Tensor<(usize, usize), f32, D>;

/// What the composed references need of a device: dfdx's own operations on f32.
pub trait Base: Device<f32> + ZerosTensor<f32> + Send + Sync {}

impl<D: Device<f32> + ZerosTensor<f32> + Send + Sync> Base for D {}

/// All kernels together: the one bound that generic code on top of this crate writes.
///
/// Each operation contributes one trait whose default body is its composed reference; a device with
/// a kernel of its own overrides the body.
pub trait Kernels:
    Base
    + crate::activation::ActivationKernel
    + crate::batch_norm::BatchNormKernel
    + crate::chain::ChainKernel
    + crate::conv2d::Conv2dKernel
    + crate::elementwise::combine::CombineKernel
    + crate::elementwise::concat::ConcatKernel
    + crate::elementwise::dropout::DropoutMaskKernel
    + crate::elementwise::gate::GateKernel
    + crate::elementwise::global_avg_pool::GlobalAvgPoolKernel
    + crate::elementwise::subsample::SubsampleKernel
    + crate::elementwise::truncate::TruncateKernel
    + crate::linear::LinearKernel
    + crate::optimiser::OptimiserKernel
    + crate::pool2d::Pool2dKernel
    + crate::program::ProgramKernel
    + crate::softmax_cross_entropy::SoftmaxCrossEntropyKernel
{
}

impl Kernels for dfdx::tensor::Cpu {}

#[cfg(feature = "cuda")]
impl Kernels for dfdx::tensor::Cuda {}
