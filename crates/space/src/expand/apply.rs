//! One application of a layer: of a primitive, or of a definition.

use super::{Applied, ExpandError, Expansion, Here};
use crate::discover::{DEPTH, OUTSIDE};
use crate::expression::Value;
use crate::program::{Callee, Layer, Options, Site, Target};
use crate::{Call, Path, Sink};

impl<S: Sink> Expansion<'_, S> {
    /// Applies a layer once; what it gives is the next tensor.
    pub(super) fn apply(
        &mut self,
        here: &Here<'_>,
        layer: &Layer,
        instance: u32,
        number: Option<usize>,
        inputs: (usize, usize),
    ) -> Result<(), Box<ExpandError>> {
        if here.depth > DEPTH {
            let message = format!(
                "blocks are in blocks, more than {DEPTH} deep; one that uses itself needs a `when` that ends it"
            );
            return Err(self.wrong(layer, number, message));
        }
        self.step(layer, number)?;
        let option = match &layer.op {
            None => 0,
            Some(site) => self
                .decision(here, instance, site.local)
                .map_or(0, |(_, choice)| choice),
        };
        let Some(callee) = layer.callees.get(option) else {
            return Err(self.wrong(layer, number, "the choice is not known".to_owned()));
        };
        let index = if layer.repeat.is_some() {
            i64::from(instance)
        } else {
            here.index
        };
        let place = Applied {
            layer,
            instance,
            number,
            index,
        };
        let node = match callee.target {
            Target::Primitive(primitive) => self
                .primitive(here, primitive, callee, place, inputs)
                .map_err(|message| self.wrong(layer, number, message))?,
            Target::Definition(target) => {
                let chooses = self.program.definitions[target].chooses;
                let context = here.context.filter(|_| chooses).and_then(|context| {
                    let place = (context, here.at, instance, option as u32);
                    self.decisions.contexts.get(&place).copied()
                });
                let around = self.enter(layer, number);
                self.path.push('/');
                let node = self.block(here, (target, context), callee, place, inputs, around)?;
                self.path.truncate(around);
                if self.program.definitions[target].is_cell {
                    self.sink
                        .cell(&self.inputs[inputs.0..inputs.1], node)
                        .map_err(|message| self.wrong(layer, number, message))?
                } else {
                    node
                }
            }
        };
        let node = match &layer.op {
            Some(site) => self
                .told(site, option, inputs, node)
                .map_err(|message| self.wrong(layer, number, message))?,
            None => node,
        };
        if let Some(weight) = &layer.auxiliary {
            let marked = self
                .evaluate(here, weight, index)
                .and_then(Value::number)
                .and_then(|weight| self.sink.auxiliary(node, weight));
            return marked
                .map_err(|message| self.wrong(layer, number, format!("`auxiliary`: {message}")));
        }
        self.give(here, node);
        Ok(())
    }

    /// Tells the sink which operation was chosen.
    fn told(
        &mut self,
        site: &Site,
        option: usize,
        inputs: (usize, usize),
        node: S::Node,
    ) -> Result<S::Node, String> {
        match &site.options {
            Options::Callees(labels) if option < labels.len() => {
                let inputs = &self.inputs[inputs.0..inputs.1];
                self.sink.chosen(&labels[option], inputs, node)
            }
            _ => Ok(node),
        }
    }

    /// Adds a layer to the path; the length that it had.
    fn enter(&mut self, layer: &Layer, number: Option<usize>) -> usize {
        let around = self.path.len();
        add_to_path(&mut self.path, layer, number);
        around
    }

    fn primitive(
        &mut self,
        here: &Here<'_>,
        primitive: usize,
        callee: &Callee,
        place: Applied<'_>,
        inputs: (usize, usize),
    ) -> Result<S::Node, String> {
        let mut arguments = std::mem::take(&mut self.arguments);
        arguments.clear();
        arguments.extend_from_slice(&callee.constants);
        for &argument in &callee.computed {
            let spec = &self.vocabulary.primitives[primitive].arguments[argument];
            if let Some(given) = &callee.arguments[argument] {
                let value = self.argument(here, spec.kind, given, place.instance, place.index);
                arguments[argument] =
                    Some(value.map_err(|message| format!("`{}`: {message}", spec.name))?);
            }
        }
        self.layers += 1;
        let around = self.enter(place.layer, place.number);
        let node = self.sink.layer(&Call {
            primitive,
            arguments: &arguments,
            inputs: &self.inputs[inputs.0..inputs.1],
            path: Path(&self.path),
        });
        self.arguments = arguments;
        self.path.truncate(around);
        node
    }

    /// Walks what a layer uses. The path leads there already; `around` is its length without the layer.
    fn block(
        &mut self,
        here: &Here<'_>,
        (target, context): (usize, Option<u32>),
        callee: &Callee,
        place: Applied<'_>,
        inputs: (usize, usize),
        around: usize,
    ) -> Result<S::Node, Box<ExpandError>> {
        let definition = &self.program.definitions[target];
        let depth = here.depth + 1;
        if definition.inputs.len() != inputs.1 - inputs.0 {
            let message = format!(
                "'{}' takes {} tensors ({}), and got {}",
                definition.name,
                definition.inputs.len(),
                definition.inputs.join(", "),
                inputs.1 - inputs.0
            );
            self.path.truncate(around);
            return Err(self.wrong(place.layer, place.number, message));
        }
        if definition.anonymous {
            return self.definition(target, context, here.slots, place.index, inputs, depth);
        }
        let slots = self.slots.len();
        for ((name, default), given) in definition.arguments.iter().zip(&callee.arguments) {
            let value = match (given, default) {
                (Some(given), _) => self.value(here, given, place.instance, place.index),
                (None, Some(default)) => self.default(&self.slots[slots..], default),
                (None, None) => Err("it is needed".to_owned()),
            };
            let value = value.map_err(|message| {
                self.path.truncate(around);
                self.wrong(place.layer, place.number, format!("`{name}`: {message}"))
            })?;
            self.slots.push(value);
        }
        let node = self.definition(target, context, slots, OUTSIDE, inputs, depth)?;
        self.slots.truncate(slots);
        Ok(node)
    }
}

pub(super) fn add_to_path(path: &mut String, layer: &Layer, number: Option<usize>) {
    path.push_str(&layer.label);
    if let Some(number) = number {
        let mut digits = [0; 20];
        path.push('.');
        path.push_str(decimal(number, &mut digits));
    }
}

/// A number in decimal, without the machinery of formatting: each layer has a path.
fn decimal(mut number: usize, digits: &mut [u8; 20]) -> &str {
    let mut at = digits.len();
    while at > 0 {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    std::str::from_utf8(&digits[at..]).unwrap_or_default()
}
