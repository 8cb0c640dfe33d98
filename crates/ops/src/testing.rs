//! What the tests of all operations share: random inputs, comparison with the composed reference,
//! and finite differences.

use dfdx::prelude::*;

use crate::buffers::tensor;
use crate::elementwise::random::{draw, start};
use crate::{Error, Feature, Matrix, Vector};

/// A seeded source of test values.
pub(crate) struct Random {
    start: u64,
    count: u64,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            start: start(seed),
            count: 0,
        }
    }

    fn next(&mut self) -> u64 {
        self.count += 1;
        draw(self.start, self.count)
    }

    /// A number of `range`, ends included.
    pub(crate) fn within(&mut self, low: usize, high: usize) -> usize {
        low + self.next() as usize % (high - low + 1)
    }

    pub(crate) fn flip(&mut self) -> bool {
        self.within(0, 1) == 1
    }

    /// Numbers in −1..1.
    pub(crate) fn values(&mut self, length: usize) -> Vec<f32> {
        (0..length)
            .map(|_| (self.next() as f64 / 2f64.powi(31) - 1.0) as f32)
            .collect()
    }

    /// Different numbers in −1..1, far from each other and from 0, in random order: small changes
    /// move neither a maximum nor a ReLU.
    pub(crate) fn distinct(&mut self, length: usize) -> Vec<f32> {
        let step = 2.0 / length as f32;
        let mut values: Vec<f32> = (0..length)
            .map(|i| (i as f32 + 0.5) * step - 1.0 + if 2 * i >= length { 0.01 } else { -0.01 })
            .collect();
        for i in (1..length).rev() {
            values.swap(i, self.within(0, i));
        }
        values
    }

    pub(crate) fn feature(&mut self, shape: (usize, usize, usize, usize)) -> Leaf {
        let values = self.values(shape.0 * shape.1 * shape.2 * shape.3);
        Leaf::Feature(tensor(&Cpu::default(), values, shape).unwrap())
    }

    /// Halves in −1..=1: many of them are equal.
    #[cfg(any(test, feature = "cuda"))]
    pub(crate) fn coarse_feature(&mut self, shape: (usize, usize, usize, usize)) -> Leaf {
        let values = self.values(shape.0 * shape.1 * shape.2 * shape.3);
        let halves = values.iter().map(|it| (2.0 * it).round() / 2.0).collect();
        Leaf::Feature(tensor(&Cpu::default(), halves, shape).unwrap())
    }

    pub(crate) fn distinct_feature(&mut self, shape: (usize, usize, usize, usize)) -> Leaf {
        let values = self.distinct(shape.0 * shape.1 * shape.2 * shape.3);
        Leaf::Feature(tensor(&Cpu::default(), values, shape).unwrap())
    }

    pub(crate) fn matrix(&mut self, rows: usize, columns: usize) -> Leaf {
        let values = self.values(rows * columns);
        Leaf::Matrix(tensor(&Cpu::default(), values, (rows, columns)).unwrap())
    }

    pub(crate) fn vector(&mut self, length: usize) -> Leaf {
        Leaf::Vector(tensor(&Cpu::default(), self.values(length), (length,)).unwrap())
    }
}

/// An input of an operation under test, of any rank.
#[derive(Clone)]
pub(crate) enum Leaf {
    Feature(Feature<Cpu>),
    Matrix(Matrix<Cpu>),
    Vector(Vector<Cpu>),
}

impl Leaf {
    pub(crate) fn feature(&self) -> &Feature<Cpu> {
        match self {
            Self::Feature(t) => t,
            _ => panic!("not a feature map"),
        }
    }

    pub(crate) fn matrix(&self) -> &Matrix<Cpu> {
        match self {
            Self::Matrix(t) => t,
            _ => panic!("not a matrix"),
        }
    }

    pub(crate) fn vector(&self) -> &Vector<Cpu> {
        match self {
            Self::Vector(t) => t,
            _ => panic!("not a vector"),
        }
    }

    fn values(&self) -> Vec<f32> {
        match self {
            Self::Feature(t) => t.as_vec(),
            Self::Matrix(t) => t.as_vec(),
            Self::Vector(t) => t.as_vec(),
        }
    }

    fn moved(&self, direction: &[f32], by: f32) -> Self {
        let values = self.values();
        let values = values.iter().zip(direction).map(|(x, d)| x + by * d);
        let mut moved = self.clone();
        let values: Vec<f32> = values.collect();
        match &mut moved {
            Self::Feature(t) => t.copy_from(&values),
            Self::Matrix(t) => t.copy_from(&values),
            Self::Vector(t) => t.copy_from(&values),
        }
        moved
    }

