//! What names mean where an expression stands.

use std::collections::HashMap;

use crate::expression::{Expression, Names, Tensor, Value};

/// The names in a definition: its arguments and lets so far, and its tensors.
#[derive(Default, Clone)]
pub(super) struct Scope {
    pub locals: Vec<String>,
    pub inputs: Vec<String>,
    /// Names of the earlier layers, with their numbers.
    pub layers: HashMap<String, u32>,
    /// The name of the layer that is being read, where it has no `repeat`: it stands for nothing yet.
    pub own: Option<String>,
    pub has_layers: bool,
}

impl Scope {
    /// The names of the earlier layers, in order.
    pub fn layer_names(&self) -> impl Iterator<Item = &str> {
        let mut layers: Vec<(&String, &u32)> = self.layers.iter().collect();
        layers.sort_by_key(|(_, number)| **number);
        layers.into_iter().map(|(name, _)| name.as_str())
    }
}

/// A scope with the parameters behind it.
pub(super) struct Visible<'v> {
    pub scope: &'v Scope,
    pub parameters: &'v HashMap<String, Value>,
}

impl Names for Visible<'_> {
    fn variable(&self, name: &str) -> Option<Expression> {
        if let Some(slot) = self.scope.locals.iter().rposition(|it| it == name) {
            return Some(Expression::Local(slot as u32));
        }
        match name {
            "index" => Some(Expression::Index),
            "classes" => Some(Expression::Classes),
            _ => self.parameters.get(name).copied().map(Expression::Constant),
        }
    }

    fn tensor(&self, name: &str) -> Option<Tensor> {
        if name == "last" && self.scope.has_layers {
            return Some(Tensor::Last);
        }
        if let Some(layer) = self.scope.layers.get(name) {
            return Some(Tensor::Layer(*layer));
        }
        let input = self.scope.inputs.iter().position(|it| it == name)?;
        Some(Tensor::Input(input as u32))
    }

    fn known(&self) -> Vec<String> {
        let own = ["index", "classes"].map(str::to_owned);
        self.scope
            .locals
            .iter()
            .cloned()
            .chain(self.parameters.keys().cloned())
            .chain(own)
            .collect()
    }

    fn known_tensors(&self) -> Vec<String> {
        let layers = self.scope.layer_names().map(str::to_owned);
        let last = self.scope.has_layers.then(|| "last".to_owned());
        self.scope
            .inputs
            .iter()
            .cloned()
            .chain(layers)
            .chain(last)
            .collect()
    }
}

/// The names in `require`.
pub(super) struct DecisionNames<'v> {
    pub names: &'v [String],
    pub parameters: &'v HashMap<String, Value>,
}

impl Names for DecisionNames<'_> {
    fn variable(&self, name: &str) -> Option<Expression> {
        if let Some(index) = self.names.iter().position(|it| it == name) {
            return Some(Expression::Decisions(index as u32));
        }
        self.parameters.get(name).copied().map(Expression::Constant)
    }

    fn tensor(&self, _: &str) -> Option<Tensor> {
        None
    }

    fn known(&self) -> Vec<String> {
        self.names
            .iter()
            .chain(self.parameters.keys())
            .cloned()
            .collect()
    }

    fn known_tensors(&self) -> Vec<String> {
        Vec::new()
    }
}
