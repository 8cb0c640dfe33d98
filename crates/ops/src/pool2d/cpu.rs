//! Pooling on the CPU: the kernels on dfdx's tape.

use dfdx::shapes::HasShape;
use dfdx::tensor::{Cpu, Tape};

use super::{Pool2d, Pool2dKernel, PoolKind, average, max};
use crate::buffers::{give, read, take, take_gradient, tensor};
use crate::{Error, Feature};

const NAME: &str = "pool2d";

impl Pool2dKernel for Cpu {
    fn pool2d<T: Tape<f32, Self>>(
        tape: &mut T,
        x: &Feature<Self>,
        options: Pool2d,
    ) -> Result<Feature<Self>, Error> {
        let geometry = options.geometry(*x.shape())?;
        let values = read(NAME, x)?;
        let length = geometry.output_len();
        let mut y = take(length);
        let keep = T::OWNS_TAPE && options.kind == PoolKind::Max;
        let mut places = vec![0u8; if keep { length } else { 0 }];
        match options.kind {
            PoolKind::Max => max::forward(&geometry, values, &mut y, &mut places),
            PoolKind::Average => average::forward(&geometry, values, &mut y),
        }
        let (rows, columns) = (geometry.rows.output, geometry.columns.output);
        let shape = (geometry.images, rows, columns, geometry.channels);
        let y = tensor(x.device(), y, shape)?;
        if T::OWNS_TAPE {
            let (input, output) = (x.ghost(), y.ghost());
            tape.add_backward_op(move |gradients| {
                let dy = take_gradient(gradients.get_or_alloc_mut(&output)?);
                let dx = gradients.get_or_alloc_mut(&input)?;
                match options.kind {
                    PoolKind::Max => max::backward(&geometry, &dy, &places, dx),
                    PoolKind::Average => average::backward(&geometry, &dy, dx),
                }
                give(dy);
                Ok(())
            });
        }
        Ok(y)
    }
}
