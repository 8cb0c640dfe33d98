use dfdx::tensor::{Cpu, Gradients};

use super::*;
use crate::testing::{Random, assert_close};
use crate::{Feature, Matrix, Vector};

/// Three parameters of different ranks, one longer than a task.
#[derive(Clone)]
struct Parameters {
    feature: Feature<Cpu>,
    matrix: Matrix<Cpu>,
    vector: Vector<Cpu>,
}

const DECAYS: [bool; 3] = [true, true, false];

impl Parameters {
    fn new() -> Self {
        let mut random = Random::new(8);
        Self {
            feature: random.feature((3, 3, 31, 37)).feature().clone(),
            matrix: random.matrix(7, 5).matrix().clone(),
            vector: random.vector(11).vector().clone(),
        }
    }

    fn list(&mut self) -> [ParameterMut<'_, Cpu>; 3] {
        [
            ParameterMut::Feature(&mut self.feature),
            ParameterMut::Matrix(&mut self.matrix),
            ParameterMut::Vector(&mut self.vector),
        ]
    }

    fn values(&self) -> [Vec<f32>; 3] {
        [
            self.feature.as_vec(),
            self.matrix.as_vec(),
            self.vector.as_vec(),
        ]
    }

    /// Gradients of the step `step`, as numbers and as dfdx holds them.
    fn gradients(&self, step: u64) -> ([Vec<f32>; 3], Gradients<f32, Cpu>) {
        let values = self.values();
        let mut random = Random::new(100 + step);
        let numbers = [0, 1, 2].map(|i| random.values(values[i].len()));
        let mut gradients = Gradients::leaky();
        **gradients.get_or_alloc_mut(&self.feature).unwrap() = numbers[0].clone();
        **gradients.get_or_alloc_mut(&self.matrix).unwrap() = numbers[1].clone();
        **gradients.get_or_alloc_mut(&self.vector).unwrap() = numbers[2].clone();
        (numbers, gradients)
    }
}

fn sgd(momentum: f64, nesterov: bool) -> Rule {
    Rule::Sgd { momentum, nesterov }
}

const ADAM: Rule = Rule::Adam {
    beta1: 0.9,
    beta2: 0.99,
    epsilon: 1e-8,
};

/// PyTorch's `SGD.step` and `AdamW.step`/`Adam.step` as its documentation gives them, one number at
/// a time in double precision.
fn by_the_book(
    settings: &Settings,
    rate: f64,
    steps: usize,
    parameters: &Parameters,
) -> [Vec<f32>; 3] {
    let mut w = parameters
        .values()
        .map(|v| v.into_iter().map(f64::from).collect::<Vec<_>>());
    let mut m = w.clone().map(|v| vec![0.0; v.len()]);
    let mut v = m.clone();
    for t in 0..steps {
        let (gradients, _) = parameters.gradients(t as u64);
        let squares = gradients.iter().flatten().map(|g| f64::from(*g).powi(2));
        let norm = squares.sum::<f64>().sqrt();
        let clip = settings
            .clip_norm
            .map_or(1.0, |limit| (limit / (norm + 1e-6)).min(1.0));
        for p in 0..3 {
            let decay = if DECAYS[p] {
                settings.weight_decay
            } else {
                0.0
            };
            for i in 0..w[p].len() {
                let mut g = f64::from(gradients[p][i]) * clip;
                match settings.decay {
                    WeightDecay::Coupled => g += decay * w[p][i],
                    WeightDecay::Decoupled => w[p][i] -= rate * decay * w[p][i],
                }
                match settings.rule {
                    Rule::Sgd { momentum, nesterov } => {
                        m[p][i] = momentum * m[p][i] + g;
                        w[p][i] -= rate
                            * if nesterov {
                                g + momentum * m[p][i]
                            } else {
                                m[p][i]
                            };
                    }
                    Rule::Adam {
                        beta1,
                        beta2,
                        epsilon,
                    } => {
                        m[p][i] = beta1 * m[p][i] + (1.0 - beta1) * g;
                        v[p][i] = beta2 * v[p][i] + (1.0 - beta2) * g * g;
                        let power = (t + 1) as i32;
                        let first = m[p][i] / (1.0 - beta1.powi(power));
                        let second = v[p][i] / (1.0 - beta2.powi(power));
                        w[p][i] -= rate * first / (second.sqrt() + epsilon);
                    }
                }
            }
        }
    }
    w.map(|v| v.into_iter().map(|x| x as f32).collect())
}

#[test]
fn steps_are_those_of_the_book() {
    for rule in [sgd(0.0, false), sgd(0.9, false), sgd(0.9, true), ADAM] {
        for decay in [WeightDecay::Coupled, WeightDecay::Decoupled] {
            for clip_norm in [None, Some(5.0), Some(1e6)] {
                let settings = Settings {
                    rule,
                    weight_decay: 0.05,
                    decay,
                    clip_norm,
                };
                let mut parameters = Parameters::new();
                let expected = by_the_book(&settings, 0.01, 4, &parameters);
                let mut optimiser = Optimiser::new(settings).unwrap();
                for step in 0..4 {
                    let (_, mut gradients) = parameters.gradients(step);
                    let list = &mut parameters.list();
                    optimiser.step(0.01, list, &DECAYS, &mut gradients).unwrap();
                }
                for (found, expected) in parameters.values().iter().zip(&expected) {
                    assert_close(&format!("{settings:?}"), found, expected, 2e-5);
                }
            }
        }
    }
}

