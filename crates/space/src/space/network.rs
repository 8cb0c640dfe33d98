//! From choices to a network, layer by layer.

use super::{Space, plain};
use crate::diagnostic::Report;
use crate::expand::{ExpandError, Expansion};
use crate::{Choices, Errors, Sink};

impl Space {
    /// Builds an architecture: hands its layers to a sink in order.
    ///
    /// # Errors
    /// The layer that cannot be built, and why.
    pub fn expand<S: Sink>(
        &self,
        choices: &Choices,
        input: S::Node,
        classes: usize,
        sink: &mut S,
    ) -> Result<S::Node, Errors> {
        if let Err(error) = self.check(choices) {
            return Err(plain(&self.0.path, error.to_string()));
        }
        let inner = &*self.0;
        let mut expansion = Expansion::new(
            &inner.program,
            &inner.vocabulary,
            &inner.found,
            choices,
            classes,
            sink,
        );
        expansion.run(input).map_err(|error| {
            let ExpandError {
                layer,
                span,
                message,
            } = *error;
            let mut report = Report::new(&self.0.text);
            let message = format!("layer {}: {message}", short(&layer));
            report.error(span, message, None);
            report.errors(&self.0.path)
        })
    }

    /// An error about what the network gives, at the place of its last layer.
    #[must_use]
    pub fn output_error(&self, message: impl Into<String>) -> Errors {
        let program = self.program();
        let network = program.definitions.get(program.network);
        let last = network.and_then(|it| it.layers.last());
        let mut report = Report::new(&self.0.text);
        report.error(last.map_or(0..0, |it| it.span.clone()), message, None);
        report.errors(&self.0.path)
    }
}

/// A layer's path for an error: the ends of a long one, as blocks that use themselves have it.
fn short(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').collect();
    match parts[..] {
        [first, second, .., last] if parts.len() > 8 => {
            format!("{first}/{second}/.../{last} ({} levels)", parts.len())
        }
        _ => path.to_owned(),
    }
}
