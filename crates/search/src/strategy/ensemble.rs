//! An ensemble of small feed-forward networks that predicts rewards from choices.

use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

/// Networks of an ensemble.
const NETWORKS: usize = 5;
/// Units of a hidden layer.
const WIDTH: usize = 20;
/// Hidden layers after the first.
const LAYERS: usize = 2;
/// How often training goes over the examples.
const EPOCHS: usize = 150;
/// Examples of a step.
const BATCH: usize = 32;
/// Adam (Kingma & Ba 2015, arXiv 1412.6980): learning rate, decays of the moments, what is added.
const RATE: f32 = 0.01;
const DECAY: (f32, f32) = (0.9, 0.999);
const EPSILON: f32 = 1e-8;

/// A hidden layer's units, or the weights from one unit to all of the next layer.
type Row = [f32; WIDTH];

/// Networks that differ in their first weights and in the order of their examples.
#[derive(Debug)]
pub(super) struct Ensemble(Vec<Network>);

impl Ensemble {
    /// Trains an ensemble. An example is the numbers of its features that are 1, below `features`, all
    /// others being 0; `targets` are about zero and of a spread of about 1.
    pub fn train(
        features: usize,
        examples: &[Vec<usize>],
        targets: &[f32],
        rng: &mut impl Rng,
    ) -> Self {
        let ones = examples.iter().map(Vec::len).max().unwrap_or(0);
        let mut network = || {
            let mut network = Network::new(features, ones, rng);
            network.train(examples, targets, rng);
            network
        };
        Ensemble((0..NETWORKS).map(|_| network()).collect())
    }

    /// The mean of the networks' predictions, and their standard deviation.
    pub fn predict(&self, example: &[usize]) -> (f32, f32) {
        let predictions = self.0.iter().map(|it| it.forward(example).1);
        let predictions: Vec<f32> = predictions.collect();
        let count = predictions.len() as f32;
        let mean = predictions.iter().sum::<f32>() / count;
        let squares: f32 = predictions.iter().map(|it| (it - mean).powi(2)).sum();
        (mean, (squares / count).sqrt())
    }
}

/// One network: rectified hidden layers, and a linear output.
#[derive(Debug)]
struct Network {
    features: usize,
    /// A row each: features, their bias; for each further layer its units before, their bias; the
    /// output's weights; the output's bias, the first number of its row.
    rows: Vec<Row>,
}

/// What the hidden layers give, from the first on.
type Hidden = [Row; LAYERS + 1];

impl Network {
    /// Weights uniform with a variance of 2 over the number of inputs that are not 0 (He et al. 2015,
    /// arXiv 1502.01852), biases zero.
    fn new(features: usize, ones: usize, rng: &mut impl Rng) -> Self {
        let mut rows = Vec::with_capacity(Self::output(features) + 2);
        let mut layer = |inputs: usize, fan: usize, bias: bool| {
            let bound = (6.0 / fan.max(1) as f32).sqrt();
            let weights = || [(); WIDTH].map(|()| rng.random_range(-bound..=bound));
            rows.extend(std::iter::repeat_with(weights).take(inputs));
            if bias {
                rows.push([0.0; WIDTH]);
            }
        };
        layer(features, ones, true);
        for _ in 0..LAYERS {
            layer(WIDTH, WIDTH, true);
        }
        layer(1, WIDTH, true);
        Network { features, rows }
    }

    /// The row where a further layer begins.
    fn layer(features: usize, layer: usize) -> usize {
        features + 1 + layer * (WIDTH + 1)
    }

    /// The row of the output's weights.
    fn output(features: usize) -> usize {
        Self::layer(features, LAYERS)
    }

    /// The hidden layers, and the prediction.
    fn forward(&self, example: &[usize]) -> (Hidden, f32) {
        let mut hidden: Hidden = [[0.0; WIDTH]; LAYERS + 1];
        let mut sum = self.rows[self.features];
        for feature in example {
            add(&mut sum, 1.0, &self.rows[*feature]);
        }
        hidden[0] = sum.map(|it| it.max(0.0));
        for layer in 0..LAYERS {
            let weights = &self.rows[Self::layer(self.features, layer)..][..=WIDTH];
            let mut sum = weights[WIDTH];
            for (unit, weights) in hidden[layer].iter().zip(weights) {
                add(&mut sum, *unit, weights);
            }
            hidden[layer + 1] = sum.map(|it| it.max(0.0));
        }
        let output = Self::output(self.features);
        let prediction = dot(&hidden[LAYERS], &self.rows[output]) + self.rows[output + 1][0];
        (hidden, prediction)
    }

    /// Adds the gradient of an example, `slope` that of its loss by the prediction.
    fn backward(&self, example: &[usize], hidden: &Hidden, slope: f32, gradient: &mut [Row]) {
        let output = Self::output(self.features);
        add(&mut gradient[output], slope, &hidden[LAYERS]);
        gradient[output + 1][0] += slope;
        let mut above = self.rows[output].map(|it| it * slope);
        for layer in (0..LAYERS).rev() {
            rectified(&mut above, &hidden[layer + 1]);
            let first = Self::layer(self.features, layer);
            let mut below = [0.0; WIDTH];
            for (unit, below) in below.iter_mut().enumerate() {
                add(&mut gradient[first + unit], hidden[layer][unit], &above);
                *below = dot(&self.rows[first + unit], &above);
            }
            add(&mut gradient[first + WIDTH], 1.0, &above);
            above = below;
        }
        rectified(&mut above, &hidden[0]);
        for feature in example.iter().chain([&self.features]) {
            add(&mut gradient[*feature], 1.0, &above);
        }
    }

