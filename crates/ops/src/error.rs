//! What can go wrong in an operation.

/// An operation refused its arguments, or its device failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The shapes of the arguments do not go together.
    #[error("{operation}: {detail}")]
    Shape {
        /// The operation that was asked for.
        operation: &'static str,
        /// Which arguments, with their shapes, and what was expected.
        detail: String,
    },
    /// The device could not do it (out of memory, a failed launch).
    #[error("the device failed: {0}")]
    Device(String),
    /// The pool of threads could not be built.
    #[error("could not start {threads} threads: {reason}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the system said.
        reason: String,
    },
}

impl Error {
    /// A shape error of `operation`.
    pub fn shape(operation: &'static str, detail: impl Into<String>) -> Self {
        Self::Shape {
            operation,
            detail: detail.into(),
        }
    }

    /// Wraps a device's own error, which dfdx promises no more of than that it can be printed.
    pub fn device(error: impl std::fmt::Display) -> Self {
        Self::Device(error.to_string())
    }
}
