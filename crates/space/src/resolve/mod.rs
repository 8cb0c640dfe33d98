//! From TOML to a program: keys are checked, names are resolved, and all that is wrong is collected.

use std::collections::HashMap;
use std::ops::Range;

use toml::de::DeTable;

use crate::Vocabulary;
use crate::diagnostic::{Report, foreign, suggest};
use crate::document::{Node, Table, fraction, integer, kind, list, text};
use crate::expression::{self, Expression, Value};
use crate::program::{Program, Target};

mod definition;
mod given;
mod header;
mod keys;
mod layer;
mod operation;
mod scope;
mod sources;

pub(crate) use header::Header;
pub(crate) use keys::{DEFINITION_KEYS, FILE_KEYS, LAYER_KEYS, NETWORK_KEYS};
use scope::{DecisionNames, Parameters, Scope, Visible};

/// Longer names are refused: paths consist of them.
const LONGEST_NAME: usize = 100;

struct Resolver<'r, 't> {
    pub vocabulary: &'r Vocabulary,
    pub report: &'r mut Report<'t>,
    pub parameters: Parameters,
    pub options: HashMap<&'r str, Node<'r>>,
    /// Blocks and cells by name.
    pub definitions: HashMap<&'r str, usize>,
    pub program: Program,
    /// Names of decisions that were given by the file.
    pub decision_names: Vec<String>,
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
        parameters: Parameters::new(),
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
        for (name, span, node) in options.rest() {
            resolver.check_length(name, span);
            resolver.options.insert(name, node);
        }
    }
    let bodies = resolver.declare(&mut table);
    for (index, body) in bodies {
        resolver.define(index, body);
    }
    resolver.network(&mut table);
    if let Some(node) = table.take("require") {
        resolver.require(node);
    }
    if let Some(node) = table.take("distinct") {
        header.distinct = resolver.distinct(node);
    }
    table.finish(&FILE_KEYS.map(|(key, _)| key), resolver.report);
    resolver.program.mark_choosing();
    (header, resolver.program)
}

impl<'r> Resolver<'r, '_> {
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
            // What is too large has digits, `inf` and `nan` have none.
            let float = node.get_ref().as_float().map(|it| it.as_str());
            let message = match float.is_some_and(|it| it.ends_with(['f', 'n'])) {
                true => "this number must be finite",
                false => "this number is too large",
            };
            self.report.error(node.span(), message, None);
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
        let parsed = expression::parse(text, &names);
        self.parsed(parsed, text, span)
    }

    /// What was parsed of a text; what is wrong with it is told.
    fn parsed(
        &mut self,
        parsed: Result<Expression, Option<expression::Wrong>>,
        text: &str,
        span: Range<usize>,
    ) -> Option<Expression> {
        match parsed {
            Ok(expression) => return Some(expression),
            Err(None) => {}
            Err(Some((message, at, help))) => {
                // Inside of a plain one-line text the place is exact; elsewhere the whole text is meant.
                let exact = span.len() == text.len() + 2;
                let place = if exact {
                    span.start + 1 + at.start..span.start + 1 + at.end
                } else {
                    span
                };
                self.report.error(place, message, help);
            }
        }
        None
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
        } else {
            self.check_length(name, span);
        }
    }

    /// A name that becomes a part of paths.
    pub fn check_length(&mut self, name: &str, span: Range<usize>) {
        if name.is_empty() {
            self.report.error(span, "a name must not be empty", None);
        } else if name.len() > LONGEST_NAME {
            let message = format!("a name may have {LONGEST_NAME} bytes");
            self.report.error(span, message, None);
        }
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
                Err(Some((message, _, help))) => self.report.error(span, message, help),
                Err(None) => {}
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
            let help = foreign(name)
                .or_else(|| suggest(name, primitives.chain(self.definitions.keys().copied())));
            let message = format!("there is no operation, block or cell '{name}'");
            self.report.error(span, message, help);
        }
        target
    }
}
