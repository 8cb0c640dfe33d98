//! From choices to primitive layers: the network is walked once more, now with everything known.

use crate::discover::{DEPTH, Decisions, LET, Meaning, Place};
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

/// One architecture under way.
pub(crate) struct Expansion<'x, S: Sink> {
    pub program: &'x Program,
    pub vocabulary: &'x Vocabulary,
    pub decisions: &'x Decisions,
    pub choices: &'x Choices,
    pub classes: usize,
    pub sink: &'x mut S,
    pub layers: usize,
    pub steps: usize,
}

/// Where a definition is walked: what its names stand for.
struct Here<'h, N> {
    definition: &'h Definition,
    /// The context of its decisions; none where nothing is chosen.
    context: Option<u32>,
    slots: &'h [Value],
    index: i64,
    path: Option<&'h Path<'h>>,
    /// The tensors in order: the inputs, then what each layer gave.
    tensors: Vec<Output<N>>,
    /// The tensors of each layer so far, as a range of the above.
    layers: Vec<(u32, u32)>,
    /// The number of the layer that is walked.
    at: u32,
}

#[derive(Clone, Copy)]
struct Output<N> {
    node: N,
    taken: bool,
}

/// What the names of an expression stand for.
struct Known<'k, 'h, S: Sink> {
    here: &'k Here<'h, S::Node>,
    index: i64,
    sink: &'k S,
    classes: usize,
}

impl<S: Sink> Values for Known<'_, '_, S> {
    fn local(&mut self, slot: u32) -> Result<Option<Value>, String> {
        Ok(self.here.slots.get(slot as usize).copied())
    }

    fn index(&self) -> Option<i64> {
        Some(self.index)
    }

    fn classes(&self) -> Option<i64> {
        i64::try_from(self.classes).ok()
    }

    fn shape(&mut self, tensor: Tensor) -> Option<Shape> {
        let output = match tensor {
            Tensor::Last => self.here.tensors.last(),
            Tensor::Input(index) => self.here.tensors.get(index as usize),
            Tensor::Layer(number) => {
                let (_, end) = self.here.layers.get(number as usize)?;
                self.here.tensors.get((*end as usize).checked_sub(1)?)
            }
        };
        output.map(|output| self.sink.shape(output.node))
    }
}

impl<'x, S: Sink> Expansion<'x, S> {
    /// Walks the network; its output.
    pub fn run(&mut self, input: S::Node) -> Result<S::Node, ExpandError> {
        let network = self.program.network;
        let context = self.decisions.cells.get(&network).copied();
        self.definition(network, context, &[], 0, vec![input], None, 0)
    }

    #[allow(clippy::too_many_arguments)]
    fn definition(
        &mut self,
        index: usize,
        context: Option<u32>,
        arguments: &[Value],
        repetition: i64,
        inputs: Vec<S::Node>,
        path: Option<&Path<'_>>,
        depth: usize,
    ) -> Result<S::Node, ExpandError> {
        let definition = &self.program.definitions[index];
        let mut slots = arguments.to_vec();
        let tensors: Vec<_> = inputs
            .into_iter()
            .map(|node| Output { node, taken: false })
            .collect();
        for (name, given) in &definition.locals {
            let here = Here {
                definition,
                context,
                slots: &slots,
                index: repetition,
                path,
                tensors: tensors.clone(),
                layers: Vec::new(),
                at: LET,
            };
            let value = self.value(&here, given, 0, repetition).map_err(|message| {
                self.wrong(
                    &here,
                    &definition.layers[0],
                    None,
                    format!("`{name}`: {message}"),
                )
            })?;
            slots.push(value);
        }
        let mut here = Here {
            definition,
            context,
            slots: &slots,
            index: repetition,
            path,
            tensors,
            layers: Vec::with_capacity(definition.layers.len()),
            at: 0,
        };
        for (number, layer) in definition.layers.iter().enumerate() {
            here.at = number as u32;
            self.layer(&mut here, layer, depth)?;
        }
        match here.tensors.last() {
            Some(output) => Ok(output.node),
            None => Err(ExpandError {
                layer: definition.name.clone(),
                span: 0..0,
                message: "it gives no output".to_owned(),
            }),
        }
    }

    fn wrong(
        &self,
        here: &Here<'_, S::Node>,
        layer: &Layer,
        instance: Option<usize>,
        message: String,
    ) -> ExpandError {
        let path = Path {
            parent: here.path,
            name: &layer.label,
            instance,
        };
        ExpandError {
            layer: path.to_string(),
            span: layer.span.clone(),
            message,
        }
    }

