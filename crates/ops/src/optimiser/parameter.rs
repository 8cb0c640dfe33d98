//! How an optimiser reaches parameters and gradients of different ranks.

use dfdx::prelude::*;

use crate::buffers::{read, take_gradient, write};
use crate::{Base, Error, Feature, Matrix, Vector};

/// A parameter that a step may change.
#[derive(Debug)]
pub enum ParameterMut<'a, D: Base> {
    /// A bias, scale or shift.
    Vector(&'a mut Vector<D>),
    /// A linear layer's weight.
    Matrix(&'a mut Matrix<D>),
    /// A convolution's weight.
    Feature(&'a mut Feature<D>),
}

impl<D: Base> ParameterMut<'_, D> {
    /// How many numbers it has.
    pub fn len(&self) -> usize {
        match self {
            Self::Vector(t) => t.shape().num_elements(),
            Self::Matrix(t) => t.shape().num_elements(),
            Self::Feature(t) => t.shape().num_elements(),
        }
    }

    /// Whether it has no numbers.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One parameter's numbers and its gradient, of equal length.
#[derive(Debug)]
pub struct Slot<'a> {
    /// The parameter.
    pub values: &'a mut [f32],
    /// Its gradient.
    pub gradient: &'a [f32],
}

/// How a device lends parameters and gradients to the optimiser's kernel.
pub trait OptimiserKernel: Base {
    /// Calls `update` with all parameters, in order. The default copies them to the host and back.
    ///
    /// # Errors
    /// [`Error::Device`] if the device fails.
    fn with_slots(
        parameters: &mut [ParameterMut<'_, Self>],
        gradients: &mut Gradients<f32, Self>,
        update: impl FnOnce(&mut [Slot<'_>]),
    ) -> Result<(), Error> {
        let mut copies = Vec::with_capacity(parameters.len());
        for parameter in parameters.iter() {
            copies.push(match parameter {
                ParameterMut::Vector(t) => copied(*t, gradients)?,
                ParameterMut::Matrix(t) => copied(*t, gradients)?,
                ParameterMut::Feature(t) => copied(*t, gradients)?,
            });
        }
        let slots = copies
            .iter_mut()
            .map(|(values, gradient)| Slot { values, gradient });
        update(&mut slots.collect::<Vec<_>>());
        for (parameter, (values, _)) in parameters.iter_mut().zip(&copies) {
            match parameter {
                ParameterMut::Vector(t) => t.copy_from(values),
                ParameterMut::Matrix(t) => t.copy_from(values),
                ParameterMut::Feature(t) => t.copy_from(values),
            }
        }
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl OptimiserKernel for Cuda {}

/// Copies of a tensor and of its gradient.
fn copied<S: Shape, D: Base>(
    tensor: &Tensor<S, f32, D>,
    gradients: &mut Gradients<f32, D>,
) -> Result<(Vec<f32>, Vec<f32>), Error> {
    gradients.try_alloc_for(tensor).map_err(Error::device)?;
    Ok((tensor.as_vec(), gradients.get(tensor).as_vec()))
}

impl OptimiserKernel for Cpu {
    fn with_slots(
        parameters: &mut [ParameterMut<'_, Self>],
        gradients: &mut Gradients<f32, Self>,
        update: impl FnOnce(&mut [Slot<'_>]),
    ) -> Result<(), Error> {
        // Checked before any gradient is moved, so that an error leaves all as it was.
        for parameter in parameters.iter() {
            match parameter {
                ParameterMut::Vector(t) => read("optimiser", &**t).map(drop)?,
                ParameterMut::Matrix(t) => read("optimiser", &**t).map(drop)?,
                ParameterMut::Feature(t) => read("optimiser", &**t).map(drop)?,
            }
        }
        let mut taken = Vec::with_capacity(parameters.len());
        for parameter in parameters.iter() {
            taken.push(take_gradient(gradient(parameter, gradients)?));
        }
        let mut slots = Vec::with_capacity(parameters.len());
        for (parameter, gradient) in parameters.iter_mut().zip(&taken) {
            let values = match parameter {
                ParameterMut::Vector(t) => write("optimiser", &mut **t)?,
                ParameterMut::Matrix(t) => write("optimiser", &mut **t)?,
                ParameterMut::Feature(t) => write("optimiser", &mut **t)?,
            };
            slots.push(Slot { values, gradient });
        }
        update(&mut slots);
        for (parameter, values) in parameters.iter().zip(taken) {
            **gradient(parameter, gradients)? = values;
        }
        Ok(())
    }
}

/// The gradient of a parameter, zeros if the backward pass did not reach it.
fn gradient<'g>(
    parameter: &ParameterMut<'_, Cpu>,
    gradients: &'g mut Gradients<f32, Cpu>,
) -> Result<&'g mut crate::buffers::GradientBuffer, Error> {
    match parameter {
        ParameterMut::Vector(t) => gradients.get_or_alloc_mut(&**t),
        ParameterMut::Matrix(t) => gradients.get_or_alloc_mut(&**t),
        ParameterMut::Feature(t) => gradients.get_or_alloc_mut(&**t),
    }
    .map_err(Error::device)
}
