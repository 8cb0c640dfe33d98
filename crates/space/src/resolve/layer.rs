//! One entry of a list of layers.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::{Resolver, Scope};
use crate::document::{Node, Table, list, text};
use crate::expression::Expression;
use crate::program::{Given, Layer};

impl<'r> Resolver<'r, '_> {
    /// `let`, whose names are added to the scope one by one.
    pub fn lets(&mut self, table: &mut Table<'r>, scope: &mut Scope) -> Vec<(String, Given)> {
        let mut locals = Vec::new();
        let Some(node) = table.take("let") else {
            return locals;
        };
        let Some(entries) = Table::from(node, "`let`", self.report) else {
            return locals;
        };
        let mut sites = 0;
        let entries = entries.rest();
        let names = entries.iter().map(|(name, ..)| (*name).to_owned());
        scope.later = names.rev().collect();
        for (name, span, node) in entries {
            self.check_name(name, span);
            scope.later.pop();
            let given = self.value(node, name, scope, &mut sites);
            // One that is wrong is known all the same: what uses it is not wrong too.
            scope.locals.push(name.to_owned());
            locals.extend(given.map(|given| (name.to_owned(), given)));
        }
        locals
    }

    /// The layers of a definition.
    pub fn layers(
        &mut self,
        table: &mut Table<'r>,
        scope: &Scope,
        place: Range<usize>,
    ) -> Vec<Layer> {
        let Some(node) = table.take("layers") else {
            self.report.error(
                place,
                "there are no `layers` here",
                Some("write layers = [{ op = ... }, ...]".to_owned()),
            );
            return Vec::new();
        };
        let items = list(node, "`layers`", self.report).unwrap_or_default();
        if items.is_empty() {
            self.report
                .error(node.span(), "there must be at least one layer", None);
        }
        let mut scope = scope.clone();
        // Names that come later, so that a use before them can be told from an unknown name.
        let later: Vec<&str> = items.iter().filter_map(|item| name_of(item)).collect();
        let mut layers = Vec::new();
        let mut labels = Labels::default();
        for item in items {
            if self.report.is_full() {
                break;
            }
            let number = layers.len() as u32;
            layers.extend(self.layer(item, number, &mut scope, &later, &mut labels));
            scope.has_layers = true;
        }
        self.check_paths(&layers);
        layers
    }

    fn layer(
        &mut self,
        node: Node<'r>,
        number: u32,
        scope: &mut Scope,
        later: &[&str],
        labels: &mut Labels,
    ) -> Option<Layer> {
        let mut table = Table::from(node, "a layer", self.report)?;
        let name = table.take("name").and_then(|node| {
            let name = text(node, "`name`", self.report)?;
            self.check_name(name, node.span());
            if scope.layers.contains_key(name) || scope.inputs.iter().any(|it| it == name) {
                self.report.error(
                    node.span(),
                    format!("there is a layer or input '{name}' here already"),
                    None,
                );
            }
            Some(name)
        });
        let mut sites = 0;
        let repeated = table.has("repeat");
        let when = table
            .take("when")
            .and_then(|node| self.when(node, repeated, scope));
        let auxiliary = table
            .take("auxiliary")
            .and_then(|node| self.expression(node, scope));
        let repeat = table
            .take("repeat")
            .and_then(|node| self.value(node, "repeat", scope, &mut sites));
        // Inside of its own `from`, a layer's name stands for its earlier repetitions.
        let own = name.map(|name| (name.to_owned(), number));
        if repeated {
            scope.layers.extend(own.clone());
        } else {
            scope.own = name.map(str::to_owned);
        }
        let each = table.has("each");
        if each && table.has("from") {
            self.report
                .error(table.span(), "a layer has `from` or `each`, not both", None);
        }
        let sources = table.take("each");
        let from = table.take("from").or(sources);
        let from = from.map(|node| self.sources(node, scope, later, &mut sites));
        if let Some((name, _)) = own.as_ref().filter(|_| repeated) {
            scope.layers.remove(name);
        }
        scope.own = None;
        let operation = self.operation(&mut table, scope, &mut sites);
        // A layer that is wrong has a name all the same: what takes it is not wrong too.
        scope.layers.extend(own);
        let (op, callees, word) = operation?;
        Some(Layer {
            label: labels.unique(name.unwrap_or(word)),
            span: node.span(),
            callees,
            op,
            from,
            each,
            repeat,
            when,
            auxiliary,
        })
    }
}

impl<'r> Resolver<'r, '_> {
    /// Refuses a name that is the path of another layer's repetition, or of what is inside of another.
    fn check_paths(&mut self, layers: &[Layer]) {
        let labels: HashSet<&str> = layers.iter().map(|it| it.label.as_str()).collect();
        for layer in layers {
            let label = layer.label.as_str();
            let other = label.match_indices(['.', '/']).find(|(at, _)| {
                let rest = label[*at..].split('/').next().unwrap_or_default();
                let number = rest.strip_prefix('.').unwrap_or_default();
                let is_place = number.bytes().all(|it| it.is_ascii_digit()) && rest != ".";
                is_place && labels.contains(&label[..*at])
            });
            if let Some((at, _)) = other {
                let message = format!(
                    "'{label}' is what a repetition or a part of '{}' is called; choose another name",
                    &label[..at]
                );
                self.report.error(layer.span.clone(), message, None);
            }
        }
    }

    /// The condition of a layer. It is asked once, before any repetition of the layer itself.
    fn when(&mut self, node: Node<'r>, repeated: bool, scope: &Scope) -> Option<Expression> {
        let when = self.expression(node, scope)?;
        if repeated && when.names_index() {
            self.report.error(
                node.span(),
                "`when` decides once for all repetitions, and has no `index` of them",
                Some(
                    "repeat a list of layers around it: { repeat = 3, layers = [{ op = ..., when = \"index > 0\" }] }"
                        .to_owned(),
                ),
            );
        }
        Some(when)
    }
}

/// The `name` of a layer that has not been read yet.
fn name_of<'r>(node: Node<'r>) -> Option<&'r str> {
    node.get_ref()
        .as_table()?
        .iter()
        .find(|(key, _)| key.get_ref() == "name")?
        .1
        .get_ref()
        .as_str()
}

/// The labels of a list of layers.
#[derive(Default)]
struct Labels {
    taken: HashSet<String>,
    /// The number that may be free for a word that was given before.
    next: HashMap<String, usize>,
}

impl Labels {
    /// A label that no layer of the list has yet.
    fn unique(&mut self, word: &str) -> String {
        let mut label = word.to_owned();
        let next = self.next.entry(label.clone()).or_insert(2);
        while self.taken.contains(&label) {
            label = format!("{word}_{next}");
            *next += 1;
        }
        self.taken.insert(label.clone());
        label
    }
}
