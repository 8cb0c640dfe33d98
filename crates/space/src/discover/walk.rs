//! The walk through the definitions: each layer with every repetition and every option.

use std::sync::Arc;

use super::existence::Existence;
use super::guard::{Closure, Frame, Guard, Seen, Symbol};
use super::limits::MOST_PARTS;
use super::{Instances, LET, Meaning, OUTSIDE, Place, Walker};
use crate::expression::{Expression, Value};
use crate::program::{Definition, Given, Layer, Options, Source, Target};

impl Walker<'_, '_> {
    pub(super) fn cell(&mut self, definition: usize) -> u32 {
        if let Some(context) = self.decisions.cells.get(&definition) {
            return *context;
        }
        let name = if definition == self.program.network {
            String::new()
        } else {
            self.program.definitions[definition].name.clone()
        };
        let context = self.context(name);
        self.decisions.cells.insert(definition, context);
        context
    }

    fn context(&mut self, path: String) -> u32 {
        self.steps += path.len() / 64;
        self.paths.push(path);
        (self.paths.len() - 1) as u32
    }

    pub(super) fn definition(
        &mut self,
        index: usize,
        context: u32,
        frame: Frame,
        guards: &[Guard],
        depth: usize,
    ) {
        let program = self.program;
        let definition = &program.definitions[index];
        if self.full {
            return;
        }
        let mut frame = Arc::new(frame);
        for (name, given) in &definition.locals {
            let symbol = match given {
                Given::Expression(expression) => self.symbol(expression, &frame),
                Given::Choose(site) => {
                    let place = (context, LET, 0, site.local);
                    self.value_site(site, place, false, name, &frame, guards)
                }
                _ => Symbol::Unknown,
            };
            Arc::make_mut(&mut frame).slots.push(symbol);
        }
        let mut instances: Vec<Instances> = Vec::new();
        for (number, layer) in definition.layers.iter().enumerate() {
            let found = self.layer(
                definition,
                number as u32,
                layer,
                context,
                &frame,
                &instances,
                guards,
                depth,
            );
            instances.push(found);
        }
    }

