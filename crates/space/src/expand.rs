//! From choices to primitive layers: the network is walked once more, now with everything known.

use crate::discover::{DEPTH, Decisions, LET, Meaning};
use crate::expression::{Expression, Tensor, Value, Values};
use crate::program::{Callee, Definition, Given, Layer, Name, Program, Site, Source, Target};
use crate::{Argument, ArgumentKind, Call, Choices, Path, Shape, Sink, Vocabulary};

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

/// What the names of an expression stand for.
struct Known<'k, S: Sink> {
    slots: &'k [Value],
    tensors: &'k [Output<S::Node>],
    ranges: &'k [(u32, u32)],
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
            Tensor::Last => self.tensors.last(),
            Tensor::Input(index) => self.tensors.get(index as usize),
            Tensor::Layer(number) => {
                let (_, end) = self.ranges.get(number as usize)?;
                self.tensors.get((*end as usize).checked_sub(1)?)
            }
        };
        output.map(|output| self.sink.shape(output.node))
    }
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
    pub fn run(&mut self, input: S::Node) -> Result<S::Node, ExpandError> {
        let network = self.program.network;
        let context = self.decisions.cells.get(&network).copied();
        self.inputs.push(input);
        self.definition(network, context, 0, 0, (0, 1), 0)
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
    ) -> Result<S::Node, ExpandError> {
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
        let output = self.tensors.last().map(|output| output.node);
        self.tensors.truncate(here.tensors);
        self.ranges.truncate(here.ranges);
        output.ok_or_else(|| ExpandError {
            layer: definition.name.clone(),
            span: 0..0,
            message: "it gives no output".to_owned(),
        })
    }

    fn wrong(&self, layer: &Layer, instance: Option<usize>, message: String) -> ExpandError {
        let mut path = self.path.clone();
        add_to_path(&mut path, layer, instance);
        ExpandError {
            layer: path,
            span: layer.span.clone(),
            message,
        }
    }

    fn evaluate(
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
            index,
            sink: &*self.sink,
            classes: self.classes,
        };
        expression
            .evaluate(&mut known)?
            .ok_or_else(|| "a shape that is asked for is not there".to_owned())
    }

    /// A value, chosen where it is a choice.
    fn value(
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

    fn decision(&self, here: &Here<'_>, instance: u32, local: u32) -> Option<(usize, usize)> {
        let id = *self
            .decisions
            .at
            .get(&(here.context?, here.at, instance, local))? as usize;
        Some((id, *self.choices.0.get(id)? as usize))
    }

    fn chosen<'s>(&self, here: &Here<'_>, site: &'s Site, instance: u32) -> Option<&'s Given> {
        // What a `let` chooses is told apart by its number alone.
        let (_, choice) = self.decision(here, instance, site.local)?;
        match &site.options {
            crate::program::Options::Values(options) => options.get(choice).map(|(given, _)| given),
            _ => None,
        }
    }

    fn layer(&mut self, here: &Here<'_>, layer: &Layer) -> Result<(), ExpandError> {
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
        for instance in 0..count {
            let repetition = layer.repeat.as_ref().map(|_| instance);
            let inputs = self
                .inputs(here, layer, instance as u32)
                .map_err(|message| self.wrong(layer, repetition, message))?;
            if layer.each {
                for number in 0..inputs.1 - inputs.0 {
                    let one = (inputs.0 + number, inputs.0 + number + 1);
                    self.apply(here, layer, instance as u32, Some(number), one)?;
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

    /// Puts the tensors that a layer takes on the stack of inputs: their range there. They count as
    /// taken from now on.
    fn inputs(
        &mut self,
        here: &Here<'_>,
        layer: &Layer,
        instance: u32,
    ) -> Result<(usize, usize), String> {
        let mut found = std::mem::take(&mut self.found);
        found.clear();
        match &layer.from {
            None => {
                // A block with several inputs begins with the first of them.
                let own = here.definition.inputs.len();
                let count = self.tensors.len() - here.tensors;
                found.push(if count == own { 0 } else { count - 1 });
            }
            Some(sources) => {
                for source in sources {
                    self.source(here, source, instance, &mut found)?;
                }
            }
        }
        if found.is_empty() && !layer.chooses_tensors() {
            return Err("there is nothing yet that it could take".to_owned());
        }
        self.steps += found.len();
        if self.steps > MOST_STEPS {
            return Err("too many tensors are taken by too many layers".to_owned());
        }
        let begin = self.inputs.len();
        for index in &found {
            let output = &mut self.tensors[here.tensors + index];
            output.taken = true;
            self.inputs.push(output.node);
        }
        self.found = found;
        Ok((begin, self.inputs.len()))
    }

    fn source(
        &self,
        here: &Here<'_>,
        source: &Source,
        instance: u32,
        found: &mut Vec<usize>,
    ) -> Result<(), String> {
        match source {
            Source::Back(back) => {
                let own = here.definition.inputs.len();
                let count = self.tensors.len() - here.tensors;
                let index = count.checked_sub(*back).filter(|index| *index >= own);
                found.push(index.unwrap_or(0));
            }
            Source::Named(name) => {
                let (begin, end) = self.range(here, *name);
                // A repeated layer may take what it gave before: nothing, the first time.
                if begin == end && *name != Name::Layer(here.at) {
                    return Err("a layer that it takes was repeated 0 times".to_owned());
                }
                found.extend(begin..end);
            }
            Source::Unused(names) => {
                let before = found.len();
                for name in names {
                    let (begin, end) = self.range(here, *name);
                    let tensors = &self.tensors[here.tensors..];
                    found.extend((begin..end).filter(|index| !tensors[*index].taken));
                }
                if found.len() == before {
                    return Err("nothing is left that is unused".to_owned());
                }
            }
            Source::Choose(site) => self.chosen_tensors(here, site, instance, found)?,
        }
        Ok(())
    }

    fn chosen_tensors(
        &self,
        here: &Here<'_>,
        site: &Site,
        instance: u32,
        found: &mut Vec<usize>,
    ) -> Result<(), String> {
        let lost = || "the choice is not known".to_owned();
        let at = |name: Name, index: u32| {
            let (begin, end) = self.range(here, name);
            let index = begin + index as usize;
            if index < end {
                Ok(index)
            } else {
                Err("a tensor that was chosen is not there".to_owned())
            }
        };
        if let crate::program::Options::Subset { .. } = site.options {
            for member in 0.. {
                let local = (site.local << 16) + 0x8000 + member;
                let Some((id, choice)) = self.decision(here, instance, local) else {
                    break;
                };
                if let (Meaning::Member(name, index), 1) =
                    (&self.decisions.list[id].meaning, choice)
                {
                    found.push(at(*name, *index)?);
                }
            }
            return Ok(());
        }
        let (id, choice) = self.decision(here, instance, site.local).ok_or_else(lost)?;
        let Meaning::Tensors(options) = &self.decisions.list[id].meaning else {
            return Err(lost());
        };
        for (name, index) in options.get(choice).ok_or_else(lost)? {
            found.push(at(*name, *index)?);
        }
        Ok(())
    }

    /// Applies a layer once; what it gives is the next tensor.
    fn apply(
        &mut self,
        here: &Here<'_>,
        layer: &Layer,
        instance: u32,
        number: Option<usize>,
        inputs: (usize, usize),
    ) -> Result<(), ExpandError> {
        self.steps += 1;
        if self.steps > MOST_STEPS || self.layers > MOST_LAYERS || here.depth > DEPTH {
            let message = format!(
                "there are too many layers: at most {MOST_LAYERS}, in blocks of at most {DEPTH} blocks"
            );
            return Err(self.wrong(layer, number, message));
        }
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
                let context = here.context.and_then(|context| {
                    let place = (context, here.at, instance, option as u32);
                    self.decisions.contexts.get(&place).copied()
                });
                let around = self.enter(layer, number);
                self.path.push('/');
                let node = self.block(here, (target, context), callee, place, inputs, around)?;
                self.path.truncate(around);
                node
            }
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
        let specs = &self.vocabulary.primitives[primitive].arguments;
        let mut arguments = std::mem::take(&mut self.arguments);
        arguments.clear();
        for (spec, given) in specs.iter().zip(&callee.arguments) {
            arguments.push(match given {
                None => None,
                Some(given) => {
                    let value = self.argument(here, spec.kind, given, place.instance, place.index);
                    Some(value.map_err(|message| format!("`{}`: {message}", spec.name))?)
                }
            });
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

    fn argument(
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
            Given::Expression(expression) => {
                let value = self.evaluate(here, expression, index)?;
                Ok(match kind {
                    ArgumentKind::Whole => Argument::Whole(value.count()?),
                    ArgumentKind::Number => Argument::Number(value.number()?),
                    ArgumentKind::Bool => Argument::Bool(value.truth()?),
                    ArgumentKind::Pair => Argument::Pair([value.count()?; 2]),
                    ArgumentKind::Padding(_) => Argument::Sides([value.count()?; 4]),
                    ArgumentKind::Word(_) => return Err("a word was expected".to_owned()),
                })
            }
        }
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
    ) -> Result<S::Node, ExpandError> {
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
        let node = self.definition(target, context, slots, 0, inputs, depth)?;
        self.slots.truncate(slots);
        Ok(node)
    }

    /// A default, which may use the arguments before it.
    fn default(&self, slots: &[Value], default: &Expression) -> Result<Value, String> {
        if let Expression::Constant(value) = default {
            return Ok(*value);
        }
        struct Earlier<'e>(&'e [Value], usize);
        impl Values for Earlier<'_> {
            fn local(&mut self, slot: u32) -> Result<Option<Value>, String> {
                Ok(self.0.get(slot as usize).copied())
            }
            fn index(&self) -> Option<i64> {
                None
            }
            fn classes(&self) -> Option<i64> {
                i64::try_from(self.1).ok()
            }
            fn shape(&mut self, _: Tensor) -> Option<Shape> {
                None
            }
        }
        default
            .evaluate(&mut Earlier(slots, self.classes))?
            .ok_or_else(|| "its default is not known".to_owned())
    }

    /// The tensors that a name stands for, as a range of the definition's.
    fn range(&self, here: &Here<'_>, name: Name) -> (usize, usize) {
        match name {
            Name::Input(index) => (index as usize, index as usize + 1),
            Name::Layer(number) => self
                .ranges
                .get(here.ranges + number as usize)
                .map_or((0, 0), |(begin, end)| (*begin as usize, *end as usize)),
        }
    }
}

fn add_to_path(path: &mut String, layer: &Layer, number: Option<usize>) {
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
