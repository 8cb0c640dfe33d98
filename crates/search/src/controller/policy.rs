//! The policy: an autoregressive distribution over the architectures of a space.

use cellwright_ops::buffers::{read, tensor, write};
use cellwright_space::{Choices, Space};
use dfdx::prelude::*;
use rand::{Rng, RngExt};

use super::layout::{Layout, Sequence};
use super::lstm::{GATES, Lstm, Matrix, State, failed};
use super::objective::{Goal, Measured, objective, softmax};
use crate::Error;

const NAME: &str = "policy";

/// The policy's network: an embedding of the choice before, and of the place, into an LSTM, whose hidden
/// state goes into a softmax for each decision.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    pub layout: Layout,
    /// tokens × width.
    embedding: Matrix,
    /// decisions × width.
    places: Matrix,
    lstm: Lstm,
    /// Options of all kinds × units.
    pub heads: Matrix,
    /// 1 × options of all decisions.
    pub biases: Matrix,
}

/// How large the network is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    /// Numbers of an embedding.
    pub width: usize,
    /// Units of the LSTM; none: the softmaxes have biases alone.
    pub units: usize,
    /// Parameters are uniform between this and its negative at first.
    pub scale: f32,
}

impl Policy {
    pub fn new(space: &Space, size: Size, rng: &mut impl Rng) -> Result<Self, Error> {
        let layout = Layout::new(space);
        let Size {
            width,
            units,
            scale,
        } = size;
        let mut matrix = |rows: usize, columns: usize| {
            let data = (0..rows * columns)
                .map(|_| rng.random_range(-scale..=scale))
                .collect();
            tensor(&Cpu::default(), data, (rows, columns)).map_err(failed)
        };
        Ok(Policy {
            embedding: matrix(layout.tokens(), width)?,
            places: matrix(layout.decisions().len(), width)?,
            lstm: Lstm {
                weights: matrix(width + units, GATES * units)?,
                bias: matrix(1, GATES * units)?,
            },
            heads: matrix(layout.kind_options(), units)?,
            biases: matrix(1, layout.options())?,
            layout,
        })
    }

    /// All parameters.
    pub fn parameters(&mut self) -> [&mut Matrix; 6] {
        [
            &mut self.embedding,
            &mut self.places,
            &mut self.lstm.weights,
            &mut self.lstm.bias,
            &mut self.heads,
            &mut self.biases,
        ]
    }

    fn units(&self) -> usize {
        self.lstm.units()
    }

    /// Samples `count` architectures; fewer where the conditions of the space lead to a dead end.
    pub fn sample(&self, count: usize, rng: &mut impl Rng) -> Result<Vec<Choices>, Error> {
        let decisions = self.layout.decisions();
        let mut prefixes = vec![Vec::with_capacity(decisions.len()); count];
        let mut state = State::new(count, self.units());
        let (heads, biases) = (read(NAME, &self.heads), read(NAME, &self.biases));
        let (heads, biases) = (heads.map_err(failed)?, biases.map_err(failed)?);
        for (index, place) in decisions.iter().enumerate() {
            if self.units() > 0 {
                let tokens = prefixes.iter().map(|it| (index, self.layout.token(it)));
                let inputs = self.gather(&tokens.collect::<Vec<_>>())?;
                self.lstm.step(&inputs, &mut state)?;
            }
            for (row, prefix) in prefixes.iter_mut().enumerate() {
                // A prefix that leads nowhere stays short and falls out in the end.
                if prefix.len() < index {
                    continue;
                }
                let legal = self.layout.legal(prefix);
                let hidden = &state.hidden[row * self.units()..][..self.units()];
                let logs = softmax(*place, heads, biases, hidden, &legal);
                if let Some(option) = pick(&logs, &legal, rng.random()) {
                    prefix.push(option);
                }
            }
        }
        prefixes.retain(|it| it.len() == decisions.len());
        Ok(prefixes.into_iter().map(Choices).collect())
    }

