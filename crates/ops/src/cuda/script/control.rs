//! What changes from step to step, and so is uploaded before each.

use super::Script;
use crate::Error;
use crate::cuda::kernels::elementwise;
use crate::cuda::kernels::optimiser::step_numbers;
use crate::elementwise::random;
use crate::program::{Control, Draw};

impl Script {
    /// The word at which [`Script::control`] goes.
    #[must_use]
    pub fn control_word(&self) -> usize {
        self.layout.control
    }

    /// What a step must find at [`Script::control_word`]; `steps` counts from 1. Of a data set on the
    /// device, `draws` name the batch; of fewer than the program's batch, the first are replaced.
    ///
    /// # Errors
    /// [`Error::Shape`] if there are more draws than the batch has images, or one is of an image that is
    /// not there or lies wholly beyond it.
    pub fn control(
        &self,
        control: &Control,
        steps: u64,
        draws: &[Draw],
    ) -> Result<Vec<u32>, Error> {
        self.check(draws)?;
        let mut words = Vec::with_capacity(self.layout.control_words);
        match &self.optimiser {
            Some(settings) => {
                let numbers = step_numbers(settings, control.learning_rate, steps);
                words.extend(numbers.map(f32::to_bits));
            }
            None => words.extend([0; 4]),
        }
        for mask in &self.layout.masks {
            let seed = random::mix(control.seed, mask.salt);
            let rate = mask.rate * control.grown(mask.scheduled);
            let mask = elementwise::mask(seed, rate);
            words.extend(mask.iter().flat_map(|word| {
                let bytes = word.to_ne_bytes();
                [[0, 1, 2, 3], [4, 5, 6, 7]].map(|at| u32::from_ne_bytes(at.map(|i| bytes[i])))
            }));
        }
        if !draws.is_empty() {
            words.resize(self.layout.draws - self.layout.control, 0);
            words.extend(draws.iter().flat_map(Draw::words));
        }
        Ok(words)
    }

    fn check(&self, draws: &[Draw]) -> Result<(), Error> {
        let (count, [height, width, _]) = match &self.resident {
            Some(it) => (it.count, it.shape),
            None => (0, [0; 3]),
        };
        let within = |at: i32, size: usize| at.unsigned_abs() as usize <= size;
        let fits = |draw: &Draw| {
            let [row, column] = draw.centre;
            (draw.image as usize) < count
                && within(draw.down, height)
                && within(draw.right, width)
                && within(row, height)
                && within(column, width)
        };
        if draws.len() <= self.program.batch() && draws.iter().all(fits) {
            return Ok(());
        }
        let (found, batch) = (draws.len(), self.program.batch());
        let detail = format!("{found} draws of {count} images for a batch of {batch}");
        Err(Error::shape("program", detail))
    }
}