    fn evaluate(
        &self,
        here: &Here<'_, S::Node>,
        expression: &Expression,
        index: i64,
    ) -> Result<Value, String> {
        if let Expression::Constant(value) = expression {
            return Ok(*value);
        }
        let mut known = Known {
            here,
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
        here: &Here<'_, S::Node>,
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

    fn decision(
        &self,
        here: &Here<'_, S::Node>,
        instance: u32,
        local: u32,
    ) -> Option<(usize, usize)> {
        let id = *self
            .decisions
            .at
            .get(&(here.context?, here.at, instance, local))? as usize;
        Some((id, *self.choices.0.get(id)? as usize))
    }

    fn chosen<'s>(
        &self,
        here: &Here<'_, S::Node>,
        site: &'s Site,
        instance: u32,
    ) -> Option<&'s Given> {
        // What a `let` chooses is told apart by its number alone.
        let (_, choice) = self.decision(here, instance, site.local)?;
        match &site.options {
            crate::program::Options::Values(options) => options.get(choice).map(|(given, _)| given),
            _ => None,
        }
    }

    fn layer(
        &mut self,
        here: &mut Here<'_, S::Node>,
        layer: &Layer,
        depth: usize,
    ) -> Result<(), ExpandError> {
        let begin = here.tensors.len() as u32;
        // While the layer is walked its name stands for what it has given so far.
        here.layers.push((begin, begin));
        let skip = match &layer.when {
            None => false,
            Some(when) => {
                let truth = self.evaluate(here, when, here.index).and_then(Value::truth);
                !truth.map_err(|message| {
                    self.wrong(here, layer, None, format!("`when`: {message}"))
                })?
            }
        };
        if skip {
            if layer.auxiliary.is_none() {
                let inputs = self
                    .inputs(here, layer, 0)
                    .map_err(|message| self.wrong(here, layer, None, message))?;
                let first = inputs.first().copied();
                let node = first.ok_or_else(|| {
                    self.wrong(here, layer, None, "there is nothing to pass on".to_owned())
                })?;
                here.tensors.push(Output { node, taken: false });
                here.layers[here.at as usize].1 += 1;
            }
            return Ok(());
        }
        let count = match &layer.repeat {
            None => 1,
            Some(given) => {
                let count = self
                    .value(here, given, 0, here.index)
                    .and_then(Value::count);
                count.map_err(|message| {
                    self.wrong(here, layer, None, format!("`repeat`: {message}"))
                })?
            }
        };
        for instance in 0..count {
            let repetition = layer.repeat.as_ref().map(|_| instance);
            let inputs = self
                .inputs(here, layer, instance as u32)
                .map_err(|message| self.wrong(here, layer, repetition, message))?;
            if layer.each {
                for (number, input) in inputs.into_iter().enumerate() {
                    self.apply(
                        here,
                        layer,
                        instance as u32,
                        Some(number),
                        vec![input],
                        depth,
                    )?;
                }
            } else {
                self.apply(here, layer, instance as u32, repetition, inputs, depth)?;
            }
        }
        Ok(())
    }

