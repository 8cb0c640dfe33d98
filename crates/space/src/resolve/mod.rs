//! From TOML to a program: keys are checked, names are resolved, and all that is wrong is collected.

use std::collections::HashMap;
use std::ops::Range;

use toml::de::DeTable;

use crate::Vocabulary;
use crate::diagnostic::{Report, suggest};
use crate::document::{Node, Table, fraction, integer, kind, list, text};
use crate::expression::{self, Expression, Names, Tensor, Value};
use crate::program::{Definition, Program, Target};

mod given;
mod layer;

/// What a file says beside its layers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Header {
    pub name: String,
    pub about: Option<String>,
    pub input: Option<crate::Shape>,
    pub classes: Option<usize>,
    pub notation: Option<(String, Range<usize>)>,
    pub parameters: Vec<(String, Value)>,
}

/// The keys of a file.
pub(crate) const FILE_KEYS: [(&str, &str); 11] = [
    ("name", "what the network or space is called"),
    ("about", "one line about it: paper, table"),
    (
        "input",
        "the images it is meant for, channels x height x width: \"3x32x32\"",
    ),
    ("classes", "the number of classes it is meant for"),
    (
        "notation",
        "how its architectures are written: a template such as \"|{0}~0|+|{1}~0|{2}~1|\" over decisions, by number or by name",
    ),
    (
        "parameters",
        "named numbers and truth values with their defaults; --set NAME=VALUE sets them",
    ),
    ("options", "named lists of options, for `choose`"),
    (
        "blocks",
        "definitions that are expanded, and decided, afresh at each place of use",
    ),
    (
        "cells",
        "definitions that are decided once, however often they are used",
    ),
    (
        "network",
        "the network: `layers`, from the image to the logits",
    ),
    (
        "require",
        "a list of conditions on decisions, by their names: \"edges <= 9\"",
    ),
];

/// The keys of a block, a cell or the network.
pub(crate) const DEFINITION_KEYS: [(&str, &str); 4] = [
    (
        "arguments",
        "what it is used with: a list of \"NAME\" or \"NAME = DEFAULT\"",
    ),
    (
        "inputs",
        "the names of the tensors it takes; [\"input\"] where nothing is said",
    ),
    (
        "let",
        "local values, which may be chosen: { width = { choose = [16, 32] } }",
    ),
    ("layers", "the layers in order"),
];

/// The keys of a layer that are not arguments of its operation.
pub(crate) const LAYER_KEYS: [(&str, &str); 8] = [
    (
        "op",
        "a primitive, a block or a cell; or { choose = [...] }",
    ),
    ("layers", "layers in place of an operation"),
    ("name", "a name for its output, for `from` and expressions"),
    (
        "from",
        "where it takes its inputs: a name, -1 (the layer before), { choose = [names] }, { choose = 2, of = [names] }, { choose = \"any\", of = [names] }, { unused = [names] }, or a list of these",
    ),
    (
        "each",
        "like `from`, but it is applied to each of the tensors; its output is all of them",
    ),
    (
        "repeat",
        "how often it is applied, one upon the other; `index` counts from 0",
    ),
    ("when", "where false, the layer passes its first input on"),
    (
        "auxiliary",
        "its output is an auxiliary classifier whose loss has this weight; the next layer goes on from before it",
    ),
];

pub(crate) struct Resolver<'r, 't> {
    pub vocabulary: &'r Vocabulary,
    pub report: &'r mut Report<'t>,
    pub parameters: HashMap<String, Value>,
    pub options: HashMap<&'r str, Node<'r>>,
    /// Blocks and cells by name.
    pub definitions: HashMap<&'r str, usize>,
    pub program: Program,
    /// Names of decisions that were given by the file.
    pub decision_names: Vec<String>,
}

/// The names in a definition: its arguments and lets so far, and its tensors.
#[derive(Default, Clone)]
pub(crate) struct Scope {
    pub locals: Vec<String>,
    pub inputs: Vec<String>,
    /// Names of the earlier layers, by their number.
    pub layers: Vec<(String, u32)>,
    pub has_layers: bool,
}

