//! A network as a dfdx `Module`, for code that works with any module.

use cellwright_ops::Kernels;
use dfdx::nn::{Module, ModuleMut};
use dfdx::tensor::{PutTape, SplitTape, Tape, Tensor};

use crate::{Error, Mode, Network};

type Images<D, T> = Tensor<(usize, usize, usize, usize), f32, D, T>;

/// Evaluation: running statistics, nothing dropped.
impl<D: Kernels, T: Tape<f32, D>> Module<Images<D, T>> for Network<D> {
    type Output = Images<D, T>;
    type Error = Error;

    fn try_forward(&self, images: Images<D, T>) -> Result<Self::Output, Error> {
        let (images, mut tape) = images.split_tape();
        let logits = self.evaluate(images, &mut tape)?;
        Ok(logits.put_tape(tape))
    }
}

/// Training: batch statistics, and drop path at its full rate. Auxiliary classifiers are run, but
/// their logits are not given: use [`Network::run`] to train with them.
impl<D: Kernels, T: Tape<f32, D>> ModuleMut<Images<D, T>> for Network<D> {
    type Output = Images<D, T>;
    type Error = Error;

    fn try_forward_mut(&mut self, images: Images<D, T>) -> Result<Self::Output, Error> {
        let (images, mut tape) = images.split_tape();
        let outputs = self.run(
            images,
            Mode::Train {
                seed: 0,
                progress: 1.0,
            },
            &mut tape,
        )?;
        Ok(outputs.logits.put_tape(tape))
    }
}
