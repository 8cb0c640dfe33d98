//! What is said when a layer cannot take the tensors it is given.

/// Why a layer cannot take its inputs, and what would help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; {remedy}")]
pub struct Mismatch {
    /// What does not fit, with the shapes.
    pub problem: String,
    /// What to change.
    pub remedy: String,
}

impl Mismatch {
    pub(crate) fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }

    /// The number of inputs is wrong.
    pub(crate) fn arity(expected: &str, got: usize) -> Self {
        Self::new(
            format!("takes {expected}, and got {got}"),
            "name its inputs with `from`",
        )
    }

    /// A number is outside of what is sensible.
    pub(crate) fn range(what: &str, value: usize, least: usize, most: usize) -> Self {
        Self::new(
            format!("{what} is {value}"),
            format!("it must be within {least} and {most}"),
        )
    }
}