    /// A value that is known, or will be.
    pub(super) fn symbol(&mut self, expression: &Expression, frame: &Arc<Frame>) -> Symbol {
        let seen = expression.evaluate(&mut Seen { frame, prefix: &[] });
        match seen {
            Ok(Some(value)) => Symbol::Known(value),
            _ => {
                let closure = Closure::new(expression, frame);
                if closure.parts > MOST_PARTS {
                    self.entangled = true;
                    return Symbol::Unknown;
                }
                let mut on = Vec::new();
                closure.depends(&mut on);
                if on.is_empty() {
                    Symbol::Unknown
                } else {
                    Symbol::Later(closure)
                }
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn layer(
        &mut self,
        definition: &Definition,
        number: u32,
        layer: &Layer,
        context: u32,
        frame: &Arc<Frame>,
        before: &[Instances],
        guards: &[Guard],
        depth: usize,
    ) -> Instances {
        self.steps += 1 + guards.len();
        self.check_limits(layer, depth);
        if self.full {
            return None;
        }
        let closure = |expression: &Expression| Closure::new(expression, frame);
        let mut guards = guards.to_vec();
        let mut condition = None;
        if let Some(when) = &layer.when {
            let closure = closure(when);
            match closure.value(&[]) {
                Ok(Some(Value::Bool(false))) => return Some(vec![Vec::new()]),
                Ok(Some(_)) => {}
                _ => {
                    let mut on = Vec::new();
                    closure.depends(&mut on);
                    if !on.is_empty() {
                        guards.push(Guard::True(Arc::clone(&closure)));
                        condition = Some(closure);
                    }
                }
            }
        }
        let (count, repeat) = self.repetitions(number, layer, context, frame, &guards);
        let repeated = layer.repeat.is_some();
        let exists = Existence::new(condition, count, repeat.clone());
        let mut own: Vec<Vec<Guard>> = Vec::new();
        for instance in 0..count {
            self.steps += 1 + guards.len() + frame.slots.len();
            self.check_limits(layer, depth);
            if self.full {
                return None;
            }
            let mut guards = guards.clone();
            if let Some(repeat) = &repeat {
                guards.push(Guard::Beyond(Arc::clone(repeat), instance));
            }
            let index = if repeated {
                Some(i64::from(instance))
            } else {
                frame.index
            };
            let here = Arc::new(Frame {
                slots: frame.slots.clone(),
                index,
            });
            self.instance(
                definition,
                number,
                layer,
                context,
                (instance, repeated),
                &here,
                before,
                &own,
                &guards,
                depth,
            );
            own.push(exists.of(instance, instance == 0));
            if self.full {
                return None;
            }
        }
        if layer.each {
            own = self.each_instances(layer, before, count, &exists)?;
        }
        if own.is_empty() && exists.passes_on() {
            own.push(exists.of(0, true));
        }
        Some(own)
    }

    pub(super) fn chooses(&self, layer: &Layer) -> bool {
        layer.sites().next().is_some()
            || layer.callees.iter().any(|callee| match callee.target {
                Target::Definition(index) => self.program.definitions[index].chooses,
                Target::Primitive(_) => false,
            })
    }

    #[allow(clippy::too_many_arguments)]
    fn instance(
        &mut self,
        definition: &Definition,
        number: u32,
        layer: &Layer,
        context: u32,
        (instance, repeated): (u32, bool),
        frame: &Arc<Frame>,
        before: &[Instances],
        own: &[Vec<Guard>],
        guards: &[Guard],
        depth: usize,
    ) {
        let label = if repeated {
            format!("{}[{instance}]", layer.label)
        } else {
            layer.label.clone()
        };
        for source in layer.from.iter().flatten() {
            if let Source::Choose(site) = source {
                self.tensor_site(
                    definition, site, context, number, instance, &label, before, own, guards,
                );
            }
        }
        let mut chosen = None;
        if let Some(site) = &layer.op
            && let Options::Callees(labels) = &site.options
        {
            let mut found = self.found(
                site,
                context,
                &label,
                labels.clone(),
                Meaning::Callees,
                guards,
            );
            self.conditions(site, &mut found, frame);
            chosen = self.add(found, (context, number, instance, site.local), site);
        }
        for (option, callee) in layer.callees.iter().enumerate() {
            let mut guards = guards.to_vec();
            if let Some(id) = chosen
                && layer.callees.len() > 1
            {
                guards.push(Guard::Chosen(id, option as u32));
            }
            let mut symbols = Vec::new();
            for given in &callee.arguments {
                symbols.push(given.as_ref().map(|given| match given {
                    Given::Expression(expression) => self.symbol(expression, frame),
                    Given::Choose(site) => {
                        let place = (context, number, instance, site.local);
                        self.value_site(site, place, true, &label, frame, &guards)
                    }
                    given => {
                        for site in given.sites() {
                            let place = (context, number, instance, site.local);
                            self.value_site(site, place, true, &label, frame, &guards);
                        }
                        Symbol::Unknown
                    }
                }));
            }
            if let Target::Definition(target) = callee.target
                && self.program.definitions[target].chooses
            {
                let place = (context, number, instance, option as u32);
                self.use_definition(target, symbols, frame, place, &label, &guards, depth);
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn use_definition(
        &mut self,
        target: usize,
        symbols: Vec<Option<Symbol>>,
        around: &Arc<Frame>,
        place: Place,
        label: &str,
        guards: &[Guard],
        depth: usize,
    ) {
        let program = self.program;
        let definition = &program.definitions[target];
        let frame = if definition.anonymous {
            Frame::clone(around)
        } else {
            self.arguments(definition, symbols)
        };
        if definition.is_cell {
            let context = self.cell(target);
            self.decisions.contexts.insert(place, context);
            self.definition(target, context, frame, guards, depth + 1);
            return;
        }
        let context = match self.decisions.contexts.get(&place) {
            Some(context) => *context,
            None => {
                let around = &self.paths[place.0 as usize];
                let path = if around.is_empty() {
                    label.to_owned()
                } else {
                    format!("{around}/{label}")
                };
                let context = self.context(path);
                self.decisions.contexts.insert(place, context);
                context
            }
        };
        self.definition(target, context, frame, guards, depth + 1);
    }

    /// The frame of a definition that is used with these arguments, as far as they are given. A default
    /// knows the arguments before it alone.
    fn arguments(&mut self, definition: &Definition, symbols: Vec<Option<Symbol>>) -> Frame {
        let mut frame = Arc::new(Frame::default());
        let given = symbols.into_iter().chain(std::iter::repeat(None));
        for ((_, default), given) in definition.arguments.iter().zip(given) {
            let symbol = match (given, default) {
                (Some(symbol), _) => symbol,
                (None, Some(default)) => self.symbol(default, &frame),
                (None, None) => Symbol::Unknown,
            };
            Arc::make_mut(&mut frame).slots.push(symbol);
        }
        Frame {
            index: Some(OUTSIDE),
            ..Arc::unwrap_or_clone(frame)
        }
    }
}