    /// The tensors that a layer takes; they count as taken from now on.
    fn inputs(
        &mut self,
        here: &mut Here<'_, S::Node>,
        layer: &Layer,
        instance: u32,
    ) -> Result<Vec<S::Node>, String> {
        let mut found: Vec<usize> = Vec::new();
        match &layer.from {
            None => {
                // A block with several inputs begins with the first of them.
                let own = here.definition.inputs.len();
                found.push(if here.tensors.len() == own {
                    0
                } else {
                    here.tensors.len() - 1
                });
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
        Ok(found
            .into_iter()
            .map(|index| {
                here.tensors[index].taken = true;
                here.tensors[index].node
            })
            .collect())
    }

    fn source(
        &self,
        here: &Here<'_, S::Node>,
        source: &Source,
        instance: u32,
        found: &mut Vec<usize>,
    ) -> Result<(), String> {
        match source {
            Source::Back(back) => {
                let own = here.definition.inputs.len();
                let index = here
                    .tensors
                    .len()
                    .checked_sub(*back)
                    .filter(|index| *index >= own);
                found.push(index.unwrap_or(0));
            }
            Source::Named(name) => {
                let (begin, end) = range(here, *name);
                // A repeated layer may take what it gave before: nothing, the first time.
                if begin == end && *name != Name::Layer(here.at) {
                    return Err("a layer that it takes was repeated 0 times".to_owned());
                }
                found.extend(begin..end);
            }
            Source::Unused(names) => {
                let before = found.len();
                for name in names {
                    let (begin, end) = range(here, *name);
                    found.extend((begin..end).filter(|index| !here.tensors[*index].taken));
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
        here: &Here<'_, S::Node>,
        site: &Site,
        instance: u32,
        found: &mut Vec<usize>,
    ) -> Result<(), String> {
        let lost = || "the choice is not known".to_owned();
        let at = |name: Name, index: u32| {
            let (begin, end) = range(here, name);
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
        here: &mut Here<'_, S::Node>,
        layer: &Layer,
        instance: u32,
        number: Option<usize>,
        inputs: Vec<S::Node>,
        depth: usize,
    ) -> Result<(), ExpandError> {
        self.steps += 1;
        if self.steps > MOST_STEPS || self.layers > MOST_LAYERS || depth > DEPTH {
            let message = format!(
                "there are too many layers: at most {MOST_LAYERS}, in blocks of at most {DEPTH} blocks"
            );
            return Err(self.wrong(here, layer, number, message));
        }
        let option = match &layer.op {
            None => 0,
            Some(site) => self
                .decision(here, instance, site.local)
                .map_or(0, |(_, choice)| choice),
        };
        let Some(callee) = layer.callees.get(option) else {
            return Err(self.wrong(here, layer, number, "the choice is not known".to_owned()));
        };
        let index = if layer.repeat.is_some() {
            i64::from(instance)
        } else {
            here.index
        };
        let path = Path {
            parent: here.path,
            name: &layer.label,
            instance: number,
        };
        let node = match callee.target {
            Target::Primitive(primitive) => self
                .primitive(here, primitive, callee, instance, index, &inputs, path)
                .map_err(|message| self.wrong(here, layer, number, message))?,
            Target::Definition(target) => {
                let place = here
                    .context
                    .map(|context| (context, here.at, instance, option as u32));
                self.block(
                    here,
                    target,
                    callee,
                    instance,
                    index,
                    (inputs, place, path, depth),
                    layer,
                )?
            }
        };
        if let Some(weight) = &layer.auxiliary {
            let marked = self
                .evaluate(here, weight, index)
                .and_then(Value::number)
                .and_then(|weight| self.sink.auxiliary(node, weight));
            return marked.map_err(|message| {
                self.wrong(here, layer, number, format!("`auxiliary`: {message}"))
            });
        }
        here.tensors.push(Output { node, taken: false });
        here.layers[here.at as usize].1 += 1;
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    fn primitive(
        &mut self,
        here: &Here<'_, S::Node>,
        primitive: usize,
        callee: &Callee,
        instance: u32,
        index: i64,
        inputs: &[S::Node],
        path: Path<'_>,
    ) -> Result<S::Node, String> {
        let specs = &self.vocabulary.primitives[primitive].arguments;
        let mut arguments = Vec::with_capacity(specs.len());
        for (spec, given) in specs.iter().zip(&callee.arguments) {
            arguments.push(match given {
                None => None,
                Some(given) => {
                    let value = self.argument(here, spec.kind, given, instance, index);
                    Some(value.map_err(|message| format!("`{}`: {message}", spec.name))?)
                }
            });
        }
        self.layers += 1;
        self.sink.layer(&Call {
            primitive,
            arguments: &arguments,
            inputs,
            path,
        })
    }

    fn argument(
        &self,
        here: &Here<'_, S::Node>,
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

    #[allow(clippy::too_many_arguments)]
    fn block(
        &mut self,
        here: &Here<'_, S::Node>,
        target: usize,
        callee: &Callee,
        instance: u32,
        index: i64,
        (inputs, place, path, depth): (Vec<S::Node>, Option<Place>, Path<'_>, usize),
        layer: &Layer,
    ) -> Result<S::Node, ExpandError> {
        let definition = &self.program.definitions[target];
        let context = place.and_then(|place| self.decisions.contexts.get(&place).copied());
        if definition.inputs.len() != inputs.len() {
            let message = format!(
                "'{}' takes {} tensors ({}), and got {}",
                definition.name,
                definition.inputs.len(),
                definition.inputs.join(", "),
                inputs.len()
            );
            return Err(self.wrong(here, layer, path.instance, message));
        }
        if definition.anonymous {
            let slots = here.slots.to_vec();
            return self.definition(
                target,
                context,
                &slots,
                index,
                inputs,
                Some(&path),
                depth + 1,
            );
        }
        let mut slots: Vec<Value> = Vec::with_capacity(definition.arguments.len());
        for ((name, default), given) in definition.arguments.iter().zip(&callee.arguments) {
            let value = match (given, default) {
                (Some(given), _) => self.value(here, given, instance, index),
                (None, Some(default)) => self.default(&slots, default),
                (None, None) => Err("it is needed".to_owned()),
            };
            slots.push(value.map_err(|message| {
                self.wrong(here, layer, path.instance, format!("`{name}`: {message}"))
            })?);
        }
        self.definition(target, context, &slots, 0, inputs, Some(&path), depth + 1)
    }

    /// A default, which may use the arguments before it.
    fn default(&self, slots: &[Value], default: &Expression) -> Result<Value, String> {
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
}

/// The tensors that a name stands for, as a range.
fn range<N>(here: &Here<'_, N>, name: Name) -> (usize, usize) {
    match name {
        Name::Input(index) => (index as usize, index as usize + 1),
        Name::Layer(number) => here
            .layers
            .get(number as usize)
            .map_or((0, 0), |(begin, end)| (*begin as usize, *end as usize)),
    }
}
