//! The places of a layer where something is chosen, as decisions.

use std::sync::Arc;

use super::condition::alike;
use super::existence::Existence;
use super::guard::{Frame, Guard, Symbol};
use super::limits::{MOST_DECISIONS, MOST_GUARDS, MOST_OPTIONS, MOST_OPTIONS_IN_ALL, MOST_PARTS};
use super::{Found, Instances, Meaning, Place, Walker};
use crate::expression::{Expression, Value};
use crate::program::{Definition, Given, Layer, Name, Options, Site, Source};

impl Walker<'_, '_> {
    pub(super) fn found(
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
            word: site.label.clone(),
            span: site.span.clone(),
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

    pub(super) fn value_site(
        &mut self,
        site: &Site,
        place: Place,
        keyed: bool,
        label: &str,
        frame: &Arc<Frame>,
        guards: &[Guard],
    ) -> Symbol {
        let context = place.0;
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
            Meaning::Values(values),
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
        self.conditions(site, &mut found, frame);
        let Some(id) = self.add(found, place, site) else {
            return Symbol::Unknown;
        };
        let options = options.iter().map(|(given, _)| match given {
            Given::Expression(expression) => self.symbol(expression, frame),
            _ => Symbol::Unknown,
        });
        let symbol = Symbol::Decision(id, options.collect());
        if symbol.parts() > MOST_PARTS {
            self.entangled = true;
            return Symbol::Unknown;
        }
        symbol
    }

    #[allow(clippy::too_many_arguments)]
    pub(super) fn tensor_site(
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

    /// What an `each` layer's name stands for: as many as it takes, in each repetition. None where these are not
    /// known, or where one that may be missing has others behind it.
    pub(super) fn each_instances(
        &self,
        layer: &Layer,
        before: &[Instances],
        count: u32,
        exists: &Existence,
    ) -> Instances {
        let mut taken: Vec<Vec<Guard>> = Vec::new();
        let certain = |taken: &[Vec<Guard>]| taken.iter().all(Vec::is_empty);
        for source in layer.from.iter().flatten() {
            if !certain(&taken) {
                return None;
            }
            match source {
                Source::Back(_) | Source::Named(Name::Input(_)) => taken.push(Vec::new()),
                Source::Named(Name::Layer(number)) => {
                    taken.extend(before.get(*number as usize).cloned().flatten()?);
                }
                Source::When(..) | Source::Unused(_) | Source::Choose(_) => return None,
            }
            if taken.len() * count as usize > MOST_OPTIONS {
                return None;
            }
        }
        if count > 1 && !certain(&taken) {
            return None;
        }
        let of = |instance: u32| {
            let each = taken.iter().enumerate();
            each.map(move |(at, guards)| {
                let mut all = exists.of(instance, instance == 0 && at == 0);
                all.extend_from_slice(guards);
                all
            })
        };
        Some((0..count).flat_map(of).collect())
    }

    /// Adds a decision, or the way to one that is there already.
    pub(super) fn add(&mut self, found: Found, place: Place, site: &Site) -> Option<u32> {
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
            if known.labels != found.labels || !alike(&known.option_guards, &found.option_guards) {
                let message = "a cell must have the same options wherever it is used";
                self.report.error(site.span.clone(), message, None);
            }
            let mut on = Vec::new();
            let guards = found.guards.iter().flatten();
            guards.for_each(|guard| guard.depends(&mut on));
            if found.guards.is_empty() {
                known.guards.clear();
            } else if !known.guards.is_empty() && !on.contains(&id) {
                // A use that depends on the decision itself lies within one that does not.
                known.guards.extend(found.guards);
            }
            return Some(id);
        }
        let met = self.met;
        self.options += found.labels.len();
        let bytes: usize = found.labels.iter().map(String::len).sum();
        self.steps += (found.name.len() + bytes) / 64;
        if met >= MOST_DECISIONS
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
        self.met += 1;
        let id = match self.numbers.get(met) {
            Some(&id) => {
                self.decisions.list[id as usize] = found;
                id
            }
            None => {
                self.decisions.list.push(found);
                met as u32
            }
        };
        self.decisions.at.insert(place, id);
        Some(id)
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
