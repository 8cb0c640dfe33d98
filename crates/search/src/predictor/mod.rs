//! What the rewards seen so far say about architectures that were not evaluated: a Gaussian process over
//! choices (Rasmussen & Williams 2006, algorithm 2.1).
//!
//! Its kernel falls with the share of decisions in which two architectures differ, so it needs nothing of
//! a space but its decisions. Rewards enter by their ranks, as normal scores: it makes no difference
//! whether the best are apart by a tenth or by ten points, nor how bad the failures are.

mod cholesky;
mod normal;

use cellwright_space::Choices;

use cholesky::Cholesky;

/// How a predictor sees the rewards.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Kernel {
    /// The logarithm of the kernel between architectures that differ in every decision, negated.
    pub decay: f64,
    /// Variance of the noise on the rewards; the rewards' own is one.
    pub noise: f64,
}

/// A Gaussian process that was fitted to rewards.
#[derive(Debug, Clone)]
pub struct Predictor {
    kernel: Kernel,
    known: Vec<Choices>,
    factor: Cholesky,
    /// (K + noise)⁻¹ times the scores.
    weights: Vec<f64>,
    likelihood: f64,
}

/// What is expected of an architecture, in standard deviations of the rewards around their mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prediction {
    /// The expected score.
    pub mean: f64,
    /// How uncertain it is: one standard deviation.
    pub deviation: f64,
}

impl Predictor {
    /// Fits one to rewards; a failed trial counts as worse than all others. None without architectures.
    #[must_use]
    pub fn fit(told: &[(Choices, Option<f64>)], kernel: Kernel) -> Option<Self> {
        let rewards: Vec<f64> = told
            .iter()
            .map(|(_, reward)| {
                reward
                    .filter(|it| !it.is_nan())
                    .unwrap_or(f64::NEG_INFINITY)
            })
            .collect();
        let scores = normal::scores(&rewards);
        let known: Vec<Choices> = told.iter().map(|(choices, _)| choices.clone()).collect();
        let covariance = |row: usize, column: usize| {
            let noise = if row == column { kernel.noise } else { 0.0 };
            kernel.between(&known[row], &known[column]) + noise
        };
        let factor = Cholesky::new(known.len(), covariance)?;
        let mut weights = scores.clone();
        factor.solve(&mut weights);
        let likelihood = log_likelihood(&scores, &weights, &factor);
        Some(Predictor {
            kernel,
            known,
            factor,
            weights,
            likelihood,
        })
    }

    /// Fits one with each kernel and keeps the one under which the rewards are likeliest.
    #[must_use]
    pub fn fit_best(told: &[(Choices, Option<f64>)], kernels: &[Kernel]) -> Option<Self> {
        let fitted = kernels.iter().filter_map(|kernel| Self::fit(told, *kernel));
        fitted.max_by(|a, b| a.likelihood.total_cmp(&b.likelihood))
    }

    /// What is expected of an architecture.
    #[must_use]
    pub fn predict(&self, choices: &Choices) -> Prediction {
        let mut similar: Vec<f64> = self
            .known
            .iter()
            .map(|known| self.kernel.between(known, choices))
            .collect();
        let mean = dot(&similar, &self.weights);
        self.factor.solve_lower(&mut similar);
        let explained = dot(&similar, &similar);
        Prediction {
            mean,
            deviation: (1.0 - explained).max(0.0).sqrt(),
        }
    }

    /// The expected score alone, which is cheaper.
    #[must_use]
    pub fn mean(&self, choices: &Choices) -> f64 {
        let kernels = self.known.iter().zip(&self.weights);
        kernels
            .map(|(known, weight)| self.kernel.between(known, choices) * weight)
            .sum()
    }
}

/// The logarithm of the scores' marginal likelihood with their variance at its best, less a constant
/// (Rasmussen & Williams 2006, eq. 2.30).
fn log_likelihood(scores: &[f64], weights: &[f64], factor: &Cholesky) -> f64 {
    let n = scores.len() as f64;
    let variance = (dot(scores, weights) / n).max(f64::MIN_POSITIVE);
    -0.5 * n * variance.ln() - factor.log_diagonal()
}

impl Kernel {
    /// The covariance of two architectures' scores: one where they are equal.
    fn between(&self, a: &Choices, b: &Choices) -> f64 {
        let different = a.0.iter().zip(&b.0).filter(|(a, b)| a != b).count();
        let share = different as f64 / a.0.len().max(1) as f64;
        (-self.decay * share).exp()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
