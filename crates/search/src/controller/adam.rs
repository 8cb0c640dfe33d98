//! Adam (Kingma & Ba 2015, arXiv 1412.6980) after clipping the gradient's global norm.

use dfdx::prelude::*;

use super::policy::Policy;
use crate::Error;

const DECAY: (f32, f32) = (0.9, 0.999);
const EPSILON: f32 = 1e-8;

/// The optimiser's state.
#[derive(Clone, Debug)]
pub(super) struct Adam {
    learning_rate: f32,
    /// The largest global norm of a gradient.
    largest: f32,
    steps: i32,
    /// First and second moments of each parameter.
    moments: Vec<(Vec<f32>, Vec<f32>)>,
}

impl Adam {
    pub fn new(learning_rate: f32, largest: f32) -> Self {
        Adam {
            learning_rate,
            largest,
            steps: 0,
            moments: Vec::new(),
        }
    }

    /// One step; the answer is the gradient's global norm before clipping.
    pub fn step(
        &mut self,
        policy: &mut Policy,
        gradients: &mut Gradients<f32, Cpu>,
    ) -> Result<f32, Error> {
        let mut squares = 0.0f64;
        let moments = &mut self.moments;
        policy.descend(gradients, |index, values, gradient| {
            if moments.len() == index {
                moments.push((vec![0.0; values.len()], vec![0.0; values.len()]));
            }
            squares += gradient.iter().map(|g| f64::from(g * g)).sum::<f64>();
        })?;
        let norm = squares.sqrt() as f32;
        let shrink = if norm > self.largest {
            self.largest / norm
        } else {
            1.0
        };
        self.steps += 1;
        let (first, second) = DECAY;
        let correct_first = 1.0 / (1.0 - first.powi(self.steps));
        let correct_second = 1.0 / (1.0 - second.powi(self.steps));
        let rate = self.learning_rate * correct_first;
        policy.descend(gradients, |index, values, gradient| {
            let (means, squares) = &mut moments[index];
            for (((value, g), mean), square) in
                values.iter_mut().zip(gradient).zip(means).zip(squares)
            {
                let g = g * shrink;
                *mean = first * *mean + (1.0 - first) * g;
                *square = second * *square + (1.0 - second) * g * g;
                *value -= rate * *mean / ((*square * correct_second).sqrt() + EPSILON);
            }
        })?;
        Ok(norm)
    }
}
