//! A long short-term memory over whole sequences of a batch (Hochreiter & Schmidhuber 1997, with the
//! forget gate of Gers et al. 2000), fused: one operation on dfdx's tape with a hand-derived gradient.

use cellwright_ops::buffers::{read, tensor};
use dfdx::prelude::*;

use super::product::{Steps, add_product, transposed};
use crate::Error;

/// A matrix on the CPU.
pub(super) type Matrix = Tensor<(usize, usize), f32, Cpu>;

const NAME: &str = "lstm";

/// The gates a unit has: input, forget, output and candidate, in this order.
pub(super) const GATES: usize = 4;

/// The parameters.
#[derive(Clone, Debug)]
pub(super) struct Lstm {
    /// (inputs + units) × (4·units): what multiplies the input, then what multiplies the state.
    pub weights: Matrix,
    /// 1 × (4·units).
    pub bias: Matrix,
}

/// The state of a batch between two steps: batch × units each.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// What the next step and the softmaxes see.
    pub hidden: Vec<f32>,
    cell: Vec<f32>,
}

impl State {
    /// All zeros.
    pub fn new(batch: usize, units: usize) -> Self {
        State {
            hidden: vec![0.0; batch * units],
            cell: vec![0.0; batch * units],
        }
    }
}

/// What backward needs of forward: steps·batch rows each.
struct Trace {
    gates: Vec<f32>,
    cells: Vec<f32>,
}

impl Lstm {
    /// Units of the cell.
    pub fn units(&self) -> usize {
        self.bias.shape().1 / GATES
    }

    /// One step without a tape: `inputs` is batch × inputs.
    pub fn step(&self, inputs: &[f32], state: &mut State) -> Result<(), Error> {
        let (weights, bias) = (read(NAME, &self.weights), read(NAME, &self.bias));
        let (weights, bias) = (weights.map_err(failed)?, bias.map_err(failed)?);
        let units = self.units();
        let batch = state.hidden.len() / units;
        let (input_weights, state_weights) = self.split(weights);
        let mut gates = weighted_inputs(batch, inputs, input_weights, bias);
        let before = state.clone();
        step(units, &before, state_weights, &mut gates, state);
        Ok(())
    }

    /// What multiplies the input, and what the state.
    fn split<'a>(&self, weights: &'a [f32]) -> (&'a [f32], &'a [f32]) {
        weights.split_at(weights.len() - self.units() * self.units() * GATES)
    }

    /// The hidden states of whole sequences that begin with zero states.
    ///
    /// - `inputs`: (steps·batch) × inputs, the rows of a step together.
    /// - The answer: (steps·batch) × units.
    pub fn sequences<T: Tape<f32, Cpu>>(
        &self,
        tape: &mut T,
        batch: usize,
        inputs: &Matrix,
    ) -> Result<Matrix, Error> {
        let rows = inputs.shape().0;
        let units = self.units();
        let (x, weights) = (read(NAME, inputs), read(NAME, &self.weights));
        let (x, weights) = (x.map_err(failed)?, weights.map_err(failed)?);
        let bias = read(NAME, &self.bias).map_err(failed)?;
        let (input_weights, state_weights) = self.split(weights);
        let mut gates = weighted_inputs(rows, x, input_weights, bias);
        let mut cells = Vec::with_capacity(rows * units);
        let mut hidden = Vec::with_capacity(rows * units);
        let mut state = State::new(batch, units);
        for gates in gates.chunks_exact_mut(batch * units * GATES) {
            let before = state.clone();
            step(units, &before, state_weights, gates, &mut state);
            cells.extend_from_slice(&state.cell);
            hidden.extend_from_slice(&state.hidden);
        }
        let device = Cpu::default();
        let output = tensor(&device, hidden, (rows, units)).map_err(failed)?;
        if T::OWNS_TAPE {
            let (lstm, inputs, result) = (self.clone(), inputs.clone(), output.clone());
            let trace = Trace { gates, cells };
            tape.add_backward_op(move |gradients| {
                lstm.backward(batch, &inputs, &result, trace, gradients)
            });
        }
        Ok(output)
    }

    fn backward(
        &self,
        batch: usize,
        inputs: &Matrix,
        output: &Matrix,
        trace: Trace,
        gradients: &mut Gradients<f32, Cpu>,
    ) -> Result<(), CpuError> {
        let (Ok(x), Ok(hidden), Ok(weights)) = (
            read(NAME, inputs),
            read(NAME, output),
            read(NAME, &self.weights),
        ) else {
            return Err(CpuError::OutOfMemory);
        };
        let units = self.units();
        let wide = GATES * units;
        let width = inputs.shape().1;
        let rows = inputs.shape().0;
        let d_hidden: Vec<f32> = gradients.get_or_alloc_mut(output)?.to_vec();
        let (_, state_weights) = self.split(weights);
        let back = transposed(units, wide, state_weights);
        let d_gates = through_time(batch, units, &back, d_hidden, trace);

        let d_weights = gradients.get_or_alloc_mut(&self.weights)?;
        let (d_input_weights, d_state_weights) = d_weights.split_at_mut(width * wide);
        let across = |width| Steps {
            row: 1,
            column: width,
        };
        add_product(
            (width, rows, wide),
            x,
            across(width),
            &d_gates,
            d_input_weights,
        );
        // The states before a step are the hidden states of the step before; the first were zero.
        let later = &d_gates[batch * wide..];
        let size = (units, rows - batch, wide);
        add_product(size, hidden, across(units), later, d_state_weights);

        let d_bias = gradients.get_or_alloc_mut(&self.bias)?;
        for row in d_gates.chunks_exact(wide) {
            d_bias.iter_mut().zip(row).for_each(|(sum, d)| *sum += d);
        }
        let back = transposed(width, wide, &weights[..width * wide]);
        let along = Steps {
            row: wide,
            column: 1,
        };
        let d_x = gradients.get_or_alloc_mut(inputs)?;
        add_product((rows, wide, width), &d_gates, along, &back, d_x);
        Ok(())
    }
}

