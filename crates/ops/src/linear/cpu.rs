//! The linear layer on the CPU: the kernels on dfdx's tape.

use dfdx::shapes::HasShape;
use dfdx::tensor::{Cpu, Tape};

use super::LinearKernel;
use super::kernel::{View, add_product, add_row_sums};
use crate::buffers::{give, read, take, take_gradient, tensor};
use crate::{Error, Feature, Matrix, Vector};

const NAME: &str = "linear";

impl LinearKernel for Cpu {
    fn linear<T: Tape<f32, Self>>(
        tape: &mut T,
        x: &Feature<Self>,
        weight: &Matrix<Self>,
        bias: Option<&Vector<Self>>,
    ) -> Result<Feature<Self>, Error> {
        let (n, h, w, inputs) = *x.shape();
        let (rows, units) = (n * h * w, weight.shape().1);
        let mut y = take(rows * units);
        match bias.map(|bias| read(NAME, bias)).transpose()? {
            Some(bias) if units > 0 => y
                .chunks_exact_mut(units)
                .for_each(|y| y.copy_from_slice(bias)),
            _ => y.fill(0.0),
        }
        let values = View::new(read(NAME, x)?, rows, inputs);
        add_product(
            values,
            View::new(read(NAME, weight)?, inputs, units),
            &mut y,
        );
        let y = tensor(x.device(), y, (n, h, w, units))?;
        if T::OWNS_TAPE {
            let (x, weight, output) = (x.clone(), weight.clone(), y.ghost());
            let bias = bias.map(|bias| bias.ghost());
            tape.add_backward_op(move |gradients| {
                let dy = take_gradient(gradients.get_or_alloc_mut(&output)?);
                let output = View::new(&dy, rows, units);
                // The forward pass has read both, so reading them again cannot fail.
                let values = View::new(read(NAME, &x).unwrap_or_default(), rows, inputs);
                let matrix = View::new(read(NAME, &weight).unwrap_or_default(), inputs, units);
                let dx = gradients.get_or_alloc_mut(&x)?;
                add_product(output, matrix.transposed(), dx);
                let dweight = gradients.get_or_alloc_mut(&weight)?;
                add_product(values.transposed(), output, dweight);
                if let Some(bias) = &bias {
                    add_row_sums(&dy, gradients.get_or_alloc_mut(bias)?);
                }
                give(dy);
                Ok(())
            });
        }
        Ok(y)
    }
}