/// A scope with the parameters behind it.
pub(crate) struct Visible<'v> {
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
        if let Some((_, layer)) = self.scope.layers.iter().find(|(it, _)| it == name) {
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
        let layers = self.scope.layers.iter().map(|(name, _)| name.clone());
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

/// Resolves a whole file. What is wrong is in the report.
pub(crate) fn resolve(
    document: &DeTable<'_>,
    overrides: &[(String, String)],
    vocabulary: &Vocabulary,
    report: &mut Report<'_>,
) -> (Header, Program) {
    let mut table = Table::new(document, 0..0);
    let mut resolver = Resolver {
        vocabulary,
        report,
        parameters: HashMap::new(),
        options: HashMap::new(),
        definitions: HashMap::new(),
        program: Program::default(),
        decision_names: Vec::new(),
    };
    let mut header = resolver.header(&mut table);
    if let Some(node) = table.take("parameters") {
        header.parameters = resolver.parameters(node, overrides);
    } else if let Some((name, _)) = overrides.first() {
        resolver.report.error(
            0..0,
            format!("there is no parameter '{name}': the file has no [parameters]"),
            None,
        );
    }
    if let Some(node) = table.take("options")
        && let Some(options) = Table::from(node, "[options]", resolver.report)
    {
        resolver.options = options
            .rest()
            .into_iter()
            .map(|(name, _, node)| (name, node))
            .collect();
    }
    let bodies = resolver.declare(&mut table);
    for (index, body) in bodies {
        resolver.define(index, body);
    }
    resolver.network(&mut table);
    if let Some(node) = table.take("require") {
        resolver.require(node);
    }
    table.finish(&FILE_KEYS.map(|(key, _)| key), resolver.report);
    resolver.program.mark_choosing();
    (header, resolver.program)
}

impl<'r> Resolver<'r, '_> {
    fn header(&mut self, table: &mut Table<'r>) -> Header {
        let mut header = Header::default();
        match table.take("name") {
            Some(node) => {
                header.name = text(node, "`name`", self.report)
                    .unwrap_or_default()
                    .to_owned();
            }
            None => self.report.error(
                0..0,
                "the file has no `name`",
                Some("begin with name = \"...\"".to_owned()),
            ),
        }
        if let Some(node) = table.take("about") {
            header.about = text(node, "`about`", self.report).map(str::to_owned);
        }
        if let Some(node) = table.take("input") {
            header.input = text(node, "`input`", self.report).and_then(|text| {
                let shape = parse_shape(text);
                if shape.is_none() {
                    self.report.error(
                        node.span(),
                        "`input` must be channels x height x width, such as \"3x32x32\"",
                        None,
                    );
                }
                shape
            });
        }
        if let Some(node) = table.take("classes") {
            header.classes = integer(node.get_ref())
                .and_then(|it| usize::try_from(it).ok())
                .filter(|it| (1..=1_000_000).contains(it));
            if header.classes.is_none() {
                self.report.error(
                    node.span(),
                    "`classes` must be a whole number from 1 to 1,000,000",
                    None,
                );
            }
        }
        if let Some(node) = table.take("notation") {
            header.notation =
                text(node, "`notation`", self.report).map(|text| (text.to_owned(), node.span()));
        }
        header
    }

    fn parameters(
        &mut self,
        node: Node<'r>,
        overrides: &[(String, String)],
    ) -> Vec<(String, Value)> {
        let Some(table) = Table::from(node, "[parameters]", self.report) else {
            return Vec::new();
        };
        let mut parameters: Vec<(String, Value)> = Vec::new();
        let place = table.span();
        for (name, span, node) in table.rest() {
            self.check_name(name, span);
            let value = overrides
                .iter()
                .rev()
                .find(|(it, _)| it == name)
                .map(|(_, text)| text.as_str());
            let value = match value {
                Some(text) => self.override_value(name, text, node.span()),
                None => self.constant(node),
            };
            let Some(value) = value else { continue };
            self.parameters.insert(name.to_owned(), value);
            parameters.push((name.to_owned(), value));
        }
        for (name, _) in overrides {
            if !self.parameters.contains_key(name) && self.report.is_clean() {
                let help = suggest(name, self.parameters.keys().map(String::as_str));
                self.report.error(
                    place.clone(),
                    format!("there is no parameter '{name}' to be set"),
                    help,
                );
            }
        }
        parameters
    }

    fn override_value(&mut self, name: &str, text: &str, span: Range<usize>) -> Option<Value> {
        let scope = Scope::default();
        let names = Visible {
            scope: &scope,
            parameters: &self.parameters,
        };
        match expression::parse(text, &names) {
            Ok(Expression::Constant(value)) => Some(value),
            _ => {
                self.report.error(
                    span,
                    format!("'{name}' was set to '{text}', which is no number, true or false"),
                    None,
                );
                None
            }
        }
    }

    /// A parameter's default: a number, a truth value, or an expression of earlier parameters.
    fn constant(&mut self, node: Node<'r>) -> Option<Value> {
        let scope = Scope::default();
        match self.expression(node, &scope)? {
            Expression::Constant(value) => Some(value),
            _ => {
                self.report.error(
                    node.span(),
                    "a parameter's default must be a number, true or false",
                    None,
                );
                None
            }
        }
    }

    /// A number, a truth value, or a text with an expression.
    pub fn expression(&mut self, node: Node<'r>, scope: &Scope) -> Option<Expression> {
        use toml::de::DeValue;
        let value = match node.get_ref() {
            DeValue::Integer(_) => integer(node.get_ref()).map(Value::Whole),
            DeValue::Float(_) => fraction(node.get_ref()).map(Value::Fraction),
            DeValue::Boolean(truth) => Some(Value::Bool(*truth)),
            DeValue::String(text) => return self.parse_expression(text, node.span(), scope),
            other => {
                let message = format!(
                    "a number, true, false or an expression was expected, not {}",
                    kind(other)
                );
                self.report.error(node.span(), message, None);
                return None;
            }
        };
        if value.is_none() {
            self.report
                .error(node.span(), "this number is too large", None);
        }
        value.map(Expression::Constant)
    }

    pub fn parse_expression(
        &mut self,
        text: &str,
        span: Range<usize>,
        scope: &Scope,
    ) -> Option<Expression> {
        let names = Visible {
            scope,
            parameters: &self.parameters,
        };
        match expression::parse(text, &names) {
            Ok(expression) => Some(expression),
            Err((message, at, help)) => {
                // Inside of a plain one-line text the place is exact; elsewhere the whole text is meant.
                let exact = span.len() == text.len() + 2;
                let place = if exact {
                    span.start + 1 + at.start..span.start + 1 + at.end
                } else {
                    span
                };
                self.report.error(place, message, help);
                None
            }
        }
    }

    /// A name that expressions and `from` can use.
    pub fn check_name(&mut self, name: &str, span: Range<usize>) {
        if matches!(
            name,
            "index" | "classes" | "last" | "true" | "false" | "and" | "or" | "not" | "if"
        ) {
            self.report.error(
                span,
                format!("'{name}' has a meaning of its own; choose another name"),
                None,
            );
        } else if name.is_empty() {
            self.report.error(span, "a name must not be empty", None);
        }
    }

    /// Notes all blocks and cells, so that they can use each other in any order.
    fn declare(&mut self, table: &mut Table<'r>) -> Vec<(usize, Node<'r>)> {
        let mut bodies = Vec::new();
        for (key, is_cell) in [("blocks", false), ("cells", true)] {
            let Some(node) = table.take(key) else {
                continue;
            };
            let Some(definitions) = Table::from(node, &format!("[{key}]"), self.report) else {
                continue;
            };
            for (name, span, body) in definitions.rest() {
                if self.vocabulary.find(name).is_some() {
                    self.report.error(
                        span,
                        format!("'{name}' is a primitive operation; choose another name"),
                        None,
                    );
                } else if self.definitions.contains_key(name) {
                    self.report.error(
                        span,
                        format!("there is a block '{name}' already; a cell needs another name"),
                        None,
                    );
                } else {
                    let index = self.program.definitions.len();
                    self.program.definitions.push(Definition {
                        name: name.to_owned(),
                        is_cell,
                        ..Definition::default()
                    });
                    self.definitions.insert(name, index);
                    bodies.push((index, body));
                }
            }
        }
        // Signatures first: a use is checked against them.
        bodies.retain(|&(index, body)| self.signature(index, body));
        bodies
    }

    /// Reads arguments and inputs of a definition.
    fn signature(&mut self, index: usize, node: Node<'r>) -> bool {
        let what = format!("'{}'", self.program.definitions[index].name);
        let Some(mut table) = Table::from(node, &what, self.report) else {
            return false;
        };
        let mut scope = Scope::default();
        let mut arguments = Vec::new();
        if let Some(node) = table.take("arguments") {
            for node in list(node, "`arguments`", self.report).unwrap_or_default() {
                let Some(text) = text(node, "an argument", self.report) else {
                    continue;
                };
                let (name, default) = match text.split_once('=') {
                    Some((name, default)) => (name.trim(), Some(default)),
                    None => (text.trim(), None),
                };
                self.check_name(name, node.span());
                if scope.locals.iter().any(|it| it == name) {
                    self.report.error(
                        node.span(),
                        format!("there are two arguments '{name}'"),
                        None,
                    );
                } else if LAYER_KEYS.iter().any(|(key, _)| *key == name) {
                    self.report.error(
                        node.span(),
                        format!("'{name}' is a key of every layer, so it cannot be an argument"),
                        None,
                    );
                }
                let default =
                    default.and_then(|text| self.parse_expression(text, node.span(), &scope));
                scope.locals.push(name.to_owned());
                arguments.push((name.to_owned(), default));
            }
        }
        let inputs = self.inputs(&mut table);
        let definition = &mut self.program.definitions[index];
        definition.arguments = arguments;
        definition.inputs = inputs;
        true
    }

    fn inputs(&mut self, table: &mut Table<'r>) -> Vec<String> {
        let Some(node) = table.take("inputs") else {
            return vec!["input".to_owned()];
        };
        let mut inputs: Vec<String> = Vec::new();
        for item in list(node, "`inputs`", self.report).unwrap_or_default() {
            let Some(name) = text(item, "an input's name", self.report) else {
                continue;
            };
            self.check_name(name, item.span());
            if inputs.iter().any(|it| it == name) {
                self.report
                    .error(item.span(), format!("there are two inputs '{name}'"), None);
            }
            inputs.push(name.to_owned());
        }
        if inputs.is_empty() {
            self.report
                .error(node.span(), "a definition takes at least one input", None);
            inputs.push("input".to_owned());
        }
        inputs
    }

    /// Reads lets and layers of a definition whose signature is known.
    fn define(&mut self, index: usize, node: Node<'r>) {
        let Some(mut table) = Table::from(
            node,
            &format!("'{}'", self.program.definitions[index].name),
            self.report,
        ) else {
            return;
        };
        let _ = (table.take("arguments"), table.take("inputs"));
        let definition = &self.program.definitions[index];
        let mut scope = Scope {
            locals: definition
                .arguments
                .iter()
                .map(|(name, _)| name.clone())
                .collect(),
            inputs: definition.inputs.clone(),
            ..Scope::default()
        };
        let locals = self.lets(&mut table, &mut scope);
        if scope.locals.len() > MOST_LOCALS {
            let message = format!("a definition may have {MOST_LOCALS} arguments and `let`s");
            self.report.error(node.span(), message, None);
        }
        let layers = self.layers(&mut table, &scope, node.span());
        table.finish(&DEFINITION_KEYS.map(|(key, _)| key), self.report);
        let definition = &mut self.program.definitions[index];
        definition.locals = locals;
        definition.layers = layers;
    }

    fn network(&mut self, table: &mut Table<'r>) {
        let Some(node) = table.take("network") else {
            self.report.error(
                0..0,
                "the file has no [network]",
                Some("write [network] and layers = [...]".to_owned()),
            );
            return;
        };
        self.program.network = self.program.definitions.len();
        self.program.definitions.push(Definition {
            name: "network".to_owned(),
            is_cell: true,
            inputs: vec!["input".to_owned()],
            ..Definition::default()
        });
        self.define(self.program.network, node);
    }

    fn require(&mut self, node: Node<'r>) {
        self.decision_names.sort();
        self.decision_names.dedup();
        self.program.required_names = self.decision_names.clone();
        for item in list(node, "`require`", self.report).unwrap_or_default() {
            let Some(condition) = text(item, "a condition", self.report) else {
                continue;
            };
            let names = DecisionNames {
                names: &self.program.required_names,
                parameters: &self.parameters,
            };
            let span = item.span();
            match expression::parse(condition, &names) {
                Ok(expression) => match crate::require::check(&expression) {
                    Ok(()) => self.program.require.push((expression, span)),
                    Err(message) => self.report.error(span, message, None),
                },
                Err((message, _, help)) => self.report.error(span, message, help),
            }
        }
        self.keep_required_names();
    }

    /// Drops the names that no condition counts.
    fn keep_required_names(&mut self) {
        let mut used = Vec::new();
        for (condition, _) in &mut self.program.require {
            crate::require::counted(condition, &mut |name| used.push(*name));
        }
        used.sort_unstable();
        used.dedup();
        for (condition, _) in &mut self.program.require {
            crate::require::counted(condition, &mut |name| {
                *name = used.iter().position(|it| it == name).unwrap_or(0) as u32;
            });
        }
        let names = &self.program.required_names;
        self.program.required_names = used.iter().map(|it| names[*it as usize].clone()).collect();
    }

    /// The target that a name stands for.
    pub fn target(&mut self, name: &str, span: Range<usize>) -> Option<Target> {
        let target = self
            .definitions
            .get(name)
            .map(|&index| Target::Definition(index))
            .or_else(|| self.vocabulary.find(name).map(Target::Primitive));
        if target.is_none() {
            let primitives = self.vocabulary.primitives.iter().map(|it| it.name);
            let help = suggest(name, primitives.chain(self.definitions.keys().copied()));
            let message = format!("there is no operation, block or cell '{name}'");
            self.report.error(span, message, help);
        }
        target
    }
}

/// The names in `require`.
struct DecisionNames<'v> {
    names: &'v [String],
    parameters: &'v HashMap<String, Value>,
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

/// More arguments and `let`s than this are refused.
const MOST_LOCALS: usize = 200;

/// The longest side of an image.
const LARGEST: usize = 65_536;

fn parse_shape(text: &str) -> Option<crate::Shape> {
    let sizes: Vec<usize> = text
        .split('x')
        .map(|part| {
            part.trim()
                .parse()
                .ok()
                .filter(|size| (1..=LARGEST).contains(size))
        })
        .collect::<Option<_>>()?;
    match sizes[..] {
        [channels, height, width] => Some(crate::Shape {
            height,
            width,
            channels,
        }),
        _ => None,
    }
}