    fn gradient(&self, gradients: &mut Gradients<f32, Cpu>) -> Vec<f32> {
        match self {
            Self::Feature(t) => gradients.get_or_alloc_mut(t).unwrap().to_vec(),
            Self::Matrix(t) => gradients.get_or_alloc_mut(t).unwrap().to_vec(),
            Self::Vector(t) => gradients.get_or_alloc_mut(t).unwrap().to_vec(),
        }
    }
}

pub(crate) type TestTape = OwnedTape<f32, Cpu>;

/// The output, and the gradients of `Σ weightᵢ · yᵢ` by each leaf.
pub(crate) fn run(
    leaves: &[Leaf],
    operation: impl Fn(&mut TestTape, &[Leaf]) -> Result<Feature<Cpu>, Error>,
) -> (Feature<Cpu>, Vec<Vec<f32>>) {
    let mut tape = TestTape::default();
    let y = operation(&mut tape, leaves).unwrap();
    let weights = tensor(&Cpu::default(), weights(&y), *y.shape()).unwrap();
    let loss = (y.clone().put_tape(tape) * weights).sum::<Rank0, Axes4<0, 1, 2, 3>>();
    let mut gradients = loss.backward();
    let found = leaves.iter().map(|leaf| leaf.gradient(&mut gradients));
    (y, found.collect())
}

/// The gradient that [`run`] gives an output of `length` numbers.
pub(crate) fn output_gradient(length: usize) -> Vec<f32> {
    Random::new(99).values(length)
}

fn weights(y: &Feature<Cpu>) -> Vec<f32> {
    output_gradient(y.shape().num_elements())
}

/// Fails unless both are equal to within `tolerance`, relative to the larger of 1 and the reference.
pub(crate) fn assert_close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}: lengths");
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        let close = (f - e).abs() <= tolerance * e.abs().max(1.0);
        assert!(close, "{what}: number {i} is {f}, expected {e}");
    }
}

/// Checks outputs and gradients of an operation against its composed reference.
pub(crate) fn compare(
    what: &str,
    leaves: &[Leaf],
    operation: impl Fn(&mut TestTape, &[Leaf]) -> Result<Feature<Cpu>, Error>,
    reference: impl Fn(&mut TestTape, &[Leaf]) -> Result<Feature<Cpu>, Error>,
    tolerance: f32,
) {
    let (y, gradients) = run(leaves, operation);
    let (expected, expected_gradients) = run(leaves, reference);
    assert_eq!(y.shape(), expected.shape(), "{what}: shapes");
    assert_close(what, &y.as_vec(), &expected.as_vec(), tolerance);
    for (i, (found, expected)) in gradients.iter().zip(&expected_gradients).enumerate() {
        assert_close(&format!("{what}, gradient {i}"), found, expected, tolerance);
    }
}

/// Checks gradients against central differences, along a random direction for each leaf.
pub(crate) fn finite_differences(
    what: &str,
    leaves: &[Leaf],
    operation: impl Fn(&mut TestTape, &[Leaf]) -> Result<Feature<Cpu>, Error>,
) {
    const STEP: f32 = 1e-3;
    let loss = |leaves: &[Leaf]| -> f64 {
        let y = operation(&mut TestTape::default(), leaves).unwrap();
        let terms = y.as_vec().into_iter().zip(weights(&y));
        terms.map(|(y, w)| f64::from(y) * f64::from(w)).sum()
    };
    let (_, gradients) = run(leaves, &operation);
    for (place, gradient) in gradients.iter().enumerate() {
        let direction = Random::new(place as u64).values(gradient.len());
        let mut sides = [STEP, -STEP].map(|by| {
            let mut moved = leaves.to_vec();
            moved[place] = leaves[place].moved(&direction, by);
            loss(&moved)
        });
        sides.iter_mut().for_each(|s| *s /= 2.0 * f64::from(STEP));
        let terms = gradient.iter().zip(&direction);
        let slope: f64 = terms.map(|(g, d)| f64::from(*g) * f64::from(*d)).sum();
        let size = gradient
            .iter()
            .map(|g| f64::from(g * g))
            .sum::<f64>()
            .sqrt();
        let difference = sides[0] - sides[1];
        assert!(
            (slope - difference).abs() <= 0.01 * size + 2e-3,
            "{what}, leaf {place}: the gradient says {slope}, differences say {difference} (size {size})"
        );
    }
}
