//! A space file, parsed and checked: what can be chosen.
//!
//! A space file is TOML. It describes a network, and wherever something may be chosen it says so.
//! [`Space`] is the file after checking; [`Choices`] are one option index for each of its
//! [`Decision`]s; [`Space::expand`] turns both into primitive layers, which a [`Sink`] receives one by
//! one. Which primitives there are is not known here: a [`Vocabulary`] says it.

mod choices;
mod count;
mod diagnostic;
mod discover;
mod distinct;
mod document;
mod expand;
mod expression;
mod nesting;
mod notation;
mod places;
mod program;
mod reference;
mod require;
mod resolve;
mod schema;
mod shape;
mod sink;
mod space;
mod vocabulary;

pub use choices::{Choices, ChoicesError};
pub use diagnostic::{Diagnostic, Errors};
pub use distinct::{Architectures, Distinct, Equivalence};
pub use notation::NotationError;
pub use reference::reference;
pub use schema::json_schema;
pub use shape::Shape;
pub use sink::{Argument, Call, Path, Sink};
pub use space::{Decision, IllegalChoices, Space};
pub use vocabulary::{ArgumentKind, ArgumentSpec, Inputs, Primitive, Vocabulary};
