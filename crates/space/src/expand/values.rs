//! The values of arguments: expressions and choices.

use super::{Expansion, Here, Output};
use crate::expression::{Expression, Tensor, Value, Values};
use crate::program::{Given, Options, Site};
use crate::{Argument, ArgumentKind, Shape, Sink};

/// What the names of an expression stand for.
struct Known<'k, S: Sink> {
    slots: &'k [Value],
    tensors: &'k [Output<S::Node>],
    ranges: &'k [(u32, u32)],
    last: usize,
    index: i64,
    sink: &'k S,
    classes: usize,
}

impl<S: Sink> Values for Known<'_, S> {
    fn local(&mut self, slot: u32) -> Result<Option<Value>, String> {
        Ok(self.slots.get(slot as usize).copied())
    }

    fn index(&self) -> Option<i64> {
        Some(self.index)
    }

    fn classes(&self) -> Option<i64> {
        i64::try_from(self.classes).ok()
    }

    fn shape(&mut self, tensor: Tensor) -> Option<Shape> {
        let output = match tensor {
            Tensor::Last => self.tensors.get(self.last),
            Tensor::Input(index) => self.tensors.get(index as usize),
            Tensor::Layer(number) => {
                let (_, end) = self.ranges.get(number as usize)?;
                self.tensors.get((*end as usize).checked_sub(1)?)
            }
        };
        output.map(|output| self.sink.shape(output.node))
    }
}

impl<S: Sink> Expansion<'_, S> {
    pub(super) fn evaluate(
        &self,
        here: &Here<'_>,
        expression: &Expression,
        index: i64,
    ) -> Result<Value, String> {
        match expression {
            Expression::Constant(value) => return Ok(*value),
            Expression::Local(slot) => {
                if let Some(value) = self.slots.get(here.slots + *slot as usize) {
                    return Ok(*value);
                }
            }
            _ => {}
        }
        let mut known = Known {
            slots: self.slots.get(here.slots..).unwrap_or_default(),
            tensors: &self.tensors[here.tensors..],
            ranges: &self.ranges[here.ranges..],
            last: self.last(here),
            index,
            sink: &*self.sink,
            classes: self.classes,
        };
        expression
            .evaluate(&mut known)?
            .ok_or_else(|| "a shape that is asked for is not there".to_owned())
    }

    /// A value, chosen where it is a choice.
    pub(super) fn value(
        &self,
        here: &Here<'_>,
        given: &Given,
        instance: u32,
        index: i64,
    ) -> Result<Value, String> {
        match given {
            Given::Expression(expression) => self.evaluate(here, expression, index),
            Given::Choose(site) => match self.chosen(here, site, instance) {
                Some(given) => self.value(here, given, instance, index),
                None => Err("the choice is not known".to_owned()),
            },
            _ => Err("a number, true or false was expected".to_owned()),
        }
    }

    pub(super) fn decision(
        &self,
        here: &Here<'_>,
        instance: u32,
        local: u32,
    ) -> Option<(usize, usize)> {
        let id = *self
            .decisions
            .at
            .get(&(here.context?, here.at, instance, local))? as usize;
        Some((id, *self.choices.0.get(id)? as usize))
    }

    pub(super) fn chosen<'s>(
        &self,
        here: &Here<'_>,
        site: &'s Site,
        instance: u32,
    ) -> Option<&'s Given> {
        // What a `let` chooses is told apart by its number alone.
        let (_, choice) = self.decision(here, instance, site.local)?;
        match &site.options {
            Options::Values(options) => options.get(choice).map(|(given, _)| given),
            _ => None,
        }
    }

    pub(super) fn argument(
        &self,
        here: &Here<'_>,
        kind: ArgumentKind,
        given: &Given,
        instance: u32,
        index: i64,
    ) -> Result<Argument, String> {
        let whole = |given: &Given| {
            self.value(here, given, instance, index)
                .and_then(Value::count)
        };
        match given {
            Given::Choose(site) => match self.chosen(here, site, instance) {
                Some(given) => self.argument(here, kind, given, instance, index),
                None => Err("the choice is not known".to_owned()),
            },
            Given::Word(word) => Ok(Argument::Word(*word)),
            Given::Pair(parts) => Ok(Argument::Pair([whole(&parts[0])?, whole(&parts[1])?])),
            Given::Sides(parts) => Ok(Argument::Sides([
                whole(&parts[0])?,
                whole(&parts[1])?,
                whole(&parts[2])?,
                whole(&parts[3])?,
            ])),
            Given::Expression(expression) => self.evaluate(here, expression, index)?.argument(kind),
        }
    }

    /// A default, which may use the arguments before it.
    pub(super) fn default(&self, slots: &[Value], default: &Expression) -> Result<Value, String> {
        if let Expression::Constant(value) = default {
            return Ok(*value);
        }
        struct Earlier<'e>(&'e [Value], usize);
        impl Values for Earlier<'_> {
            fn local(&mut self, slot: u32) -> Result<Option<Value>, String> {
                Ok(self.0.get(slot as usize).copied())
            }
            fn classes(&self) -> Option<i64> {
                i64::try_from(self.1).ok()
            }
        }
        default
            .evaluate(&mut Earlier(slots, self.classes))?
            .ok_or_else(|| "its default is not known".to_owned())
    }
}
