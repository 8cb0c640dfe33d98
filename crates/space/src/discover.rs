//! Finds all decisions of a file, with what each depends on.
//!
//! The network is walked once with everything that could be in it: all options of every choice, as
//! many repetitions as can be chosen. What is found in a cell is found once, however often the cell
//! is used. A decision that is reachable only for some options of earlier ones gets guards.

use std::sync::Arc;

use crate::Shape;
use crate::diagnostic::Report;
use crate::expression::{Expression, Tensor, Value, Values};
use crate::places::PlaceMap;
use crate::program::{Definition, Given, Layer, Name, Options, Program, Site, Source, Target};

/// Where something is decided or used: the context, the layer (or [`LET`]), the repetition, and the
/// site or the callee.
pub(crate) type Place = (u32, u32, u32, u32);

/// All decisions of a file, and where in it each belongs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Decisions {
    pub list: Vec<Found>,
    /// The decision at a place: the context, the layer (or [`LET`]), the repetition, the site.
    pub at: PlaceMap<Place>,
    /// The context of what a layer uses: the context around, the layer, the repetition, the callee.
    pub contexts: PlaceMap<Place>,
    /// The context of each cell, by its definition.
    pub cells: PlaceMap<usize>,
}

/// The number of a definition's `let`s where a layer's number is expected.
pub(crate) const LET: u32 = u32::MAX;

/// One decision.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub name: String,
    /// The name given in the file.
    pub given: Option<String>,
    pub labels: Vec<String>,
    pub meaning: Meaning,
    /// It is active where one of these holds; none: always.
    pub guards: Vec<Vec<Guard>>,
    /// What must hold for each option.
    pub option_guards: Vec<Vec<Guard>>,
}

/// What an option means.
#[derive(Debug, Clone)]
pub(crate) enum Meaning {
    /// A value, where it is a constant.
    Values(Vec<Option<Value>>),
    Callees,
    /// Tensors: a name and which of the tensors it stands for.
    Tensors(Vec<Vec<(Name, u32)>>),
    /// Whether a tensor is taken.
    Member(Name, u32),
}

/// A condition on earlier choices.
#[derive(Debug, Clone)]
pub(crate) enum Guard {
    /// An expression is true.
    True(Arc<Closure>),
    /// A number of repetitions is larger.
    Beyond(Arc<Closure>, u32),
    /// A decision has an option.
    Chosen(u32, u32),
}

/// An expression with what its names stand for.
#[derive(Debug)]
pub(crate) struct Closure {
    expression: Expression,
    frame: Arc<Frame>,
    /// The operators and names of it, with those of the values that it names.
    parts: usize,
}

#[derive(Debug, Default)]
struct Frame {
    slots: Vec<Symbol>,
    index: Option<i64>,
}

#[derive(Debug, Clone)]
enum Symbol {
    Known(Value),
    Unknown,
    Decision(u32, Arc<[Option<Value>]>),
    Later(Arc<Closure>),
}

/// A closure seen with the choices made so far.
struct Seen<'c> {
    frame: &'c Frame,
    prefix: &'c [u32],
}

impl Values for Seen<'_> {
    fn local(&mut self, slot: u32) -> Result<Option<Value>, String> {
        match self.frame.slots.get(slot as usize) {
            Some(Symbol::Known(value)) => Ok(Some(*value)),
            Some(Symbol::Decision(id, values)) => {
                let choice = self.prefix.get(*id as usize).map(|it| *it as usize);
                Ok(choice.and_then(|choice| values.get(choice).copied().flatten()))
            }
            Some(Symbol::Later(closure)) => closure.value(self.prefix),
            Some(Symbol::Unknown) | None => Ok(None),
        }
    }

    fn index(&self) -> Option<i64> {
        self.frame.index
    }

    fn classes(&self) -> Option<i64> {
        None
    }

    fn shape(&mut self, _: Tensor) -> Option<Shape> {
        None
    }
}