/// The bias plus what the inputs give to the gates.
fn weighted_inputs(rows: usize, inputs: &[f32], weights: &[f32], bias: &[f32]) -> Vec<f32> {
    let width = inputs.len() / rows.max(1);
    let mut gates = bias.repeat(rows);
    let along = Steps {
        row: width,
        column: 1,
    };
    add_product(
        (rows, width, bias.len()),
        inputs,
        along,
        weights,
        &mut gates,
    );
    gates
}

/// One step: adds the state's part to `gates`, applies their functions in place and makes the new state.
fn step(units: usize, before: &State, weights: &[f32], gates: &mut [f32], after: &mut State) {
    let batch = gates.len() / (GATES * units);
    let along = Steps {
        row: units,
        column: 1,
    };
    let size = (batch, units, GATES * units);
    add_product(size, &before.hidden, along, weights, gates);
    for row in 0..batch {
        let gates = &mut gates[row * GATES * units..][..GATES * units];
        let (sigmoids, candidates) = gates.split_at_mut(3 * units);
        sigmoids.iter_mut().for_each(|it| *it = sigmoid(*it));
        candidates.iter_mut().for_each(|it| *it = tanh(*it));
        let cells = &mut after.cell[row * units..][..units];
        let hidden = &mut after.hidden[row * units..][..units];
        for unit in 0..units {
            let old = before.cell[row * units + unit];
            cells[unit] = sigmoids[units + unit] * old + sigmoids[unit] * candidates[unit];
            hidden[unit] = sigmoids[2 * units + unit] * tanh(cells[unit]);
        }
    }
}

/// The gradients before the gates' functions, from the last step to the first. `back` is the transpose
/// of the state's weights.
fn through_time(
    batch: usize,
    units: usize,
    back: &[f32],
    mut d_hidden: Vec<f32>,
    trace: Trace,
) -> Vec<f32> {
    let Trace { mut gates, cells } = trace;
    let (wide, block) = (GATES * units, batch * units);
    let steps = d_hidden.len() / block;
    let zeros = vec![0.0; block];
    let mut d_cells = vec![0.0; block];
    for step in (0..steps).rev() {
        let old = if step == 0 {
            &zeros
        } else {
            &cells[(step - 1) * block..][..block]
        };
        let new = &cells[step * block..][..block];
        let (earlier, now) = d_hidden.split_at_mut(step * block);
        let gates = &mut gates[step * batch * wide..][..batch * wide];
        for row in 0..batch {
            let of_row = row * units..(row + 1) * units;
            let (old, new) = (&old[of_row.clone()], &new[of_row.clone()]);
            let d_cells = &mut d_cells[of_row.clone()];
            gate_gradients(
                old,
                new,
                &now[of_row],
                d_cells,
                &mut gates[row * wide..][..wide],
            );
        }
        if step > 0 {
            let along = Steps {
                row: wide,
                column: 1,
            };
            let d_before = &mut earlier[(step - 1) * block..];
            add_product((batch, wide, units), gates, along, back, d_before);
        }
    }
    gates
}

/// One row: replaces the gates by their gradients; `d_cells` comes from the step after and becomes what
/// goes to the step before.
fn gate_gradients(
    old: &[f32],
    new: &[f32],
    d_hidden: &[f32],
    d_cells: &mut [f32],
    gates: &mut [f32],
) {
    let units = old.len();
    for unit in 0..units {
        let [input, forget, output, candidate] =
            std::array::from_fn(|gate| gates[gate * units + unit]);
        let squashed = tanh(new[unit]);
        let d_cell = d_cells[unit] + d_hidden[unit] * output * (1.0 - squashed * squashed);
        let d_output = d_hidden[unit] * squashed;
        gates[unit] = d_cell * candidate * input * (1.0 - input);
        gates[units + unit] = d_cell * old[unit] * forget * (1.0 - forget);
        gates[2 * units + unit] = d_output * output * (1.0 - output);
        gates[3 * units + unit] = d_cell * input * (1.0 - candidate * candidate);
        d_cells[unit] = d_cell * forget;
    }
}

/// tanh as the quotient of two polynomials, exact to a few units in the last place; unlike the system's
/// it is the same on all machines, and the compiler turns loops of it into vector instructions.
fn tanh(x: f32) -> f32 {
    let x = x.clamp(-7.998_811_7, 7.998_811_7);
    let y = x * x;
    let over = [
        -2.760_768_5e-16,
        2.000_188e-13,
        -8.604_672e-11,
        5.122_297_1e-8,
        1.485_722_4e-5,
        6.372_619_3e-4,
        4.893_525e-3,
    ];
    let under = [1.198_258_4e-6, 1.185_347_1e-4, 2.268_434_6e-3, 4.893_525e-3];
    let horner = |coefficients: &[f32]| coefficients.iter().fold(0.0, |sum, it| sum * y + it);
    x * horner(&over) / horner(&under)
}

fn sigmoid(x: f32) -> f32 {
    0.5 + 0.5 * tanh(0.5 * x)
}

/// What went wrong below, as an error of the controller.
pub(super) fn failed(error: impl std::fmt::Display) -> Error {
    Error::Controller(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tanh_is_tanh() {
        for step in -1000..=1000 {
            let x = step as f32 * 0.01;
            assert!((tanh(x) - x.tanh()).abs() < 4e-7, "{x}: {}", tanh(x));
        }
    }
}
