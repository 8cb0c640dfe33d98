//! What names mean where an expression stands.

use std::collections::HashMap;

use crate::expression::{Expression, Names, Tensor, Value};

/// The names in a definition: its arguments and lets so far, and its tensors.
#[derive(Default, Clone)]
pub(super) struct Scope {
    pub locals: Vec<String>,
    /// The names that come later, last first, while arguments or lets are read.
    pub later: Vec<String>,
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

/// Parameters with their values; none of one that is wrong.
pub(super) type Parameters = HashMap<String, Option<Value>>;

fn parameter(parameters: &Parameters, name: &str) -> Option<Expression> {
    let value = parameters.get(name).copied().flatten();
    value.map(Expression::Constant)
}

/// What is said of a name that stands further down.
fn comes_later(name: &str) -> (String, String) {
    let help = "a value knows those before it; move the other one up".to_owned();
    (format!("'{name}' comes later"), help)
}

/// The names in the default of a parameter: those of the parameters before it.
pub(super) struct Earlier<'v> {
    pub parameters: &'v Parameters,
    /// The names of the parameters after it.
    pub later: &'v [&'v str],
}

impl Names for Earlier<'_> {
    fn variable(&self, name: &str) -> Option<Expression> {
        parameter(self.parameters, name)
    }

    fn tensor(&self, _: &str) -> Option<Tensor> {
        None
    }

    fn is_wrong(&self, name: &str) -> bool {
        self.parameters.contains_key(name)
    }

    fn elsewhere(&self, name: &str) -> Option<(String, String)> {
        if matches!(name, "index" | "classes") {
            let message = format!("a parameter has one value everywhere, and knows no '{name}'");
            return Some((message, "use it where the parameter is used".to_owned()));
        }
        self.later.contains(&name).then(|| comes_later(name))
    }

    fn known(&self) -> Vec<String> {
        self.parameters.keys().cloned().collect()
    }

    fn known_tensors(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A scope with the parameters behind it.
pub(super) struct Visible<'v> {
    pub scope: &'v Scope,
    pub parameters: &'v Parameters,
}

impl Names for Visible<'_> {
    fn variable(&self, name: &str) -> Option<Expression> {
        if let Some(slot) = self.scope.locals.iter().rposition(|it| it == name) {
            return Some(Expression::Local(slot as u32));
        }
        match name {
            "index" => Some(Expression::Index),
            "classes" => Some(Expression::Classes),
            _ => parameter(self.parameters, name),
        }
    }

    fn is_wrong(&self, name: &str) -> bool {
        self.parameters.contains_key(name)
    }

    fn elsewhere(&self, name: &str) -> Option<(String, String)> {
        let later = self.scope.later.iter().any(|it| it == name);
        later.then(|| comes_later(name))
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
    pub parameters: &'v Parameters,
}

impl Names for DecisionNames<'_> {
    fn variable(&self, name: &str) -> Option<Expression> {
        if let Some(index) = self.names.iter().position(|it| it == name) {
            return Some(Expression::Decisions(index as u32));
        }
        parameter(self.parameters, name)
    }

    fn is_wrong(&self, name: &str) -> bool {
        self.parameters.contains_key(name)
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
