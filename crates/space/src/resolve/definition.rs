//! Blocks, cells and the network: their names, what they are used with, and what is in them.

use toml::de::DeValue;

use super::{DEFINITION_KEYS, LAYER_KEYS, Resolver, Scope};
use crate::document::{Node, Table, list, text};
use crate::expression::{Expression, Value};
use crate::program::Definition;

/// More arguments and `let`s than this are refused.
const MOST_LOCALS: usize = 200;

impl<'r> Resolver<'r, '_> {
    /// Notes all blocks and cells, so that they can use each other in any order.
    pub(super) fn declare(&mut self, table: &mut Table<'r>) -> Vec<(usize, Node<'r>)> {
        let mut bodies = Vec::new();
        for (key, is_cell) in [("blocks", false), ("cells", true)] {
            let Some(node) = table.take(key) else {
                continue;
            };
            let Some(definitions) = Table::from(node, &format!("[{key}]"), self.report) else {
                continue;
            };
            for (name, span, body) in definitions.rest() {
                self.check_length(name, span.clone());
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
            let items = list(node, "`arguments`", self.report).unwrap_or_default();
            let texts = items.iter().filter_map(|item| item.get_ref().as_str());
            let names = texts.map(|it| it.split('=').next().unwrap_or_default().trim().to_owned());
            scope.later = names.rev().collect();
            for node in items {
                let Some(text) = text(node, "an argument", self.report) else {
                    continue;
                };
                scope.later.pop();
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
                // One that is wrong is there all the same: what leaves it out is not wrong too.
                let default = default.map(|text| {
                    let parsed = self.parse_expression(text, node.span(), &scope);
                    parsed.unwrap_or(Expression::Constant(Value::Whole(0)))
                });
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
    pub(super) fn define(&mut self, index: usize, node: Node<'r>) {
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

    pub(super) fn network(&mut self, table: &mut Table<'r>) {
        let Some(node) = table.take("network") else {
            self.report.error(
                0..0,
                "the file has no [network]",
                Some("write [network] and layers = [...]".to_owned()),
            );
            return;
        };
        if let DeValue::Table(table) = node.get_ref() {
            let mut table = Table::new(table, node.span());
            for (key, help) in [
                ("arguments", "declare what can be set in [parameters]"),
                ("inputs", "the image is called `input`"),
            ] {
                if let Some(given) = table.take(key) {
                    let message = format!("[network] takes the image alone, and has no `{key}`");
                    self.report
                        .error(given.span(), message, Some(help.to_owned()));
                }
            }
        }
        self.program.network = self.program.definitions.len();
        self.program.definitions.push(Definition {
            name: "network".to_owned(),
            is_cell: true,
            inputs: vec!["input".to_owned()],
            ..Definition::default()
        });
        self.define(self.program.network, node);
    }
}
