//! A space: a file after checking, and everything that can be asked of it.

mod conditions;
mod legal;
mod load;
mod neighbours;
mod network;
mod sample;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::discover::{Decisions, Found};
use crate::notation::Part;
use crate::program::Program;
use crate::resolve::Header;
use crate::{Choices, Diagnostic, Distinct, Errors, Shape, Vocabulary};

pub use legal::IllegalChoices;
pub(crate) use legal::hold;

/// A space file, parsed and checked. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Space(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    text: String,
    vocabulary: Vocabulary,
    header: Header,
    program: Program,
    found: Decisions,
    decisions: Vec<Decision>,
    template: Option<Vec<Part>>,
    first: Choices,
}

/// One place in a space where something is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Its place, from the cell down through the blocks: `normal/block[2]/left`.
    pub name: String,
    /// What can be chosen, in words.
    pub options: Vec<String>,
    /// Whether it is active whatever is chosen elsewhere, with all options legal.
    pub unconditional: bool,
}

impl Space {
    /// The file that it was read from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// The file's text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// What the space is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.header.name
    }

    /// One line about it.
    #[must_use]
    pub fn about(&self) -> Option<&str> {
        self.0.header.about.as_deref()
    }

    /// The images that it is meant for.
    #[must_use]
    pub fn default_input(&self) -> Option<Shape> {
        self.0.header.input
    }

    /// The number of classes that it is meant for.
    #[must_use]
    pub fn default_classes(&self) -> Option<usize> {
        self.0.header.classes
    }

    /// Which of its architectures count as one, as its file says.
    #[must_use]
    pub fn distinct(&self) -> &Distinct {
        &self.0.header.distinct
    }

    /// Its parameters with the values that are set, as text.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, String)> {
        self.0
            .header
            .parameters
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_string()))
    }

    /// The decisions, in order.
    #[must_use]
    pub fn decisions(&self) -> &[Decision] {
        &self.0.decisions
    }

    pub(crate) fn template(&self) -> Option<&[Part]> {
        self.0.template.as_deref()
    }

    pub(crate) fn found(&self) -> &[Found] {
        &self.0.found.list
    }

    pub(crate) fn program(&self) -> &Program {
        &self.0.program
    }
}

/// An error about a file as a whole.
fn plain(path: &Path, message: String) -> Errors {
    Errors {
        path: path.to_owned(),
        diagnostics: vec![Diagnostic {
            line: 1,
            column: 1,
            source: String::new(),
            width: 1,
            message,
            help: None,
        }],
    }
}