fn settings(rule: Rule) -> Settings {
    Settings {
        rule,
        weight_decay: 1e-4,
        decay: WeightDecay::Coupled,
        clip_norm: Some(5.0),
    }
}

#[test]
fn goes_on_from_a_checkpoint_with_the_same_bits() {
    for rule in [sgd(0.9, true), ADAM] {
        let mut optimiser = Optimiser::new(settings(rule)).unwrap();
        let mut parameters = Parameters::new();
        let mut other: Option<(Optimiser, Parameters)> = None;
        for step in 0..6 {
            if step == 3 {
                let mut again = Optimiser::new(settings(rule)).unwrap();
                again.set_state(optimiser.state().clone()).unwrap();
                other = Some((again, parameters.clone()));
            }
            let (_, mut gradients) = parameters.gradients(step);
            let list = &mut parameters.list();
            optimiser.step(0.1, list, &DECAYS, &mut gradients).unwrap();
            if let Some((optimiser, parameters)) = &mut other {
                let list = &mut parameters.list();
                optimiser.step(0.1, list, &DECAYS, &mut gradients).unwrap();
            }
        }
        let (again, theirs) = other.unwrap();
        assert_eq!(parameters.values(), theirs.values());
        assert_eq!(optimiser.state(), again.state());
    }
}

#[test]
fn the_norm_is_of_all_gradients_and_they_are_left_alone() {
    let mut parameters = Parameters::new();
    let (numbers, mut gradients) = parameters.gradients(0);
    let mut optimiser = Optimiser::new(settings(sgd(0.9, true))).unwrap();
    let list = &mut parameters.list();
    let step = optimiser.step(0.1, list, &DECAYS, &mut gradients).unwrap();
    let squares = numbers.iter().flatten().map(|g| f64::from(*g).powi(2));
    let norm = squares.sum::<f64>().sqrt();
    assert!((step.gradient_norm.unwrap() / norm - 1.0).abs() < 1e-5);
    assert_eq!(gradients.get(&parameters.matrix).as_vec(), numbers[1]);
}

#[test]
fn a_parameter_without_gradient_only_decays() {
    let mut parameters = Parameters::new();
    let before = parameters.values();
    let settings = Settings {
        weight_decay: 0.5,
        clip_norm: None,
        ..settings(sgd(0.0, false))
    };
    let mut optimiser = Optimiser::new(settings).unwrap();
    let mut gradients = Gradients::leaky();
    let list = &mut parameters.list();
    optimiser.step(0.1, list, &DECAYS, &mut gradients).unwrap();
    let after = parameters.values();
    let decayed: Vec<f32> = before[1].iter().map(|w| w * 0.95).collect();
    assert_close("matrix", &after[1], &decayed, 1e-6);
    assert_eq!(after[2], before[2]);
}

#[test]
fn the_identity_of_a_parameter_stays() {
    let mut parameters = Parameters::new();
    let clone = parameters.vector.clone();
    let (_, mut gradients) = parameters.gradients(0);
    let mut optimiser = Optimiser::new(settings(sgd(0.9, true))).unwrap();
    let list = &mut parameters.list();
    optimiser.step(0.1, list, &DECAYS, &mut gradients).unwrap();
    let [old, new] = [&clone, &parameters.vector].map(|t| gradients.get(t).as_vec());
    assert_eq!(old, new);
    assert_ne!(
        clone.as_vec(),
        parameters.vector.as_vec(),
        "the clone is left alone"
    );
}

#[test]
fn another_list_or_state_is_refused() {
    let mut parameters = Parameters::new();
    let mut optimiser = Optimiser::new(settings(ADAM)).unwrap();
    let mut gradients = Gradients::leaky();
    let list = &mut parameters.list();
    assert!(
        optimiser
            .step(0.1, list, &DECAYS[..2], &mut gradients)
            .is_err()
    );
    optimiser.step(0.1, list, &DECAYS, &mut gradients).unwrap();
    let error = optimiser.step(0.1, &mut list[..2], &DECAYS[..2], &mut gradients);
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("2 parameters, the state has 3")
    );
    list.swap(0, 1);
    let error = optimiser
        .step(0.1, list, &DECAYS, &mut gradients)
        .unwrap_err();
    assert!(
        error.to_string().contains("parameter 0 has 35 numbers"),
        "{error}"
    );
    let mut other = Optimiser::new(settings(sgd(0.9, false))).unwrap();
    assert!(other.set_state(optimiser.state().clone()).is_err());
}

#[test]
fn settings_out_of_range_are_refused() {
    assert!(Optimiser::new(settings(sgd(1.0, false))).is_err());
    assert!(Optimiser::new(settings(sgd(f64::NAN, false))).is_err());
    for weight_decay in [-1.0, f64::INFINITY, f64::NAN] {
        let settings = Settings {
            weight_decay,
            ..settings(ADAM)
        };
        assert!(Optimiser::new(settings).is_err());
    }
    let settings = Settings {
        clip_norm: Some(0.0),
        ..settings(ADAM)
    };
    assert!(Optimiser::new(settings).is_err());
}
