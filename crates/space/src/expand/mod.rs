//! From choices to primitive layers: the network is walked once more, now with everything known.

use crate::discover::{Decisions, LET, OUTSIDE};
use crate::expression::Value;
use crate::program::{Definition, Layer, Program};
use crate::{Argument, Choices, Sink, Vocabulary};

mod apply;
mod inputs;
mod values;

use apply::add_to_path;

/// More layers than this are refused.
const MOST_LAYERS: usize = 100_000;
/// More applications of anything than this are refused.
const MOST_STEPS: usize = 2_000_000;

/// Why an architecture cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("in layer {layer}: {message}")]
pub struct ExpandError {
    /// The layer's place, from the network down through the blocks.
    pub layer: String,
    /// The layer's place in the file, in bytes.
    pub span: std::ops::Range<usize>,
    /// What is wrong and what to do about it.
    pub message: String,
}

/// One architecture under way. What the definitions under way know lies on stacks, so that a layer
/// needs no memory of its own.
pub(crate) struct Expansion<'x, S: Sink> {
    program: &'x Program,
    vocabulary: &'x Vocabulary,
    decisions: &'x Decisions,
    choices: &'x Choices,
    classes: usize,
    sink: &'x mut S,
    layers: usize,
    steps: usize,
    /// The path down to the definition that is walked, with a slash at its end.
    path: String,
    /// Arguments and `let`s.
    slots: Vec<Value>,
    /// The tensors in order: the inputs, then what each layer gave.
    tensors: Vec<Output<S::Node>>,
    /// The tensors of each layer so far, as a range of those of its definition.
    ranges: Vec<(u32, u32)>,
    /// The inputs of the layers that are applied.
    inputs: Vec<S::Node>,
    /// For one layer at a time: the tensors that it takes, and its arguments.
    found: Vec<usize>,
    arguments: Vec<Option<Argument>>,
}

/// Where a definition is walked: what its names stand for. Its part of each stack begins at the number
/// given here.
#[derive(Clone, Copy)]
struct Here<'x> {
    definition: &'x Definition,
    /// The context of its decisions; none where nothing is chosen.
    context: Option<u32>,
    index: i64,
    slots: usize,
    tensors: usize,
    ranges: usize,
    /// The number of the layer that is walked.
    at: u32,
    depth: usize,
}

#[derive(Clone, Copy)]
struct Output<N> {
    node: N,
    taken: bool,
}

impl<'x, S: Sink> Expansion<'x, S> {
    pub fn new(
        program: &'x Program,
        vocabulary: &'x Vocabulary,
        decisions: &'x Decisions,
        choices: &'x Choices,
        classes: usize,
        sink: &'x mut S,
    ) -> Self {
        Expansion {
            program,
            vocabulary,
            decisions,
            choices,
            classes,
            sink,
            layers: 0,
            steps: 0,
            path: String::with_capacity(128),
            slots: Vec::with_capacity(64),
            tensors: Vec::with_capacity(256),
            ranges: Vec::with_capacity(128),
            inputs: Vec::with_capacity(64),
            found: Vec::with_capacity(16),
            arguments: Vec::with_capacity(16),
        }
    }

    /// Walks the network; its output.
    pub fn run(&mut self, input: S::Node) -> Result<S::Node, Box<ExpandError>> {
        let network = self.program.network;
        let context = self.decisions.cells.get(&network).copied();
        self.inputs.push(input);
        self.definition(network, context, 0, OUTSIDE, (0, 1), 0)
    }

    /// Walks a definition whose slots begin at `slots`, with a range of the inputs.
    fn definition(
        &mut self,
        index: usize,
        context: Option<u32>,
        slots: usize,
        repetition: i64,
        inputs: (usize, usize),
        depth: usize,
    ) -> Result<S::Node, Box<ExpandError>> {
        let definition = &self.program.definitions[index];
        let mut here = Here {
            definition,
            context,
            index: repetition,
            slots,
            tensors: self.tensors.len(),
            ranges: self.ranges.len(),
            at: LET,
            depth,
        };
        for node in &self.inputs[inputs.0..inputs.1] {
            let (node, taken) = (*node, false);
            self.tensors.push(Output { node, taken });
        }
        for (name, given) in &definition.locals {
            let value = self.value(&here, given, 0, repetition).map_err(|message| {
                let message = format!("`{name}`: {message}");
                self.wrong(&definition.layers[0], None, message)
            })?;
            self.slots.push(value);
        }
        for (number, layer) in definition.layers.iter().enumerate() {
            here.at = number as u32;
            self.layer(&here, layer)?;
        }
        let output = self.tensors.get(here.tensors + self.last(&here));
        let output = output.map(|output| output.node);
        self.tensors.truncate(here.tensors);
        self.ranges.truncate(here.ranges);
        output.ok_or_else(|| {
            Box::new(ExpandError {
                layer: definition.name.clone(),
                span: 0..0,
                message: "it gives no output".to_owned(),
            })
        })
    }