    /// The inputs of (place, token) pairs, a row each.
    fn gather(&self, rows: &[(usize, usize)]) -> Result<Vec<f32>, Error> {
        let width = self.embedding.shape().1;
        let embedding = read(NAME, &self.embedding).map_err(failed)?;
        let places = read(NAME, &self.places).map_err(failed)?;
        let mut inputs = Vec::with_capacity(rows.len() * width);
        for (place, token) in rows {
            let (a, b) = (&embedding[token * width..], &places[place * width..]);
            inputs.extend(a[..width].iter().zip(b).map(|(a, b)| a + b));
        }
        Ok(inputs)
    }

    /// [`Policy::gather`] on a tape.
    fn inputs<T: Tape<f32, Cpu>>(
        &self,
        tape: &mut T,
        rows: Vec<(usize, usize)>,
    ) -> Result<Matrix, Error> {
        let width = self.embedding.shape().1;
        let size = (rows.len(), width);
        let output = tensor(&Cpu::default(), self.gather(&rows)?, size).map_err(failed)?;
        if T::OWNS_TAPE {
            let (embedding, places) = (self.embedding.clone(), self.places.clone());
            let result = output.clone();
            tape.add_backward_op(move |gradients| {
                let d_output = gradients.get_or_alloc_mut(&result)?.to_vec();
                let mut scatter = |of: &Matrix, index: &dyn Fn(&(usize, usize)) -> usize| {
                    let d = gradients.get_or_alloc_mut(of)?;
                    for (row, d_row) in rows.iter().zip(d_output.chunks_exact(width)) {
                        let d = &mut d[index(row) * width..][..width];
                        d.iter_mut().zip(d_row).for_each(|(sum, d)| *sum += d);
                    }
                    Ok::<_, CpuError>(())
                };
                scatter(&places, &|row| row.0)?;
                scatter(&embedding, &|row| row.1)
            });
        }
        Ok(output)
    }

    /// What is to be descended for a batch of architectures, and what is worth knowing about it.
    pub fn loss<T: Tape<f32, Cpu>>(
        &self,
        tape: &mut T,
        sequences: &[Sequence],
        goal: &Goal<'_>,
    ) -> Result<(Tensor<Rank0, f32, Cpu>, Measured), Error> {
        let rows = sequences.len() * self.layout.decisions().len();
        let hidden = if self.units() == 0 || rows == 0 {
            tensor(
                &Cpu::default(),
                vec![0.0; rows * self.units()],
                (rows, self.units()),
            )
            .map_err(failed)?
        } else {
            let token = |place: usize, it: &Sequence| self.layout.token(&it.choices.0[..place]);
            let rows = (0..self.layout.decisions().len())
                .flat_map(|place| sequences.iter().map(move |it| (place, token(place, it))))
                .collect();
            let inputs = self.inputs(tape, rows)?;
            self.lstm.sequences(tape, sequences.len(), &inputs)?
        };
        objective(tape, self, &hidden, sequences, goal)
    }

    /// Moves all parameters: `change` gets each one's index, values and gradient.
    pub fn descend(
        &mut self,
        gradients: &mut Gradients<f32, Cpu>,
        mut change: impl FnMut(usize, &mut [f32], &[f32]),
    ) -> Result<(), Error> {
        for (index, parameter) in self.parameters().into_iter().enumerate() {
            let gradient = gradients.get_or_alloc_mut(&*parameter).map_err(failed)?;
            change(index, write(NAME, parameter).map_err(failed)?, gradient);
        }
        Ok(())
    }
}

/// The option at which the sum of the probabilities passes `at`; none where nothing is legal.
fn pick(logs: &[f32], legal: &[bool], at: f32) -> Option<u32> {
    let mut sum = 0.0;
    let mut last = None;
    for (option, log) in logs.iter().enumerate().filter(|(option, _)| legal[*option]) {
        sum += log.exp();
        last = Some(option as u32);
        if sum > at {
            break;
        }
    }
    last
}