impl Closure {
    fn new(expression: &Expression, frame: &Arc<Frame>) -> Arc<Self> {
        let mut slots = Vec::new();
        locals(expression, &mut slots);
        let named = slots
            .iter()
            .map(|slot| match frame.slots.get(*slot as usize) {
                Some(Symbol::Later(closure)) => closure.parts,
                _ => 1,
            });
        Arc::new(Closure {
            expression: expression.clone(),
            frame: Arc::clone(frame),
            parts: named.fold(size(expression), usize::saturating_add),
        })
    }

    fn value(&self, prefix: &[u32]) -> Result<Option<Value>, String> {
        let mut seen = Seen {
            frame: &self.frame,
            prefix,
        };
        self.expression.evaluate(&mut seen)
    }

    /// The decisions that its value may depend on.
    fn depends(&self, on: &mut Vec<u32>) {
        let mut slots = Vec::new();
        locals(&self.expression, &mut slots);
        for slot in slots {
            match self.frame.slots.get(slot as usize) {
                Some(Symbol::Decision(id, _)) if !on.contains(id) => on.push(*id),
                Some(Symbol::Later(closure)) => closure.depends(on),
                _ => {}
            }
        }
    }
}

/// The number of parts of an expression.
fn size(expression: &Expression) -> usize {
    1 + match expression {
        Expression::Not(inner) | Expression::Negate(inner) => size(inner),
        Expression::Binary(_, sides) => size(&sides.0) + size(&sides.1),
        Expression::If(parts) => size(&parts.0) + size(&parts.1) + size(&parts.2),
        Expression::Call(_, arguments) => arguments.iter().map(size).sum(),
        _ => 0,
    }
}

fn locals(expression: &Expression, slots: &mut Vec<u32>) {
    match expression {
        Expression::Local(slot) => slots.push(*slot),
        Expression::Not(inner) | Expression::Negate(inner) => locals(inner, slots),
        Expression::Binary(_, sides) => {
            locals(&sides.0, slots);
            locals(&sides.1, slots);
        }
        Expression::If(parts) => {
            locals(&parts.0, slots);
            locals(&parts.1, slots);
            locals(&parts.2, slots);
        }
        Expression::Call(_, arguments) => arguments.iter().for_each(|it| locals(it, slots)),
        _ => {}
    }
}

impl Guard {
    /// Whether it holds; what cannot be known without shapes is taken to hold.
    pub fn holds(&self, prefix: &[u32]) -> bool {
        match self {
            Guard::True(closure) => !matches!(closure.value(prefix), Ok(Some(Value::Bool(false)))),
            Guard::Beyond(closure, index) => match closure.value(prefix) {
                Ok(Some(value)) => value.count().is_ok_and(|count| count > *index as usize),
                _ => true,
            },
            Guard::Chosen(id, option) => prefix.get(*id as usize) == Some(option),
        }
    }

    /// The decisions it depends on.
    pub fn depends(&self, on: &mut Vec<u32>) {
        match self {
            Guard::True(closure) | Guard::Beyond(closure, _) => closure.depends(on),
            Guard::Chosen(id, _) => {
                if !on.contains(id) {
                    on.push(*id);
                }
            }
        }
    }
}

/// More decisions than this are refused.
const MOST_DECISIONS: usize = 5_000;
/// More options than this, of one decision or of all, are refused.
const MOST_OPTIONS: usize = 20_000;
const MOST_OPTIONS_IN_ALL: usize = 200_000;
/// More conditions of decisions than this are refused.
const MOST_GUARDS: usize = 400_000;
/// Values that depend on decisions through larger expressions than this are refused.
const MOST_PARTS: usize = 1_000;
/// Deeper uses of blocks in blocks are refused.
pub(crate) const DEPTH: usize = 200;
/// As many combinations of decisions are tried to find the largest number of repetitions.
const MOST_COMBINATIONS: usize = 4096;
/// As many layers are walked at most.
const MOST_STEPS: usize = 1_000_000;

struct Walker<'w, 't> {
    program: &'w Program,
    report: &'w mut Report<'t>,
    decisions: Decisions,
    paths: Vec<String>,
    steps: usize,
    /// Options and guards so far.
    options: usize,
    guards: usize,
    full: bool,
    /// A value depends on decisions through too large an expression.
    entangled: bool,
}