    /// Descends the mean absolute error.
    fn train(&mut self, examples: &[Vec<usize>], targets: &[f32], rng: &mut impl Rng) {
        let mut adam = Adam::new(self.rows.len());
        let mut gradient = vec![[0.0; WIDTH]; self.rows.len()];
        let mut order: Vec<usize> = (0..examples.len()).collect();
        for _ in 0..EPOCHS {
            order.shuffle(rng);
            for batch in order.chunks(BATCH) {
                gradient.fill([0.0; WIDTH]);
                for index in batch {
                    let example = &examples[*index];
                    let (hidden, prediction) = self.forward(example);
                    let slope = (prediction - targets[*index]).signum() / batch.len() as f32;
                    self.backward(example, &hidden, slope, &mut gradient);
                }
                adam.step(&mut self.rows, &gradient);
            }
        }
    }
}

/// The state of Adam.
struct Adam {
    steps: i32,
    means: Vec<Row>,
    squares: Vec<Row>,
}

impl Adam {
    fn new(rows: usize) -> Self {
        Adam {
            steps: 0,
            means: vec![[0.0; WIDTH]; rows],
            squares: vec![[0.0; WIDTH]; rows],
        }
    }

    fn step(&mut self, rows: &mut [Row], gradient: &[Row]) {
        self.steps += 1;
        let (first, second) = DECAY;
        let rate = RATE / (1.0 - first.powi(self.steps));
        let correct = 1.0 / (1.0 - second.powi(self.steps));
        let moments = self.means.iter_mut().zip(&mut self.squares);
        for ((row, gradient), (means, squares)) in rows.iter_mut().zip(gradient).zip(moments) {
            for unit in 0..WIDTH {
                let g = gradient[unit];
                means[unit] = first * means[unit] + (1.0 - first) * g;
                squares[unit] = second * squares[unit] + (1.0 - second) * g * g;
                row[unit] -= rate * means[unit] / ((squares[unit] * correct).sqrt() + EPSILON);
            }
        }
    }
}

/// Adds `factor`·`row` to `sum`.
fn add(sum: &mut Row, factor: f32, row: &Row) {
    for (sum, it) in sum.iter_mut().zip(row) {
        *sum += factor * it;
    }
}

/// The sum of products, in four sums side by side.
fn dot(a: &Row, b: &Row) -> f32 {
    let mut sums = [0.0f32; 4];
    for (a, b) in a.chunks_exact(4).zip(b.chunks_exact(4)) {
        for lane in 0..4 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    (sums[0] + sums[1]) + (sums[2] + sums[3])
}

/// The gradient before a rectifier, from that after it.
fn rectified(gradient: &mut Row, after: &Row) {
    for (gradient, after) in gradient.iter_mut().zip(after) {
        if *after <= 0.0 {
            *gradient = 0.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    /// Six decisions of five options each, and what they are worth: the sum of the options, and more
    /// where the first two are equal.
    fn examples(count: usize, rng: &mut ChaCha8Rng) -> (Vec<Vec<usize>>, Vec<f32>) {
        let example = |_| {
            let options: Vec<usize> = (0..6).map(|_| rng.random_range(0..5)).collect();
            let sum = options.iter().sum::<usize>() as f32;
            let target = (sum - 12.0) / 3.5 + f32::from(u8::from(options[0] == options[1]));
            let features = options.iter().enumerate().map(|(at, it)| 5 * at + it);
            (features.collect(), target)
        };
        (0..count).map(example).unzip()
    }

    #[test]
    fn it_predicts_what_it_has_not_seen_and_is_surer_of_what_it_has() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (seen, targets) = examples(100, &mut rng);
        let ensemble = Ensemble::train(30, &seen, &targets, &mut rng);
        let (new, truth) = examples(200, &mut rng);
        let measure = |examples: &[Vec<usize>], targets: &[f32]| {
            let (mut error, mut spread) = (0.0, 0.0);
            for (example, target) in examples.iter().zip(targets) {
                let (mean, deviation) = ensemble.predict(example);
                error += (mean - target).abs() / targets.len() as f32;
                spread += deviation / targets.len() as f32;
            }
            (error, spread)
        };
        let (error_seen, spread_seen) = measure(&seen, &targets);
        let (error_new, spread_new) = measure(&new, &truth);
        // Predicting the mean, zero but for the equal ones, is off by this.
        let blind = truth.iter().map(|it| it.abs()).sum::<f32>() / truth.len() as f32;
        assert!(error_seen < 0.1, "{error_seen}");
        assert!(error_new < 0.6 * blind, "{error_new} {blind}");
        assert!(spread_new > 2.0 * spread_seen, "{spread_new} {spread_seen}");
    }

    #[test]
    fn the_gradient_is_the_slope_of_the_prediction() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut network = Network::new(6, 3, &mut rng);
        let example = [0, 3, 5];
        let (hidden, _) = network.forward(&example);
        let mut gradient = vec![[0.0; WIDTH]; network.rows.len()];
        network.backward(&example, &hidden, 1.0, &mut gradient);
        let step = 1e-2;
        for (row, gradient) in gradient.iter().enumerate() {
            for unit in [0, 7, 19] {
                let before = network.rows[row][unit];
                let mut predict = |value| {
                    network.rows[row][unit] = value;
                    network.forward(&example).1
                };
                let slope = (predict(before + step) - predict(before - step)) / (2.0 * step);
                predict(before);
                let told = gradient[unit];
                assert!((slope - told).abs() < 2e-2, "{row} {unit}: {slope} {told}");
            }
        }
    }
}
