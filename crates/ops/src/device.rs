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
pub trait Base: Device<f32> + ZerosTensor<f32> {}

impl<D: Device<f32> + ZerosTensor<f32>> Base for D {}

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
    /// Runs `work`, many operations on this device, so that they follow each other fast: on the CPU by
    /// [`crate::threads::awake`].
    ///
    /// # Safety
    /// `work` may run on another thread while this one waits: what it holds beside this device and its
    /// tensors must be [`Send`].
    unsafe fn together<R>(work: impl FnOnce() -> R) -> R {
        work()
    }
}

impl Kernels for dfdx::tensor::Cpu {
    unsafe fn together<R>(work: impl FnOnce() -> R) -> R {
        struct Carried<T>(T);
        // SAFETY: the caller promises it of the work; dfdx's CPU and its tensors are of `Arc`s of `Send`.
        unsafe impl<T> Send for Carried<T> {}
        let carried = Carried(work);
        crate::threads::awake(move || {
            // All of it, not the part that is not `Send` by itself.
            let carried = carried;
            Carried((carried.0)())
        })
        .0
    }
}

#[cfg(feature = "cuda")]
impl Kernels for dfdx::tensor::Cuda {}
