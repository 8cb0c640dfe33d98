//! Where a layer takes its inputs: `from` and `each`.

use std::ops::Range;

use toml::de::DeValue;

use super::{Resolver, Scope};
use crate::diagnostic::suggest;
use crate::document::{Node, Table, integer, kind, list, text};
use crate::program::{Name, Options, Source};

impl<'r> Resolver<'r, '_> {
    /// What `from` or `each` says.
    pub(super) fn sources(
        &mut self,
        node: Node<'r>,
        scope: &Scope,
        later: &[&str],
        sites: &mut u32,
    ) -> Vec<Source> {
        let items = match node.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![node],
        };
        if items.is_empty() {
            self.report
                .error(node.span(), "a layer takes at least one tensor", None);
        }
        items
            .into_iter()
            .filter_map(|item| self.source(item, scope, later, sites))
            .collect()
    }

    fn source(
        &mut self,
        node: Node<'r>,
        scope: &Scope,
        later: &[&str],
        sites: &mut u32,
    ) -> Option<Source> {
        match node.get_ref() {
            DeValue::Integer(_) => match integer(node.get_ref()) {
                Some(back @ -1_000_000..=-1) => Some(Source::Back(back.unsigned_abs() as usize)),
                _ => {
                    self.report.error(
                        node.span(),
                        "a tensor is a name, or -1, -2, ... counted from the last",
                        None,
                    );
                    None
                }
            },
            DeValue::String(_) => self.tensor_name(node, scope, later).map(Source::Named),
            DeValue::Table(table) => {
                let table = Table::new(table, node.span());
                self.source_table(table, node.span(), scope, later, sites)
            }
            other => {
                let message = format!(
                    "a tensor is a name, -1, or a table with `choose`, `unused` or `take`, not {}",
                    kind(other)
                );
                self.report.error(node.span(), message, None);
                None
            }
        }
    }

    fn source_table(
        &mut self,
        mut table: Table<'r>,
        span: Range<usize>,
        scope: &Scope,
        later: &[&str],
        sites: &mut u32,
    ) -> Option<Source> {
        if let Some(node) = table.take("unused") {
            let names = self.tensor_names(node, scope, later);
            table.finish(&["unused"], self.report);
            return Some(Source::Unused(names));
        }
        if let Some(node) = table.take("take") {
            let when = table.take("when");
            table.finish(&["take", "when"], self.report);
            let name = self.tensor_name(node, scope, later);
            let Some(when) = when else {
                let help = "write { take = NAME, when = \"...\" }".to_owned();
                self.report
                    .error(span, "`when` was expected here", Some(help));
                return None;
            };
            let condition = self.expression(when, scope);
            return Some(Source::When(name?, condition?));
        }
        let mut site = self.site(&mut table, "from", span.clone(), sites);
        let Some(choose) = table.take("choose") else {
            self.report
                .error(span, "`choose`, `unused` or `take` was expected", None);
            return None;
        };
        site.options = match (choose.get_ref(), table.take("of")) {
            (DeValue::Array(_), None) => Options::Tensors {
                count: 1,
                of: self.tensor_names(choose, scope, later),
            },
            (DeValue::Integer(_), Some(of)) => {
                let count = integer(choose.get_ref()).filter(|it| (1..=16).contains(it));
                if count.is_none() {
                    self.report
                        .error(choose.span(), "`choose` takes 1 to 16 of the tensors", None);
                }
                Options::Tensors {
                    count: count.unwrap_or(1) as usize,
                    of: self.tensor_names(of, scope, later),
                }
            }
            (DeValue::String(word), Some(of)) if word == "any" => Options::Subset {
                of: self.tensor_names(of, scope, later),
            },
            _ => {
                let help = "write { choose = [names] }, { choose = 2, of = [names] } or { choose = \"any\", of = [names] }";
                self.report.error(
                    choose.span(),
                    "this does not say which tensors to choose",
                    Some(help.to_owned()),
                );
                return None;
            }
        };
        table.finish(&["choose", "of", "name"], self.report);
        Some(Source::Choose(site))
    }

    fn tensor_names(&mut self, node: Node<'r>, scope: &Scope, later: &[&str]) -> Vec<Name> {
        let items = list(node, "the tensors to choose from", self.report).unwrap_or_default();
        let names: Vec<Name> = items
            .into_iter()
            .filter_map(|item| self.tensor_name(item, scope, later))
            .collect();
        if names.is_empty() {
            self.report
                .error(node.span(), "there must be at least one tensor", None);
        }
        names
    }

    fn tensor_name(&mut self, node: Node<'r>, scope: &Scope, later: &[&str]) -> Option<Name> {
        // What is near an unknown name takes time to find.
        if self.report.is_full() {
            return None;
        }
        let name = text(node, "a tensor", self.report)?;
        if let Some(layer) = scope.layers.get(name) {
            return Some(Name::Layer(*layer));
        }
        if let Some(input) = scope.inputs.iter().position(|it| it == name) {
            return Some(Name::Input(input as u32));
        }
        if scope.own.as_deref() == Some(name) {
            let help = "a layer's own name stands for its earlier repetitions: write `repeat`";
            let message = format!("'{name}' is this layer itself, which is not repeated");
            self.report
                .error(node.span(), message, Some(help.to_owned()));
        } else if later.contains(&name) {
            let help = "a layer takes what comes before it; move the other one up".to_owned();
            self.report
                .error(node.span(), format!("'{name}' comes later"), Some(help));
        } else {
            let known = scope.layer_names();
            let help = suggest(name, known.chain(scope.inputs.iter().map(String::as_str)));
            self.report.error(
                node.span(),
                format!("there is no layer or input '{name}' here"),
                help,
            );
        }
        None
    }
}
