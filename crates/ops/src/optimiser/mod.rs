//! Gradient descent over an ordered list of parameters, in one fused pass.
//!
//! dfdx's own optimisers walk a network whose shape is a type; a searched network's is a value, so
//! this one takes the parameters as a list. The order of the list is the identity of a parameter
//! from step to step: it must not change.

pub(crate) mod kernel;
mod parameter;
mod state;
#[cfg(test)]
mod tests;

use dfdx::tensor::Gradients;

use crate::{Error, Kernels};
pub use parameter::{OptimiserKernel, ParameterMut, Slot};
pub use state::State;
#[cfg(any(test, feature = "cuda"))]
pub(crate) use state::moments;

/// How a parameter decays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WeightDecay {
    /// Added to the gradient (L2 regularisation, PyTorch's SGD and Adam).
    #[default]
    Coupled,
    /// Taken off the parameter itself, times the learning rate (Loshchilov and Hutter 2019, arXiv
    /// 1711.05101; PyTorch's AdamW).
    Decoupled,
}

/// The rule of a step. With g the gradient (after clipping and coupled decay), η the learning rate:
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// v ← momentum·v + g; w ← w − η·(g + momentum·v) if `nesterov`, else w − η·v.
    ///
    /// Sutskever et al. 2013; PyTorch: `torch.optim.SGD`.
    Sgd {
        /// Share of the old velocity, in 0..1.
        momentum: f64,
        /// Looks ahead by one step.
        nesterov: bool,
    },
    /// m ← β₁·m + (1−β₁)·g; v ← β₂·v + (1−β₂)·g²;
    /// w ← w − η·(m/(1−β₁ᵗ)) / (√(v/(1−β₂ᵗ)) + ε) at step t.
    ///
    /// Kingma and Ba 2015, arXiv 1412.6980; PyTorch: `torch.optim.Adam` and `AdamW`.
    Adam {
        /// Share of the old first moment, in 0..1.
        beta1: f64,
        /// Share of the old second moment, in 0..1.
        beta2: f64,
        /// Added to the root of the second moment.
        epsilon: f64,
    },
}

/// What an [`Optimiser`] is told once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// The rule of a step.
    pub rule: Rule,
    /// Strength of the weight decay; 0 for none.
    pub weight_decay: f64,
    /// Where the decay is applied.
    pub decay: WeightDecay,
    /// If the norm of all gradients together is larger, they are scaled down to it (Pascanu et al.
    /// 2013; PyTorch's `clip_grad_norm_`).
    pub clip_norm: Option<f64>,
}

/// What a step found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The norm of all gradients together before clipping; taken only where clipping is asked for.
    pub gradient_norm: Option<f64>,
}

/// An optimiser with its state.
#[derive(Clone, Debug)]
pub struct Optimiser {
    settings: Settings,
    state: State,
}

impl Optimiser {
    /// An optimiser that has made no step.
    ///
    /// # Errors
    /// [`Error::Shape`] if a number is outside of its range.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let share = |x: f64| (0.0..1.0).contains(&x);
        let shares = match settings.rule {
            Rule::Sgd { momentum, .. } => share(momentum),
            Rule::Adam {
                beta1,
                beta2,
                epsilon,
            } => share(beta1) && share(beta2) && epsilon.is_finite() && epsilon >= 0.0,
        };
        let decay = settings.weight_decay;
        let clip = settings.clip_norm.is_none_or(|norm| norm > 0.0);
        if !(shares && clip && decay.is_finite() && decay >= 0.0) {
            return Err(Error::shape(
                "optimiser",
                format!(
                    "{settings:?}: momentum and betas must be in 0..1, epsilon and decay at least 0, \
                     the norm to clip at above 0"
                ),
            ));
        }
        Ok(Self {
            settings,
            state: State::default(),
        })
    }

    /// What it was told.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Moves all parameters by one step.
    ///
    /// - `learning_rate`: η of this step.
    /// - `parameters`: in the same order at every step.
    /// - `decays`: for each parameter whether it decays; biases and norms mostly do not.
    /// - `gradients`: of the backward pass; a parameter that it did not reach has gradient 0. They
    ///   are left as they are.
    ///
    /// # Errors
    /// [`Error::Shape`] if `decays` has another length, or number or sizes of the parameters differ
    /// from those of the steps before.
    pub fn step<D: Kernels>(
        &mut self,
        learning_rate: f64,
        parameters: &mut [ParameterMut<'_, D>],
        decays: &[bool],
        gradients: &mut Gradients<f32, D>,
    ) -> Result<Step, Error> {
        let lengths: Vec<usize> = parameters.iter().map(ParameterMut::len).collect();
        self.prepare(&lengths, decays)?;
        let mut found = Step {
            gradient_norm: None,
        };
        D::with_slots(parameters, gradients, |slots| {
            found = self.update(learning_rate, slots, decays);
        })?;
        Ok(found)
    }

    /// [`Optimiser::step`] on plain slices.
    ///
    /// # Errors
    /// As [`Optimiser::step`].
    pub fn step_slots(
        &mut self,
        learning_rate: f64,
        slots: &mut [Slot<'_>],
        decays: &[bool],
    ) -> Result<Step, Error> {
        let lengths: Vec<usize> = slots.iter().map(|slot| slot.values.len()).collect();
        self.prepare(&lengths, decays)?;
        Ok(self.update(learning_rate, slots, decays))
    }

    /// Checks the parameters and counts the step.
    fn prepare(&mut self, lengths: &[usize], decays: &[bool]) -> Result<(), Error> {
        if decays.len() != lengths.len() {
            return Err(Error::shape(
                "optimiser",
                format!(
                    "{} parameters, but {} flags of which decay",
                    lengths.len(),
                    decays.len()
                ),
            ));
        }
        self.state.prepare(self.settings.rule, lengths)?;
        self.state.steps += 1;
        Ok(())
    }

    fn update(&mut self, learning_rate: f64, slots: &mut [Slot<'_>], decays: &[bool]) -> Step {
        let settings = self.settings;
        let gradient_norm = settings.clip_norm.map(|_| kernel::norm(slots));
        let scale = match (settings.clip_norm, gradient_norm) {
            (Some(limit), Some(norm)) if norm > limit => limit / (norm + 1e-6),
            _ => 1.0,
        };
        kernel::update(
            &settings,
            learning_rate,
            scale,
            slots,
            decays,
            &mut self.state,
        );
        Step { gradient_norm }
    }

    /// The state, for a checkpoint: with it another optimiser goes on with the same bits.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Goes on from a checkpoint's state.
    ///
    /// # Errors
    /// [`Error::Shape`] if the state does not have the moments of this rule.
    pub fn set_state(&mut self, state: State) -> Result<(), Error> {
        state.check(self.settings.rule)?;
        self.state = state;
        Ok(())
    }
}
