//! A step of gradient descent over all parameters in one launch.
//!
//! A table of parameters and one of runs lie in device memory, made once by [`tables`]; so do the numbers of a step, which
//! [`step_numbers`] gives, so that a captured step can use others each time.

use super::BLOCK;
use super::columns::Scratch;
use crate::Error;
use crate::cuda::launch::{Builder, Launch, Pointer, pack};
use crate::optimiser::kernel::Numbers;
use crate::optimiser::{Rule, Settings};

/// One parameter: its numbers, its gradient and its moments lie at addresses that 16 divides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// The numbers.
    pub values: Pointer,
    /// Their gradient.
    pub gradient: Pointer,
    /// First and second moment; null where the rule has none.
    pub moments: [Pointer; 2],
    /// How many numbers.
    pub length: usize,
    /// Whether it decays.
    pub decays: bool,
}

/// Numbers that a block takes: `RUN` of optimiser.cu.
const RUN: usize = 4096;

/// The two tables for `parameters`, to be put into device memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    /// Five words for each parameter.
    pub parameters: Vec<u64>,
    /// A word for each run; as many blocks have [`gradient_norm`] and [`step`].
    pub runs: Vec<u64>,
}

/// Makes the tables.
///
/// # Errors
/// [`Error::Shape`] if a parameter has more numbers than an int holds, or lies where the kernel cannot read four numbers
/// at a time.
pub fn tables(parameters: &[Parameter]) -> Result<Tables, Error> {
    let mut tables = Tables {
        parameters: Vec::new(),
        runs: Vec::new(),
    };
    for (place, p) in parameters.iter().enumerate() {
        if i32::try_from(p.length).is_err() {
            return Err(Error::shape(
                "optimiser",
                format!(
                    "parameter {place} has {} numbers, more than a kernel takes",
                    p.length
                ),
            ));
        }
        let [first, second] = p.moments;
        let pointers = [p.values, p.gradient, first, second];
        if let Some(pointer) = pointers.iter().find(|it| !it.is_aligned()) {
            let detail = format!(
                "parameter {place} has numbers at {:#x}, which 16 does not divide",
                pointer.0
            );
            return Err(Error::shape("optimiser", detail));
        }
        tables.parameters.extend(pointers.map(|pointer| pointer.0));
        tables
            .parameters
            .extend(pack([p.length as u32, p.decays.into()]));
        let starts = (0..p.length).step_by(RUN);
        tables
            .runs
            .extend(starts.flat_map(|start| pack([place as u32, start as u32])));
    }
    Ok(tables)
}

/// The numbers of step `steps` (from 1 on), to be put into device memory before it.
pub fn step_numbers(settings: &Settings, learning_rate: f64, steps: u64) -> [f32; 4] {
    let numbers = Numbers::new(settings, learning_rate, 1.0, steps, true);
    [
        numbers.rate,
        numbers.coupled,
        numbers.left,
        numbers.correction,
    ]
}

/// The tables in device memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uploaded {
    /// [`Tables::parameters`].
    pub parameters: Pointer,
    /// [`Tables::runs`].
    pub runs: Pointer,
    /// How many runs.
    pub count: usize,
}

/// `found` ← the norm of all gradients together, and the factor that clipping to `limit` puts to them. Of `scratch` a
/// number for each run and one counter are used.
///
/// # Errors
/// [`Error::Shape`] if there are more runs than a launch takes.
pub fn gradient_norm(
    tables: Uploaded,
    limit: f64,
    scratch: Scratch,
    found: Pointer,
) -> Result<Launch, Error> {
    blocks("gradient_norm", tables)
        .floats([limit as f32])
        .pointers([scratch.parts, scratch.counters, found])
        .build()
}

/// Moves all parameters by one step, unless the step's mean `loss` is not finite. `numbers` is the address of
/// [`step_numbers`]; `found` that of [`gradient_norm`]'s answer, or null for no clipping.
///
/// # Errors
/// As [`gradient_norm`].
pub fn step(
    tables: Uploaded,
    rule: Rule,
    numbers: Pointer,
    loss: Pointer,
    found: Pointer,
) -> Result<Launch, Error> {
    // The number that the kernel knows the rule by.
    let (number, floats) = match rule {
        Rule::Sgd { momentum: 0.0, .. } => (0, [0.0; 3]),
        Rule::Sgd { momentum, nesterov } => (1 + usize::from(nesterov), [momentum, 0.0, 0.0]),
        Rule::Adam {
            beta1,
            beta2,
            epsilon,
        } => (3, [beta1, beta2, epsilon]),
    };
    blocks("optimiser_step", tables)
        .pointers([numbers, loss, found])
        .ints([number])
        .floats(floats.map(|x| x as f32))
        .build()
}

fn blocks(kernel: &'static str, tables: Uploaded) -> Builder {
    Builder::new(kernel, [tables.count, 1, 1], [BLOCK as u32, 1, 1])
        .pointers([tables.parameters, tables.runs])
}
