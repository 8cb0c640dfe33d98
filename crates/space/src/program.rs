//! A space file after its names are resolved: definitions of layers, ready to be walked.

use std::ops::Range;

use crate::expression::Expression;
use crate::{Argument, ArgumentKind, ArgumentSpec};

/// A file's definitions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Program {
    pub definitions: Vec<Definition>,
    /// The definition of `[network]`.
    pub network: usize,
    /// Constraints over the decisions of a name.
    pub require: Vec<(Expression, Range<usize>)>,
    /// Names that `require` knows, by their number.
    pub required_names: Vec<String>,
}

/// A block, a cell, the network, or the `layers` of a layer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Definition {
    pub name: String,
    /// Decided once, however often it is used.
    pub is_cell: bool,
    /// The `layers` of a layer: sees the arguments of the definition around it.
    pub anonymous: bool,
    pub inputs: Vec<String>,
    /// Arguments with their defaults; they have the first slots.
    pub arguments: Vec<(String, Option<Expression>)>,
    /// `let`: they have the slots after the arguments.
    pub locals: Vec<(String, Given)>,
    pub layers: Vec<Layer>,
    /// Whether anything is chosen in it or in what it uses.
    pub chooses: bool,
}

/// One entry of a list of layers.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    /// For paths: its name, or its operation's, made unique in its list.
    pub label: String,
    pub span: Range<usize>,
    /// One, or the options of `op = { choose = ... }`.
    pub callees: Vec<Callee>,
    pub op: Option<Site>,
    /// None: the layer before.
    pub from: Option<Vec<Source>>,
    /// `each` instead of `from`.
    pub each: bool,
    pub repeat: Option<Given>,
    pub when: Option<Expression>,
    pub auxiliary: Option<Expression>,
}

/// What a layer applies.
#[derive(Debug, Clone)]
pub(crate) struct Callee {
    pub target: Target,
    /// Arguments by the target's index.
    pub arguments: Vec<Option<Given>>,
    /// Of a primitive: those that are constants, by the same index.
    pub constants: Vec<Option<Argument>>,
    /// Of a primitive: the indices of the others that are given.
    pub computed: Vec<usize>,
}

impl Callee {
    pub fn new(target: Target, arguments: Vec<Option<Given>>) -> Self {
        Callee {
            target,
            arguments,
            constants: Vec::new(),
            computed: Vec::new(),
        }
    }

    /// Notes which arguments of a primitive are constants.
    pub fn find_constants(&mut self, specs: &[ArgumentSpec]) {
        for (index, (spec, given)) in specs.iter().zip(&self.arguments).enumerate() {
            let constant = given.as_ref().and_then(|given| given.constant(spec.kind));
            self.constants.push(constant);
            if given.is_some() && constant.is_none() {
                self.computed.push(index);
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Primitive(usize),
    Definition(usize),
}

/// A value as it stands in the file.
#[derive(Debug, Clone)]
pub(crate) enum Given {
    Expression(Expression),
    Pair(Box<[Given; 2]>),
    Sides(Box<[Given; 4]>),
    Word(usize),
    Choose(Box<Site>),
}

/// A place where something is chosen.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    /// Its number in its layer (or among the definition's `let`s).
    pub local: u32,
    /// Its name, or the key at which it stands.
    pub label: String,
    pub named: bool,
    pub span: Range<usize>,
    pub options: Options,
    /// What must hold for each of its values or operations to be chosen; empty where none has a condition.
    pub conditions: Vec<Option<Expression>>,
}

#[derive(Debug, Clone)]
pub(crate) enum Options {
    /// One of these values, with what they are called.
    Values(Vec<(Given, String)>),
    /// One of the layer's callees.
    Callees(Vec<String>),
    /// So many of the tensors that these names stand for, in any order.
    Tensors { count: usize, of: Vec<Name> },
    /// Any of the tensors: a decision each.
    Subset { of: Vec<Name> },
}

/// Where a layer takes its inputs from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// The k-th last output, from 1.
    Back(usize),
    Named(Name),
    /// A name, where a condition holds.
    When(Name, Expression),
    Unused(Vec<Name>),
    Choose(Site),
}

/// A name in a list of layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Name {
    Input(u32),
    Layer(u32),
}

impl Layer {
    /// Whether it depends on choices or conditions which tensors it takes; it may be none then.
    pub fn chooses_tensors(&self) -> bool {
        let mut sources = self.from.iter().flatten();
        sources.any(|source| matches!(source, Source::Choose(_) | Source::When(..)))
    }

    /// All places of the layer where something is chosen, but for those inside of what it uses.
    pub fn sites(&self) -> impl Iterator<Item = &Site> {
        let from = self
            .from
            .iter()
            .flatten()
            .filter_map(|source| match source {
                Source::Choose(site) => Some(site),
                _ => None,
            });
        let given = self
            .callees
            .iter()
            .flat_map(|callee| callee.arguments.iter().flatten())
            .chain(&self.repeat)
            .flat_map(Given::sites);
        self.op.iter().chain(from).chain(given)
    }
}

impl Given {
    /// The argument of a primitive that it is whatever is chosen; none where it is wrong, too.
    fn constant(&self, kind: ArgumentKind) -> Option<Argument> {
        let value = |given: &Given| match given {
            Given::Expression(Expression::Constant(value)) => Some(*value),
            _ => None,
        };
        let count = |given: &Given| value(given)?.count().ok();
        match self {
            Given::Word(word) => Some(Argument::Word(*word)),
            Given::Pair(parts) => Some(Argument::Pair([count(&parts[0])?, count(&parts[1])?])),
            _ => value(self)?.argument(kind).ok(),
        }
    }

    pub fn sites(&self) -> Vec<&Site> {
        match self {
            Given::Expression(_) | Given::Word(_) => Vec::new(),
            Given::Pair(parts) => parts.iter().flat_map(Given::sites).collect(),
            Given::Sides(parts) => parts.iter().flat_map(Given::sites).collect(),
            Given::Choose(site) => vec![site],
        }
    }
}

impl Program {
    /// Finds out which definitions choose anything, themselves or in what they use.
    pub fn mark_choosing(&mut self) {
        loop {
            let mut changed = false;
            for index in 0..self.definitions.len() {
                let definition = &self.definitions[index];
                if definition.chooses {
                    continue;
                }
                let local = definition
                    .locals
                    .iter()
                    .any(|(_, given)| !given.sites().is_empty());
                let inside = definition.layers.iter().any(|layer| {
                    layer.sites().next().is_some()
                        || layer.callees.iter().any(|callee| match callee.target {
                            Target::Definition(target) => self.definitions[target].chooses,
                            Target::Primitive(_) => false,
                        })
                });
                if local || inside {
                    self.definitions[index].chooses = true;
                    changed = true;
                }
            }
            if !changed {
                return;
            }
        }
    }
}
