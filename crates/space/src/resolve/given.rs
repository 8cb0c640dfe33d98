//! Values: numbers, expressions, words, and the places where one of several is chosen.

use std::ops::Range;

use toml::de::DeValue;

use super::{Resolver, Scope, Visible};
use crate::document::{Node, Table, shown, text};
use crate::expression::{Expression, Names};
use crate::program::{Given, Options, Site};
use crate::{ArgumentKind, ArgumentSpec};

/// More options than this at one place are a mistake.
const MOST_OPTIONS: usize = 4096;

impl<'r> Resolver<'r, '_> {
    /// The place of a choice, with its `name` taken out of the table; its options come later.
    pub fn site(
        &mut self,
        table: &mut Table<'r>,
        key: &str,
        span: Range<usize>,
        sites: &mut u32,
    ) -> Site {
        let node = table.take("name");
        let name = node.and_then(|node| text(node, "`name`", self.report));
        if let (Some(name), Some(node)) = (name, node) {
            self.check_length(name, node.span());
        }
        let label = name.unwrap_or(key);
        self.decision_names.push(label.to_owned());
        let local = *sites;
        *sites += 1;
        Site {
            local,
            label: label.to_owned(),
            named: name.is_some(),
            span,
            options: Options::Values(Vec::new()),
            conditions: Vec::new(),
        }
    }

    /// What `choose` lists: a list, or the name of one in `[options]`.
    pub fn options(&mut self, table: &mut Table<'r>, span: &Range<usize>) -> Option<Vec<Node<'r>>> {
        let Some(node) = table.take("choose") else {
            // A key that is misspelt is told where it stands.
            let rest = std::mem::replace(table, Table::nothing());
            if rest.is_empty() {
                let help = "write { choose = [...] }".to_owned();
                self.report
                    .error(span.clone(), "`choose` was expected here", Some(help));
            } else {
                rest.finish(&["choose", "name"], self.report);
            }
            return None;
        };
        let listed = match node.get_ref() {
            DeValue::String(name) => {
                let Some(listed) = self.options.get(name.as_ref()) else {
                    let help = crate::diagnostic::suggest(name, self.options.keys().copied());
                    self.report
                        .error(node.span(), format!("[options] has no list '{name}'"), help);
                    return None;
                };
                *listed
            }
            _ => node,
        };
        let items = crate::document::list(listed, "`choose`", self.report)?;
        if items.is_empty() || items.len() > MOST_OPTIONS {
            let message = format!(
                "`choose` needs 1 to {MOST_OPTIONS} options, and has {}",
                items.len()
            );
            self.report.error(node.span(), message, None);
            return None;
        }
        Some(items)
    }

    /// A number or truth value, an expression, or a choice of these.
    pub fn value(
        &mut self,
        node: Node<'r>,
        key: &str,
        scope: &Scope,
        sites: &mut u32,
    ) -> Option<Given> {
        match node.get_ref() {
            DeValue::Table(_) => {
                self.choice(node, key, scope, sites, &mut |resolver, option, sites| {
                    resolver.value(option, key, scope, sites)
                })
            }
            _ => self.expression(node, scope).map(Given::Expression),
        }
    }

    /// `{ choose = [...] }`, each option read by `read`; one with a condition is
    /// `{ value = ..., when = "..." }`.
    fn choice(
        &mut self,
        node: Node<'r>,
        key: &str,
        scope: &Scope,
        sites: &mut u32,
        read: &mut dyn FnMut(&mut Self, Node<'r>, &mut u32) -> Option<Given>,
    ) -> Option<Given> {
        let mut table = Table::from(node, key, self.report)?;
        let mut site = self.site(&mut table, key, node.span(), sites);
        let options = self.options(&mut table, &node.span())?;
        table.finish(&["choose", "name"], self.report);
        let (mut values, mut conditions) = (Vec::new(), Vec::new());
        for option in options {
            let Some((option, condition)) = self.conditional(option, scope) else {
                continue;
            };
            if let Some(given) = read(self, option, sites) {
                values.push((given, label(option)));
                conditions.push(condition);
            }
        }
        if values.is_empty() {
            return None;
        }
        if conditions.iter().any(Option::is_some) {
            site.conditions = conditions;
        }
        site.options = Options::Values(values);
        Some(Given::Choose(Box::new(site)))
    }

    /// An option's value, with its condition where it has one.
    fn conditional(
        &mut self,
        option: Node<'r>,
        scope: &Scope,
    ) -> Option<(Node<'r>, Option<Expression>)> {
        let DeValue::Table(table) = option.get_ref() else {
            return Some((option, None));
        };
        let mut table = Table::new(table, option.span());
        let (value, when) = (table.take("value"), table.take("when"));
        let (Some(value), Some(when)) = (value, when) else {
            let help = "list all the options in one `choose`; one with a condition is { value = ..., when = \"...\" }";
            self.report.error(
                option.span(),
                "an option must be a value, not a table",
                Some(help.to_owned()),
            );
            return None;
        };
        table.finish(&["value", "when"], self.report);
        if matches!(value.get_ref(), DeValue::Table(_)) {
            self.report
                .error(value.span(), "an option must be a value, not a table", None);
            return None;
        }
        let condition = self.expression(when, scope)?;
        Some((value, Some(condition)))
    }

    /// An argument of a primitive.
    pub fn argument(
        &mut self,
        node: Node<'r>,
        spec: &ArgumentSpec,
        scope: &Scope,
        sites: &mut u32,
    ) -> Option<Given> {
        if matches!(node.get_ref(), DeValue::Table(_)) {
            return self.choice(
                node,
                spec.name,
                scope,
                sites,
                &mut |resolver, option, sites| resolver.argument(option, spec, scope, sites),
            );
        }
        match (spec.kind, node.get_ref()) {
            (ArgumentKind::Pair, DeValue::Array(items)) if items.len() == 2 => {
                let mut part =
                    |index: usize| self.value(items.get(index)?, spec.name, scope, sites);
                Some(Given::Pair(Box::new([part(0)?, part(1)?])))
            }
            (ArgumentKind::Padding(_), DeValue::Array(items)) if items.len() == 4 => {
                let mut part =
                    |index: usize| self.value(items.get(index)?, spec.name, scope, sites);
                Some(Given::Sides(Box::new([
                    part(0)?,
                    part(1)?,
                    part(2)?,
                    part(3)?,
                ])))
            }
            (ArgumentKind::Word(words) | ArgumentKind::Padding(words), DeValue::String(word))
                if words.contains(&word.as_ref()) =>
            {
                words
                    .iter()
                    .position(|it| *it == word.as_ref())
                    .map(Given::Word)
            }
            (ArgumentKind::Word(words), value) => {
                let help = value
                    .as_str()
                    .and_then(|word| crate::diagnostic::suggest(word, words.iter().copied()));
                self.wrong_kind(node, spec, help);
                None
            }
            (_, DeValue::Array(_) | DeValue::Datetime(_)) => {
                self.wrong_kind(node, spec, None);
                None
            }
            (ArgumentKind::Bool, DeValue::Integer(_) | DeValue::Float(_))
            | (
                ArgumentKind::Whole | ArgumentKind::Pair | ArgumentKind::Padding(_),
                DeValue::Float(_),
            )
            | (
                ArgumentKind::Whole
                | ArgumentKind::Number
                | ArgumentKind::Pair
                | ArgumentKind::Padding(_),
                DeValue::Boolean(_),
            ) => {
                self.wrong_kind(node, spec, None);
                None
            }
            (ArgumentKind::Padding(words), DeValue::String(word))
                if !self.is_name(word, scope)
                    && word.chars().all(|it| it.is_alphanumeric() || it == '_') =>
            {
                let help = crate::diagnostic::suggest(word, words.iter().copied());
                self.wrong_kind(node, spec, help);
                None
            }
            _ => self.expression(node, scope).map(Given::Expression),
        }
    }

    /// Whether a word alone is an expression: a number, or the name of a value.
    fn is_name(&self, word: &str, scope: &Scope) -> bool {
        let names = Visible {
            scope,
            parameters: &self.parameters,
        };
        word.starts_with(|it: char| it.is_ascii_digit()) || names.variable(word).is_some()
    }

    fn wrong_kind(&mut self, node: Node<'r>, spec: &ArgumentSpec, help: Option<String>) {
        let message = format!(
            "'{}' takes {}, not {}",
            spec.name,
            spec.kind.expected(),
            shown(node.get_ref())
        );
        self.report.error(node.span(), message, help);
    }
}

/// What an option is called in tables: as it stands in the file, without quotes.
pub(crate) fn label(node: Node<'_>) -> String {
    match node.get_ref() {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(date) => date.to_string(),
        DeValue::Array(items) => {
            let items: Vec<String> = items.iter().map(label).collect();
            format!("[{}]", items.join(", "))
        }
        DeValue::Table(_) => "{...}".to_owned(),
    }
}
