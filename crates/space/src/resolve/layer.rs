//! One entry of a list of layers.

use std::ops::Range;

use super::{LAYER_KEYS, Resolver, Scope};
use crate::ArgumentSpec;
use crate::diagnostic::suggest;
use crate::document::{Node, Table, integer, kind, list, text};
use crate::program::{Callee, Definition, Given, Layer, Name, Options, Site, Source, Target};
use toml::de::DeValue;

/// An argument as the file gives it: its key, the key's place, its value.
type Entry<'r> = (&'r str, Range<usize>, Node<'r>);

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
        for (name, span, node) in entries.rest() {
            self.check_name(name, span);
            if let Some(given) = self.value(node, name, scope, &mut sites) {
                scope.locals.push(name.to_owned());
                locals.push((name.to_owned(), given));
            }
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
        let mut labels = Vec::new();
        for item in items {
            let number = layers.len() as u32;
            if let Some(layer) = self.layer(item, number, &mut scope, &later, &mut labels) {
                layers.push(layer);
                scope.has_layers = true;
            }
        }
        layers
    }

    fn layer(
        &mut self,
        node: Node<'r>,
        number: u32,
        scope: &mut Scope,
        later: &[&str],
        labels: &mut Vec<String>,
    ) -> Option<Layer> {
        let mut table = Table::from(node, "a layer", self.report)?;
        let name = table.take("name").and_then(|node| {
            let name = text(node, "`name`", self.report)?;
            self.check_name(name, node.span());
            if scope.layers.iter().any(|(it, _)| it == name)
                || scope.inputs.iter().any(|it| it == name)
            {
                self.report.error(
                    node.span(),
                    format!("there is a layer or input '{name}' here already"),
                    None,
                );
            }
            Some(name)
        });
        let mut sites = 0;
        let when = table
            .take("when")
            .and_then(|node| self.expression(node, scope));
        let auxiliary = table
            .take("auxiliary")
            .and_then(|node| self.expression(node, scope));
        let repeat = table
            .take("repeat")
            .and_then(|node| self.value(node, "repeat", scope, &mut sites));
        // Inside of its own `from`, a layer's name stands for its earlier repetitions.
        let mut with_itself = scope.clone();
        if let Some(name) = name {
            with_itself.layers.push((name.to_owned(), number));
        }
        let each = table.has("each");
        if each && table.has("from") {
            self.report
                .error(table.span(), "a layer has `from` or `each`, not both", None);
        }
        let sources = table.take("each");
        let from = table.take("from").or(sources);
        let from = from.map(|node| self.sources(node, &with_itself, later, &mut sites));
        let (op, callees, word) = self.operation(&mut table, scope, &mut sites)?;
        *scope = with_itself;
        Some(Layer {
            label: unique(name.unwrap_or(word), labels),
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

    /// `op` or `layers`, with the arguments: the place where it is chosen, the callees, and a word for
    /// it.
    fn operation(
        &mut self,
        table: &mut Table<'r>,
        scope: &Scope,
        sites: &mut u32,
    ) -> Option<(Option<Site>, Vec<Callee>, &'r str)> {
        let place = table.span();
        let op = table.take("op");
        if table.has("layers") {
            if let Some(op) = op {
                self.report
                    .error(op.span(), "a layer has `op` or `layers`, not both", None);
            }
            let callee = self.anonymous(table, scope, place);
            std::mem::replace(table, Table::nothing())
                .finish(&LAYER_KEYS.map(|(key, _)| key), self.report);
            return Some((None, vec![callee], "layers"));
        }
        let Some(op) = op else {
            self.report.error(
                place,
                "a layer needs an `op`",
                Some("write op = \"conv\", or layers = [...]".to_owned()),
            );
            return None;
        };
        let given = std::mem::replace(table, Table::nothing()).rest();
        match op.get_ref() {
            DeValue::String(name) => {
                let target = self.target(name, op.span())?;
                let callee = self.callee(target, &given, op.span(), scope, sites);
                Some((None, vec![callee], name.as_ref()))
            }
            DeValue::Table(choice) => {
                let choice = Table::new(choice, op.span());
                self.chosen_operation(choice, op.span(), &given, scope, sites)
            }
            other => {
                let message = format!(
                    "`op` must be a name or {{ choose = [...] }}, not {}",
                    kind(other)
                );
                self.report.error(op.span(), message, None);
                None
            }
        }
    }

    fn anonymous(&mut self, table: &mut Table<'r>, scope: &Scope, place: Range<usize>) -> Callee {
        let inside = Scope {
            locals: scope.locals.clone(),
            inputs: vec!["input".to_owned()],
            ..Scope::default()
        };
        let layers = self.layers(table, &inside, place);
        let index = self.program.definitions.len();
        self.program.definitions.push(Definition {
            name: "layers".to_owned(),
            anonymous: true,
            inputs: inside.inputs,
            layers,
            ..Definition::default()
        });
        Callee {
            target: Target::Definition(index),
            arguments: Vec::new(),
        }
    }

    fn chosen_operation(
        &mut self,
        mut choice: Table<'r>,
        span: Range<usize>,
        given: &[Entry<'r>],
        scope: &Scope,
        sites: &mut u32,
    ) -> Option<(Option<Site>, Vec<Callee>, &'r str)> {
        let mut site = self.site(&mut choice, "op", span.clone(), sites);
        let options = self.options(&mut choice, &span)?;
        choice.finish(&["choose", "name"], self.report);
        let (mut callees, mut labels) = (Vec::new(), Vec::new());
        for option in options {
            let (name, own, place) = match option.get_ref() {
                DeValue::String(name) => (name.as_ref(), Vec::new(), option.span()),
                DeValue::Table(table) => {
                    let mut table = Table::new(table, option.span());
                    let Some(op) = table.take("op") else {
                        self.report
                            .error(option.span(), "an option needs an `op`", None);
                        continue;
                    };
                    let Some(name) = text(op, "`op`", self.report) else {
                        continue;
                    };
                    (name, table.rest(), op.span())
                }
                other => {
                    let message = format!(
                        "an operation is a name or {{ op = ..., ... }}, not {}",
                        kind(other)
                    );
                    self.report.error(option.span(), message, None);
                    continue;
                }
            };
            let Some(target) = self.target(name, place.clone()) else {
                continue;
            };
            let shared = given
                .iter()
                .filter(|(key, ..)| !own.iter().any(|(it, ..)| it == key));
            // What the layer gives is for the options that know it; what an option gives is for it alone.
            let shared = shared.filter(|(key, ..)| self.takes(target, key)).cloned();
            let all: Vec<Entry<'r>> = own.iter().cloned().chain(shared).collect();
            labels.push(label_of(name, &own));
            callees.push(self.callee(target, &all, place, scope, sites));
        }
        for (key, span, _) in given {
            let known = callees.iter().any(|callee| self.takes(callee.target, key));
            if !known && !callees.is_empty() {
                self.report.error(
                    span.clone(),
                    format!("none of the options takes '{key}'"),
                    None,
                );
            }
        }
        site.options = Options::Callees(labels);
        Some((Some(site), callees, "op"))
    }

    fn takes(&self, target: Target, key: &str) -> bool {
        match target {
            Target::Primitive(index) => self.vocabulary.primitives[index]
                .arguments
                .iter()
                .any(|it| it.name == key),
            Target::Definition(index) => self.program.definitions[index]
                .arguments
                .iter()
                .any(|(name, _)| name == key),
        }
    }

    /// A target with its arguments, each checked.
    fn callee(
        &mut self,
        target: Target,
        given: &[Entry<'r>],
        place: Range<usize>,
        scope: &Scope,
        sites: &mut u32,
    ) -> Callee {
        let specs: Vec<(String, bool, Option<ArgumentSpec>)> = match target {
            Target::Primitive(index) => self.vocabulary.primitives[index]
                .arguments
                .iter()
                .map(|it| (it.name.to_owned(), it.default.is_some(), Some(it.clone())))
                .collect(),
            Target::Definition(index) => self.program.definitions[index]
                .arguments
                .iter()
                .map(|(name, default)| (name.clone(), default.is_some(), None))
                .collect(),
        };
        let mut arguments = vec![None; specs.len()];
        for (key, span, node) in given {
            let Some(index) = specs.iter().position(|(name, ..)| name == key) else {
                let known = specs.iter().map(|(name, ..)| name.as_str());
                let help = suggest(key, known.chain(LAYER_KEYS.iter().map(|(key, _)| *key)));
                self.report.error(
                    span.clone(),
                    format!("{} takes no '{key}'", self.called(target)),
                    help,
                );
                continue;
            };
            arguments[index] = match &specs[index].2 {
                Some(spec) => self.argument(node, spec, scope, sites),
                None => self.value(node, key, scope, sites),
            };
            if arguments[index].is_none() {
                // Told already; not told again as missing.
                arguments[index] = Some(Given::Word(0));
            }
        }
        for (index, (name, optional, _)) in specs.iter().enumerate() {
            if arguments[index].is_none() && !optional {
                let message = format!("{} needs '{name}'", self.called(target));
                self.report.error(place.clone(), message, None);
            }
        }
        Callee { target, arguments }
    }

    fn called(&self, target: Target) -> String {
        match target {
            Target::Primitive(index) => format!("'{}'", self.vocabulary.primitives[index].name),
            Target::Definition(index) => format!("'{}'", self.program.definitions[index].name),
        }
    }

    /// What `from` or `each` says.
    fn sources(
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
                    "a tensor is a name, -1, or a table with `choose` or `unused`, not {}",
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
        let mut site = self.site(&mut table, "from", span.clone(), sites);
        let Some(choose) = table.take("choose") else {
            self.report
                .error(span, "`choose` or `unused` was expected", None);
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
        let name = text(node, "a tensor", self.report)?;
        if let Some((_, layer)) = scope.layers.iter().find(|(it, _)| it == name) {
            return Some(Name::Layer(*layer));
        }
        if let Some(input) = scope.inputs.iter().position(|it| it == name) {
            return Some(Name::Input(input as u32));
        }
        if later.contains(&name) {
            let help = "a layer takes what comes before it; move the other one up".to_owned();
            self.report
                .error(node.span(), format!("'{name}' comes later"), Some(help));
        } else {
            let known = scope.layers.iter().map(|(name, _)| name.as_str());
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

/// A label that no layer of the list has yet.
fn unique(word: &str, labels: &mut Vec<String>) -> String {
    let mut label = word.to_owned();
    let mut number = 2;
    while labels.contains(&label) {
        label = format!("{word}_{number}");
        number += 1;
    }
    labels.push(label.clone());
    label
}

/// What an option is called: its name, and what it is given.
fn label_of(name: &str, own: &[Entry<'_>]) -> String {
    if own.is_empty() {
        return name.to_owned();
    }
    let given: Vec<String> = own
        .iter()
        .map(|(key, _, node)| format!("{key}={}", super::given::label(node)))
        .collect();
    format!("{name}({})", given.join(", "))
}
