//! What can go wrong while a graph is built.

use crate::{MAX_WEIGHT, Mismatch, Shape};

/// Why a graph could not be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A layer cannot take its inputs.
    #[error("layer `{layer}` ({op}) {}", detail(inputs, mismatch))]
    Shape {
        /// Where the layer stands, from the outside in.
        layer: String,
        /// Its kind.
        op: String,
        /// The names and shapes of its inputs.
        inputs: Vec<(String, Shape)>,
        /// What does not fit, and what would help.
        mismatch: Mismatch,
    },
    /// The space cannot be expanded: a layer in it cannot take its inputs, or the choices are not its
    /// own. It names the place in the file.
    #[error(transparent)]
    Space(#[from] cellwright_space::Errors),
    /// The network cannot be written out as an expression.
    #[error("the network cannot be compared as an expression: {0}")]
    Expression(String),
    /// A classifier does not give one value a class.
    #[error(
        "the output `{layer}` is {shape}, and {classes} classes need 1x1x{classes}; end the network \
         with `global_avg_pool` and `linear` with `units = \"classes\"`"
    )]
    Logits {
        /// The output layer.
        layer: String,
        /// Its shape.
        shape: Shape,
        /// The number of classes.
        classes: usize,
    },
    /// The loss of an auxiliary classifier has a weight that no training can use.
    #[error(
        "the weight of the classifier `{layer}` is {weight}, and must be above 0 and at most {MAX_WEIGHT}"
    )]
    Weight {
        /// The classifier.
        layer: String,
        /// Its weight, as a text.
        weight: String,
    },
}

impl Error {
    /// The message for someone who says the place.
    pub(crate) fn without_place(&self) -> String {
        match self {
            Self::Shape {
                op,
                inputs,
                mismatch,
                ..
            } => format!("`{op}` {}", detail(inputs, mismatch)),
            other => other.to_string(),
        }
    }
}

/// What does not fit, what would help, and the inputs with their shapes.
pub(crate) fn detail(inputs: &[(String, Shape)], mismatch: &Mismatch) -> String {
    let inputs: Vec<String> = inputs
        .iter()
        .map(|(name, shape)| format!("`{name}` {shape}"))
        .collect();
    let inputs = if inputs.is_empty() {
        "none".to_owned()
    } else {
        inputs.join(", ")
    };
    format!("{mismatch} (its inputs: {inputs})")
}