    /// Counts an application of a layer, or that there is none: both take time.
    fn step(&mut self, layer: &Layer, number: Option<usize>) -> Result<(), Box<ExpandError>> {
        self.steps += 1;
        if self.steps > MOST_STEPS || self.layers > MOST_LAYERS {
            let message = format!("there are too many layers, more than {MOST_LAYERS}");
            return Err(self.wrong(layer, number, message));
        }
        Ok(())
    }

    /// Which tensor is the last of a definition, among all of it: the first input where its layers gave
    /// nothing yet.
    fn last(&self, here: &Here<'_>) -> usize {
        let count = self.tensors.len() - here.tensors;
        if count == here.definition.inputs.len() {
            0
        } else {
            count - 1
        }
    }

    fn wrong(&self, layer: &Layer, instance: Option<usize>, message: String) -> Box<ExpandError> {
        let mut path = self.path.clone();
        add_to_path(&mut path, layer, instance);
        Box::new(ExpandError {
            layer: path,
            span: layer.span.clone(),
            message,
        })
    }

    fn layer(&mut self, here: &Here<'_>, layer: &Layer) -> Result<(), Box<ExpandError>> {
        let begin = (self.tensors.len() - here.tensors) as u32;
        // While the layer is walked its name stands for what it has given so far.
        self.ranges.push((begin, begin));
        let skip = match &layer.when {
            None => false,
            Some(when) => {
                let truth = self.evaluate(here, when, here.index).and_then(Value::truth);
                !truth.map_err(|message| self.wrong(layer, None, format!("`when`: {message}")))?
            }
        };
        if skip {
            self.step(layer, None)?;
            if layer.auxiliary.is_none() {
                let (begin, _) = self
                    .inputs(here, layer, 0)
                    .map_err(|message| self.wrong(layer, None, message))?;
                let first = self.inputs.get(begin).copied();
                self.inputs.truncate(begin);
                match first {
                    Some(node) => self.give(here, node),
                    None => {
                        let message = "there is nothing to pass on".to_owned();
                        return Err(self.wrong(layer, None, message));
                    }
                }
            }
            return Ok(());
        }
        let count = match &layer.repeat {
            None => 1,
            Some(given) => {
                let count = self
                    .value(here, given, 0, here.index)
                    .and_then(Value::count);
                count.map_err(|message| self.wrong(layer, None, format!("`repeat`: {message}")))?
            }
        };
        if count == 0 {
            self.step(layer, None)?;
        }
        // The number of an `each` layer's application counts through all repetitions: names differ.
        let mut applied = 0;
        for instance in 0..count {
            let repetition = layer.repeat.as_ref().map(|_| instance);
            let inputs = self
                .inputs(here, layer, instance as u32)
                .map_err(|message| self.wrong(layer, repetition, message))?;
            if layer.each {
                for number in 0..inputs.1 - inputs.0 {
                    let one = (inputs.0 + number, inputs.0 + number + 1);
                    self.apply(here, layer, instance as u32, Some(applied), one)?;
                    applied += 1;
                }
            } else {
                self.apply(here, layer, instance as u32, repetition, inputs)?;
            }
            self.inputs.truncate(inputs.0);
        }
        Ok(())
    }

    /// Notes what a layer gives: the next tensor.
    fn give(&mut self, here: &Here<'_>, node: S::Node) {
        let taken = false;
        self.tensors.push(Output { node, taken });
        self.ranges[here.ranges + here.at as usize].1 += 1;
    }
}

/// One application of a layer.
#[derive(Clone, Copy)]
struct Applied<'x> {
    layer: &'x Layer,
    /// Which repetition, for its decisions.
    instance: u32,
    /// Which one, for its path.
    number: Option<usize>,
    /// What `index` is in its arguments.
    index: i64,
}
