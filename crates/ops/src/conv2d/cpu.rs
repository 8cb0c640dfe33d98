//! Convolution on the CPU: the kernels on dfdx's tape.

use dfdx::shapes::HasShape;
use dfdx::tensor::{Cpu, Tape};

use super::backward::{Given, Sink};
use super::geometry::Geometry;
use super::product::Finish;
use super::window::{Incoming, Prologue};
use super::{Conv2d, Conv2dKernel, backward, forward};
use crate::buffers::{give, put_gradient, read, take, take_gradient, tensor};
use crate::{Error, Feature, Vector, threads};

const NAME: &str = "conv2d";

impl Conv2dKernel for Cpu {
    fn conv2d<T: Tape<f32, Self>>(
        tape: &mut T,
        x: &Feature<Self>,
        w: &Feature<Self>,
        bias: Option<&Vector<Self>>,
        conv: Conv2d,
    ) -> Result<Feature<Self>, Error> {
        let g = Geometry::new(NAME, *x.shape(), *w.shape(), conv)?;
        let (values, weights) = (read(NAME, x)?, read(NAME, w)?);
        let finish = Finish {
            shift: bias.map(|b| read(NAME, b)).transpose()?,
            relu: false,
            add: false,
        };
        let mut y = take(g.out_len());
        forward::Plan::new(g, weights).run(
            values,
            &Prologue::default(),
            finish,
            None,
            false,
            &mut y,
        );
        let y = tensor(x.device(), y, g.out())?;
        if T::OWNS_TAPE {
            let (x, w, output) = (x.clone(), w.clone(), y.ghost());
            let bias = bias.map(|b| b.ghost());
            tape.add_backward_op(move |gradients| {
                let dy = take_gradient(gradients.get_or_alloc_mut(&output)?);
                if let Some(bias) = &bias {
                    add_columns(&dy, gradients.get_or_alloc_mut(bias)?);
                }
                // The forward pass has read both, so reading them again cannot fail.
                let values = read(NAME, &x).unwrap_or_default();
                let weights = read(NAME, &w).unwrap_or_default();
                let plan = backward::Plan::new(g, weights);
                let given = Given {
                    x: values,
                    prologue: &Prologue::default(),
                    incoming: &Incoming::Plain(&dy),
                };
                let mut dw = take_gradient(gradients.get_or_alloc_mut(&w)?);
                let dx = gradients.get_or_alloc_mut(&x)?;
                // Empty if `x` is the weight itself.
                dx.resize(values.len(), 0.0);
                plan.run(&given, Sink::Add(dx), [&mut dw, &mut []]);
                put_gradient(gradients.get_or_alloc_mut(&w)?, dw);
                give(dy);
                Ok(())
            });
        }
        Ok(y)
    }
}

/// `out[c] += Σ_rows x[row, c]`, by parts of fixed size in their order.
pub(crate) fn add_columns(x: &[f32], out: &mut [f32]) {
    let columns = out.len();
    let part = (threads::PART / columns).max(1) * columns;
    let sums = threads::map(x.len().div_ceil(part), |i| {
        let mut sums = vec![0.0; columns];
        let rows = &x[i * part..((i + 1) * part).min(x.len())];
        crate::batch_norm::kernel::add_rows(&mut sums, rows);
        sums
    });
    for sums in sums {
        out.iter_mut().zip(sums).for_each(|(o, s)| *o += s);
    }
}