/// Finds the decisions of a program.
pub(crate) fn discover(program: &Program, report: &mut Report<'_>) -> Decisions {
    let mut walker = Walker {
        program,
        report,
        decisions: Decisions::default(),
        paths: Vec::new(),
        steps: 0,
        options: 0,
        guards: 0,
        full: false,
        entangled: false,
    };
    if let Some(network) = program.definitions.get(program.network)
        && network.chooses
    {
        let context = walker.cell(program.network);
        walker.definition(program.network, context, Frame::default(), &[], 0);
        if let Some(layer) = program.definitions[program.network].layers.last() {
            walker.check_limits(layer, 0);
        }
    }
    walker.decisions
}

/// How many tensors a layer's name stands for, each with what must hold for it to be there.
type Instances = Option<Vec<Vec<Guard>>>;

impl Walker<'_, '_> {
    fn cell(&mut self, definition: usize) -> u32 {
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
        self.paths.push(path);
        (self.paths.len() - 1) as u32
    }

    fn definition(
        &mut self,
        index: usize,
        context: u32,
        mut frame: Frame,
        guards: &[Guard],
        depth: usize,
    ) {
        let program = self.program;
        let definition = &program.definitions[index];
        if self.full {
            return;
        }
        for (name, given) in &definition.locals {
            let symbol = match given {
                Given::Expression(expression) => self.symbol(expression, &mut frame),
                Given::Choose(site) => self.value_site(site, context, LET, 0, false, name, guards),
                _ => Symbol::Unknown,
            };
            frame.slots.push(symbol);
        }
        let frame = Arc::new(frame);
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
    fn symbol(&mut self, expression: &Expression, frame: &mut Frame) -> Symbol {
        let seen = expression.evaluate(&mut Seen { frame, prefix: &[] });
        match seen {
            Ok(Some(value)) => Symbol::Known(value),
            _ => {
                let snapshot = Arc::new(Frame {
                    slots: frame.slots.clone(),
                    index: frame.index,
                });
                let closure = Closure::new(expression, &snapshot);
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

    /// Tells what is too large, once; nothing more is listed then.
    fn check_limits(&mut self, layer: &Layer, depth: usize) {
        if self.full {
            return;
        }
        if self.entangled {
            let message = format!(
                "a value here depends on decisions through more than {MOST_PARTS} operators and names"
            );
            self.report.error(layer.span.clone(), message, None);
            self.full = true;
        } else if self.steps > MOST_STEPS || depth > DEPTH {
            let message = "the decisions cannot be listed: blocks use each other without end, or there are too many layers";
            let help = "bound the recursion with `when`".to_owned();
            self.report.error(layer.span.clone(), message, Some(help));
            self.full = true;
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
        if let Some(when) = &layer.when {
            let closure = closure(when);
            match closure.value(&[]) {
                Ok(Some(Value::Bool(false))) => return Some(vec![Vec::new()]),
                Ok(Some(_)) => {}
                _ => {
                    let mut on = Vec::new();
                    closure.depends(&mut on);
                    if !on.is_empty() {
                        guards.push(Guard::True(closure));
                    }
                }
            }
        }
        let (count, repeat) = self.repetitions(number, layer, context, frame, &guards);
        let repeated = layer.repeat.is_some();
        let mut own: Vec<Vec<Guard>> = Vec::new();
        for instance in 0..count {
            self.steps += 1 + guards.len() + frame.slots.len();
            self.check_limits(layer, depth);
            if self.full {
                return None;
            }
            let mut guards = guards.clone();
            let mut exists = Vec::new();
            if let Some(repeat) = &repeat {
                guards.push(Guard::Beyond(Arc::clone(repeat), instance));
                exists.push(Guard::Beyond(Arc::clone(repeat), instance));
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
            own.push(exists);
            if self.full {
                return None;
            }
        }
        if layer.each {
            return self.each_instances(layer, before);
        }
        Some(own)
    }

    /// How often a layer can be repeated at most; the number as an expression where it is chosen.
    fn repetitions(
        &mut self,
        number: u32,
        layer: &Layer,
        context: u32,
        frame: &Arc<Frame>,
        guards: &[Guard],
    ) -> (u32, Option<Arc<Closure>>) {
        let closure = match &layer.repeat {
            None => return (1, None),
            Some(Given::Expression(expression)) => Closure::new(expression, frame),
            Some(Given::Choose(site)) => {
                let name = format!("{}.repeat", layer.label);
                let symbol = self.value_site(site, context, number, 0, false, &name, guards);
                let chosen = Frame {
                    slots: vec![symbol],
                    index: None,
                };
                Closure::new(&Expression::Local(0), &Arc::new(chosen))
            }
            Some(_) => return (1, None),
        };
        let limit = |value: Value| value.count().map_or(0, |it| it.min(MOST_DECISIONS + 1)) as u32;
        match closure.value(&[]) {
            Ok(Some(value)) => return (limit(value), None),
            Ok(None) => {}
            // Told where it is used.
            Err(_) => return (0, None),
        }
        let mut on = Vec::new();
        closure.depends(&mut on);
        let most = self.most(&closure, &on, limit);
        if most.is_none() && self.chooses(layer) {
            let message = "how often a layer with decisions is repeated must follow from parameters and decisions alone";
            self.report.error(layer.span.clone(), message, None);
        }
        (most.unwrap_or(1), Some(closure).filter(|_| !on.is_empty()))
    }

    /// The largest value over all options of the decisions it depends on.
    fn most(&mut self, closure: &Closure, on: &[u32], limit: impl Fn(Value) -> u32) -> Option<u32> {
        let sizes: Vec<usize> = on
            .iter()
            .map(|id| self.decisions.list[*id as usize].labels.len())
            .collect();
        let combinations = sizes
            .iter()
            .try_fold(1usize, |product, size| product.checked_mul(*size))?;
        if combinations > MOST_COMBINATIONS || on.is_empty() {
            return None;
        }
        self.steps += combinations.div_ceil(16);
        let mut prefix = vec![0; self.decisions.list.len()];
        let mut most = None;
        for mut combination in 0..combinations {
            for (id, size) in on.iter().zip(&sizes) {
                prefix[*id as usize] = (combination % size) as u32;
                combination /= size;
            }
            let value = limit(closure.value(&prefix).ok().flatten()?);
            most = most.max(Some(value));
        }
        most
    }

    fn chooses(&self, layer: &Layer) -> bool {
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
            let found = self.found(
                site,
                context,
                &label,
                labels.clone(),
                Meaning::Callees,
                guards,
            );
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
            let mut inner = Frame {
                slots: frame.slots.clone(),
                index: frame.index,
            };
            for given in &callee.arguments {
                symbols.push(match given {
                    Some(Given::Expression(expression)) => self.symbol(expression, &mut inner),
                    Some(Given::Choose(site)) => {
                        self.value_site(site, context, number, instance, true, &label, &guards)
                    }
                    Some(given) => {
                        for site in given.sites() {
                            self.value_site(site, context, number, instance, true, &label, &guards);
                        }
                        Symbol::Unknown
                    }
                    None => Symbol::Unknown,
                });
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
        symbols: Vec<Symbol>,
        around: &Arc<Frame>,
        place: Place,
        label: &str,
        guards: &[Guard],
        depth: usize,
    ) {
        let program = self.program;
        let definition = &program.definitions[target];
        let frame = if definition.anonymous {
            Frame {
                slots: around.slots.clone(),
                index: around.index,
            }
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

    /// The frame of a definition that is used with these arguments.
    fn arguments(&mut self, definition: &Definition, symbols: Vec<Symbol>) -> Frame {
        let mut frame = Frame::default();
        let given = symbols.into_iter().map(Some).chain(std::iter::repeat(None));
        for ((_, default), given) in definition.arguments.iter().zip(given) {
            let symbol = match (given, default) {
                (Some(Symbol::Unknown) | None, Some(default)) => {
                    match self.symbol(default, &mut frame) {
                        // An argument that is given but unknown is not its default.
                        Symbol::Known(value) => Symbol::Known(value),
                        other => other,
                    }
                }
                (Some(symbol), _) => symbol,
                (None, None) => Symbol::Unknown,
            };
            frame.slots.push(symbol);
        }
        frame
    }

    fn found(
        &self,
        site: &Site,
        context: u32,
        label: &str,
        labels: Vec<String>,
        meaning: Meaning,
        guards: &[Guard],
    ) -> Found {
        let own = match (label, site.named) {
            ("", true) => site.label.clone(),
            (label, true) => format!("{label}/{}", site.label),
            (label, false) => format!("{label}.{}", site.label),
        };
        let around = &self.paths[context as usize];
        Found {
            name: if around.is_empty() {
                own
            } else {
                format!("{around}/{own}")
            },
            given: site.named.then(|| site.label.clone()),
            option_guards: vec![Vec::new(); labels.len()],
            labels,
            meaning,
            guards: if guards.is_empty() {
                Vec::new()
            } else {
                vec![guards.to_vec()]
            },
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn value_site(
        &mut self,
        site: &Site,
        context: u32,
        layer: u32,
        instance: u32,
        keyed: bool,
        label: &str,
        guards: &[Guard],
    ) -> Symbol {
        let Options::Values(options) = &site.options else {
            return Symbol::Unknown;
        };
        let values: Vec<Option<Value>> = options
            .iter()
            .map(|(given, _)| match given {
                Given::Expression(Expression::Constant(value)) => Some(*value),
                _ => None,
            })
            .collect();
        let labels = options.iter().map(|(_, label)| label.clone()).collect();
        let mut found = self.found(
            site,
            context,
            label,
            labels,
            Meaning::Values(values.clone()),
            guards,
        );
        if !keyed && !site.named {
            // A `let` or `repeat` is called by its own name.
            let around = &self.paths[context as usize];
            found.name = if around.is_empty() {
                label.to_owned()
            } else {
                format!("{around}/{label}")
            };
        }
        match self.add(found, (context, layer, instance, site.local), site) {
            Some(id) => Symbol::Decision(id, values.into()),
            None => Symbol::Unknown,
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn tensor_site(
        &mut self,
        definition: &Definition,
        site: &Site,
        context: u32,
        layer: u32,
        instance: u32,
        label: &str,
        before: &[Instances],
        own: &[Vec<Guard>],
        guards: &[Guard],
    ) {
        let of = match &site.options {
            Options::Tensors { of, .. } | Options::Subset { of } => of,
            _ => return,
        };
        let mut tensors: Vec<((Name, u32), String, Vec<Guard>)> = Vec::new();
        for name in of {
            let (word, instances) = instances(definition, *name, layer, before, own);
            let Some(instances) = instances else {
                let message = "how many tensors there are to choose from is not known before the network is built";
                self.report.error(site.span.clone(), message, None);
                return;
            };
            let several = instances.len() > 1 || matches!(name, Name::Layer(it) if *it == layer);
            for (index, guards) in instances.into_iter().enumerate() {
                let word = if several {
                    format!("{word}[{index}]")
                } else {
                    word.clone()
                };
                tensors.push(((*name, index as u32), word, guards));
            }
        }
        match &site.options {
            Options::Subset { .. } => {
                for (member, ((name, index), word, exists)) in tensors.into_iter().enumerate() {
                    let labels = vec!["no".to_owned(), "yes".to_owned()];
                    let mut found = self.found(
                        site,
                        context,
                        label,
                        labels,
                        Meaning::Member(name, index),
                        guards,
                    );
                    found.name = format!("{}[{word}]", found.name);
                    found.option_guards[1] = exists;
                    // Members are told apart by a site of their own, beyond those of the layer.
                    let local = (site.local << 16) + 0x8000 + member as u32;
                    self.add(found, (context, layer, instance, local), site);
                }
            }
            Options::Tensors { count, .. } => {
                let Some(sets) = combinations(tensors.len(), *count) else {
                    let message = if *count <= tensors.len() {
                        format!(
                            "there are too many ways to choose {count} of {} tensors",
                            tensors.len()
                        )
                    } else {
                        format!(
                            "{count} tensors are to be chosen, and there are {} to choose from",
                            tensors.len()
                        )
                    };
                    self.report.error(site.span.clone(), message, None);
                    return;
                };
                let word = |set: &Vec<usize>| {
                    set.iter()
                        .map(|it| tensors[*it].1.as_str())
                        .collect::<Vec<_>>()
                        .join("+")
                };
                let labels = sets.iter().map(word).collect();
                let targets = sets
                    .iter()
                    .map(|set| set.iter().map(|it| tensors[*it].0).collect())
                    .collect();
                let mut found = self.found(
                    site,
                    context,
                    label,
                    labels,
                    Meaning::Tensors(targets),
                    guards,
                );
                found.option_guards = sets
                    .iter()
                    .map(|set| set.iter().flat_map(|it| tensors[*it].2.clone()).collect())
                    .collect();
                self.add(found, (context, layer, instance, site.local), site);
            }
            _ => {}
        }
    }

    /// What an `each` layer's name stands for: as many as it takes.
    fn each_instances(&self, layer: &Layer, before: &[Instances]) -> Instances {
        let mut all = Vec::new();
        for source in layer.from.iter().flatten() {
            match source {
                Source::Back(_) | Source::Named(Name::Input(_)) => all.push(Vec::new()),
                Source::Named(Name::Layer(number)) => {
                    all.extend(before.get(*number as usize).cloned().flatten()?);
                }
                Source::Unused(_) | Source::Choose(_) => return None,
            }
        }
        Some(all)
    }

    /// Adds a decision, or the way to one that is there already.
    fn add(&mut self, found: Found, place: Place, site: &Site) -> Option<u32> {
        self.guards += found
            .guards
            .iter()
            .chain(&found.option_guards)
            .map(Vec::len)
            .sum::<usize>();
        if self.guards > MOST_GUARDS {
            if !self.full {
                let message =
                    "whether this is active depends on earlier decisions in too many ways";
                self.report.error(site.span.clone(), message, None);
            }
            self.full = true;
            return None;
        }
        if let Some(id) = self.decisions.at.get(&place).copied() {
            let known = &mut self.decisions.list[id as usize];
            if known.labels != found.labels {
                let message = "a cell must have the same options wherever it is used";
                self.report.error(site.span.clone(), message, None);
            }
            if found.guards.is_empty() {
                known.guards.clear();
            } else if !known.guards.is_empty() {
                known.guards.extend(found.guards);
            }
            return Some(id);
        }
        let id = self.decisions.list.len();
        self.options += found.labels.len();
        if id >= MOST_DECISIONS
            || found.labels.len() > MOST_OPTIONS
            || self.options > MOST_OPTIONS_IN_ALL
        {
            if !self.full {
                let message = format!(
                    "there are more than {MOST_DECISIONS} decisions, or more than {MOST_OPTIONS_IN_ALL} options in all"
                );
                self.report.error(site.span.clone(), message, None);
            }
            self.full = true;
            return None;
        }
        self.decisions.list.push(found);
        self.decisions.at.insert(place, id as u32);
        Some(id as u32)
    }
}

/// The word for a name, and what it stands for.
fn instances(
    definition: &Definition,
    name: Name,
    layer: u32,
    before: &[Instances],
    own: &[Vec<Guard>],
) -> (String, Instances) {
    match name {
        Name::Input(index) => (
            definition.inputs[index as usize].clone(),
            Some(vec![Vec::new()]),
        ),
        Name::Layer(number) => {
            let word = definition.layers[number as usize].label.clone();
            let all = if number == layer {
                Some(own.to_vec())
            } else {
                before.get(number as usize).cloned().flatten()
            };
            (word, all)
        }
    }
}

/// All sets of `count` of `of` things, in order; none where there are none or far too many.
fn combinations(of: usize, count: usize) -> Option<Vec<Vec<usize>>> {
    if count == 0 || count > of {
        return None;
    }
    let mut sets = Vec::new();
    let mut set: Vec<usize> = (0..count).collect();
    while sets.len() < MOST_OPTIONS && (sets.len() + 1) * count <= MOST_OPTIONS_IN_ALL {
        sets.push(set.clone());
        let Some(at) = (0..count).rev().find(|&at| set[at] < of - count + at) else {
            return Some(sets);
        };
        set[at] += 1;
        for next in at + 1..count {
            set[next] = set[next - 1] + 1;
        }
    }
    None
}
