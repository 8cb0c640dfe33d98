//! What a layer applies: an operation with its arguments, layers of its own, or one of several.

use std::ops::Range;

use toml::de::DeValue;

use super::{LAYER_KEYS, Resolver, Scope};
use crate::ArgumentSpec;
use crate::diagnostic::{foreign, suggest};
use crate::document::{Node, Table, kind, text};
use crate::program::{Callee, Definition, Given, Options, Site, Target};

/// An argument as the file gives it: its key, the key's place, its value.
type Entry<'r> = (&'r str, Range<usize>, Node<'r>);

impl<'r> Resolver<'r, '_> {
    /// `op` or `layers`, with the arguments: the place where it is chosen, the callees, and a word for
    /// it.
    pub(super) fn operation(
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
                if scope.locals.iter().any(|it| it == name) && !self.is_operation(name) {
                    let message = format!("'{name}' is a value here, not an operation");
                    let help = "values are numbers and truth values; choose between operations with `choose`, or with `when` on a layer of each";
                    self.report.error(op.span(), message, Some(help.to_owned()));
                    return None;
                }
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
        Callee::new(Target::Definition(index), Vec::new())
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
        let (mut callees, mut labels, mut conditions) = (Vec::new(), Vec::new(), Vec::new());
        for option in options {
            let mut condition = None;
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
                    let when = table.take("when");
                    condition = when.and_then(|when| self.expression(when, scope));
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
            conditions.push(condition);
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
        if conditions.iter().any(Option::is_some) {
            site.conditions = conditions;
        }
        site.options = Options::Callees(labels);
        Some((Some(site), callees, "op"))
    }

    fn is_operation(&self, name: &str) -> bool {
        self.definitions.contains_key(name) || self.vocabulary.find(name).is_some()
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
                let help = match target {
                    Target::Primitive(_) => foreign(key),
                    Target::Definition(_) => None,
                };
                let help = help
                    .or_else(|| suggest(key, known.chain(LAYER_KEYS.iter().map(|(key, _)| *key))));
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
        let mut callee = Callee::new(target, arguments);
        if let Target::Primitive(index) = target {
            callee.find_constants(&self.vocabulary.primitives[index].arguments);
        }
        callee
    }

    fn called(&self, target: Target) -> String {
        match target {
            Target::Primitive(index) => format!("'{}'", self.vocabulary.primitives[index].name),
            Target::Definition(index) => format!("'{}'", self.program.definitions[index].name),
        }
    }
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
